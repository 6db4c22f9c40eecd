"""Images as sequences of parts: whole pixels, or one channel of a pixel after the other, row by row."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genlab.models.autoregressive.autoregressive import Layout


def length(layout: Layout) -> int:
    """S, the number of parts of an image."""
    return layout.shape[1] * layout.shape[2] * layout.groups


def to_parts(x: Tensor, layout: Layout) -> Tensor:
    """(B, C, H, W) to (B, S, C / G)."""
    return x.permute(0, 2, 3, 1).flatten(1).unflatten(1, (length(layout), -1))


def to_maps(params: Tensor, layout: Layout) -> Tensor:
    """Parameters of each part, (B, S, Q), to (B, G Q, H, W), part by part."""
    _, H, W = layout.shape
    return params.unflatten(1, (H, W, layout.groups)).permute(0, 3, 4, 1, 2).flatten(1, 2)


def places(layout: Layout) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Row, (1,), column, (1,), and group of each part in turn, as ``draw`` wants them."""
    _, H, W = layout.shape
    rows, columns = torch.arange(H).split(1), torch.arange(W).split(1)
    return ((row, column, group) for row in rows for column in columns for group in range(layout.groups))
