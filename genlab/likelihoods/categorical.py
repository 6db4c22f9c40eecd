"""Categorical likelihood, for data of few levels."""

import torch
from torch import Tensor

from genlab.errors import ConfigError


class Categorical:
    """p(x) = softmax(l)_x, a logit for each level.

    It knows nothing of an order of the levels: the best choice for few, slow to learn for 256.
    (van den Oord et al. 2016, arXiv 1601.06759, section 3.3)

    Args:
        levels: of the data.
    """

    draws = 1

    def __init__(self, levels: int | None):
        if levels is None:
            raise ConfigError("model.likelihood", "categorical", "for integer data; these are continuous", "gaussian")
        self.levels = self.outputs = levels

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Nats, (B,): params (B, levels, *S), x (B, *S)."""
        chosen = params.gather(1, x.long().unsqueeze(1)).squeeze(1)
        return (chosen - params.logsumexp(1)).flatten(1).sum(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """The level of which the CDF is the first above u, (B, *S): u (B, 1, *S).

        Temperature divides the logits, 0 giving the mode.
        """
        cdf = (params / max(temperature, 1e-6)).softmax(1).cumsum(1)
        # a sum of rounded probabilities is not quite 1, and u above it would be no level at all
        x = (cdf <= u * cdf[:, -1:]).sum(1).clamp_(max=self.levels - 1)
        return x.to(torch.uint8) if self.levels <= 256 else x

    def mean(self, params: Tensor) -> Tensor:
        """sum_i i p(i), (B, *S)."""
        level = torch.arange(self.levels, dtype=params.dtype, device=params.device)
        return torch.tensordot(params.softmax(1), level, dims=([1], [0]))
