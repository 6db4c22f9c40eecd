"""PixelCNN: an image as a sequence of its values, each conditioned on those before by masked convolutions.

van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv 1601.06759, section 3.5 and table 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods import make_likelihood
from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.wavefront import Convolve, Wavefront
from genlab.nn.masked import MaskedConv2d
from genlab.noise import Noise
from genlab.spec import Spec, to_signed


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
    """log P(x) = sum over rows, columns, channels of log P(x_ijc | x before (i, j, c)), exactly.

    A masked k x k convolution of kind A, residual blocks, then two 1 x 1 convolutions; every layer keeps the order
    red, green, blue within a pixel. Levels go in scaled to [-1, 1]. Parameters of the output distribution come out,
    (B, P, C, H, W). No batch norm: its statistics would let a pixel see later ones.

    Deviations: dropout (the paper has none), weights drawn with the fan-in that the mask leaves.

    Args:
        spec: of images.
        channels: maps h inside a block; 2h run between blocks.
        blocks: residual blocks.
        kernel: edge length of the first convolution.
        head: maps between the two last convolutions.
        dropout: probability with which a map's value in the head is dropped in training.
        likelihood: output distribution, a name or a class; null is Bernoulli for two levels, categorical for more.
    """

    exact = True
    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        channels: int = 128,
        blocks: int = 15,
        kernel: int = 7,
        head: int = 1024,
        dropout: float = 0.0,
        likelihood: str | Callable[[int | None], Likelihood] | None = None,
    ):
        super().__init__()
        if spec.kind != "image":
            raise ConfigError("model", "pixelcnn", f"models images, and these data are of kind {spec.kind}")
        if kernel < 3 or kernel % 2 == 0:
            raise ConfigError("model.kernel", kernel, "must be odd and at least 3, so that it has a centre and a past")
        groups = spec.shape[0]
        for key, maps in (("channels", channels), ("head", head)):
            if maps < groups:
                raise ConfigError(f"model.{key}", maps, f"must be at least {groups}, one map for each image channel")
        if likelihood is None and spec.levels is not None:
            likelihood = "bernoulli" if spec.levels == 2 else "categorical"
        self.spec = spec
        self.likelihood = make_likelihood(likelihood, spec.levels)
        self.first = MaskedConv2d(groups, 2 * channels, kernel, "A", groups)
        self.blocks = nn.ModuleList(Block(channels, groups) for _ in range(blocks))
        self.widen = MaskedConv2d(2 * channels, head, 1, "B", groups)
        self.dropout = nn.Dropout(dropout)
        self.output = MaskedConv2d(head, groups * self.likelihood.parameters, 1, "B", groups)

    def network(self, x: Tensor, convolve: Convolve = MaskedConv2d.__call__) -> Tensor:
        """Scaled images (B, C, H, W) to raw parameters (B, C P, H, W), channel by channel.

        ``convolve`` applies a layer; sampling hands in one that works on a part of the pixels and maps.
        """
        h = convolve(self.first, x)
        for block in self.blocks:
            h = block(h, convolve)
        h = convolve(self.widen, F.relu(h))
        return convolve(self.output, self.dropout(F.relu(h)))

    def scale(self, x: Tensor) -> Tensor:
        """Data-space values as the network reads them."""
        return to_signed(x, self.spec.levels).to(self.first.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Images in data space to parameters of the distribution of each value, (B, P, C, H, W)."""
        params = self.network(self.scale(x))
        return params.unflatten(1, (self.spec.shape[0], self.likelihood.parameters)).transpose(1, 2)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.likelihood.log_prob(self(x), x)

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        channels, height, width = self.spec.shape
        u = noise.uniform(self.likelihood.draws, channels, height, width).permute(3, 4, 2, 0, 1)  # (H, W, C, B, draws)
        layers = [module for module in self.modules() if isinstance(module, MaskedConv2d)]
        wavefront = Wavefront(layers, len(noise), height, width)
        values: list[Tensor] = []
        places: list[tuple[Tensor, Tensor]] = []
        for t in range(wavefront.waves):
            rows, columns = wavefront.open(t)
            if not len(rows):
                continue
            pixels = []
            known = self.first.weight.new_zeros(len(rows) * len(noise), 0)
            for channel in range(channels):
                params = self.network(known, wavefront.convolve)[:, :, None]
                draws = u[rows, columns, channel].flatten(0, 1)[:, :, None]
                pixels.append(self.likelihood.sample(params, draws, temperature))
                known = torch.cat([known, self.scale(pixels[-1])], dim=1)
            wavefront.close(known)
            values.append(torch.cat(pixels, dim=1).unflatten(0, (len(rows), len(noise))))  # (n, B, C)
            places.append((rows, columns))
        rows, columns = (torch.cat(index) for index in zip(*places, strict=True))
        x = torch.cat(values)
        return x.new_empty(height, width, *x.shape[1:]).index_put((rows, columns), x).permute(2, 3, 0, 1).contiguous()
