"""Mixture of logistics: a density for continuous data, integrated over bins for integer data."""

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.likelihoods.discretised_logistic import log_bin
from genlab.likelihoods.mixture import Mixture


class LogisticMixture(Mixture):
    """A ``Mixture`` of logistics, bins exact as those of ``DiscretisedLogistic``.

    Continuous data, in data units: p(x; m, s) = exp(-z) / (s (1 + exp(-z))^2), z = (x - m) / s. (Salimans et al. 2017,
    arXiv 1701.05517, eq. 2)
    """

    def log_component(self, location: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
        if self.levels is not None:
            return log_bin(location, log_scale, x, self.levels)
        z = (x - location) * torch.exp(-log_scale)
        return -z - 2 * F.softplus(-z) - log_scale

    def quantile(self, location: Tensor, log_scale: Tensor, u: Tensor, temperature: float) -> Tensor:
        """m + temperature s (log u - log(1 - u))."""
        # a logit of 0 is minus infinity, which is the first level, but 0 times it is not a number
        return location + temperature * log_scale.exp() * torch.logit(u.clamp(min=2**-25))
