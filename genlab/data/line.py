"""Mixtures of Gaussians on the line: the smallest data with modes, whose divergences quadrature gives exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from genlab.data.planar import Planar
from genlab.errors import ConfigError


@dataclass(kw_only=True)
class Mixture(Planar):
    """p(x) = sum over k of w_k N(x; m_k, s_k^2); the class is the number of the Gaussian.

    The defaults are two of unlike weight and width, far enough apart that one Gaussian cannot follow both. (Nowozin et
    al. 2016, arXiv 1606.00709, section 4.1, fit one to such a mixture and do not print its numbers.) The entropy is by
    quadrature.

    Args:
        means: m, one for each Gaussian.
        stds: s, as many.
        weights: w up to a factor, as many.

    Raises:
        ConfigError: they are not equally many, or a std or weight is not positive.
    """

    name: ClassVar[str] = "mixture"
    dimensions: ClassVar[int] = 1

    means: Sequence[float] = (-2.0, 2.0)
    stds: Sequence[float] = (0.5, 0.8)
    weights: Sequence[float] = (0.6, 0.4)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("stds", "weights"):
            given = getattr(self, key)
            if len(given) != len(self.means):
                raise ConfigError(
                    f"data.{key}", given, f"there are {len(self.means)} means, so {len(self.means)} of these"
                )
            if not all(0 < value < math.inf for value in given):
                raise ConfigError(f"data.{key}", given, "are positive numbers")

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(str(k) for k in range(len(self.means)))

    @property
    def entropy(self) -> float:
        low = min(m - 12 * s for m, s in zip(self.means, self.stds, strict=True))
        high = max(m + 12 * s for m, s in zip(self.means, self.stds, strict=True))
        x = torch.arange(low, high, min(self.stds) / 200, dtype=torch.float64)[:, None]
        log_p = self.log_prob(x)
        return -float(torch.trapezoid(log_p.exp() * log_p, x[:, 0]))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats, (B, 1) to (B,), in float64."""
        m, s, w = (torch.tensor([*given], dtype=torch.float64) for given in (self.means, self.stds, self.weights))
        each = -((x.double() - m) / s).square() / 2 - s.log() - math.log(2 * math.pi) / 2
        return torch.logsumexp(each + (w / w.sum()).log(), 1)

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        w = np.asarray(self.weights, float)
        y = random.choice(len(w), count, p=w / w.sum())
        x = np.asarray(self.means)[y] + np.asarray(self.stds)[y] * random.standard_normal(count)
        return x[:, None], y
