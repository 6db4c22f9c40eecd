"""Variational dequantisation: a flow that says where in its cell each integer lies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlab.bijections.affine_coupling import AffineCoupling
from genlab.bijections.chain import Chain
from genlab.models.flow.conditioner import start_at_zero
from genlab.models.flow.masks import parity
from genlab.models.flow.standard_logistic import TINY, StandardLogistic
from genlab.nn.mlp import MLP
from genlab.nn.resnet import ResNet
from genlab.spec import Spec, to_signed


class VariationalNoise(nn.Module):
    """u = sigmoid(f(e; x)), e logistic, f of affine couplings that see x;   q(u | x) = p(e) / |det du/de|.

    log P(x) >= E_q[log p(x + u) - log q(u | x)], equal where q is the posterior of u. At the start f is the identity
    and u uniform, so that it is no worse than uniform noise. (Ho et al. 2019, Flow++, arXiv 1902.00275, section 3.1)

    Deviations: logistic e for a normal one, affine couplings for mixtures of logistics, residual blocks without
    attention.

    Args:
        spec: of integer data; image or vector.
        layers: couplings, under alternating masks.
        maps: feature maps of their residual nets, or hidden features of the perceptrons that vectors have.
        blocks: residual blocks, or hidden layers.
    """

    def __init__(self, spec: Spec, layers: int = 4, maps: int = 32, blocks: int = 2):
        super().__init__()
        self.spec = spec
        couplings = [
            AffineCoupling(Beside(spec.shape, maps, blocks), parity(spec.shape, layer % 2)) for layer in range(layers)
        ]
        self.chain, self.base = Chain(couplings), StandardLogistic(spec.dimensions)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """u in [0, 1], (B, *spec.shape), and log q(u | x), (B,), from one draw of the global generator."""
        uniform = torch.rand(x.shape, dtype=torch.get_default_dtype(), device=x.device)
        noise = uniform.clamp(TINY, 1 - TINY).logit()
        logits, log_det = self.chain(noise, self.seen(x))
        log_slope = -(softplus(logits) + softplus(-logits)).flatten(1).sum(1)
        u = logits.sigmoid().clamp(max=1 - TINY)  # float32 rounds to 1
        return u, self.base.log_prob(noise.flatten(1)) - log_det - log_slope

    def seen(self, x: Tensor) -> Tensor:
        """What the couplings get to see of x."""
        return to_signed(x, self.spec.levels)


class Beside(nn.Module):
    """Noise and data side by side, (B, *shape) each, through a net that starts at zero: (B, 2C, ...).

    Args:
        shape: of one example.
        maps: feature maps, or hidden features.
        blocks: residual blocks, or hidden layers.
    """

    def __init__(self, shape: tuple[int, ...], maps: int, blocks: int):
        super().__init__()
        self.shape = (2 * shape[0], *shape[1:])
        size = 2 * math.prod(shape)
        self.net: nn.Sequential
        if len(shape) == 3:
            self.net = ResNet(2 * shape[0], 2 * shape[0], maps, blocks)
        else:
            self.net = MLP([size, *[maps] * blocks, size], "leaky_relu")
        start_at_zero(self.net[-1])

    def forward(self, noise: Tensor, x: Tensor) -> Tensor:
        return self.net(torch.cat([noise, x], dim=1)).unflatten(1, self.shape[:1])
