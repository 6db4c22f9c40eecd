"""Mixture of Gaussians: a density for continuous data, integrated over bins for integer data."""

import torch
from torch import Tensor

from genlab.likelihoods.gaussian import log_value
from genlab.likelihoods.mixture import Mixture


class GaussianMixture(Mixture):
    """A ``Mixture`` of N(m, s^2), in data units of continuous data; bins as those of ``Gaussian``.

    (Bishop 1994, Mixture density networks, eq. 22-23; for each pixel: Theis & Bethge 2015, arXiv 1506.03478)
    """

    def log_component(self, location: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
        return log_value(location, log_scale, x, self.levels)

    def quantile(self, location: Tensor, log_scale: Tensor, u: Tensor, temperature: float) -> Tensor:
        """m + temperature s Phi^-1(u)."""
        normal = torch.special.ndtri(u.clamp(min=2**-25))  # the quantile of 0 is minus infinity
        return location + temperature * log_scale.exp() * normal
