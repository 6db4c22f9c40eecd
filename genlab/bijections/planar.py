"""Planar flow: stretch space along one direction."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlab.bijections.base import Bijection
from genlab.bijections.root import root


class Planar(Bijection):
    """y = x + u' tanh(w.x + b),   log|det| = log(1 + w.u' (1 - tanh^2(w.x + b))).

    u' = u + (softplus(w.u) - 1 - w.u) w / |w|^2, so that w.u' > -1 and the map is invertible. u, w and b are parameters
    and not functions of x. Forward is closed; the inverse is the root a = w.x of a + w.u' tanh(a + b) = w.y, rising
    with a, found by ``root`` (in float64 within some ten iterations), and then x = y - u' tanh(a + b). One Newton step
    more carries the gradient. (Rezende and Mohamed 2015, arXiv 1505.05770, eq. 10 to 12 and appendix A.1)

    The paper goes this way from latent to data. In a flow of data forward goes from data to latent, so densities are
    closed and it is sampling that looks for roots; as a step of a posterior it goes the paper's way, and u, w and b are
    functions of a context.

    Args:
        dimensions: D.
        name: of the layer, for the error of an inverse that is not found.
        context: features of c, of which what is added to u, w and b is a linear function; 0 for none.
    """

    def __init__(self, dimensions: int, name: str = "planar map", context: int = 0):
        super().__init__()
        self.name = name
        self.iterations = 0
        """Of the last inverse."""
        bound = 1 / math.sqrt(dimensions)
        self.w = nn.Parameter(torch.empty(dimensions).uniform_(-bound, bound))
        self.u = nn.Parameter(torch.empty(dimensions).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(()))
        self.told = nn.Linear(context, 2 * dimensions + 1, bias=False) if context else None
        if self.told is not None:
            nn.init.normal_(self.told.weight, std=0.1 * bound / math.sqrt(context))

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w, u, b, above = self._direction(x, c)
        t = ((x * w).sum(1) + b).tanh()
        # 1 + w.u' (1 - t^2), with above = 1 + w.u', as a sum of what is positive
        return x + t[:, None] * u, (t.square() + above * (1 - t.square())).log()

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Raises:
        NotConvergedError: ``root`` has not found it.
        """
        w, u, b, above = self._direction(y, c)
        wu, goal = above - 1, (y * w).sum(1)

        def function(a: Tensor) -> tuple[Tensor, Tensor]:
            t = (a + b).tanh()
            return a + wu * t - goal, t.square() + above * (1 - t.square())

        found = root(function, goal - wu.abs() - 1e-3, goal + wu.abs() + 1e-3, name=self.name)
        self.iterations = found.iterations
        value, slope = function(found.at)
        t = (found.at - value / slope.detach() + b).tanh()
        return y - t[:, None] * u, -(t.square() + above * (1 - t.square())).log()

    def _direction(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """w and u', (D,) or (B, D), b and 1 + w.u' > 0, () or (B,). Products with w are sums, for those of matrices are
        rounded under mixed precision."""
        w, u, b = self.w, self.u, self.b
        if self.told is not None and c is not None:
            more = self.told(c).to(x.dtype)
            D = len(w)
            w, u, b = w + more[:, :D], u + more[:, D:-1], b + more[:, -1]
        wu = (w * u).sum(-1)
        above = softplus(wu)
        return w, u + ((above - 1 - wu) / w.square().sum(-1).clamp(min=1e-12))[..., None] * w, b, above
