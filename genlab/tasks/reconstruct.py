"""Test examples, and what is left of them after encoding and decoding."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from genlab import plots
from genlab.checkpoint import Loaded
from genlab.models.base import Encodes
from genlab.tasks.base import CHUNK, Made, capable, examples_of


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Pairs side by side. A seed is an index of the test split.

    In samples.npz, ``samples`` are what is left and ``originals`` the examples.
    """
    model = capable(loaded, "reconstruct", Encodes, "does not encode")
    test = examples_of(loaded)
    rows = torch.as_tensor([seed % len(test) for seed in seeds])
    x, y = test.x[rows], test.y[rows] if test.y is not None and getattr(model, "conditional", False) else None
    back = []
    with torch.no_grad():
        for start in range(0, len(x), CHUNK):
            part = None if y is None else y[start : start + CHUNK].to(device)
            back.append(model.decode(model.encode(x[start : start + CHUNK].to(device), part), part).cpu())
    left = torch.cat(back)
    arrays = {"samples": left.numpy(), "originals": x.numpy()}
    if loaded.spec.kind == "vector":
        draw = partial(plots.scatter, sets={"data": x[:, :2], "reconstructed": left[:, :2]})
        return Made(left, y, draw=draw, arrays=arrays)
    columns = 2 * min(6, len(seeds))
    return Made(torch.stack([x, left], 1).flatten(0, 1), y, columns=columns, groups=(2,), arrays=arrays)
