"""Discretised logistic likelihood, for data of many levels."""

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.errors import ConfigError
from genlab.spec import from_signed


class DiscretisedLogistic:
    """p(x) = sigma(a) - sigma(b), a logistic integrated over the bin of x; the edge bins take the tails.

    a, b = (x + h - m) / s, (x - h - m) / s   with levels scaled to [-1, 1], so half a bin is h = 1 / (levels - 1)
    p(0) = sigma(a),   p(levels - 1) = 1 - sigma(b)

    The network gives m and log s of each dimension. (Kingma et al. 2016, arXiv 1606.04934, section 5.2; edge bins:
    Salimans et al. 2017, arXiv 1701.05517, eq. 2.) A deviation: where a bin has little mass the released code puts
    the density at its centre, here every bin is exact by

    log(sigma(a) - sigma(b)) = log sigma(a) + log sigma(-b) + log(1 - exp(b - a)),   b - a = -2h / s

    of which no term cancels, whatever m and s.

    Args:
        levels: of the data.
        floor: smallest log s.
    """

    outputs = 2
    draws = 1

    def __init__(self, levels: int | None, floor: float = -7.0):
        if levels is None:
            reason = "for integer data; these are continuous"
            raise ConfigError("model.likelihood", "discretised_logistic", reason, "gaussian")
        self.levels, self.floor = levels, floor

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Nats, (B,): params (B, 2, *S), x (B, *S)."""
        location, log_scale = params[:, 0], params[:, 1].clamp(min=self.floor)
        return log_bin(location, log_scale, x, self.levels).flatten(1).sum(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """m + s (log u - log(1 - u)) to the nearest level, (B, *S): u (B, 1, *S). Temperature multiplies s."""
        location, log_scale = params[:, 0], params[:, 1].clamp(min=self.floor)
        # a logit of 0 is minus infinity, which is the first level, but 0 times it is not a number
        logit = torch.logit(u.squeeze(1).clamp(min=2**-25))
        return from_signed(location + temperature * log_scale.exp() * logit, self.levels)

    def mean(self, params: Tensor) -> Tensor:
        """m in data units, (B, *S): the mean but for the tails folded into the edge bins."""
        return params[:, 0].clamp(-1, 1).add(1).mul((self.levels - 1) / 2)


def log_bin(location: Tensor, log_scale: Tensor, x: Tensor, levels: int) -> Tensor:
    """log p(x) of each dimension: the logarithm of the logistic's mass in the bin of x, all of one shape."""
    half, rate = 1 / (levels - 1), torch.exp(-log_scale)
    distance = x.to(location.dtype) * (2 * half) - 1 - location
    below = F.logsigmoid((distance + half) * rate)
    above = F.logsigmoid((half - distance) * rate)
    within = torch.log(-torch.expm1(-2 * half * rate))
    first, last = x == 0, x == levels - 1
    return below.masked_fill(last, 0) + above.masked_fill(first, 0) + within.masked_fill(first | last, 0)
