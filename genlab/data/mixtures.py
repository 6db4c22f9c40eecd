"""Mixtures of Gaussians on the plane, whose centres are known, so that missing modes can be counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from genlab.data.planar import Planar


def _mixture_entropy(centres: Tensor, std: float) -> float | None:
    """Of equal Gaussians that do not overlap: ln K + 1 + ln(2 pi std^2)."""
    apart = torch.pdist(centres).min() > 8 * std if len(centres) > 1 else True
    return math.log(len(centres)) + 1 + math.log(2 * math.pi * std**2) if apart else None


@dataclass(kw_only=True)
class Ring(Planar):
    """Equal Gaussians on a circle at angles 2 pi k / K; entropy ln K + 1 + ln(2 pi std^2) while they are apart.

    Radius 1 and std 0.01 are VEEGAN's (arXiv 1705.07761) and PacGAN's (arXiv 1712.04086) ring; Unrolled GAN (arXiv
    1611.02163) has 2 and 0.02, WGAN-GP's toy code the same divided by 1.414. Name the variant with every figure.

    Args:
        modes: number K of Gaussians.
        radius: of the circle.
        std: standard deviation of each Gaussian in each direction.
    """

    name: ClassVar[str] = "ring"
    positive: ClassVar[tuple[str, ...]] = ("modes", "radius", "std")

    modes: int = 8
    radius: float = 1.0
    std: float = 0.01

    @property
    def centres(self) -> Tensor:
        """(K, 2), for mode metrics; the class is the number of the centre."""
        a = torch.arange(self.modes, dtype=torch.float64) * (2 * math.pi / self.modes)
        return (self.radius * torch.stack([a.cos(), a.sin()], 1)).float()

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(str(k) for k in range(self.modes))

    @property
    def entropy(self) -> float | None:
        return _mixture_entropy(self.centres, self.std)

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = random.integers(0, self.modes, count)
        return self.centres.numpy()[y] + self.std * random.standard_normal((count, 2)), y


@dataclass(kw_only=True)
class Grid(Planar):
    """Equal Gaussians on a square grid around 0; entropy ln K + 1 + ln(2 pi std^2) while they are apart.

    5 x 5 with spacing 2 and std 0.05: ALI (arXiv 1606.00704), VEEGAN, PacGAN; WGAN-GP's toy code divides by 2.828,
    which is spacing 0.7072 and std 0.01768.

    Args:
        side: number of Gaussians along a side, K = side^2.
        spacing: distance of neighbours.
        std: standard deviation of each Gaussian in each direction.
    """

    name: ClassVar[str] = "grid"
    positive: ClassVar[tuple[str, ...]] = ("side", "spacing", "std")

    side: int = 5
    spacing: float = 2.0
    std: float = 0.05

    @property
    def centres(self) -> Tensor:
        """(K, 2), for mode metrics; the class is the number of the centre."""
        line = (torch.arange(self.side) - (self.side - 1) / 2) * self.spacing
        return torch.cartesian_prod(line, line)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(str(k) for k in range(self.side**2))

    @property
    def entropy(self) -> float | None:
        return _mixture_entropy(self.centres, self.std)

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = random.integers(0, self.side**2, count)
        return self.centres.numpy()[y] + self.std * random.standard_normal((count, 2)), y
