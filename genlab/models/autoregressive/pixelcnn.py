"""PixelCNN: an image as a sequence of its values, each conditioned on those before by masked convolutions.

van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv 1601.06759, section 3.5 and table 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Draw, Layout
from genlab.models.autoregressive.checks import check_kernels, check_maps
from genlab.models.autoregressive.wavefront import Convolve, Wavefront
from genlab.nn.masked import MaskedConv2d, channel_groups
from genlab.spec import Spec


class Block(nn.Module):
    """h + W_3(relu(W_2(relu(W_1(relu(h)))))), of 1 x 1, 3 x 3, 1 x 1 masked convolutions, 2h -> h -> h -> 2h maps.

    (Figure 5, left.)
    """

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.reduce = MaskedConv2d(2 * channels, channels, 1, "B", groups)
        self.middle = MaskedConv2d(channels, channels, 3, "B", groups)
        self.expand = MaskedConv2d(channels, 2 * channels, 1, "B", groups)

    def forward(self, h: Tensor, convolve: Convolve) -> Tensor:
        y = convolve(self.reduce, F.relu(h))
        y = convolve(self.middle, F.relu(y))
        return h + convolve(self.expand, F.relu(y))


class PixelCNN(nn.Module):
    """A masked k x k convolution of kind A, residual blocks, then two 1 x 1 convolutions.

    Every layer keeps the order red, green, blue within a pixel. No batch norm: its statistics would let a pixel see
    later ones. Conditions, of which the paper has none, are added to what the first layer makes.

    Deviations: dropout (the paper has none), weights drawn with the fan-in that the mask leaves.

    Args:
        layout: of images and parameters.
        channels: maps h inside a block; 2h run between blocks.
        blocks: residual blocks.
        kernel: edge length of the first convolution.
        head: maps between the two last convolutions.
        dropout: probability with which a map's value in the head is dropped in training.
    """

    def __init__(
        self,
        layout: Layout,
        channels: int = 128,
        blocks: int = 15,
        kernel: int = 7,
        head: int = 1024,
        dropout: float = 0.0,
    ):
        super().__init__()
        groups = layout.groups
        check_kernels(kernel=kernel)
        check_maps(groups, channels=channels, head=head)
        self.layout = layout
        self.first = MaskedConv2d(layout.shape[0], 2 * channels, kernel, "A", groups)
        self.condition = nn.Linear(layout.conditions, 2 * channels, bias=False) if layout.conditions else None
        self.blocks = nn.ModuleList(Block(channels, groups) for _ in range(blocks))
        self.widen = MaskedConv2d(2 * channels, head, 1, "B", groups)
        self.dropout = nn.Dropout(dropout)
        self.output = MaskedConv2d(head, groups * layout.parameters, 1, "B", groups)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        shift = None if self.condition is None else self.condition(c)[:, :, None, None]
        return self.layers(x, shift)

    def layers(self, x: Tensor, shift: Tensor | None, convolve: Convolve = MaskedConv2d.__call__) -> Tensor:
        """Scaled images (B, C, H, W) to raw parameters (B, G Q, H, W), part by part; ``shift`` is that of conditions.

        ``convolve`` applies a layer; sampling hands in one that works on a part of the pixels and maps.
        """
        h = convolve(self.first, x)
        if shift is not None:
            h = h + shift
        for block in self.blocks:
            h = block(h, convolve)
        h = convolve(self.widen, F.relu(h))
        return convolve(self.output, self.dropout(F.relu(h)))

    def generate(self, draw: Draw, count: int, c: Tensor | None = None) -> None:
        """A diagonal of pixels at a time, by a ``Wavefront``."""
        _, height, width = self.layout.shape
        wavefront = Wavefront([m for m in self.modules() if isinstance(m, MaskedConv2d)], count, height, width)
        shifts = None if self.condition is None else self.condition(c)
        parts = channel_groups(self.first.outputs, self.layout.groups)
        for t in range(wavefront.waves):
            rows, columns = wavefront.open(t)
            if not len(rows):
                continue
            known = self.first.weight.new_zeros(len(rows) * count, 0)
            for group in range(self.layout.groups):
                shift = None if shifts is None else shifts[:, parts == group].repeat(len(rows), 1)
                params = self.layers(known, shift, wavefront.convolve).unflatten(0, (len(rows), count))
                known = torch.cat([known, draw(params, rows, columns, group).flatten(0, 1)], dim=1)
            wavefront.close(known)


def pixelcnn(
    spec: Spec,
    channels: int = 128,
    blocks: int = 15,
    kernel: int = 7,
    head: int = 1024,
    dropout: float = 0.0,
    likelihood: str | Callable[..., Likelihood] | None = None,
    order: str = "raster",
    conditional: bool = False,
) -> AutoRegressive:
    """An ``AutoRegressive`` model by a ``PixelCNN``; see there for the arguments."""
    net = partial(PixelCNN, channels=channels, blocks=blocks, kernel=kernel, head=head, dropout=dropout)
    return AutoRegressive(spec, net, likelihood, order, conditional)
