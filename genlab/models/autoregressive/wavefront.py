"""Exact sampling of masked convolutional nets, a diagonal of pixels at a time, with activations cached.

A pixel of a net of k x k masked convolutions depends, in every layer, on pixels at most r = k // 2 columns to the
right in the rows above it, and on pixels to its left. Pixel (i, j) therefore needs nothing of the wave

    t = (r + 1) i + j

it belongs to, nor of later ones: all pixels of a wave are computed together, (r + 1) (H - 1) + W waves instead of
H W passes (136 instead of 784 for 28 x 28 and r = 3). Each layer remembers its inputs of past waves, so that every
activation is computed once: the whole costs about one forward pass.

Caching is that of Ramachandran et al. 2017, Fast generation for convolutional autoregressive models, arXiv 1704.06001;
the skewed order is that of the Diagonal BiLSTM (van den Oord et al. 2016, arXiv 1601.06759), for a reach of r.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genlab.nn.masked import MaskedConv2d, channel_groups

Convolve = Callable[[MaskedConv2d, Tensor], Tensor]
"""How a net applies its layers: ``MaskedConv2d.__call__`` on whole images, ``Wavefront.convolve`` on one wave."""


class Bank:
    """Masked convolutions of one shape, whose views of past waves are computed in one product.

    Args:
        layers: L layers, equal in inputs I, outputs O, kernel and kind.
        cells: number of cells of a cached plane.
        width: cells of a row, padding included.
        batch: number of images.
    """

    def __init__(self, layers: Sequence[MaskedConv2d], cells: int, width: int, batch: int):
        self.layers, first = layers, layers[0]
        reach, kernel = first.reach, first.kernel
        weights = torch.stack([layer.masked_weight() for layer in layers])  # (L, O, I, reach + 1, k)
        self.biases = torch.stack([layer.bias for layer in layers])[:, None]
        self.centres = weights[:, :, :, reach, reach].transpose(1, 2)  # (L, I, O)
        taps = [(row, column) for row in range(reach + 1) for column in range(kernel if row < reach else reach)]
        self.shifts = [(row - reach) * width + column - reach for row, column in taps]
        self.context = list(self.biases)  # (1, O) for each layer, all there is of a 1 x 1 convolution's past
        if taps:
            rows, columns = zip(*taps, strict=True)
            self.past = weights[:, :, :, list(rows), list(columns)].permute(0, 3, 2, 1).flatten(1, 2)  # (L, taps I, O)
            self.cache = weights.new_zeros(len(layers), cells, batch, first.inputs)

    def look_back(self, start: int, stop: int, step: int) -> None:
        """Set ``context``, (n B, O) for each layer: what past waves contribute to the n pixels of this one."""
        seen = [self.cache[:, start + shift : stop + shift : step] for shift in self.shifts]
        self.context = list(torch.baddbmm(self.biases, torch.cat(seen, dim=-1).flatten(1, 2), self.past))

    def store(self, inputs: Sequence[Tensor], start: int, stop: int, step: int) -> None:
        """Remember the inputs of this wave, (n B, I) for each layer."""
        plane = self.cache[:, start:stop:step]
        plane.copy_(torch.stack(list(inputs)).view(plane.shape))


class Wavefront:
    """The state of a batch of half-made images: what each layer has seen so far.

    For t in ``range(waves)``: ``open(t)``; for each image channel in turn run the net with ``convolve`` on the
    channels of this wave that are known, and draw the next; then ``close`` with all of them. Within a wave the
    net computes the feature maps of one image channel at a time, from those of the channels before, (n B, maps).

    Args:
        layers: all masked convolutions of the net; those of kind A read the image.
        batch: number B of images.
        height, width: of an image.
    """

    def __init__(self, layers: Sequence[MaskedConv2d], batch: int, height: int, width: int):
        reach = max(layer.reach for layer in layers)
        self.height, self.width, self.skew = height, width, reach + 1
        self.waves = self.skew * (height - 1) + width
        # A row is followed by `reach` cells of padding, which also serve as padding on the left of the next row.
        row = width + reach
        self.origin = reach * row + reach
        self.step = row - self.skew
        shapes: dict[tuple, list[MaskedConv2d]] = {}
        for layer in layers:
            shapes.setdefault((layer.inputs, layer.outputs, layer.kernel, layer.kind), []).append(layer)
        cells = self.origin + height * row + reach
        banks = [Bank(members, cells, row, batch) for members in shapes.values()]
        self.lasting = [bank for bank in banks if bank.shifts]
        self.bank = {layer: (bank, i) for bank in banks for i, layer in enumerate(bank.layers)}
        self.blocks = {layer: self._blocks(layer) for layer in layers}
        self.known: dict[MaskedConv2d, list[Tensor]] = {layer: [] for layer in layers}

    def _blocks(self, layer: MaskedConv2d) -> list[tuple[int, int, Tensor]]:
        """For each group: its first and last output map, and the centre's weights to it from the maps it may see."""
        bank, i = self.bank[layer]
        inputs = channel_groups(layer.inputs, layer.groups).bincount().cumsum(0).tolist()
        outputs = [0, *channel_groups(layer.outputs, layer.groups).bincount().cumsum(0).tolist()]
        seen = [0, *inputs[:-1]] if layer.kind == "A" else inputs
        return [
            (start, stop, bank.centres[i, :count, start:stop].contiguous())
            for count, start, stop in zip(seen, outputs[:-1], outputs[1:], strict=True)
        ]

    def open(self, t: int) -> tuple[Tensor, Tensor]:
        """Begin wave t: rows and columns of its n pixels, (n,) each; none where the image is narrower than r + 1."""
        rows = torch.arange(max(0, -((self.width - 1 - t) // self.skew)), min(self.height - 1, t // self.skew) + 1)
        if len(rows):
            start = self.origin + t + int(rows[0]) * self.step
            step = max(1, self.step)  # a wave of an image one pixel wide is one pixel
            self.cells = (start, start + (len(rows) - 1) * step + 1, step)
            for bank in self.lasting:
                bank.look_back(*self.cells)
        return rows, t - self.skew * rows

    def convolve(self, layer: MaskedConv2d, x: Tensor) -> Tensor:
        """Outputs of the next group of maps, (n B, outputs of the group).

        ``x`` is that group's inputs; for the layer that reads the image, all known channels, (n B, channels).
        """
        bank, i = self.bank[layer]
        if layer.kind == "A":
            group = x.shape[1]
        else:
            known = self.known[layer]
            group = len(known)
            known.append(x)
            x = torch.cat(known, dim=1) if group else x
        start, stop, centre = self.blocks[layer][group]
        context = bank.context[i] if layer.groups == 1 else bank.context[i][:, start:stop]
        return torch.addmm(context, x, centre) if x.shape[1] else context

    def close(self, image: Tensor) -> None:
        """End the wave, all of whose values are now known: ``image`` (n B, channels), as the net reads it."""
        for bank in self.lasting:
            inputs = [[image] if layer.kind == "A" else self.known[layer] for layer in bank.layers]
            bank.store([torch.cat(known, dim=1) if len(known) > 1 else known[0] for known in inputs], *self.cells)
        for known in self.known.values():
            known.clear()
