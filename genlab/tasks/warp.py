"""What a flow of the plane does to a grid of its latent space."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from genlab import plots
from genlab.checkpoint import Loaded
from genlab.models.base import Decodes
from genlab.tasks.base import Made, capable, chosen_labels, examples_of, the_plane

LINES, POINTS, REACH = 21, 200, 3.0


TAKES = ("y",)


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Lines z1 = const and z2 = const from -3 to 3, carried to data space, over the test data.

    In samples.npz, ``samples`` are the points of the lines (2 x 21 x 200, 2).
    """
    the_plane(loaded, "warp")
    model = capable(loaded, "warp", Decodes, "has no latent code to decode")
    at, along = torch.linspace(-REACH, REACH, LINES), torch.linspace(-REACH, REACH, POINTS)
    across = torch.cartesian_prod(at, along)
    z = torch.cat([across, across.flip(1)]).to(device)
    y = chosen_labels(loaded, options, 1)
    with torch.no_grad():
        x = model.decode(z, None if y is None else y.expand(len(z)).to(device)).cpu()
    draw = partial(
        plots.lines,
        curves=x.view(2, LINES, POINTS, 2),
        data=examples_of(loaded).x,
        title="the latent grid in data space",
    )
    return Made(x, draw=draw, arrays={"seeds": torch.arange(len(x)).numpy()})
