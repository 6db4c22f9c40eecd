"""Multi-scale PixelRNN: a small image first, every k-th pixel of the rows and columns, then the others, given it.

van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv 1601.06759, section 3.6 and figure 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Draw, Layout
from genlab.models.autoregressive.checks import check_images
from genlab.models.autoregressive.diagonal_bilstm import DiagonalBiLSTM
from genlab.models.autoregressive.pixel_rnn import PixelRNN
from genlab.models.autoregressive.row_lstm import RowLSTM
from genlab.spec import Spec

RECURRENCES: dict[str, type[RowLSTM] | type[DiagonalBiLSTM]] = {"row": RowLSTM, "diagonal": DiagonalBiLSTM}


class Upsample(nn.Module):
    """The small image, (B, C, h, w), and conditions (B, K), to M numbers for each pixel of the large, (H, W, B, M).

    3 x 3, then a transposed convolution whose kernel is as long as its stride k, then 3 x 3 again: the pixels of the
    small image are all known by then, so nothing is masked.

    Args:
        layout: of the large images.
        maps: M.
        stride: k.
    """

    def __init__(self, layout: Layout, maps: int, stride: int):
        super().__init__()
        self.shape = layout.shape[1:]
        self.read = nn.Conv2d(layout.shape[0], maps, 3, padding=1)
        self.told = nn.Linear(layout.conditions, maps, bias=False) if layout.conditions else None
        self.enlarge = nn.ConvTranspose2d(maps, maps, stride, stride)
        self.write = nn.Conv2d(maps, maps, 3, padding=1)

    def forward(self, small: Tensor, c: Tensor | None) -> Tensor:
        h = self.read(small)
        if self.told is not None:
            h = h + self.told(c)[:, :, None, None]
        h = self.enlarge(h.relu())[:, :, : self.shape[0], : self.shape[1]]
        return self.write(h.relu()).permute(2, 3, 0, 1)


class MultiScale(nn.Module):
    """log P(x) = log P(s) + sum over the pixels i that are not in s of log P(x_i | x_<i, s),   s = x[::k, ::k].

    Exact by the chain rule, in the order: the pixels of s row by row, then all others row by row. Both nets are
    PixelRNNs; the second goes through all pixels, its parameters of those in s are not used, and s, enlarged, is added
    to the gates of every layer. Deviations: one enlargement, of three convolutions (the paper says "a series of"); the
    second net is told s everywhere, and the likelihood does not count s again.

    Args:
        layout: of images and parameters.
        recurrence: row or diagonal.
        channels, layers, kernel, head, dropout: of the second net, see ``PixelRNN``.
        small_layers: layers of the first net, its other sizes being the same.
        stride: k.
        maps: M of the enlarged image.
    """

    first: Tensor
    sequence: Tensor

    def __init__(
        self,
        layout: Layout,
        recurrence: Literal["row", "diagonal"],
        channels: int,
        layers: int,
        small_layers: int,
        kernel: int,
        head: int,
        dropout: float,
        stride: int,
        maps: int,
    ):
        super().__init__()
        if recurrence not in RECURRENCES:
            raise ConfigError("model.recurrence", recurrence, "no such layer; there are row, diagonal", "row")
        if stride < 2:
            raise ConfigError("model.stride", stride, "must be at least 2, or the small image is all of it")
        self.layout, self.stride = layout, stride
        C, H, W = layout.shape
        layer = RECURRENCES[recurrence]
        shape = (C, -(-H // stride), -(-W // stride))
        self.small = PixelRNN(layout._replace(shape=shape), layer, channels, small_layers, kernel, head, dropout)
        self.enlarge = Upsample(layout, maps, stride)
        self.large = PixelRNN(layout._replace(conditions=maps), layer, channels, layers, kernel, head, dropout)
        first = torch.zeros(H, W, dtype=torch.bool)
        first[::stride, ::stride] = True
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("sequence", (~first).flatten().long().argsort(stable=True), persistent=False)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        k = self.stride
        small = x[:, :, ::k, ::k]
        params = self.large(x, self.enlarge(small, c))
        first = self.small(small, c)
        every = first.repeat_interleave(k, 2).repeat_interleave(k, 3)[:, :, : x.shape[2], : x.shape[3]]
        return torch.where(self.first, every, params)

    def generate(self, draw: Draw, count: int, c: Tensor | None = None) -> None:
        """The small image, then the large, in which what the first has drawn is looked up."""
        C, G, k = self.layout.shape[0], self.layout.groups, self.stride
        _, H, W = self.small.layout.shape
        drawn = self.large.first.weight.new_zeros(H, W, G, count, C // G)

        def draw_small(params: Tensor, rows: Tensor, columns: Tensor, group: int) -> Tensor:
            x = draw(params, rows * k, columns * k, group)
            drawn[rows, columns, group] = x
            return x

        def draw_large(params: Tensor, rows: Tensor, columns: Tensor, group: int) -> Tensor:
            known = self.first[rows, columns]
            x = drawn[rows // k, columns // k, group]
            if not known.all():
                x[~known] = draw(params[~known], rows[~known], columns[~known], group)
            return x

        self.small.generate(draw_small, count, c)
        small = drawn.permute(3, 2, 4, 0, 1).flatten(1, 2)  # (B, C, h, w)
        self.large.generate(draw_large, count, self.enlarge(small, c))


def multiscale_pixel_rnn(
    spec: Spec,
    recurrence: Literal["row", "diagonal"] = "row",
    channels: int = 128,
    layers: int = 12,
    small_layers: int = 12,
    kernel: int = 7,
    head: int = 1024,
    dropout: float = 0.0,
    stride: int = 4,
    maps: int = 64,
    likelihood: str | Callable[..., Likelihood] | None = None,
    order: str = "raster",
    conditional: bool = False,
) -> AutoRegressive:
    """An ``AutoRegressive`` model by a ``MultiScale`` net; see there for the arguments.

    Args:
        order: in which each of the two nets goes through its pixels.

    Raises:
        ConfigError: the data are no images.
    """
    check_images(spec, "of which it makes smaller ones")

    def net(layout: Layout) -> nn.Module:
        return MultiScale(layout, recurrence, channels, layers, small_layers, kernel, head, dropout, stride, maps)

    return AutoRegressive(spec, net, likelihood, order, conditional)
