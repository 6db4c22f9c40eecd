"""PixelRNN: layers of recurrence over the rows or the diagonals of an image, and what is between them.

van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv 1601.06759, sections 3.1 to 3.4, figure 5 and table 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.models.autoregressive.base import Draw, Layout
from genlab.models.autoregressive.checks import check_kernels, check_maps
from genlab.nn.masked import MaskedConv2d, channel_groups
from genlab.nn.masked_linear import MaskedLinear


class Recurrent(Protocol):
    """A layer of LSTM units over an image, one at each pixel, of which a map sees earlier pixels whole, and of its own
    pixel the channels up to its own.

    Within the net a whole image is (H, W, B, maps), so that a row, and a pixel, lie together in memory.
    """

    whole_rows: ClassVar[bool]
    """Whether a pixel depends on the row above to its last column."""

    def __call__(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """(H, W, B, I), and a context (B, K) or (H, W, B, K), to (H, W, B, N)."""
        ...

    def begin(self, count: int, height: int, width: int, c: Tensor | None) -> Any:
        """The state before the first pixel of so many images."""
        ...

    def step(self, x: Tensor, rows: Tensor, columns: Tensor, state: Any) -> Tensor:
        """n pixels, none of which depends on another, (n, B, I), to (n, B, N); it may be done again with more maps."""
        ...

    def close(self, row: int, state: Any) -> None:
        """A row, all of which is known, is over; called where ``whole_rows`` says so."""
        ...


def channel_mask(inputs: int, outputs: int, groups: int) -> Tensor:
    """1 where a map sees another of the same pixel, (outputs, inputs): it belongs to the same image channel, or to one
    before."""
    return channel_groups(inputs, groups)[None, :] <= channel_groups(outputs, groups)[:, None]


def lstm_unit(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """h = o * tanh(c'),   c' = f * c + i * g:   gates (..., 4 N) before sigmoids and tanh, as o, f, i, g, and the cell
    c, (..., N), to h and c'. (Equation 3)"""
    N = cell.shape[-1]
    o, f, i = gates[..., : 3 * N].sigmoid().split(N, -1)
    cell = torch.addcmul(f * cell, i, gates[..., 3 * N :].tanh())
    return o * cell.tanh(), cell


def open_forget_gates(bias: Tensor, channels: int) -> None:
    """Forget gates start near one."""
    with torch.no_grad():
        bias.unflatten(0, (-1, 4, channels))[:, 1] += 1


class PixelRNN(nn.Module):
    """A masked k x k convolution of kind A, layers h + W f(h) of a recurrence f, then two 1 x 1 convolutions.

    2 N maps run between layers, of which a recurrence has N. Every layer keeps the order red, green, blue within a
    pixel. Deviations: forget gates start near one; conditions are added to the gates of every layer, as the paper has
    it of the smaller image in its multi-scale net.

    Args:
        layout: of images and parameters; ``conditions`` are those of an image, or of each of its pixels.
        recurrence: makes a layer of I inputs, N maps, G groups and K conditions.
        channels: N.
        layers: how many.
        kernel: edge length of the first convolution.
        head: maps between the two last convolutions.
        dropout: probability with which a map's value in the head is dropped in training.
    """

    def __init__(
        self,
        layout: Layout,
        recurrence: Callable[[int, int, int, int], nn.Module],
        channels: int = 128,
        layers: int = 12,
        kernel: int = 7,
        head: int = 1024,
        dropout: float = 0.0,
    ):
        super().__init__()
        groups, wide = layout.groups, 2 * channels
        check_kernels(kernel=kernel)
        check_maps(groups, channels=channels, head=head)
        self.layout = layout
        self.first = MaskedConv2d(layout.shape[0], wide, kernel, "A", groups)
        self.layers: Any = nn.ModuleList(recurrence(wide, channels, groups, layout.conditions) for _ in range(layers))
        self.expand: Any = nn.ModuleList(MaskedLinear(channel_mask(channels, wide, groups)) for _ in range(layers))
        self.widen = MaskedLinear(channel_mask(wide, head, groups))
        self.dropout = nn.Dropout(dropout)
        self.output = MaskedLinear(channel_mask(head, groups * layout.parameters, groups))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Scaled images (B, C, H, W), and conditions (B, K) or (H, W, B, K), to raw parameters (B, G Q, H, W)."""
        h = self.first(x).permute(2, 3, 0, 1).contiguous()
        for layer, expand in zip(self.layers, self.expand, strict=True):
            h = h + expand(layer(h, c))
        h = F.relu(self.widen(F.relu(h)))
        return self.output(self.dropout(h)).permute(2, 3, 0, 1)

    def generate(self, draw: Draw, count: int, c: Tensor | None = None) -> None:
        """A diagonal of pixels at a time where the recurrence allows it, else pixel by pixel; each costs the same
        whatever the image's size."""
        (C, H, W), G, Q = self.layout.shape, self.layout.groups, self.layout.parameters
        whole_rows = any(layer.whole_rows for layer in self.layers)
        reach, skew = self.first.reach, W if whole_rows else self.first.reach + 1
        first, offsets = self.patches()
        image = first.new_zeros(H + reach, W + 2 * reach, count, C)
        states = [layer.begin(count, H, W, c) for layer in self.layers]
        expand = [dense(layer) for layer in self.expand]
        widen, output = dense(self.widen), dense(self.output)
        for t in range(skew * (H - 1) + W):
            rows = torch.arange(max(0, -((W - 1 - t) // skew)), min(H - 1, t // skew) + 1)
            if not len(rows):
                continue
            columns = t - skew * rows
            for group in range(G):
                patch = image[rows[:, None] + offsets[0], columns[:, None] + offsets[1]]  # (n, taps, B, C)
                h = torch.addmm(self.first.bias, patch.transpose(1, 2).flatten(2).flatten(0, 1), first)
                h = h.unflatten(0, (len(rows), count))
                for layer, state, expanded in zip(self.layers, states, expand, strict=True):
                    h = h + expanded(layer.step(h, rows, columns, state))
                params = output(F.relu(widen(F.relu(h))))[..., group * Q : (group + 1) * Q]
                part = slice(group * C // G, (group + 1) * C // G)
                image[rows + reach, columns + reach, :, part] = draw(params, rows, columns, group)
            if whole_rows and int(columns[0]) == W - 1:
                for layer, state in zip(self.layers, states, strict=True):
                    layer.close(int(rows[0]), state)

    def patches(self) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The first layer's weight, (taps C, 2 N), and the rows and columns of its taps: the centre is the last."""
        kernel, reach = self.first.kernel, self.first.reach
        taps = torch.arange(reach * kernel + reach + 1)
        weight = self.first.masked_weight().flatten(2)[:, :, : len(taps)].permute(2, 1, 0).flatten(0, 1)
        return weight.contiguous(), (taps // kernel, taps % kernel)


def dense(layer: MaskedLinear) -> Callable[[Tensor], Tensor]:
    """The layer as it is now, without its mask, which need not be applied again for every pixel."""
    return partial(F.linear, weight=layer.masked_weight(), bias=layer.bias)


def context_at(said: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor | float:
    """What a context adds to the gates of some pixels: (B, M) as it is, (H, W, B, M) to (n, B, M)."""
    if said is None:
        return 0.0
    return said if said.dim() == 2 else said[rows, columns]
