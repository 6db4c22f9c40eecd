"""Two parallel segments of the plane: data of two parts, each with less dimensions than the plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genlab.data.planar import Planar


@dataclass(kw_only=True)
class TwoLines(Planar):
    """(theta k + e, u): k the line, 0 or 1, u uniform on [0, 1], e normal of standard deviation ``noise``.

    Both lines of the example by which Arjovsky, Chintala and Bottou 2017 (arXiv 1701.07875, example 1) compare
    distances, as one distribution; ``segment`` is one of them alone. Without noise there is no density.

    Args:
        theta: distance of the lines.
        noise: standard deviation across a line.
    """

    name: ClassVar[str] = "two_lines"
    positive: ClassVar[tuple[str, ...]] = ("theta",)

    theta: float = 1.0
    noise: float = 0.01

    @property
    def labels(self) -> tuple[str, ...]:
        return ("0", "1")

    @property
    def entropy(self) -> float | None:
        """ln 2 + ln(2 pi e noise^2) / 2 nats where the lines are apart and there is noise."""
        if not 0 < 8 * self.noise < abs(self.theta):
            return None
        return math.log(2) + math.log(2 * math.pi * math.e * self.noise**2) / 2

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = random.integers(0, 2, count)
        across = self.theta * y + self.noise * random.standard_normal(count)
        return np.stack([across, random.random(count)], 1), y
