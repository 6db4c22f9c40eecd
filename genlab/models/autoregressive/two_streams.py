"""Exact sampling of a ``PixelCNNpp``: one stream a row at a time, the other a pixel at a time, with activations cached.

Both go through the same layers as whole images do, by another way to apply a convolution: one that takes a row, or a
pixel, remembers it, and answers where all that the convolution reads has come. A coarser scale is computed where the
last row and column of its cell begins, and its answer is kept for the cell's other pixels. So every activation is
computed once, and the whole costs about one forward pass. (Ramachandran et al. 2017, arXiv 1704.06001)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.nn.shifted import ShiftedConv2d

Convolve = Callable[[ShiftedConv2d, Tensor | None], Tensor | None]
"""How a net applies its layers: on whole images, on one row, on one pixel. Without an answer nothing is due yet."""


def concat_elu(x: Tensor) -> Tensor:
    """elu(x) and elu(-x), one after the other: twice the maps."""
    return F.elu(torch.cat([x, -x], 1))


class Rows:
    """A stream of rows, (B, I, 1, W) each, of the scale that a layer reads.

    Args:
        scales: of the layers, 0 the finest; of a layer that enlarges, the scale of what it makes.
        count: number B of images.
        width: of a row of the finest scale.
    """

    def __init__(self, scales: Mapping[ShiftedConv2d, int], count: int, width: int):
        self.scales, self.row = scales, -1
        self.weights = {layer: layer.weight() for layer in scales}
        self.last = {
            layer: self.weights[layer].new_zeros(count, layer.inputs, 1, width >> scale)
            for layer, scale in scales.items()
            if layer.top or layer.transposed
        }

    def begin(self, row: int) -> None:
        self.row = row

    def convolve(self, layer: ShiftedConv2d, x: Tensor | None) -> Tensor | None:
        weight, odd = self.weights[layer], self.row >> self.scales[layer] & 1
        if layer.transposed:
            if x is not None:
                self.last[layer] = x
            low = self.last[layer]
            y = F.conv_transpose2d(low, weight[:, :, odd : odd + 1], layer.bias, (1, layer.stride))
            return y[..., layer.right : layer.right + layer.stride * low.shape[3]]
        assert x is not None
        if layer.top:
            x, self.last[layer] = torch.cat([self.last[layer], x], 2), x
            if layer.stride > 1 and odd:
                return None
        return F.conv2d(F.pad(x, (layer.left, layer.right)), weight, layer.bias, layer.stride)


class Pixels:
    """A stream of pixels, (B, I) each, row by row, of the scale that a layer reads.

    What a row contributes to the next is one product, computed when that begins; what is known of a row beside it, such
    as what the stream of rows says, is added to it then.

    Args:
        scales: of the layers, 0 the finest; of a layer that enlarges, the scale of what it makes.
        count: number B of images.
        width: of a row of the finest scale.
        known: of 1 x 1 layers, how many inputs are known before the row begins; a pixel brings the others alone.
    """

    def __init__(self, scales: Mapping[ShiftedConv2d, int], count: int, width: int, known: Mapping[ShiftedConv2d, int]):
        self.scales, self.row, self.column = scales, -1, -1
        self.seen: dict[ShiftedConv2d, Tensor] = {}  # (B, left + W, I): the row, with padding on its left
        self.kept: dict[ShiftedConv2d, Tensor] = {}  # (W, B, I): the coarser row that a layer enlarges
        self.past: dict[ShiftedConv2d, Tensor] = {}  # (width I, O), of the row above
        self.own: dict[ShiftedConv2d, Tensor] = {}  # (width I, O), of the pixel's own row
        self.cells: dict[ShiftedConv2d, list[list[Tensor]]] = {}
        self.context: dict[ShiftedConv2d, Tensor] = {}  # (W, B, O)
        for layer, scale in scales.items():
            weight, columns = layer.weight(), width >> scale
            if layer.transposed:
                self.cells[layer] = [[weight[:, :, a, b].contiguous() for b in range(2)] for a in range(2)]
                self.kept[layer] = weight.new_zeros(-(-columns // layer.stride), count, layer.inputs)
            else:
                own = weight[:, known.get(layer, 0) :, layer.top].permute(2, 1, 0)
                self.own[layer] = own.flatten(0, 1).contiguous()
            if layer.top and not layer.transposed:
                self.past[layer] = weight[:, :, 0].permute(2, 1, 0).flatten(0, 1).contiguous()
                self.seen[layer] = weight.new_zeros(count, layer.left + columns, layer.inputs)

    def begin(self, row: int, extra: Mapping[ShiftedConv2d, Tensor]) -> None:
        """Begin a row at all scales that have one there; ``extra``, (B, O, 1, W) or (B, O, 1, 1), joins the biases."""
        self.row = row
        for layer, past in self.past.items():
            scale = self.scales[layer]
            if row % (1 << scale):
                continue
            seen = self.seen[layer]
            if not (layer.stride > 1 and row >> scale & 1):
                windows = seen.unfold(1, layer.kernel[1], layer.stride).transpose(2, 3).flatten(2)  # (B, W, width I)
                context = windows @ past + layer.bias
                if layer in extra:
                    context = context + extra[layer][:, :, 0].transpose(1, 2)
                self.context[layer] = context.transpose(0, 1).contiguous()
            self.seen[layer] = torch.zeros_like(seen)

    def convolve(self, layer: ShiftedConv2d, x: Tensor | None) -> Tensor | None:
        scale = self.scales[layer]
        row, column = self.row >> scale, self.column >> scale
        if layer.transposed:
            if x is not None:
                self.kept[layer][column >> 1] = x
            return torch.addmm(layer.bias, self.kept[layer][column >> 1], self.cells[layer][row & 1][column & 1])
        assert x is not None
        if not layer.top:
            return x @ self.own[layer] if x.shape[1] < layer.inputs else torch.addmm(layer.bias, x, self.own[layer])
        seen, width = self.seen[layer], layer.kernel[1]
        seen[:, layer.left + column] = x
        if layer.stride > 1 and (row | column) & 1:
            return None
        near = seen[:, column : column + width].flatten(1) if width > 1 else x
        return torch.addmm(self.context[layer][column // layer.stride], near, self.own[layer])
