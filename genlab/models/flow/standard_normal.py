"""The base distribution of a flow."""

import math

from torch import Tensor

from genlab.noise import Noise


class StandardNormal:
    """N(0, I) over vectors, log p(z) = -(|z|^2 + D log 2 pi) / 2.

    Args:
        dimensions: D.
    """

    def __init__(self, dimensions: int):
        self.dimensions = dimensions

    def log_prob(self, z: Tensor) -> Tensor:
        """(B, D) to (B,), in nats."""
        return -0.5 * (z.square().sum(1) + self.dimensions * math.log(2 * math.pi))

    def sample(self, noise: Noise, temperature: float = 1.0) -> Tensor:
        """(B, D), of standard deviation ``temperature``."""
        return temperature * noise.normal(self.dimensions)
