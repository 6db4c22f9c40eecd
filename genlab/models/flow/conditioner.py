"""Conditioners: the nets inside couplings, from what stays to the parameters of what is done to the rest.

All start at zero, so a coupling starts as the identity, and take a context (B, K) beside x.
"""

import math

import torch
from torch import Tensor, nn

from genlab.bijections.actnorm import ActNorm
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
        return self.net(with_context(x, c))


class ZeroConv2d(nn.Module):
    """(conv(x) + b) exp(3 l), 3 x 3, weights, b and l zero at the start; l is learned by channel.

    (Kingma and Dhariwal 2018, Glow, arXiv 1807.03039, the released code)

    Args:
        inputs: channels in.
        outputs: channels out.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        start_at_zero(self.conv)
        self.log_scale = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.conv(x) * (3 * self.log_scale).exp()


class GlowConditioner(nn.Module):
    """3 x 3 convolution, actnorm, ReLU, 1 x 1 convolution, actnorm, ReLU, ``ZeroConv2d``.

    (B, inputs, H, W) to (B, outputs, H, W); the context comes as constant channels. (Kingma and Dhariwal 2018, Glow,
    arXiv 1807.03039, the released code)

    Args:
        inputs: channels in.
        outputs: channels out.
        width: feature maps.
        context: number K of features of the context, 0 for none.
    """

    def __init__(self, inputs: int, outputs: int, width: int, context: int = 0):
        super().__init__()
        self.first = nn.Conv2d(inputs + context, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 1, bias=False)
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, std=0.05)
        self.norms = nn.ModuleList([ActNorm(width), ActNorm(width)])
        self.last = ZeroConv2d(width, outputs)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h = self.norms[0](self.first(with_context(x, c)))[0].relu()
        return self.last(self.norms[1](self.second(h))[0].relu())


def with_context(x: Tensor, c: Tensor | None) -> Tensor:
    """Images (B, C, H, W), and a context (B, K) as constant channels: (B, C + K, H, W)."""
    return x if c is None else torch.cat([x, c.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)


def start_at_zero(layer: nn.Module) -> None:
    """Weights and biases of ``layer`` to zero, in place."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
