"""A generator that is one Gaussian, to be fitted or to stay where it is."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.spec import Spec


class Generator(nn.Module):
    """G(z) = m + A z, A lower triangular, so that G(z) ~ N(m, A A^T) where z ~ N(0, I).

    Args:
        spec: of the data, vectors of D numbers.
        latent: D.
        mean: m to start from, the same in all dimensions.
        std: A to start from, as a multiple of the identity.

    Raises:
        ConfigError: the latent has another number of dimensions than the data.
    """

    requires: ClassVar = {"data.kind": ("vector",)}

    def __init__(self, spec: Spec, latent: int, mean: float = 0.0, std: float = 1.0):
        super().__init__()
        if spec.shape != (latent,):
            reason = f"as many as the data have dimensions, {spec.dimensions}, so that A is square"
            raise ConfigError("model.latent", latent, reason, str(spec.dimensions))
        self.mean = nn.Parameter(torch.full((latent,), float(mean)))
        self.factor = nn.Parameter(float(std) * torch.eye(latent))

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, D) to (B, D)."""
        return self.mean + z @ self.factor.tril().T
