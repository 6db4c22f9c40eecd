"""Coupling: one part of the dimensions decides what a monotone map does to the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.bijections.base import Bijection
from genlab.bijections.monotone import Monotone


class Coupling(Bijection):
    """y = (x_1, m(x_2; net(x_1))),   log|det dy/dx| = that of m, a monotone map of every number of x_2.

    x_1 and x_2 are the first and the second half of the channels (or features), the first the larger by one where
    their number is odd. Forward and inverse cost one pass of the net each, where m does; with ``Shift`` this is NICE's,
    with ``ShiftAndScale`` Glow's, with ``RationalQuadratic`` the one of neural spline flows. Unlike ``AffineCoupling``
    it has no mask: the net sees, and answers for, half of the numbers only.
    (Dinh et al. 2015, arXiv 1410.8516, section 3.2)

    Args:
        net: (x_1, c) to the parameters of m, (B, C_1, ...) to (B, P C_2, ...). Its last layer should start at zero, so
            that the coupling starts as the identity.
        monotone: m.
        swapped: whether the halves change their roles.
    """

    def __init__(self, net: nn.Module, monotone: Monotone, swapped: bool = False):
        super().__init__()
        self.net, self.monotone, self.swapped = net, monotone, swapped

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = self._parts(x)
        changed, log_det = self.monotone.forward(changed, self._params(kept, changed, c))
        return self._whole(kept, changed), log_det

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = self._parts(y)
        changed, log_det = self.monotone.inverse(changed, self._params(kept, changed, c))
        return self._whole(kept, changed), log_det

    def _params(self, kept: Tensor, changed: Tensor, c: Tensor | None) -> Tensor:
        return self.net(kept, c).to(kept.dtype).unflatten(1, (self.monotone.parameters, changed.shape[1]))

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.tensor_split([halve(x.shape[1])[0]], dim=1)
        return (second, first) if self.swapped else (first, second)

    def _whole(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, kept] if self.swapped else [kept, changed], dim=1)


def halve(channels: int, swapped: bool = False) -> tuple[int, int]:
    """How many channels decide, and how many are changed."""
    first, second = channels - channels // 2, channels // 2
    return (second, first) if swapped else (first, second)
