"""PixelRNN with Row LSTM layers: a row of pixels at a time, each seeing three of the row above.

van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv 1601.06759, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Layout
from genlab.models.autoregressive.checks import check_images
from genlab.models.autoregressive.pixel_rnn import (
    PixelRNN,
    channel_mask,
    context_at,
    dense,
    lstm_unit,
    open_forget_gates,
)
from genlab.nn.masked_linear import MaskedLinear
from genlab.spec import Spec


class State(NamedTuple):
    """Planes with a border of zeros: inputs (H, W + 1, B, I), states h (H + 1, W + 2, B, N), cells (H + 1, W, B, N);
    what the context adds to gates; the input's part of the gates."""

    inputs: Tensor
    hidden: Tensor
    cells: Tensor
    said: Tensor | None
    read: Callable[[Tensor], Tensor]


class RowLSTM(nn.Module):
    """[o, f, i, g] = K_is * x_r + K_ss * h_r-1,   c_r = f c_r-1 + i g,   h_r = o tanh(c_r),   for the rows r in turn.

    K_is is 3 wide and masked, kind B, so it has two taps; K_ss is 3 wide. What a pixel sees is a triangle above it, so
    there are earlier pixels it is blind to. (Equation 3; figure 4, middle)

    Args:
        inputs: maps I.
        channels: maps N.
        groups: image channels among which maps are shared out.
        conditions: K numbers that are given beside the maps.
    """

    whole_rows: ClassVar = False

    def __init__(self, inputs: int, channels: int, groups: int, conditions: int = 0):
        super().__init__()
        self.inputs, self.channels = inputs, channels
        own = channel_mask(inputs, channels, groups)
        self.read = MaskedLinear(torch.cat([torch.ones_like(own), own], 1).repeat(4, 1))
        open_forget_gates(self.read.bias, channels)
        self.told = nn.Linear(conditions, 4 * channels, bias=False) if conditions else None
        bound = 1 / math.sqrt(3 * channels)
        self.recur = nn.Parameter(torch.empty(3 * channels, 4 * channels).uniform_(-bound, bound))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        left = F.pad(x, (0, 0, 0, 0, 1, 0))[:, :-1]
        gates = self.read(torch.cat([left, x], -1))
        if self.told is not None:
            gates = gates + self.told(c)
        h = cell = x.new_zeros(*x.shape[1:3], self.channels)
        rows = []
        for row in gates:
            above = F.pad(h, (0, 0, 0, 0, 1, 1))
            above = torch.cat([above[:-2], h, above[2:]], -1)
            h, cell = lstm_unit(torch.addmm(row.flatten(0, 1), above.flatten(0, 1), self.recur).view_as(row), cell)
            rows.append(h)
        return torch.stack(rows)

    def begin(self, count: int, height: int, width: int, c: Tensor | None) -> State:
        zeros, N = self.recur.new_zeros, self.channels
        return State(
            zeros(height, width + 1, count, self.inputs),
            zeros(height + 1, width + 2, count, N),
            zeros(height + 1, width, count, N),
            None if self.told is None else self.told(c),
            dense(self.read),
        )

    def step(self, x: Tensor, rows: Tensor, columns: Tensor, state: State) -> Tensor:
        state.inputs[rows, columns + 1] = x
        gates = state.read(torch.cat([state.inputs[rows, columns], x], -1)) + context_at(state.said, rows, columns)
        above = torch.cat([state.hidden[rows, columns + k] for k in range(3)], -1)
        h, cell = lstm_unit(gates + above @ self.recur, state.cells[rows, columns])
        state.hidden[rows + 1, columns + 1], state.cells[rows + 1, columns] = h, cell
        return h

    def close(self, row: int, state: Any) -> None:
        """Nothing waits for the end of a row."""


def row_lstm(
    spec: Spec,
    channels: int = 128,
    layers: int = 12,
    kernel: int = 7,
    head: int = 1024,
    dropout: float = 0.0,
    likelihood: str | Callable[..., Likelihood] | None = None,
    order: str = "raster",
    conditional: bool = False,
) -> AutoRegressive:
    """An ``AutoRegressive`` model by a ``PixelRNN`` of ``RowLSTM`` layers; see there for the arguments.

    Raises:
        ConfigError: the data are no images.
    """
    check_images(spec, "whose rows it goes through")

    def net(layout: Layout) -> nn.Module:
        return PixelRNN(layout, RowLSTM, channels, layers, kernel, head, dropout)

    return AutoRegressive(spec, net, likelihood, order, conditional)
