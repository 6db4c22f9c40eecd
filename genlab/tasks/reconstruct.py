"""Test examples, and what is left of them after encoding and decoding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genlab import plots
from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.images import Titles
from genlab.models.base import Encodes, Hierarchical
from genlab.tasks.base import CHUNK, Made, capable, examples_of

TAKES = ("level",)


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Each example, and beside it what is left of it: of a hierarchical model, from every level or from ``level``.

    A seed is an index of the test split. In samples.npz, ``samples`` are what is left, from the last of the levels
    shown, and ``originals`` the examples; of a hierarchical model, ``level_1``, ``level_2`` ... those of each.

    Raises:
        ConfigError: the model does not encode, or has no such level.
    """
    model = capable(loaded, "reconstruct", Encodes, "does not encode")
    shown = levels(model, options.get("level"))
    test = examples_of(loaded)
    rows = torch.as_tensor([seed % len(test) for seed in seeds])
    x, y = test.x[rows], test.y[rows] if test.y is not None and getattr(model, "conditional", False) else None
    left = [back(model, x, y, level, device) for level in shown]
    arrays = {"samples": left[-1].numpy(), "originals": x.numpy()}
    if isinstance(model, Hierarchical):
        arrays |= {f"level_{level}": part.numpy() for level, part in zip(shown, left, strict=True)}
    if loaded.spec.kind == "vector":
        panels = {"data": x[:, :2], "reconstructed": left[-1][:, :2]}
        return Made(left[-1], y, draw=partial(plots.scatter, sets=panels), arrays=arrays)
    groups = 1 + len(left)
    of_levels = [f"level {level}" for level in shown] if isinstance(model, Hierarchical) else ["reconstructed"]
    titles = [(text, 1) for text in ("original", *of_levels)]
    side_by_side = torch.stack([x, *left], 1).flatten(0, 1)
    beside = min(6, math.ceil(math.sqrt(len(seeds))))
    return Made(side_by_side, y, None, groups * beside, (groups,), Titles(titles), arrays)


def levels(model: Encodes, wanted: int | None) -> list[int]:
    """The levels to go up to: the one wanted, or all; a model without a hierarchy has one.

    Raises:
        ConfigError: there is no such level.
    """
    count = model.levels if isinstance(model, Hierarchical) else 1
    if wanted is not None and not 1 <= wanted <= count:
        reason = f"the levels of {type(model).__name__} are 1 to {count}" if count > 1 else "this model has one level"
        raise ConfigError("level", wanted, reason, str(count))
    return list(range(1, count + 1)) if wanted is None else [wanted]


@torch.no_grad()
def back(model: Any, x: Tensor, y: Tensor | None, level: int, device: Any) -> Tensor:
    """What is left of examples from a level, on the CPU."""
    made = []
    for start in range(0, len(x), CHUNK):
        part, label = x[start : start + CHUNK].to(device), None if y is None else y[start : start + CHUNK].to(device)
        made.append(down(model, up(model, part, level, label), level, label).cpu())
    return torch.cat(made)


def up(model: Any, x: Tensor, level: int, y: Tensor | None = None) -> Tensor:
    """Codes of examples at a level, (B, ...)."""
    return model.ascend(x, level, y) if isinstance(model, Hierarchical) else model.encode(x, y)


def down(model: Any, code: Tensor, level: int, y: Tensor | None = None) -> Tensor:
    """The examples of codes at a level, (B, *spec.shape)."""
    return model.descend(code, level, y) if isinstance(model, Hierarchical) else model.decode(code, y)
