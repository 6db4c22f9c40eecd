"""Mixture of Gaussians: a density for continuous data, integrated over bins for integer data."""

import torch
from torch import Tensor

from genlab.likelihoods.gaussian import log_value
from genlab.likelihoods.logistic_mixture import at_least_one, chosen
from genlab.spec import from_signed


class GaussianMixture:
    """p(x) = sum_k w_k N(x; m_k, s_k^2), w = softmax(a), of K Gaussians, in data units of continuous data.

    Integer data, scaled to [-1, 1]: masses of the bin of x as those of ``Gaussian``, edge bins with the tails. The
    network gives a, m and log s of each component. (Bishop 1994, Mixture density networks, eq. 22-23; for each pixel:
    Theis & Bethge 2015, arXiv 1506.03478)

    A sample takes two uniform numbers: by the first a component, by the second that component's quantile.

    Args:
        levels: of the data; None for continuous data.
        components: K.
        floor: smallest log s; without one the density of data that repeat themselves grows without bound.
    """

    draws = 2

    def __init__(self, levels: int | None, components: int = 10, floor: float = -7.0):
        self.levels, self.floor = levels, floor
        self.components = at_least_one(components)
        self.parameters = 3 * components

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Nats, (B,): params (B, 3 K, *S), x (B, *S)."""
        logits, location, log_scale = params.unflatten(1, (3, -1)).unbind(1)
        within = log_value(location, log_scale.clamp(min=self.floor), x.unsqueeze(1), self.levels)
        return (logits.log_softmax(1) + within).logsumexp(1).flatten(1).sum(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """(B, *S): u (B, 2, *S). Temperature divides a and multiplies s, 0 giving the likeliest component's m."""
        logits, *others = params.unflatten(1, (3, -1)).unbind(1)
        component = chosen(logits, u[:, 0], temperature).unsqueeze(1)
        location, log_scale = (values.gather(1, component).squeeze(1) for values in others)
        normal = torch.special.ndtri(u[:, 1].clamp(min=2**-25))  # the quantile of 0 is minus infinity
        return from_signed(location + temperature * log_scale.clamp(min=self.floor).exp() * normal, self.levels)

    def mean(self, params: Tensor) -> Tensor:
        """sum_k w_k m_k in data units, (B, *S); of integer data the mean but for the tails in the edge bins."""
        logits, location, _ = params.unflatten(1, (3, -1)).unbind(1)
        if self.levels is not None:
            location = location.clamp(-1, 1).add(1).mul((self.levels - 1) / 2)
        return (logits.softmax(1) * location).sum(1)
