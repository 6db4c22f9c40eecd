"""Logit: carry the unit cube to all of space."""

import math

from torch import Tensor
from torch.nn.functional import softplus

from genlab.bijections.base import Bijection


class Logit(Bijection):
    """z = log p - log(1 - p), p = alpha + (1 - 2 alpha) x;   log|det| = sum of log(1 - 2 alpha) - log p - log(1 - p).

    alpha keeps 0 and 1 away from infinity. The paper prints alpha + (1 - alpha) x, which leaves x = 1 there; its code
    has the symmetric form taken here. Both directions are element-wise.
    (Dinh et al. 2017, arXiv 1605.08803, section 4.1)

    Args:
        alpha: 0.05 for 8-bit colour images; 1e-6 is common for MNIST.
    """

    def __init__(self, alpha: float = 0.05):
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        p = self.alpha + (1 - 2 * self.alpha) * x
        z = p.log() - (-p).log1p()
        return z, self._log_det(z)

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (y.sigmoid() - self.alpha) / (1 - 2 * self.alpha), -self._log_det(y)

    def _log_det(self, z: Tensor) -> Tensor:
        # log p = -softplus(-z) and log(1 - p) = -softplus(z): no logarithm of a difference
        return (math.log(1 - 2 * self.alpha) + softplus(z) + softplus(-z)).flatten(1).sum(1)
