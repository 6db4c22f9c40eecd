"""Gaussian likelihood: a density for continuous data, integrated over bins for integer data."""

import math

import torch
from torch import Tensor

from genlab.errors import ConfigError
from genlab.spec import from_signed


class Gaussian:
    """log p(x) = -((x - m) / s)^2 / 2 - log s - log(2 pi) / 2 for continuous data, in data units.

    For integer data, scaled to [-1, 1], the mass of the bin of x; the edge bins take the tails, so it sums to 1:

    p(x) = Phi((x + h - m) / s) - Phi((x - h - m) / s),   h = 1 / (levels - 1)
    p(0) = Phi((x + h - m) / s),   p(levels - 1) = 1 - Phi((x - h - m) / s)

    The network gives m, and log s unless the ``scale`` is fixed. (Kingma & Welling 2014, arXiv 1312.6114,
    appendix C.2)

    Args:
        levels: of the data; None for continuous data.
        scale: s of all dimensions, fixed; None: the network gives log s of each.
        floor: smallest log s; without one the density of data that repeat themselves grows without bound.
    """

    draws = 1

    def __init__(self, levels: int | None, scale: float | None = None, floor: float = -7.0):
        if scale is not None and scale <= 0:
            raise ConfigError("model.likelihood.scale", scale, "a standard deviation is positive")
        self.levels, self.scale, self.floor = levels, scale, floor
        self.outputs = 2 if scale is None else 1

    def _location_and_log_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        location = params[:, 0]
        if self.scale is None:
            return location, params[:, 1].clamp(min=self.floor)
        return location, torch.full_like(location, math.log(self.scale))

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Nats, (B,): params (B, P, *S), x (B, *S)."""
        location, log_scale = self._location_and_log_scale(params)
        return log_value(location, log_scale, x, self.levels).flatten(1).sum(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """m + s Phi^-1(u), to the nearest level of integer data, (B, *S): u (B, 1, *S). Temperature multiplies s."""
        location, log_scale = self._location_and_log_scale(params)
        normal = torch.special.ndtri(u.squeeze(1).clamp(min=2**-25))  # the quantile of 0 is minus infinity
        return from_signed(location + temperature * log_scale.exp() * normal, self.levels)

    def mean(self, params: Tensor) -> Tensor:
        """m in data units, (B, *S); of integer data the mean but for the tails folded into the edge bins."""
        if self.levels is None:
            return params[:, 0]
        return params[:, 0].clamp(-1, 1).add(1).mul((self.levels - 1) / 2)


def log_value(location: Tensor, log_scale: Tensor, x: Tensor, levels: int | None) -> Tensor:
    """Of each dimension: log density of continuous data, log of the mass in the bin of x of integer data."""
    rate = torch.exp(-log_scale)
    if levels is None:
        return log_density((x - location) * rate) - log_scale
    half = rate / (levels - 1)
    distance = (x.to(location.dtype) * (2 / (levels - 1)) - 1 - location) * rate
    log_prob = log_mass(distance, half)
    log_prob = torch.where(x == 0, log_cdf(distance + half), log_prob)
    return torch.where(x == levels - 1, log_cdf(half - distance), log_prob)


def log_density(x: Tensor) -> Tensor:
    """Logarithm of the standard normal density."""
    return -(x.square() + math.log(2 * math.pi)) / 2


def log_cdf(x: Tensor) -> Tensor:
    """log Phi(x), with the gradient right in the far lower tail too, where torch's in float32 is far off.

    Below -20 it is the asymptotic series, of which the next term is less than 1e-8.
    """
    tail = x.clamp(max=-20)
    inverse = tail.square().reciprocal()
    series = log_density(tail) - torch.log(-tail) + torch.log1p(-inverse * (1 - inverse * (3 - 15 * inverse)))
    return torch.where(x < -20, series, torch.special.log_ndtr(x.clamp(min=-20)))


def log_mass(centre: Tensor, half: Tensor) -> Tensor:
    """log(Phi(centre + half) - Phi(centre - half)) for half > 0, with finite gradients, wherever the interval lies.

    A wide interval: the difference of the two logarithms, in the lower tail, where they are exact. A narrow one, of
    which the difference would cancel: five-point Gauss-Legendre quadrature of the density, divided by that at the
    centre; for half * (1 + |centre|) < 1/2 its error is below 1e-9.
    """
    centre = -centre.abs()
    log_upper = log_cdf(centre + half)
    gap = log_upper - log_cdf(centre - half)
    # each side is clamped to where it is used, since the side that torch.where drops still has a gradient
    wide = log_upper + torch.log(-torch.expm1(-gap.clamp(min=0.1)))
    tilt, width = (centre * half).clamp(min=-1), half.clamp(max=1)
    mean_ratio = torch.full_like(centre, 64 / 225)
    for node, weight in ((0.5384693101056831, 0.47862867049936647), (0.906179845938664, 0.23692688505618908)):
        mean_ratio = mean_ratio + weight * torch.exp(-(width * node).square() / 2) * torch.cosh(tilt * node)
    narrow = log_density(centre) + torch.log(2 * half) + torch.log(mean_ratio)
    return torch.where(half * (1 - centre) < 0.5, narrow, wide)
