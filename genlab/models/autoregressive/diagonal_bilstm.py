"""PixelRNN with Diagonal BiLSTM layers: a diagonal of pixels at a time, in two directions, seeing all that came before.

van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv 1601.06759, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Layout
from genlab.models.autoregressive.checks import check_images
from genlab.models.autoregressive.pixel_rnn import PixelRNN, channel_mask, context_at, lstm_unit, open_forget_gates
from genlab.nn.masked_linear import MaskedLinear
from genlab.spec import Spec


class State(NamedTuple):
    """Planes with a border of zeros, of both directions, the second mirrored: inputs (H, W, B, I), states h
    (2, H + 1, W + 1, B, N), cells (2, H, W + 1, B, N); what the context adds to gates; the input's part of the gates,
    for each direction."""

    inputs: Tensor
    hidden: Tensor
    cells: Tensor
    said: Tensor | None
    read: list[Callable[[Tensor], Tensor]]


class DiagonalBiLSTM(nn.Module):
    """[o, f, i, g] = K_is x_ij + K_ss [h_i,j-1, h_i-1,j],   c_ij = f c_i,j-1 + i g,   h_ij = o tanh(c_ij).

    All pixels of a diagonal i + j = t are computed at once, H + W - 1 steps. A second recurrence runs from the right,
    over the mirrored image, and is shifted down by a row before the two are added, so that it sees no later pixel of
    the row. The two run side by side in one product. (Figures 3 and 4, right)

    A pixel sees all that came before, but for one value: the last of the row above, while the first convolution, which
    is of kind A, does not reach it; for at its own place no map has it yet. So it is in the paper.

    Where the paper skews the image into a map of H x (2 W - 1), here the pixels are put in the order of their
    diagonals, so that nothing is computed for the map's corners.

    Args:
        inputs: maps I.
        channels: maps N.
        groups: image channels among which maps are shared out.
        conditions: K numbers that are given beside the maps.
    """

    whole_rows: ClassVar = True

    def __init__(self, inputs: int, channels: int, groups: int, conditions: int = 0):
        super().__init__()
        self.inputs, self.channels = inputs, channels
        self.read = MaskedLinear(channel_mask(inputs, channels, groups).repeat(8, 1))
        open_forget_gates(self.read.bias, channels)
        self.told = nn.Linear(conditions, 8 * channels, bias=False) if conditions else None
        bound = 1 / math.sqrt(2 * channels)
        self.recur = nn.Parameter(torch.empty(2, 2 * channels, 4 * channels).uniform_(-bound, bound))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        H, W = x.shape[:2]
        gates = self.read(x)
        if self.told is not None:
            gates = gates + self.told(c)
        ahead, back = gates.chunk(2, -1)
        both = torch.stack([ahead, back.flip(1)]).flatten(1, 2)  # (2, H W, B, 4 N)
        order, sizes = diagonals(H, W)
        order = order.to(x.device)
        h = self.recurrence(both[:, order].split(sizes, 1), H, W)
        ahead, back = h[:, order.argsort()].unflatten(1, (H, W))
        return ahead + F.pad(back.flip(1), (0, 0, 0, 0, 0, 0, 1, 0))[:-1]

    def recurrence(self, gates: tuple[Tensor, ...], H: int, W: int) -> Tensor:
        """What the input says to each diagonal, (2, n, B, 4 N), to states h, (2, H W, B, N) in the same order."""
        B, N = gates[0].shape[2], self.channels
        h = cell = gates[0].new_zeros(2, 0, B, N)
        made, before = [], 0  # the first row of the diagonal before
        for t, said in enumerate(gates):
            first, n = max(0, t - W + 1), said.shape[1]
            # a row of zeros at each end: the neighbours of the first column and of the first row
            h, cell = F.pad(h, (0, 0, 0, 0, 1, 1)), F.pad(cell, (0, 0, 0, 0, 1, 1))
            above = first - before
            near = torch.cat([h[:, above + 1 : above + 1 + n], h[:, above : above + n]], -1)
            summed = torch.baddbmm(said.flatten(1, 2), near.flatten(1, 2), self.recur)
            h, cell = lstm_unit(summed.view_as(said), cell[:, above + 1 : above + 1 + n])
            made.append(h)
            before = first
        return torch.cat(made, 1)

    def begin(self, count: int, height: int, width: int, c: Tensor | None) -> State:
        zeros, N = self.recur.new_zeros, self.channels
        weight, bias = self.read.masked_weight().chunk(2), self.read.bias.chunk(2)
        return State(
            zeros(height, width, count, self.inputs),
            zeros(2, height + 1, width + 1, count, N),
            zeros(2, height, width + 1, count, N),
            None if self.told is None else self.told(c),
            [partial(F.linear, weight=w, bias=b) for w, b in zip(weight, bias, strict=True)],
        )

    def step(self, x: Tensor, rows: Tensor, columns: Tensor, state: State) -> Tensor:
        """One pixel, from the left; from the right the row above is there."""
        i, j, N = int(rows[0]), int(columns[0]), self.channels
        state.inputs[i, j] = x[0]
        said = context_at(state.said, rows, columns)
        gates = state.read[0](x[0]) + (said if isinstance(said, float) else said.view(len(x[0]), -1)[:, : 4 * N])
        ahead, cells = state.hidden[0], state.cells[0, i]
        near = torch.cat([ahead[i + 1, j], ahead[i, j + 1]], -1)
        ahead[i + 1, j + 1], cells[j + 1] = lstm_unit(torch.addmm(gates, near, self.recur[0]), cells[j])
        return (ahead[i + 1, j + 1] + state.hidden[1, i, -1 - j])[None]

    def close(self, row: int, state: State) -> None:
        """The recurrence from the right, over the row."""
        back, cells, N = state.hidden[1], state.cells[1, row], self.channels
        gates = state.read[1](state.inputs[row].flip(0))
        if state.said is not None:
            said = state.said[..., 4 * N :]
            gates = gates + (said if said.dim() == 2 else said[row].flip(0))
        beside, above = self.recur[1].split(N)
        gates = gates + back[row, 1:] @ above
        for j, said in enumerate(gates):
            back[row + 1, j + 1], cells[j + 1] = lstm_unit(torch.addmm(said, back[row + 1, j], beside), cells[j])


def diagonals(H: int, W: int) -> tuple[Tensor, list[int]]:
    """Pixels in the order of their diagonals, and within one of their rows, (H W,); and the lengths of diagonals."""
    place = torch.arange(H * W)
    sums = place // W + place % W
    return sums.argsort(stable=True), sums.bincount().tolist()


def diagonal_bilstm(
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
    """An ``AutoRegressive`` model by a ``PixelRNN`` of ``DiagonalBiLSTM`` layers; see there for the arguments.

    Raises:
        ConfigError: the data are no images.
    """
    check_images(spec, "whose rows it goes through")

    def net(layout: Layout) -> nn.Module:
        return PixelRNN(layout, DiagonalBiLSTM, channels, layers, kernel, head, dropout)

    return AutoRegressive(spec, net, likelihood, order, conditional)
