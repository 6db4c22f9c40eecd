"""A circle in the plane: data of one dimension in a space of two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genlab.data.planar import Planar
from genlab.errors import ConfigError


@dataclass(kw_only=True)
class Circle(Planar):
    """(r cos a, r sin a), a uniform, r = 1 + noise e, e normal.

    The thinner it is, the more a flow must squeeze the plane across it; without noise there is no density, and the
    likelihood of a flow grows as long as it is trained.

    Args:
        noise: standard deviation across the circle, at most 0.1.
    """

    name: ClassVar[str] = "circle"

    noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise <= 0.1:
            raise ConfigError("data.noise", self.noise, "lies between 0 and 0.1")

    @property
    def entropy(self) -> float | None:
        """ln 2 pi + ln(2 pi e noise^2) / 2 + E[ln r], and E[ln r] = -noise^2 / 2 to second order."""
        if not self.noise:
            return None
        return math.log(2 * math.pi) + math.log(2 * math.pi * math.e * self.noise**2) / 2 - self.noise**2 / 2

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, None]:
        a = random.uniform(0, 2 * math.pi, count)
        r = 1 + self.noise * random.standard_normal(count)
        return np.stack([r * np.cos(a), r * np.sin(a)], 1), None
