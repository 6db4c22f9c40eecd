"""A generator of one parameter: a segment of a line at a distance from the data's."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.spec import Spec


class Generator(nn.Module):
    """G(z) = (theta, Phi(z)), Phi the normal distribution function, so that Phi(z) is uniform.

    (Arjovsky, Chintala and Bottou 2017, arXiv 1701.07875, example 1.)

    Args:
        spec: of the data, points of the plane.
        latent: 1.
        theta: the distance to start from; to stay at, where the player's learning rate is 0.
    """

    requires: ClassVar = {"data.kind": ("vector",)}

    def __init__(self, spec: Spec, latent: int, theta: float = 1.0):
        super().__init__()
        if spec.shape != (2,) or latent != 1:
            raise ConfigError("model.latent", latent, "a segment of the plane has one latent number")
        self.theta = nn.Parameter(torch.tensor(float(theta)))

    def forward(self, z: Tensor) -> Tensor:
        """(B, 1) to (B, 2)."""
        return torch.cat([self.theta.expand(len(z), 1), torch.special.ndtr(z)], 1)
