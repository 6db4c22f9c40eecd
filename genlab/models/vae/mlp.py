"""Fully connected encoder and decoder, for data of any shape, and how the nets of a VAE start."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError, nearest
from genlab.nn.mlp import MLP
from genlab.spec import Spec


class Encoder(nn.Module):
    """D -> depth layers of width features -> outputs.

    Args:
        spec: of the data.
        outputs: numbers for each example.
        width: features of a hidden layer.
        depth: number of hidden layers.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``.
        dropout: probability of dropping a hidden feature.
        condition: numbers K of a label that it is told, 0 for none.
        start: how weights start, see ``started``.
    """

    def __init__(
        self,
        spec: Spec,
        outputs: int,
        width: int = 512,
        depth: int = 2,
        activation: str = "silu",
        dropout: float = 0.0,
        condition: int = 0,
        start: Literal["he", "torch"] = "he",
    ):
        super().__init__()
        self.layers = started(MLP([spec.dimensions + condition, *[width] * depth, outputs], activation, dropout), start)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """(B, *spec.shape), and a label (B, K) if it is told any, to (B, outputs)."""
        flat = x.flatten(1)
        return self.layers(flat if c is None else torch.cat([flat, c.to(x.dtype)], 1))


class Decoder(nn.Module):
    """The encoder mirrored: Z -> depth layers of width features -> P numbers for each of D dimensions.

    Args:
        spec: of the data.
        latent: number Z of latent dimensions.
        parameters: numbers P for each dimension.
        width: features of a hidden layer.
        depth: number of hidden layers.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``.
        dropout: probability of dropping a hidden feature.
        start: how weights start, see ``started``.
    """

    def __init__(
        self,
        spec: Spec,
        latent: int,
        parameters: int,
        width: int = 512,
        depth: int = 2,
        activation: str = "silu",
        dropout: float = 0.0,
        start: Literal["he", "torch"] = "he",
    ):
        super().__init__()
        self.shape = (parameters, *spec.shape)
        self.layers = started(MLP([latent, *[width] * depth, math.prod(self.shape)], activation, dropout), start)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) to (B, P, *spec.shape)."""
        return self.layers(z).unflatten(1, self.shape)


def started(layers: nn.Sequential, start: str) -> nn.Sequential:
    """Layers whose weights start by ``keep_variance`` (``he``), or as torch has them (``torch``), uniform within
    1 / sqrt(inputs): a sixth of that variance, so that a VAE begins with many of its latent dimensions switched off.

    Raises:
        ConfigError: there is no such start.
    """
    if start not in ("he", "torch"):
        raise ConfigError("start", start, "there are he and torch", nearest(start, ("he", "torch")))
    return keep_variance(layers) if start == "he" else layers


def keep_variance(layers: nn.Sequential) -> nn.Sequential:
    """Start all layers but the last from N(0, 2 / inputs), without bias. (He et al. 2015, arXiv 1502.01852, eq. 10)

    Under torch's smaller weights z hardly reaches the output in the first steps, and the KL switches off latent
    dimensions that never return: after three epochs of MNIST 10 nats of the bound.
    """
    weighted = [layer for layer in layers if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
    for layer in weighted[:-1]:
        if isinstance(layer, nn.ConvTranspose2d):
            # each output lies under only kernel / stride of the kernel's places in each direction
            inputs = layer.in_channels * math.prod(layer.kernel_size) / math.prod(layer.stride)
        else:
            inputs = layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers
