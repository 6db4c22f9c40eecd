"""Radial flow: draw space towards a point, or push it away."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlab.bijections.base import Bijection


class Radial(Bijection):
    """y = x + beta (x - x_0) / (alpha + r), r = |x - x_0|,
    log|det| = (D - 1) log(1 + beta / (alpha + r)) + log(1 + alpha beta / (alpha + r)^2).

    alpha = softplus(a) and beta = softplus(b) - alpha > -alpha, which makes the map invertible; x_0, a and b are
    parameters, not functions of x. Forward is closed, and so is the inverse: the distance |y - x_0| = r + beta r /
    (alpha + r) is a quadratic in r. The paper solves for r without saying how. Forward goes from data to latent, as in
    every flow here; the paper's goes the other way. (Rezende and Mohamed 2015, arXiv 1505.05770, eq. 14, appendix A.2)

    Args:
        dimensions: D.
    """

    def __init__(self, dimensions: int):
        super().__init__()
        self.centre = nn.Parameter(torch.randn(dimensions))
        self.a = nn.Parameter(torch.zeros(()))
        self.b = nn.Parameter(torch.randn(()) * 0.1)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        away = x - self.centre
        h, log_det = self._pull(torch.linalg.vector_norm(away, dim=1))
        return x + h[:, None] * away, log_det

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        away = y - self.centre
        far = torch.linalg.vector_norm(away, dim=1)
        alpha, total = softplus(self.a), softplus(self.b)
        p = total - far  # alpha + beta - far: r^2 + p r - alpha far = 0
        root = (p.square() + 4 * alpha * far).sqrt()
        r = torch.where(p > 0, 2 * alpha * far / (p + root), (root - p) / 2)  # neither form subtracts near equals
        h, log_det = self._pull(r)
        return self.centre + away / (1 + h[:, None]), -log_det

    def _pull(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """beta / (alpha + r), and the log-determinant forward, at distances r, (B,) each."""
        alpha, total = softplus(self.a), softplus(self.b)
        h = (total - alpha) / (alpha + r)
        D = len(self.centre)
        return h, (D - 1) * h.log1p() + (alpha * h / (alpha + r)).log1p()
