"""Markov chains of a model on their way: where each is after so many steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from genlab import plots, ranks
from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.images import Titles
from genlab.models.base import Walks
from genlab.noise import Noise
from genlab.tasks.base import CHUNK, Made, capable, examples_of, told_of

TAKES = ("temperature",)
MANY = 12
TIMES = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """A row for each seed, its chain after so many steps from where chains start; of the plane a way over the data.

    In chain.npz, ``samples`` are where the chains end and ``chains`` where they were, (n, times, *shape), at ``times``.
    """
    model = capable(loaded, "chain", Walks, "has no Markov chain")
    plane = loaded.spec.kind == "vector" and loaded.spec.dimensions == 2
    if loaded.spec.kind != "image" and not plane:
        raise ConfigError("task", "chain", f"it draws images and the plane, and these data are {loaded.spec.kind}")
    parts = []
    share = ranks.share(len(seeds), CHUNK)
    with torch.no_grad(), told_of(model, len(share)) as advance:
        for start in range(share.start, share.stop, CHUNK):
            part = seeds[start : min(start + CHUNK, share.stop)]
            noise = Noise([*part, *[part[-1]] * (CHUNK - len(part))], device)
            parts.append(model.chain(noise, TIMES, options["temperature"])[:, : len(part)].cpu())
            advance(1)
    chains = ranks.gather(torch.cat(parts, 1).transpose(0, 1) if parts else None)
    arrays = {"samples": chains[:, -1].numpy(), "chains": chains.numpy(), "times": torch.tensor(TIMES).numpy()}
    if plane:
        title, ends = f"Markov chains of {TIMES[-1]} steps", ("start", "sample")
        draw = partial(plots.ways, paths=chains, data=examples_of(loaded).x, title=title, ends=ends)
        return Made(chains[:, -1], draw=draw, arrays=arrays)
    titles = Titles([(str(time), 1) for time in TIMES])
    return Made(chains.flatten(0, 1), columns=len(TIMES), titles=titles, arrays=arrays)
