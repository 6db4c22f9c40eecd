"""Radial flow: draw space towards a point, or push it away."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlab.bijections.base import Bijection


class Radial(Bijection):
    """y = x + beta (x - x_0) / (alpha + r), r = |x - x_0|,
    log|det| = (D - 1) log(1 + beta / (alpha + r)) + log(1 + alpha beta / (alpha + r)^2).

    alpha = softplus(a) and beta = softplus(b) - alpha > -alpha, which makes the map invertible; x_0, a and b are
    parameters, or functions of a context. Forward is closed, and so is the inverse: the distance |y - x_0| = r + beta r
    / (alpha + r) is a quadratic in r. The paper solves for r without saying how. Forward goes from data to latent in a
    flow of data; the paper's goes the other way, as it does in a posterior. (Rezende and Mohamed 2015, arXiv
    1505.05770, eq. 14, appendix A.2)

    Args:
        dimensions: D.
        context: features of c, of which what is added to x_0, a and b is a linear function; 0 for none.
    """

    def __init__(self, dimensions: int, context: int = 0):
        super().__init__()
        self.centre = nn.Parameter(torch.randn(dimensions))
        self.a = nn.Parameter(torch.zeros(()))
        self.b = nn.Parameter(torch.randn(()) * 0.1)
        self.told = nn.Linear(context, dimensions + 2, bias=False) if context else None
        if self.told is not None:
            nn.init.normal_(self.told.weight, std=0.1 / math.sqrt(context))

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        centre, alpha, total = self._where(x, c)
        away = x - centre
        h, log_det = self._pull(torch.linalg.vector_norm(away, dim=1), alpha, total)
        return x + h[:, None] * away, log_det

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        centre, alpha, total = self._where(y, c)
        away = y - centre
        far = torch.linalg.vector_norm(away, dim=1)
        p = total - far  # alpha + beta - far: r^2 + p r - alpha far = 0
        root = (p.square() + 4 * alpha * far).sqrt()
        r = torch.where(p > 0, 2 * alpha * far / (p + root), (root - p) / 2)  # neither form subtracts near equals
        h, log_det = self._pull(r, alpha, total)
        return centre + away / (1 + h[:, None]), -log_det

    def _where(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """x_0, (D,) or (B, D), alpha and alpha + beta, () or (B,)."""
        centre, a, b = self.centre, self.a, self.b
        if self.told is not None and c is not None:
            more = self.told(c).to(x.dtype)
            centre, a, b = centre + more[:, :-2], a + more[:, -2], b + more[:, -1]
        return centre, softplus(a), softplus(b)

    def _pull(self, r: Tensor, alpha: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """beta / (alpha + r), and the log-determinant forward, at distances r, (B,) each."""
        h = (total - alpha) / (alpha + r)
        D = len(self.centre)
        return h, (D - 1) * h.log1p() + (alpha * h / (alpha + r)).log1p()
