"""The density of a model of the plane, its samples and the test data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from genlab.checkpoint import Loaded
from genlab.models.base import Density
from genlab.pictures import save_density
from genlab.tasks import grid
from genlab.tasks.base import Made, capable, examples_of, the_plane

MANY = 2000
"""Samples: fewer do not show whether they follow the density."""


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Samples, drawn beside the density over the frame of the test data."""
    the_plane(loaded, "density")
    model = capable(loaded, "density", Density, "has no exact density")
    made = grid.make(loaded, seeds, options, device)
    return made._replace(draw=partial(save_density, model, made.x, examples_of(loaded).x))
