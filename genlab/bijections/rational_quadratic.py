"""Monotone rational-quadratic splines with linear tails."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

LEAST = 1e-3
"""Of the width and height of a bin, as shares of all, and of the slope at a knot."""


class Bin(NamedTuple):
    """The bin in which each number lies: its corner, its size, and the slopes at its ends."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    left: Tensor
    right: Tensor


class RationalQuadratic:
    """K quotients of quadratics on [-A, A], joined with their slopes, and the identity outside.

    With xi = (x - x_k) / (x_k+1 - x_k), s = (y_k+1 - y_k) / (x_k+1 - x_k) and slopes d at the knots,

        y = y_k + (y_k+1 - y_k) (s xi^2 + d_k xi (1 - xi)) / (s + (d_k+1 + d_k - 2 s) xi (1 - xi)).

    params are K widths and K heights before their softmax, and K - 1 slopes before a softplus that is 1 at zero; the
    slopes at -A and A are 1, so that the tails join smoothly. The inverse is the root of a quadratic, exact and as
    cheap. (Durkan et al. 2019, Neural Spline Flows, arXiv 1906.04032, eq. 4 to 8 and section 3.1)

    Args:
        bins: K.
        bound: A.
    """

    def __init__(self, bins: int = 8, bound: float = 4.0):
        self.bins, self.bound = bins, bound
        self.parameters = 3 * bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.abs() < self.bound
        at = x.clamp(-self.bound, self.bound)
        bin = self._find(at, params, by=0)
        xi = (at - bin.x) / bin.width
        bend, s = xi * (1 - xi), bin.height / bin.width
        below = s + (bin.left + bin.right - 2 * s) * bend
        y = bin.y + bin.height * (s * xi.square() + bin.left * bend) / below
        return torch.where(inside, y, x), self._log_slope(bin, xi, bend, s, below, inside)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        inside = y.abs() < self.bound
        at = y.clamp(-self.bound, self.bound)
        bin = self._find(at, params, by=1)
        s, rise = bin.height / bin.width, at - bin.y
        excess = bin.left + bin.right - 2 * s
        a, b, c = bin.height * (s - bin.left) + rise * excess, bin.height * bin.left - rise * excess, -s * rise
        xi = -2 * c / (b + (b.square() - 4 * a * c).clamp(min=0).sqrt())  # the form without a difference of near equals
        bend = xi * (1 - xi)
        x = bin.x + bin.width * xi
        return torch.where(inside, x, y), -self._log_slope(bin, xi, bend, s, s + excess * bend, inside)

    def _find(self, at: Tensor, params: Tensor, by: int) -> Bin:
        """The bin of each number, among the knots on the axis of x (0) or of y (1)."""
        K, A = self.bins, self.bound
        sizes = params[:, : 2 * K].unflatten(1, (2, K)).softmax(2) * (1 - K * LEAST) + LEAST
        inner = sizes.movedim(2, -1).cumsum(-1)[..., :-1] * (2 * A) - A
        knots = pad(inner, (1, 0), value=-A).movedim(-1, 2)  # left ends, (B, 2, K, *S)
        sizes = sizes * (2 * A)
        # softplus(0 + this) = 1 - LEAST: zeros are slopes of one. Written as a logarithm of a sigmoid it rounds alike
        # wherever in a batch a number stands, which torch's softplus does not.
        slope = LEAST - logsigmoid(-(params[:, 2 * K :] + math.log(math.expm1(1 - LEAST))))
        one = torch.ones_like(slope[:, :1])
        slopes = torch.stack([torch.cat([one, slope], 1), torch.cat([slope, one], 1)], 1)
        index = (at.unsqueeze(1) >= knots[:, by, 1:]).sum(1)
        table = torch.cat([knots, sizes, slopes], 1)  # (B, 6, K, *S)
        found = table.gather(2, index[:, None, None].expand(-1, 6, -1, *index.shape[1:])).squeeze(2)
        return Bin(*found.unbind(1))

    def _log_slope(self, bin: Bin, xi: Tensor, bend: Tensor, s: Tensor, below: Tensor, inside: Tensor) -> Tensor:
        above = bin.right * xi.square() + 2 * s * bend + bin.left * (1 - xi).square()
        log_slope = 2 * (s.log() - below.log()) + above.log()
        return torch.where(inside, log_slope, torch.zeros_like(log_slope)).flatten(1).sum(1)
