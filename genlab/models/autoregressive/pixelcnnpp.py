"""PixelCNN++: whole pixels one after the other, at several scales, under a mixture of discretised logistics.

Salimans et al. 2017, PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other
Modifications, arXiv 1701.05517; the net is that of the code its authors released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Draw, Layout
from genlab.models.autoregressive.checks import check_images
from genlab.models.autoregressive.two_streams import Convolve, Pixels, Rows, concat_elu
from genlab.nn.shifted import ShiftedConv2d
from genlab.spec import Spec


def whole(layer: ShiftedConv2d, x: Tensor | None) -> Tensor:
    """A layer on whole images."""
    return layer(x)


def adapted(layer: ShiftedConv2d, x: Tensor | None) -> Tensor:
    """A layer on whole images, initialised by them."""
    assert x is not None
    return layer.adapt(x)


class Block(nn.Module):
    """x + a sigma(b),   (a, b) = W_2 dropout(celu(W_1 celu(x) + W_3 celu(beside))) + V c,   celu(x) = elu(x, -x)

    Args:
        filters: maps of x.
        beside: maps of what joins in from the other stream or from the way down, 0 for nothing.
        kernel: of W_1 and W_2; W_3 is 1 x 1.
        right: columns to the right that they see.
        conditions: K numbers c, 0 for none.
        dropout: probability with which a map's value is dropped in training.
    """

    def __init__(self, filters: int, beside: int, kernel: tuple[int, int], right: int, conditions: int, dropout: float):
        super().__init__()
        self.first = ShiftedConv2d(2 * filters, filters, kernel, right)
        self.link = ShiftedConv2d(2 * beside, filters) if beside else None
        self.dropout = nn.Dropout(dropout)
        self.second = ShiftedConv2d(2 * filters, 2 * filters, kernel, right, gain=0.1)
        self.tell = nn.Linear(conditions, 2 * filters, bias=False) if conditions else None

    def forward(self, x: Tensor, beside: list[Tensor], c: Tensor | None, convolve: Convolve) -> Tensor:
        y: Any = convolve(self.first, concat_elu(x))
        if self.link is not None and beside:
            y = y + convolve(self.link, torch.cat([concat_elu(part) for part in beside], 1))
        y = convolve(self.second, self.dropout(concat_elu(y)))
        if self.tell is not None and c is not None:
            y = y + self.tell(c)[:, :, None, None]
        a, b = y.chunk(2, dim=1)
        return x + a * b.sigmoid()


class Stream(nn.Module):
    """Blocks on the way down the scales and up again, the latter beside what the former made.

    Args:
        filters: maps.
        blocks: on the way down, of each scale; on the way up one more but at the coarsest.
        scales: their number, each of half the size of the one before.
        kernel: of the blocks' convolutions, and of those between scales.
        right: columns to the right that they see.
        beside: maps from another stream that join in at each block.
        conditions: K numbers, 0 for none.
        dropout: of the blocks.
    """

    def __init__(
        self,
        filters: int,
        blocks: int,
        scales: int,
        kernel: tuple[int, int],
        right: int,
        beside: int,
        conditions: int,
        dropout: float,
    ):
        super().__init__()
        make = partial(Block, filters, kernel=kernel, right=right, conditions=conditions, dropout=dropout)
        between = partial(ShiftedConv2d, filters, filters, kernel, right, 2)
        last = scales - 1
        self.down = nn.ModuleList(nn.ModuleList(make(beside) for _ in range(blocks)) for _ in range(scales))
        self.shrink = nn.ModuleList(between() for _ in range(last))
        self.grow = nn.ModuleList(between(transposed=True) for _ in range(last))
        self.up = nn.ModuleList(
            nn.ModuleList(make(beside + filters) for _ in range(blocks + (scale < last))) for scale in range(scales)
        )

    def forward(
        self, x: Tensor, beside: Mapping[Block, Tensor], c: Tensor | None, convolve: Convolve
    ) -> tuple[Tensor, dict[Block, Tensor]]:
        """What the last block makes, and what each does.

        Args:
            x: maps.
            beside: by block, what joins in from another stream; of some, or of none.
            c: conditions.
            convolve: applies a layer; where that does not answer, the coarser scales have nothing to do.
        """
        made: dict[Any, Tensor] = {}

        def go(scale: int, x: Any) -> Tensor:
            ways: Any = (self.down[scale], self.up[scale])
            skips = [x]
            for block in ways[0]:
                x = made[block] = block(x, [beside[block]] if block in beside else [], c, convolve)
                skips.append(x)
            if scale < len(self.grow):
                coarse = convolve(self.shrink[scale], x)  # type: ignore[arg-type]
                x = convolve(self.grow[scale], None if coarse is None else go(scale + 1, coarse))  # type: ignore[arg-type]
            else:
                skips.pop()
            for block in ways[1]:
                joining = [beside[block]] if block in beside else []
                x = made[block] = block(x, [*joining, skips.pop()], c, convolve)
            return x

        return go(0, x), made

    def blocks(self) -> Iterator[tuple[Any, int]]:
        """All blocks and their scales."""
        ways: Any = (self.down, self.up)
        for way in ways:
            for scale, members in enumerate(way):
                for block in members:
                    yield block, scale

    def layers(self) -> dict[ShiftedConv2d, int]:
        """All convolutions and their scales: that of what they read, or of what they make where that is finer."""
        found = {layer: scale for block, scale in self.blocks() for layer in (block.first, block.second)}
        found |= {block.link: scale for block, scale in self.blocks() if block.link is not None}
        between: Any = (self.shrink, self.grow)
        return found | {layer: scale for kind in between for scale, layer in enumerate(kind)}


class PixelCNNpp(nn.Module):
    """Two streams: u sees the rows above, ul besides them its row up to the pixel and, at each block, u.

    Convolutions of u are 2 x 3, shifted down; those of ul 2 x 2, shifted down and to the right. A further input of ones
    tells where the image ends. All are weight-normalised, and initialised by the first batch that a training step hands
    in: from then on ``initialised`` is 1, in checkpoints too.

    Deviations: an image that cannot be halved so often is padded on the right and below, where there are no ones;
    shifts are of what the first layers read, so that their biases are in the first row too; a map that is constant over
    the first batch keeps its scale; the statistics of several ranks are those of their batches together.

    Args:
        layout: of images and parameters; of whole pixels, one part each.
        filters: maps of each stream.
        blocks: of each scale and stream on the way down.
        scales: their number.
        dropout: probability with which a value inside a block is dropped in training.
    """

    initialised: Tensor

    def __init__(self, layout: Layout, filters: int = 160, blocks: int = 5, scales: int = 3, dropout: float = 0.5):
        super().__init__()
        for key, number in (("filters", filters), ("blocks", blocks), ("scales", scales)):
            if number < 1:
                raise ConfigError(f"model.{key}", number, "at least 1")
        self.layout, self.cell = layout, 1 << (scales - 1)
        inputs, conditions = layout.shape[0] + 1, layout.conditions
        self.first_u = ShiftedConv2d(inputs, filters, (2, 3), right=1)
        self.first_above = ShiftedConv2d(inputs, filters, (1, 3), right=1)
        self.first_left = ShiftedConv2d(inputs, filters, (2, 1))
        self.u = Stream(filters, blocks, scales, (2, 3), 1, 0, conditions, dropout)
        self.ul = Stream(filters, blocks, scales, (2, 2), 0, filters, conditions, dropout)
        self.output = ShiftedConv2d(filters, layout.parameters)
        self.register_buffer("initialised", torch.zeros((), dtype=torch.uint8))
        self.fresh = True  # not looked at yet in this process: a step asks no device for a number

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        if self.training and self.fresh:
            if not bool(self.initialised):
                self.layers(x, c, adapted)
                self.initialised.fill_(1)
            self.fresh = False
        return self.layers(x, c, whole)

    def layers(self, x: Tensor, c: Tensor | None, convolve: Convolve) -> Tensor:
        """Scaled images (B, C, H, W) to parameters (B, Q, H, W)."""
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % self.cell, 0, -height % self.cell))
        inside = torch.zeros_like(x[:, :1])
        inside[:, :, :height, :width] = 1
        x = torch.cat([x, inside], 1)
        above, left = F.pad(x, (0, 0, 1, -1)), F.pad(x, (1, -1))
        u: Any = convolve(self.first_u, above)
        ul: Any = convolve(self.first_above, above)
        _, beside = self.u(u, {}, c, convolve)
        ul, _ = self.ul(ul + convolve(self.first_left, left), self.paired(beside), c, convolve)
        y: Any = convolve(self.output, F.elu(ul))
        return y[:, :, :height, :width]

    def paired(self, made: Mapping[Block, Tensor]) -> dict[Block, Tensor]:
        """What u's blocks made, by the block of ul that it joins."""
        pairs = zip(self.u.blocks(), self.ul.blocks(), strict=True)
        return {mine: made[theirs] for (theirs, _), (mine, _) in pairs if theirs in made}

    def generate(self, draw: Draw, count: int, c: Tensor | None = None) -> None:
        """u row by row, ul pixel by pixel along a row, both from cached activations."""
        channels, height, width = self.layout.shape
        padded = width + -width % self.cell
        rows = Rows({self.first_u: 0, self.first_above: 0} | self.u.layers(), count, padded)
        way_up: Any = self.ul.up
        known = {block.link: block.link.inputs // 2 for scale in way_up for block in scale}
        layers = {self.first_left: 0, self.output: 0} | self.ul.layers()
        pixels = Pixels(layers, count, padded, known)
        told = {b.second: b.tell(c)[:, :, None, None] for b, _ in self.ul.blocks() if b.tell is not None}
        image = self.output.bias.new_zeros(count, channels + 1, 1, padded)
        for i in range(height):
            rows.begin(i)
            first: Any = rows.convolve(self.first_u, image)
            _, made = self.u(first, {}, c, rows.convolve)
            extra: dict[Any, Any] = {self.first_left: rows.convolve(self.first_above, image)} | told
            for block, row in self.paired(made).items():
                extra[block.first] = of_row(block, row)
            pixels.begin(i, extra)
            image = torch.zeros_like(image)
            before = image.new_zeros(count, channels + 1)
            for j in range(width):
                pixels.column = j
                ul, _ = self.ul(pixels.convolve(self.first_left, before), {}, None, pixels.convolve)
                params: Any = pixels.convolve(self.output, F.elu(ul))
                value = draw(params[None], torch.tensor([i]), torch.tensor([j]), 0)[0]
                before = torch.cat([value, torch.ones_like(value[:, :1])], 1)
                image[:, :, 0, j] = before


def of_row(block: Any, row: Tensor) -> Tensor:
    """What a row of u says to a block of ul, with the bias of the link, (B, filters, 1, W)."""
    read = concat_elu(row)
    return F.conv2d(read, block.link.weight()[:, : read.shape[1]], block.link.bias)


def pixelcnnpp(
    spec: Spec,
    filters: int = 160,
    blocks: int = 5,
    scales: int = 3,
    dropout: float = 0.5,
    likelihood: str | Callable[..., Likelihood] | None = None,
    order: str = "raster",
    conditional: bool = False,
) -> AutoRegressive:
    """An ``AutoRegressive`` model by a ``PixelCNNpp``; see there for the arguments.

    By default the output distribution is a mixture of ten logistics for grey pixels, of ten with coupled channels for
    colour, and Bernoulli for binary grey ones.

    Raises:
        ConfigError: the data are no images, or channels of colour would have distributions of their own.
    """
    check_images(spec, "which it halves")
    if likelihood is None:
        grey = "bernoulli" if spec.levels == 2 else "logistic_mixture"
        likelihood = "coupled_logistic_mixture" if spec.shape[0] > 1 else grey
    net = partial(PixelCNNpp, filters=filters, blocks=blocks, scales=scales, dropout=dropout)
    model = AutoRegressive(spec, net, likelihood, order, conditional)
    if model.layout.groups > 1:
        reason = "this net makes a colour pixel as a whole, and takes an output distribution of whole pixels"
        raise ConfigError("model.likelihood", likelihood, reason, "coupled_logistic_mixture")
    return model
