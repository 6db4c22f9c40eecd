"""Samples beside the training examples that are nearest to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.images import Titles
from genlab.tasks import grid
from genlab.tasks.base import Made, examples_of

NEAREST = 5
MANY = 12
"""Rows, of which more make no picture."""
TITLES = Titles([("sample", 1), ("nearest training examples", NEAREST)])


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Rows of a sample and its five nearest training examples by Euclidean distance of the data.

    In samples.npz, ``samples`` are the samples, ``neighbours`` (N, 5) rows of the training split, ``distances`` (N, 5).
    """
    if loaded.spec.kind != "image":
        raise ConfigError("task", "neighbours", f"it draws images, and these data are {loaded.spec.kind}")
    made = grid.make(loaded, seeds, options, device)
    train = examples_of(loaded, "train")
    distances, rows = nearest(made.x, train.x, NEAREST)
    shown = torch.cat([made.x[:, None], train.x[rows]], 1)
    arrays = {"samples": made.x.numpy(), "neighbours": rows.numpy(), "distances": distances.numpy()}
    return Made(shown.flatten(0, 1), made.labels, None, shown.shape[1], (1, NEAREST), TITLES, arrays)


def nearest(x: Tensor, to: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances (N, count) and rows (N, count) of the nearest of ``to`` for each of ``x``, nearest first."""
    x = x.flatten(1).float()
    distances, rows = torch.full((len(x), 0), 0.0), torch.zeros((len(x), 0), dtype=torch.long)
    for start in range(0, len(to), 4096):
        part = to[start : start + 4096].flatten(1).float()
        near = torch.cat([distances, torch.cdist(x, part)], 1)
        numbers = torch.cat([rows, torch.arange(start, start + len(part)).expand(len(x), -1)], 1)
        distances, places = near.topk(min(count, near.shape[1]), largest=False)
        rows = numbers.gather(1, places)
    return distances, rows
