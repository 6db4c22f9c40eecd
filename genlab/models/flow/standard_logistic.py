"""The logistic base distribution of NICE."""

from torch import Tensor
from torch.nn.functional import softplus

from genlab.noise import Noise

TINY = 1e-7
"""How near to 0 and 1 a quantile may come."""


class StandardLogistic:
    """log p(z) = -sum of softplus(z) + softplus(-z) over vectors. (Dinh et al. 2015, arXiv 1410.8516, section 3.4)

    Args:
        dimensions: D.
    """

    def __init__(self, dimensions: int):
        self.dimensions = dimensions

    def log_prob(self, z: Tensor) -> Tensor:
        """(B, D) to (B,), in nats."""
        return -(softplus(z) + softplus(-z)).sum(1)

    def sample(self, noise: Noise, temperature: float = 1.0) -> Tensor:
        """(B, D), of ``temperature`` times the standard deviation pi / sqrt(3)."""
        u = noise.uniform(self.dimensions).clamp(TINY, 1 - TINY)
        return temperature * u.logit()
