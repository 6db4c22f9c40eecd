"""Mixture of logistics: a density for continuous data, integrated over bins for integer data."""

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.errors import ConfigError
from genlab.likelihoods.discretised_logistic import log_bin
from genlab.spec import from_signed


class LogisticMixture:
    """p(x) = sum_k w_k p(x; m_k, s_k), w = softmax(a), of K logistics.

    Integer data, scaled to [-1, 1]: masses of the bin of x, exact as those of ``DiscretisedLogistic``, edge bins with
    the tails. Continuous data, in data units: the density exp(-z) / (s (1 + exp(-z))^2), z = (x - m) / s. The network
    gives a, m and log s of each component. (Salimans et al. 2017, arXiv 1701.05517, eq. 2)

    A sample takes two uniform numbers: by the first a component, the one of which the cumulative weight is the first
    above it; by the second that component's quantile.

    Args:
        levels: of the data; None for continuous data.
        components: K.
        floor: smallest log s.
    """

    draws = 2

    def __init__(self, levels: int | None, components: int = 10, floor: float = -7.0):
        self.levels, self.floor = levels, floor
        self.components = at_least_one(components)
        self.parameters = 3 * components

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Nats, (B,): params (B, 3 K, *S), x (B, *S)."""
        logits, location, log_scale = params.unflatten(1, (3, -1)).unbind(1)
        within = log_logistic(location, log_scale.clamp(min=self.floor), x.unsqueeze(1), self.levels)
        return (logits.log_softmax(1) + within).logsumexp(1).flatten(1).sum(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """(B, *S): u (B, 2, *S). Temperature divides a and multiplies s, 0 giving the likeliest component's m."""
        logits, *others = params.unflatten(1, (3, -1)).unbind(1)
        component = chosen(logits, u[:, 0], temperature).unsqueeze(1)
        location, log_scale = (values.gather(1, component).squeeze(1) for values in others)
        return from_signed(quantile(location, log_scale.clamp(min=self.floor), u[:, 1], temperature), self.levels)

    def mean(self, params: Tensor) -> Tensor:
        """sum_k w_k m_k in data units, (B, *S); of integer data the mean but for the tails in the edge bins."""
        logits, location, _ = params.unflatten(1, (3, -1)).unbind(1)
        if self.levels is not None:
            location = location.clamp(-1, 1).add(1).mul((self.levels - 1) / 2)
        return (logits.softmax(1) * location).sum(1)


def at_least_one(components: int) -> int:
    """The number of components, if it is one."""
    if components < 1:
        raise ConfigError("model.likelihood.components", components, "a mixture has at least one component")
    return components


def log_logistic(location: Tensor, log_scale: Tensor, x: Tensor, levels: int | None) -> Tensor:
    """Of each dimension: log density of continuous data, log of the mass in the bin of x of integer data."""
    if levels is not None:
        return log_bin(location, log_scale, x, levels)
    z = (x - location) * torch.exp(-log_scale)
    return -z - 2 * F.softplus(-z) - log_scale


def quantile(location: Tensor, log_scale: Tensor, u: Tensor, temperature: float) -> Tensor:
    """m + temperature s (log u - log(1 - u))."""
    # a logit of 0 is minus infinity, which is the first level, but 0 times it is not a number
    return location + temperature * log_scale.exp() * torch.logit(u.clamp(min=2**-25))


def chosen(logits: Tensor, u: Tensor, temperature: float) -> Tensor:
    """The component of which the cumulative weight is the first above u, (B, *S): logits (B, K, *S), u (B, *S)."""
    cdf = (logits / max(temperature, 1e-6)).softmax(1).cumsum(1)
    # a sum of rounded weights is not quite 1, and u above it would be no component at all
    return (cdf <= u.unsqueeze(1) * cdf[:, -1:]).sum(1).clamp_(max=logits.shape[1] - 1)
