"""The ways of points from latent to data, of a flow of the plane in continuous time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from genlab import plots
from genlab.checkpoint import Loaded
from genlab.models.base import Integrates
from genlab.noise import Noise
from genlab.tasks.base import CHUNK, Made, capable, examples_of, the_plane

POINTS = 41


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """A way for each seed, from its latent (blue) to its sample (red), over the test data.

    In samples.npz, ``samples`` are where they end and ``paths`` the points on the way, (n, points, 2).
    """
    the_plane(loaded, "trajectories")
    model = capable(loaded, "trajectories", Integrates, "solves no differential equation")
    parts = []
    for start in range(0, len(seeds), CHUNK):
        part = seeds[start : start + CHUNK]
        padded = [*part, *[part[-1]] * (CHUNK - len(part))]
        z = float(options.get("temperature", 1.0)) * Noise(padded, device).normal(loaded.spec.dimensions)
        with torch.no_grad():
            parts.append(model.trajectories(z, POINTS).cpu()[:, : len(part)])
    paths = torch.cat(parts, 1).transpose(0, 1)
    draw = partial(plots.ways, paths=paths, data=examples_of(loaded).x, title="from latent to data")
    return Made(paths[:, -1], draw=draw, arrays={"paths": paths.numpy()})
