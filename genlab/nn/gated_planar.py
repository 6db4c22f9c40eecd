"""The dynamics of the first continuous flow: planar ones, each switched on and off by time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GatedPlanar(nn.Module):
    """f(x, t) = sum over n of sigma_n(t) u_n(t) tanh(w_n(t) . x + b_n(t)),   tr = sum of sigma_n u_n . w_n tanh'.

    A hypernet gives all of w, u, b and the gates sigma from t. The trace costs O(width D) and needs no estimate.
    (Chen et al. 2018, arXiv 1806.07366, eq. 9 and 10 and section 4.1; the hypernet as in its authors' example, with the
    mean over n in the place of the sum, so that the size of f does not depend on the width.)

    Args:
        dimensions: D.
        width: number of planar dynamics.
        hidden: features of the hypernet's two hidden layers.
    """

    always_exact = True

    def __init__(self, dimensions: int, width: int = 64, hidden: int = 32):
        super().__init__()
        self.dimensions, self.width = dimensions, width
        self.hypernet = nn.Sequential(
            nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
            nn.Linear(hidden, width * (2 * dimensions + 2)),
        )  # fmt: skip

    def forward(self, t: Tensor, x: Tensor, e: Tensor | None) -> tuple[Tensor, Tensor]:
        D, M = self.dimensions, self.width
        w, u, b, gate = self.hypernet(t.reshape(1)).split([M * D, M * D, M, M])
        w, u = w.view(M, D), u.view(M, D) * gate.sigmoid()[:, None] / M
        h = torch.tanh(x @ w.T + b)
        return h @ u, (1 - h.square()) @ (u * w).sum(1)
