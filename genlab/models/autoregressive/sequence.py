"""Images as sequences of parts: whole pixels, or one channel of a pixel after the other, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from genlab.models.autoregressive.base import Draw, Layout


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


class Trunk(Protocol):
    """A net of sequences whose output t is a function of the inputs up to t."""

    def __call__(self, h: Tensor) -> Tensor:
        """(B, S, N) to (B, S, N)."""
        ...

    def begin(self, h: Tensor, length: int) -> Any:
        """The state before a sequence of that length; ``h`` is like its first input, (B, N)."""
        ...

    def step(self, h: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One input, (B, N), to its output, (B, N), and the state after it."""
        ...


class Sequence(nn.Module):
    """theta_t = W f(e_1 ... e_t) + b,   e_t = A x_t-1 + row(t) + column(t) + channel(t) + B c, for a trunk f.

    An embedding is told the place of the part that is predicted from it and the value of the part before; the first is
    told a learned vector for that value. A is a perceptron of one hidden layer.

    Args:
        layout: of images and parameters.
        width: N numbers of an embedding.
        trunk: f.
    """

    def __init__(self, layout: Layout, width: int, trunk: nn.Module):
        super().__init__()
        C, H, W = layout.shape
        self.layout = layout
        self.value = nn.Sequential(nn.Linear(C // layout.groups, width), nn.SiLU(), nn.Linear(width, width))
        self.first = nn.Parameter(torch.randn(width) / 2)
        self.rows, self.columns = nn.Parameter(torch.randn(H, width) / 2), nn.Parameter(torch.randn(W, width) / 2)
        self.channels = nn.Parameter(torch.randn(layout.groups, width) / 2) if layout.groups > 1 else None
        self.condition = nn.Linear(layout.conditions, width, bias=False) if layout.conditions else None
        self.trunk: Any = trunk
        self.output = nn.Linear(width, layout.parameters)

    def told(self, c: Tensor | None) -> Tensor:
        """What embeddings say beside values, (B or 1, S, N)."""
        place = self.rows[:, None] + self.columns
        if self.channels is not None:
            place = (place[:, :, None] + self.channels).flatten(1, 2)
        place = place.flatten(0, 1)[None]
        return place if self.condition is None else place + self.condition(c)[:, None]

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        before = self.value(to_parts(x, self.layout)[:, :-1])
        before = torch.cat([self.first.expand(len(x), 1, -1), before], 1)
        return to_maps(self.output(self.trunk(before + self.told(c))), self.layout)

    def generate(self, draw: Draw, count: int, c: Tensor | None = None) -> None:
        """A part at a time; what came before is in the trunk's state."""
        told, before = self.told(c), self.first.expand(count, -1)
        state = self.trunk.begin(before, length(self.layout))
        for t, (row, column, group) in enumerate(places(self.layout)):
            h, state = self.trunk.step(before + told[:, t], state)
            before = self.value(draw(self.output(h)[None], row, column, group)[0])
