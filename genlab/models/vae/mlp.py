"""Fully connected encoder and decoder, for data of any shape."""

import math

from torch import Tensor, nn

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
    """

    def __init__(
        self,
        spec: Spec,
        outputs: int,
        width: int = 512,
        depth: int = 2,
        activation: str = "silu",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.layers = MLP([spec.dimensions, *[width] * depth, outputs], activation, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *spec.shape) to (B, outputs)."""
        return self.layers(x.flatten(1))


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
    ):
        super().__init__()
        self.shape = (parameters, *spec.shape)
        self.layers = MLP([latent, *[width] * depth, math.prod(self.shape)], activation, dropout)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) to (B, P, *spec.shape)."""
        return self.layers(z).unflatten(1, self.shape)
