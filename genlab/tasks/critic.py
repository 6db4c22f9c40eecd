"""The values that a game's critic gives to the points of the plane."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from genlab import plots
from genlab.checkpoint import Loaded
from genlab.models.base import Criticises
from genlab.tasks import grid
from genlab.tasks.base import Made, capable, examples_of, the_plane

MANY = 2000


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Samples, drawn with the test data over the critic's values and their level lines."""
    the_plane(loaded, "critic")
    model = capable(loaded, "critic", Criticises, "has no critic")
    made = grid.make(loaded, seeds, options, device)

    def values(points: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model.criticise(points.to(device)).cpu()

    return made._replace(draw=partial(plots.surface, values=values, data=examples_of(loaded).x, samples=made.x))
