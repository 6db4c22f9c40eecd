"""Conditioners: the nets inside couplings, from what stays to the shift and log-scale of what changes.

Both start at zero, so a coupling starts as the identity, and take a context (B, K) beside x.
"""

import math

import torch
from torch import Tensor, nn

from genlab.nn.mlp import MLP
from genlab.nn.resnet import ResNet


class MLPConditioner(nn.Module):
    """(B, C, ...) flattened through a perceptron to (B, outputs, ...).

    Args:
        shape: of one example.
        width: hidden features.
        depth: hidden layers.
        context: number K of features of the context, 0 for none.
        dropout: of hidden features.
        outputs: channels out; None for 2C.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 128,
        depth: int = 2,
        context: int = 0,
        dropout: float = 0.0,
        outputs: int | None = None,
    ):
        super().__init__()
        self.shape = (2 * shape[0] if outputs is None else outputs, *shape[1:])
        sizes = [math.prod(shape) + context, *[width] * depth, math.prod(self.shape)]
        self.net = MLP(sizes, "leaky_relu", dropout)
        start_at_zero(self.net[-1])

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        flat = x.flatten(1)
        return self.net(flat if c is None else torch.cat([flat, c.to(x.dtype)], dim=1)).unflatten(1, self.shape)


class ResNetConditioner(nn.Module):
    """(B, C, H, W) through a residual network to (B, 2C, H, W); the context comes as constant channels.

    Args:
        channels: C.
        maps: feature maps.
        blocks: residual blocks.
        context: number K of features of the context, 0 for none.
        dropout: inside the residual blocks.
    """

    def __init__(self, channels: int, maps: int = 64, blocks: int = 8, context: int = 0, dropout: float = 0.0):
        super().__init__()
        self.net = ResNet(channels + context, 2 * channels, maps, blocks, dropout)
        start_at_zero(self.net[-1])

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        if c is not None:
            x = torch.cat([x, c.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)
        return self.net(x)


def start_at_zero(layer: nn.Module) -> None:
    """Weights and biases of ``layer`` to zero, in place."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
