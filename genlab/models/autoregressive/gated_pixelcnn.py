"""Gated PixelCNN: two stacks of convolutions that together see all that comes before a pixel, with gates for units.

van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, arXiv 1606.05328.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Draw, Layout
from genlab.models.autoregressive.checks import check_images, check_kernels, check_maps
from genlab.nn.masked import MaskedConv2d
from genlab.nn.masked_row import RowConv2d
from genlab.spec import Spec

GATED_POWER = 0.1156
"""E[(tanh(a) sigma(b))^2] for standard normal a and b."""


class Layer(nn.Module):
    """Of the vertical stack v and the horizontal one h, p maps each: (figure 2 and eq. 2-4)

    a = V * v                          rows i - k // 2 ... i, all columns within reach
    v' = gate(a + V_c c)
    h' = h + W_1(gate(W * h + L * a(one row above) + W_c c))      without h in the first layer

    gate(y) = tanh(y_1) sigma(y_2). v at row i has seen rows up to i whole; shifted down by one before the 1 x 1
    convolution L it tells the horizontal stack of the rows above, which itself sees its row up to the pixel. Nothing
    goes from h to v.

    Args:
        inputs: channels of the image in the first layer, else p.
        maps: p.
        kernel: odd edge length k.
        groups: image channels, whose order the horizontal stack keeps; the vertical one sees rows that are complete.
        conditions: K numbers c, 0 for none.
        first: whether it reads the image.
        last: whether no layer reads its v.
    """

    def __init__(self, inputs: int, maps: int, kernel: int, groups: int, conditions: int, first: bool, last: bool):
        super().__init__()
        self.reach, self.first = kernel // 2, first
        self.vertical = nn.Conv2d(inputs, 2 * maps, (self.reach + 1, kernel))
        nn.init.normal_(
            self.vertical.weight, std=(self.vertical.weight[0].numel() * GATED_POWER ** (not first)) ** -0.5
        )
        self.link = nn.Conv2d(2 * maps, 2 * maps, 1, bias=False)
        self.horizontal = RowConv2d(inputs, maps, kernel, "A" if first else "B", groups)
        self.out = MaskedConv2d(maps, maps, 1, "B", groups)
        self.tell_vertical = nn.Linear(conditions, 2 * maps, bias=False) if conditions and not last else None
        self.tell_horizontal = nn.Linear(conditions, 2 * maps, bias=False) if conditions else None

    def forward(self, v: Tensor, h: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, inputs, H, W) each to (B, p, H, W) each."""
        a = self.look(F.pad(v, (0, 0, self.reach, 0)))
        above = F.pad(a, (0, 0, 1, 0))[:, :, :-1]
        y = gate(told(self.horizontal(h) + self.link(above), self.tell_horizontal, c))
        return gate(told(a, self.tell_vertical, c)), self.out(y) if self.first else h + self.out(y)

    def look(self, v: Tensor) -> Tensor:
        """a of n rows from n + k // 2 rows of v: (B, inputs, n + k // 2, W) to (B, 2 p, n, W)."""
        return self.vertical(F.pad(v, (self.reach, self.reach)))


def gate(y: Tensor) -> Tensor:
    """tanh of the first half of the maps times sigma of the second."""
    value, openness = y.chunk(2, dim=1)
    return value.tanh() * openness.sigmoid()


def told(y: Tensor, tell: nn.Linear | None, c: Tensor | None) -> Tensor:
    """Maps (B, 2 p, H, W), and what conditions add to them: (B, K) to all places alike, (B, K, H, W) to each place."""
    if tell is None or c is None:
        return y
    return y + (F.conv2d(c, tell.weight[:, :, None, None]) if c.dim() == 4 else tell(c)[:, :, None, None])


class GatedPixelCNN(nn.Module):
    """Layers of two stacks, the first k_1 x k_1 and the others k x k, then two 1 x 1 convolutions of h.

    No blind spot: the vertical stack sees above a pixel as far to the right as to the left. Every layer of the
    horizontal stack keeps the order red, green, blue within a pixel.

    Deviations: dropout (the paper has none), vertical weights drawn so that what goes into its gates starts with unit
    variance: under torch's a tenth of the signal would be left after a layer, and nothing after ten.

    Args:
        layout: of images and parameters.
        channels: maps p.
        layers: their number, the first included.
        kernel: edge length k.
        first: edge length k_1 of the first layer.
        head: maps between the two last convolutions.
        dropout: probability with which a map's value in the head is dropped in training.
    """

    def __init__(
        self,
        layout: Layout,
        channels: int = 384,
        layers: int = 20,
        kernel: int = 5,
        first: int = 7,
        head: int = 1024,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_kernels(kernel=kernel, first=first)
        if layers < 1:
            raise ConfigError("model.layers", layers, "at least the one that reads the image")
        groups = layout.groups
        check_maps(groups, channels=channels, head=head)
        self.layout = layout
        self.layers = nn.ModuleList(
            Layer(
                channels if i else layout.shape[0],
                channels,
                kernel if i else first,
                groups,
                layout.conditions,
                first=i == 0,
                last=i == layers - 1,
            )
            for i in range(layers)
        )
        self.widen = MaskedConv2d(channels, head, 1, "B", groups)
        self.dropout = nn.Dropout(dropout)
        self.output = MaskedConv2d(head, groups * layout.parameters, 1, "B", groups)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h, c)
        return self.output(self.dropout(F.relu(self.widen(F.relu(h)))))

    def generate(self, draw: Draw, count: int, c: Tensor | None = None) -> None:
        """The vertical stack row by row, the horizontal one along a row pixel by pixel, from cached activations."""
        channels, height, width = self.layout.shape
        groups, per_part = self.layout.groups, channels // self.layout.groups
        above, along = Above(self, count, c), Along(self, count)
        row = self.output.weight.new_zeros(count, channels, 1, width)
        for i in range(height):
            along.start(above.contexts())
            row = torch.zeros_like(row)
            for j in range(width):
                pixel = row[:, :, 0, j]
                along.open(j)
                for group in range(groups):
                    params = along.look(pixel)[:, group * self.layout.parameters : (group + 1) * self.layout.parameters]
                    value = draw(params[None], torch.tensor([i]), torch.tensor([j]), group)[0]
                    pixel[:, group * per_part : (group + 1) * per_part] = value
                along.close(j)
            above.take(row)


class Above:
    """What the vertical stack of a ``GatedPixelCNN`` has seen of images: the last rows that each layer reads."""

    def __init__(self, net: GatedPixelCNN, count: int, c: Tensor | None):
        self.layers: Sequence[Any] = list(net.layers)
        self.c, self.next = c, 0
        _, _, width = net.layout.shape
        empty = net.output.weight.new_zeros
        self.rows = [empty(count, layer.vertical.in_channels, layer.reach + 1, width) for layer in self.layers]
        self.last = [empty(count, layer.vertical.out_channels, 1, width) for layer in self.layers]

    def take(self, row: Tensor) -> None:
        """One more row of the image, (B, C, 1, W)."""
        for i, layer in enumerate(self.layers):
            self.rows[i] = torch.cat([self.rows[i][:, :, 1:], row], 2)
            self.last[i] = layer.look(self.rows[i])
            row = gate(told(self.last[i], layer.tell_vertical, self._here()))
        self.next += 1

    def contexts(self) -> list[Tensor]:
        """What the horizontal stack's gates are given in the next row but for what is in it, (W, B, 2 p) a layer."""
        given = []
        for layer, a in zip(self.layers, self.last, strict=True):
            y = told(layer.link(a), layer.tell_horizontal, self._here()) + layer.horizontal.bias[:, None, None]
            given.append(y[:, :, 0].permute(2, 0, 1).contiguous())
        return given

    def _here(self) -> Tensor | None:
        """The conditions of the next row."""
        return self.c if self.c is None or self.c.dim() == 2 else self.c[:, :, self.next : self.next + 1]


class Along:
    """The horizontal stack of a ``GatedPixelCNN`` on a row of images, one pixel after the other.

    All layers but the first are of one shape, so what the pixels to the left contribute to them is one product.
    """

    def __init__(self, net: GatedPixelCNN, count: int):
        layers: Sequence[Any] = list(net.layers)
        weights = [layer.horizontal.masked_weight()[:, :, 0] for layer in layers]  # (2 p, inputs, reach + 1)
        self.centres = [weight[:, :, -1].t().contiguous() for weight in weights]
        self.outs = [(layer.out.masked_weight()[:, :, 0, 0].t().contiguous(), layer.out.bias) for layer in layers]
        self.heads = [
            (head.masked_weight()[:, :, 0, 0].t().contiguous(), head.bias) for head in (net.widen, net.output)
        ]
        # (sets, inputs reach, 2 p) of layers of one shape, and what they have read of the row, padding on its left
        sets = [members for members in (weights[:1], weights[1:]) if members]
        self.reaches = [members[0].shape[2] - 1 for members in sets]
        self.pasts = [torch.stack([w[:, :, :-1].permute(2, 1, 0).flatten(0, 1) for w in members]) for members in sets]
        width = net.layout.shape[2]
        self.seen = [
            members[0].new_zeros(len(members), count, reach + width, members[0].shape[1])
            for members, reach in zip(sets, self.reaches, strict=True)
        ]

    def start(self, contexts: list[Tensor]) -> None:
        """Begin a row, given what the gates of each layer know of the rows above it."""
        first, *others = contexts
        self.given = [torch.stack(members) for members in ([first], others) if members]  # (layers, W, B, 2 p)
        for seen in self.seen:
            seen.zero_()

    def open(self, j: int) -> None:
        """Begin pixel j: what the pixels to its left contribute to each layer."""
        self.context: list[Tensor] = []
        for given, seen, past, reach in zip(self.given, self.seen, self.pasts, self.reaches, strict=True):
            self.context += torch.baddbmm(given[:, j], seen[:, :, j : j + reach].flatten(2), past).unbind(0)

    def look(self, pixel: Tensor) -> Tensor:
        """Parameters of the pixel's parts, (B, G Q), from those of its channels that are known, (B, C); right for the
        next part and all before it."""
        self.read, h = [pixel], pixel
        for i, (context, centre) in enumerate(zip(self.context, self.centres, strict=True)):
            if i:
                self.read.append(h)
            weight, bias = self.outs[i]
            y = torch.addmm(bias, gate(torch.addmm(context, h, centre)), weight)
            h = h + y if i else y
        for weight, bias in self.heads:
            h = torch.addmm(bias, F.relu(h), weight)
        return h

    def close(self, j: int) -> None:
        """End pixel j, whose channels are all known but to the first layer, which has read them in place."""
        parts = [self.read[:1], self.read[1:]]
        for seen, read, reach in zip(self.seen, parts, self.reaches, strict=False):
            seen[:, :, j + reach] = torch.stack(read)


def gated_pixelcnn(
    spec: Spec,
    channels: int = 384,
    layers: int = 20,
    kernel: int = 5,
    first: int = 7,
    head: int = 1024,
    dropout: float = 0.0,
    likelihood: str | Callable[..., Likelihood] | None = None,
    order: str = "raster",
    conditional: bool = False,
) -> AutoRegressive:
    """An ``AutoRegressive`` model by a ``GatedPixelCNN``; see there for the arguments.

    Raises:
        ConfigError: the data are no images.
    """
    check_images(spec, "whose rows its vertical stack sees")
    net = partial(
        GatedPixelCNN, channels=channels, layers=layers, kernel=kernel, first=first, head=head, dropout=dropout
    )
    return AutoRegressive(spec, net, likelihood, order, conditional)
