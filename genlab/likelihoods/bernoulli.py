"""Bernoulli likelihood, for binary data."""

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.errors import ConfigError


class Bernoulli:
    """log p(x) = x l - softplus(l), for x in {0, 1} and the logit l = log p(1) - log p(0).

    Refused on more than two levels: there the formula, known as the binary cross-entropy of grey values, is no
    log-probability of anything.

    Args:
        levels: of the data; 2.
    """

    outputs = 1
    draws = 1

    def __init__(self, levels: int | None):
        if levels != 2:
            data = "continuous" if levels is None else f"of {levels} levels"
            raise ConfigError("model.likelihood", "bernoulli", f"for binary data; these are {data}", "categorical")

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Nats, (B,): params (B, 1, *S), x (B, *S)."""
        logit = params.squeeze(1)
        return (x.to(logit.dtype) * logit - F.softplus(logit)).flatten(1).sum(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """0 below p(0), 1 above, (B, *S): u (B, 1, *S). Temperature divides the logit, 0 giving the mode."""
        probability = torch.sigmoid(params.squeeze(1) / max(temperature, 1e-6))
        return (u.squeeze(1) >= 1 - probability).to(torch.uint8)

    def mean(self, params: Tensor) -> Tensor:
        """p(1), (B, *S)."""
        return torch.sigmoid(params.squeeze(1))
