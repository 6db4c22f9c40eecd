"""A generator that is one Gaussian, to be fitted or to stay where it is."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.spec import Spec


class Generator(nn.Module):
    """G(z) = m + A z, A of D rows and Z columns, so that G(z) ~ N(m, A A^T) where z ~ N(0, I).

    With fewer latents than dimensions, Z < D, it lies in a plane of Z dimensions and has no density.

    Args:
        spec: of the data, vectors of D numbers.
        latent: Z.
        mean: m to start from, the same in all dimensions.
        std: A to start from, as a multiple of the identity.
    """

    requires: ClassVar = {"data.kind": ("vector",)}

    def __init__(self, spec: Spec, latent: int, mean: float = 0.0, std: float = 1.0):
        super().__init__()
        self.mean = nn.Parameter(torch.full((spec.dimensions,), float(mean)))
        self.factor = nn.Parameter(float(std) * torch.eye(spec.dimensions, latent))

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, Z) to (B, D)."""
        return self.mean + z @ self.factor.T
