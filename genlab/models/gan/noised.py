"""A generator that is the data themselves, under noise: what critics make of two distributions that stay."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.spec import Spec

KEPT = 10_000  # training points that a checkpoint carries along


class Generator(nn.Module):
    """G(z) = x_i + std (z_2, ..., z_(D + 1)),   i = floor(N Phi(z_1)), Phi the normal distribution function.

    x_i are the first of the training points, at most 10 000. (Gulrajani et al. 2017, arXiv 1704.00028, figure 1b: real
    data under unit noise in the place of a generator.)

    Args:
        spec: of the data, points.
        latent: D + 1.
        data: the set whose points they are.
        std: standard deviation of the noise to start from; to stay at, where the player's learning rate is 0.
    """

    requires: ClassVar = {"data.kind": ("vector",)}
    points: Tensor

    def __init__(self, spec: Spec, latent: int, data: Any = None, std: float = 1.0):
        super().__init__()
        if latent != spec.dimensions + 1:
            reason = f"takes {spec.dimensions + 1} here: one number picks a point, {spec.dimensions} move it"
            raise ConfigError("model.latent", latent, reason, str(spec.dimensions + 1))
        if data is None:
            raise ConfigError("model.generator.data", data, "names no data set", "${data}")
        self.register_buffer("points", data.split("train").x[:KEPT].clone())
        self.std = nn.Parameter(torch.tensor(float(std)))

    def forward(self, z: Tensor) -> Tensor:
        """(B, D + 1) to (B, D)."""
        index = (torch.special.ndtr(z[:, 0]) * len(self.points)).long().clamp_(max=len(self.points) - 1)
        return self.points[index] + self.std * z[:, 1:]
