"""An auto-regressive model as the output distribution of a decoder, which tells it of each pixel what it knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.gated_pixelcnn import gated_pixelcnn
from genlab.spec import Spec


class PixelDecoder(nn.Module):
    """p(x | z) = prod_i p(x_i | x_<i, c(z)): a ``GatedPixelCNN`` in whose gates stand the maps c that a decoder gives.

    What is near in an image, strokes and texture, is left to x_<i, so that z need not tell it; the fewer pixels the
    layers see, the more z has to. Of ``layers`` with kernel k and a first one with k_1 a pixel is told of those at most
    k_1 // 2 + (layers - 1) (k // 2) away. (Gulrajani et al. 2017, PixelVAE, arXiv 1611.05013, section 3.1; Chen et
    al. 2017, Variational Lossy Autoencoder, arXiv 1611.02731, section 3.1.) Deviation: no weight norm.

    It is a likelihood of whole images: ``log_prob`` in one pass of the net, ``sample`` from cached activations in about
    as much.

    Args:
        spec: of the data, images.
        maps: numbers that the decoder gives for each dimension, which are c.
        channels: of the net, p.
        layers: of the net, the first included.
        kernel: edge length k.
        first: edge length k_1 of the first layer.
        head: maps between the two last convolutions.
        likelihood: distribution of a value given those before it, as ``AutoRegressive`` has it.
    """

    whole: ClassVar = True
    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        maps: int = 8,
        channels: int = 16,
        layers: int = 4,
        kernel: int = 3,
        first: int = 5,
        head: int = 32,
        likelihood: str | Callable[..., Likelihood] | None = None,
    ):
        super().__init__()
        if maps < 1:
            raise ConfigError("model.likelihood.maps", maps, "at least one is needed")
        self.spec, self.outputs = spec, maps
        names = tuple(f"map {number}" for number in range(maps * spec.shape[0]))
        told = replace(spec, classes=(), attributes=names)
        self.pixels = gated_pixelcnn(
            told, channels, layers, kernel, first, head, likelihood=likelihood, conditional=True
        )
        self.draws = self.pixels.likelihood.draws

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x), (B,), of maps (B, P, C, H, W)."""
        return self.pixels.log_prob(x, params.flatten(1, 2))

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Pixel after pixel from uniform numbers, (B, draws, C, H, W)."""
        return self.pixels.of_uniform(u[:, :, : self.pixels.layout.groups], params.flatten(1, 2), temperature)

    def mean(self, params: Tensor) -> Tensor:
        """One draw, of the same uniform numbers for all maps: the mean of what depends on all pixels before has no
        closed form, and that of each pixel given the others' means would be no image."""
        u = torch.rand(self.pixels.numbers, generator=torch.Generator().manual_seed(0)).to(params.device)
        return self.sample(params, u.expand(len(params), *u.shape)).to(params.dtype)
