"""The net of FFJORD: layers that time gates and shifts, with the derivative carried along."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.errors import ConfigError, nearest

SMOOTH = ("tanh", "softplus")


class ConcatSquash(nn.Module):
    """y = (W x + b) sigmoid(a t + c) + d t,  (..., I) to (..., O);   dy = (W dx) sigmoid(a t + c).

    (Grathwohl et al. 2019, arXiv 1810.01367, appendix B, and the released code)

    Args:
        inputs: I.
        outputs: O.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(1, outputs)
        self.shift = nn.Linear(1, outputs, bias=False)

    def forward(self, t: Tensor, x: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        """t is (1,); x (B, I), and S directions at each, (S, B, I)."""
        gate = self.gate(t).sigmoid()
        return self.linear(x) * gate + self.shift(t), F.linear(along, self.linear.weight) * gate


class ConcatSquashNet(nn.Module):
    """Dynamics of D dimensions: layers of ``ConcatSquash`` with a smooth activation between each two.

    The divergence is the sum of e^T (df/dx) e over the directions e that are asked for, or over the D axes, which go
    through the layers beside the point: one pass with 1 + D rows, and no second derivative in training.

    Args:
        dimensions: D.
        width: hidden features.
        depth: hidden layers.
        activation: ``tanh`` or ``softplus``.
    """

    def __init__(
        self, dimensions: int, width: int = 64, depth: int = 3, activation: Literal["tanh", "softplus"] = "tanh"
    ):
        super().__init__()
        if activation not in SMOOTH:
            raise ConfigError("activation", activation, "there are tanh, softplus", nearest(activation, SMOOTH))
        self.activation = activation
        sizes = [dimensions, *[width] * depth, dimensions]
        self.layers = nn.ModuleList(ConcatSquash(inputs, outputs) for inputs, outputs in pairwise(sizes))

    def forward(self, t: Tensor, x: Tensor, e: Tensor | None) -> tuple[Tensor, Tensor]:
        start = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)[:, None] if e is None else e[None]
        start = start.expand(-1, *x.shape)
        h, along, t = x, start, t.reshape(1)
        for number, layer in enumerate(self.layers):
            if number:
                if self.activation == "tanh":
                    h = h.tanh()
                    slope = 1 - h.square()
                else:
                    h, slope = F.softplus(h), h.sigmoid()
                along = along * slope
            h, along = layer(t, h, along)
        return h, (along * start).sum((0, 2))
