"""Layers that stretch by less than one: spectral normalisation of operators.

Gouk et al. 2021, arXiv 1804.04368, section 3 (the norm of a convolution as an operator); Behrmann et al. 2019, arXiv
1811.00995, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.errors import ConfigError

AT_MOST = 500
"""Iterations after which one that creeps is good enough: singular values that close to each other hardly differ."""

AT_LEAST = 30
"""Iterations of the same: before them steps fall fast because many singular vectors leave, not because one is left."""

START = 5
"""Iterations for weights as they are drawn."""


class Restrained(nn.Module):
    """y = c W x / max(c, sigma) + b, sigma = |W|_2: a layer of Lipschitz constant c at most, free below it.

    sigma = u . W v with unit singular vectors found by power iteration, v = W^T u / |W^T u|, u = W v / |W v|; gradients
    see sigma through W and take u and v for constants.

    In training mode every call turns u, a buffer, by ``iterations``, warm from the step before; the published code goes
    on until sigma settles, for which a device would have to be waited for in each layer. In evaluation mode u is
    iterated, once for the weights at hand (averaged ones, say), until sigma has settled to ``tolerance`` of itself; the
    buffer stays, so that evaluation changes no later training.

    Power iteration approaches sigma from below: c should leave room for ``tolerance``.

    Args:
        weight: W at first.
        bias: b at first.
        output: shape of one output of the operator, with the batch of one.
        bound: c, below 1 for a contraction.
        iterations: of a call in training mode.
        tolerance: relative change of sigma at which iterations end.
    """

    u: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        output: Sequence[int],
        bound: float = 0.9,
        iterations: int = 1,
        tolerance: float = 1e-4,
    ):
        super().__init__()
        if not 0 < bound < 1:
            raise ConfigError("bound", bound, "a Lipschitz constant between 0 and 1 makes the block invertible")
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.bound, self.iterations, self.tolerance = bound, iterations, tolerance
        self.register_buffer("u", torch.randn(output))
        self._known: tuple[object, Tensor, Tensor] | None = None
        self.u.copy_(self.singular_vectors(START)[0])

    def operate(self, weight: Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """W x + b."""
        raise NotImplementedError

    def adjoint(self, weight: Tensor, y: Tensor) -> Tensor:
        """W^T y."""
        raise NotImplementedError

    @torch.no_grad()
    def singular_vectors(self, iterations: int | None = None) -> tuple[Tensor, Tensor]:
        """u and v after so many iterations, or when sigma has settled."""
        u, weight, before, step = self.u, self.weight, 0.0, math.inf
        for done in range(iterations or AT_MOST):
            v = self.adjoint(weight, u)
            v = v / v.norm().clamp(min=1e-12)
            u = self.operate(weight, v)
            sigma = u.norm()
            u = u / sigma.clamp(min=1e-12)
            if iterations is None:
                now, last = sigma.item(), step
                step, before = now - before, now
                if done > AT_LEAST and (step <= 0 or step * step / max(last - step, 1e-30) <= self.tolerance * now):
                    break  # steps of a geometric series: what is left is step * ratio / (1 - ratio)
        return u, v

    def restrained_weight(self) -> Tensor:
        """c W / max(c, sigma), in full precision under autocast, where sigma would be off by a hundredth."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return self._restrained()

    def _restrained(self) -> Tensor:
        if self.training:
            u, v = self.singular_vectors(self.iterations)
            self.u.copy_(u)
        else:
            key = (self.weight.data_ptr(), self.weight._version)
            if self._known is None or self._known[0] != key:
                self._known = (key, *self.singular_vectors())
            _, u, v = self._known
        sigma = (u * self.operate(self.weight, v)).sum()
        return self.weight * (self.bound / sigma.clamp(min=self.bound))

    def forward(self, x: Tensor) -> Tensor:
        return self.operate(self.restrained_weight(), x, self.bias)

    def train(self, mode: bool = True) -> Restrained:
        """As always; and weights may have been exchanged unseen (fused optimizers and averages leave no trace)."""
        self._known = None
        return super().train(mode)


class RestrainedLinear(Restrained):
    """(..., I) to (..., O); the norm is that of the matrix.

    Args:
        inputs: I.
        outputs: O.
        bound, iterations, tolerance: as of ``Restrained``.
    """

    def __init__(self, inputs: int, outputs: int, bound: float = 0.9, iterations: int = 1, tolerance: float = 1e-4):
        layer = nn.Linear(inputs, outputs)
        super().__init__(layer.weight.data, layer.bias.data, (1, outputs), bound, iterations, tolerance)

    def operate(self, weight: Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, weight, bias)

    def adjoint(self, weight: Tensor, y: Tensor) -> Tensor:
        return F.linear(y, weight.T)


class RestrainedConv2d(Restrained):
    """(B, I, H, W) to (B, O, H, W) with zeros around; the norm is that of the operator on images of this size.

    The matrix I k k x O that a kernel may be written as has another norm, up to k times smaller than the operator's.

    Args:
        inputs: feature maps I.
        outputs: feature maps O.
        kernel: odd edge length k.
        size: (H, W).
        bound, iterations, tolerance: as of ``Restrained``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        size: Sequence[int],
        bound: float = 0.9,
        iterations: int = 1,
        tolerance: float = 1e-4,
    ):
        layer: Any = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.padding = kernel // 2
        height, width = (1, 1) if kernel == 1 else size  # one matrix at every pixel
        output = (1, outputs, height, width)
        super().__init__(layer.weight.data, layer.bias.data, output, bound, iterations, tolerance)

    def operate(self, weight: Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(x, weight, bias, padding=self.padding)

    def adjoint(self, weight: Tensor, y: Tensor) -> Tensor:
        return F.conv_transpose2d(y, weight, padding=self.padding)
