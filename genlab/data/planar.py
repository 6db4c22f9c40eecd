"""Two-dimensional sets, drawn from their densities, so that the right answer is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from genlab.data.base import SPLITS, Examples
from genlab.errors import ConfigError, DataError, nearest
from genlab.spec import Spec


@dataclass(kw_only=True)
class Planar:
    """Independent points of a density on the plane; subclasses define ``draw``.

    Args:
        train: number of training points.
        validation: number of validation points.
        test: number of test points.
        seed: of the points; each split draws from (seed, split).
        scale: the points are divided by it, as some papers do; ``entropy``, ``centres`` and ``std`` follow.
    """

    name: ClassVar[str]
    class_names: ClassVar[tuple[str, ...]] = ()

    train: int = 100_000
    validation: int = 10_000
    test: int = 20_000
    seed: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        for key in ("train", "validation", "test"):
            if getattr(self, key) < 1:
                raise ConfigError(f"data.{key}", getattr(self, key), "is at least 1")
        for key in ("noise", "std", "radius", "spacing", "scale"):
            value = getattr(self, key, 1.0)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"data.{key}", value, "is a positive number")

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """``count`` independent points (N, 2) and their labels (N,) or None, before ``scale``."""
        raise NotImplementedError

    @property
    def unscaled_entropy(self) -> float | None:
        """Differential entropy in nats before ``scale``, None where it is not known."""
        return None

    @property
    def entropy(self) -> float | None:
        """Differential entropy in nats: no model's expected negative log-likelihood lies below it."""
        entropy = self.unscaled_entropy
        return None if entropy is None else entropy - 2 * math.log(self.scale)

    @property
    def spec(self) -> Spec:
        return Spec("vector", (2,), classes=self.class_names)

    def prepare(self) -> None:
        """Nothing to fetch: the points are drawn when asked for."""

    def split(self, name: str) -> Examples:
        if name not in SPLITS:
            raise ConfigError("split", name, "is train, val or test", nearest(name, SPLITS))
        count = {"train": self.train, "val": self.validation, "test": self.test}[name]
        x, y = self.draw(count, np.random.default_rng((self.seed, SPLITS.index(name))))
        if x.shape != (count, 2):
            raise DataError(f"{self.name}: expected points ({count}, 2), found {x.shape}")
        points = torch.from_numpy((x / self.scale).astype(np.float32))
        return Examples(points, None if y is None else torch.from_numpy(y.astype(np.int64)))

    def augment(self, batch: Mapping[str, Tensor], generator: Generator) -> Mapping[str, Tensor]:
        return batch


@dataclass(kw_only=True)
class Moons(Planar):
    """Two half circles of radius 1, (cos a, sin a) and (1 - cos a, 1/2 - sin a), with Gaussian noise.

    scikit-learn's ``make_moons``, but for the angles: uniform on [0, pi] and independent here, evenly spaced there;
    the density is the same. Entropy 0.289 nats for noise 0.05 and 1.013 for 0.1 (by quadrature).

    Args:
        noise: standard deviation.
    """

    name: ClassVar[str] = "moons"
    class_names: ClassVar[tuple[str, ...]] = ("upper", "lower")

    noise: float = 0.05

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = random.integers(0, 2, count)
        a = random.uniform(0, math.pi, count)
        x = np.stack([np.cos(a), np.sin(a)], 1)
        return np.where(y[:, None] == 0, x, (1, 0.5) - x) + self.noise * random.standard_normal((count, 2)), y

    @property
    def unscaled_entropy(self) -> float:
        # -integral of p log p as a sum over a grid of half a standard deviation; p as a sum over the angle
        step, margin = self.noise / 2, 6 * self.noise
        angles = math.ceil(4 * math.pi / self.noise)
        a = (np.arange(angles) + 0.5) * math.pi / angles
        columns, rows = np.arange(-1 - margin, 2 + margin, step), np.arange(-0.5 - margin, 1 + margin, step)
        p = np.zeros((len(columns), len(rows)))
        for x, y in ((np.cos(a), np.sin(a)), (1 - np.cos(a), 0.5 - np.sin(a))):
            near_x = np.exp(-(((columns[:, None] - x) / self.noise) ** 2) / 2)
            near_y = np.exp(-(((rows[:, None] - y) / self.noise) ** 2) / 2)
            p += near_x @ near_y.T
        p /= 2 * angles * 2 * math.pi * self.noise**2
        inside = p[p > 0]
        return float(-(inside * np.log(inside)).sum() * step**2)
