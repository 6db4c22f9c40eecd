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

    The paper goes this way from latent to data. Here forward goes from data to latent, as in every flow, so densities
    are closed and it is sampling that looks for roots.

    Args:
        dimensions: D.
        name: of the layer, for the error of an inverse that is not found.
    """

    def __init__(self, dimensions: int, name: str = "planar map"):
        super().__init__()
        self.name = name
        self.iterations = 0
        """Of the last inverse."""
        bound = 1 / math.sqrt(dimensions)
        self.w = nn.Parameter(torch.empty(dimensions).uniform_(-bound, bound))
        self.u = nn.Parameter(torch.empty(dimensions).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u, above = self._direction()
        t = (x @ self.w + self.b).tanh()
        # 1 + w.u' (1 - t^2), with above = 1 + w.u', as a sum of what is positive
        return x + t[:, None] * u, (t.square() + above * (1 - t.square())).log()

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Raises:
        NotConvergedError: ``root`` has not found it.
        """
        u, above = self._direction()
        wu, goal = above - 1, y @ self.w

        def function(a: Tensor) -> tuple[Tensor, Tensor]:
            t = (a + self.b).tanh()
            return a + wu * t - goal, t.square() + above * (1 - t.square())

        found = root(function, goal - wu.abs() - 1e-3, goal + wu.abs() + 1e-3, name=self.name)
        self.iterations = found.iterations
        value, slope = function(found.at)
        t = (found.at - value / slope.detach() + self.b).tanh()
        return y - t[:, None] * u, -(t.square() + above * (1 - t.square())).log()

    def _direction(self) -> tuple[Tensor, Tensor]:
        """u', and 1 + w.u' > 0."""
        wu = self.w @ self.u
        above = softplus(wu)
        return self.u + (above - 1 - wu) * self.w / self.w.square().sum().clamp(min=1e-12), above
