"""Sets on the plane and on the line, drawn from their densities, so that the right answer is known."""

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
    """Independent points of a density on the plane, or of other ``dimensions``; subclasses define ``draw``.

    Args:
        train: number of training points.
        validation: number of validation points.
        test: number of test points.
        seed: of the points; each split draws from (seed, split).
    """

    name: ClassVar[str]
    kind: ClassVar[str] = "vector"
    dimensions: ClassVar[int] = 2
    positive: ClassVar[tuple[str, ...]] = ()  # options that are refused unless they are positive numbers

    train: int = 100_000
    validation: int = 10_000
    test: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("train", "validation", "test"):
            if getattr(self, key) < 1:
                raise ConfigError(f"data.{key}", getattr(self, key), "must be at least 1")
        for key in self.positive:
            value = getattr(self, key)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"data.{key}", value, "must be a positive number")

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """``count`` independent points (N, D) and their labels (N,) or None."""
        raise NotImplementedError

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return ()

    @property
    def entropy(self) -> float | None:
        """Differential entropy in nats, None where it is not known: no model's expected NLL lies below it."""
        return None

    @property
    def spec(self) -> Spec:
        return Spec("vector", (self.dimensions,), classes=self.labels)

    def prepare(self) -> None:
        """Nothing to fetch: the points are drawn when asked for."""

    def split(self, name: str) -> Examples:
        if name not in SPLITS:
            raise ConfigError("split", name, "is train, val or test", nearest(name, SPLITS))
        count = {"train": self.train, "val": self.validation, "test": self.test}[name]
        x, y = self.draw(count, np.random.default_rng((self.seed, SPLITS.index(name))))
        if x.shape != (count, self.dimensions):
            raise DataError(f"{self.name}: expected points ({count}, {self.dimensions}), found {x.shape}")
        points = torch.from_numpy(x.astype(np.float32))
        return Examples(points, None if y is None else torch.from_numpy(y.astype(np.int64)))

    def augment(self, batch: Mapping[str, Tensor], generator: Generator) -> Mapping[str, Tensor]:
        return batch


@dataclass(kw_only=True)
class Moons(Planar):
    """Two half circles of radius 1, (cos a, sin a) and (1 - cos a, 1/2 - sin a), with Gaussian noise.

    scikit-learn's ``make_moons``, but for the angles: uniform on [0, pi] and independent here, evenly spaced there;
    the density is the same. Entropy 0.289 nats for noise 0.05 and 1.007 for 0.1, by quadrature.

    Args:
        noise: standard deviation.
    """

    name: ClassVar[str] = "moons"
    positive: ClassVar[tuple[str, ...]] = ("noise",)

    noise: float = 0.05

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = random.integers(0, 2, count)
        a = random.uniform(0, math.pi, count)
        x = np.stack([np.cos(a), np.sin(a)], 1)
        return np.where(y[:, None] == 0, x, (1, 0.5) - x) + self.noise * random.standard_normal((count, 2)), y

    @property
    def labels(self) -> tuple[str, ...]:
        return ("upper", "lower")

    @property
    def entropy(self) -> float:
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


@dataclass(kw_only=True)
class Checkerboard(Planar):
    """Uniform on every second of the 2 x 2 squares in [-4, 4]^2, as in FFJORD's toy set; entropy ln 32 = 3.466."""

    name: ClassVar[str] = "checkerboard"

    @property
    def entropy(self) -> float:
        return math.log(32)

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, None]:
        column = random.integers(0, 4, count)
        row = 2 * random.integers(0, 2, count) + column % 2
        return 2 * (np.stack([column, row], 1) - 2 + random.random((count, 2))), None


@dataclass(kw_only=True)
class Spirals(Planar):
    """Two spirals, (-a cos a, a sin a) / 3 and its negative, a = 3 pi sqrt(u), as in FFJORD's toy set.

    Before the division a uniform number in [0, 0.5) is added to each coordinate, Gaussian noise after it. The entropy
    is not known.

    Args:
        noise: standard deviation.
    """

    name: ClassVar[str] = "spirals"
    positive: ClassVar[tuple[str, ...]] = ("noise",)

    noise: float = 0.1

    @property
    def labels(self) -> tuple[str, ...]:
        return ("first", "second")

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = random.integers(0, 2, count)
        a = 3 * math.pi * np.sqrt(random.random(count))
        x = (np.stack([-a * np.cos(a), a * np.sin(a)], 1) + random.random((count, 2)) / 2) / 3
        return np.where(y[:, None] == 0, x, -x) + self.noise * random.standard_normal((count, 2)), y


@dataclass(kw_only=True)
class SwissRoll(Planar):
    """(t cos t, t sin t) with t uniform on [1.5 pi, 4.5 pi], and Gaussian noise, divided by ``scale``.

    Noise 0.25 and scale 7.5 as in WGAN-GP's toy code (arXiv 1704.00028, figure 1); FFJORD has 1 and 5. scikit-learn's
    ``make_swiss_roll`` without its second coordinate. The entropy is not known.

    Args:
        noise: standard deviation before the division.
        scale: divisor.
    """

    name: ClassVar[str] = "swissroll"
    positive: ClassVar[tuple[str, ...]] = ("noise", "scale")

    noise: float = 0.25
    scale: float = 7.5

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, None]:
        t = 1.5 * math.pi * (1 + 2 * random.random(count))
        x = np.stack([t * np.cos(t), t * np.sin(t)], 1) + self.noise * random.standard_normal((count, 2))
        return x / self.scale, None


@dataclass(kw_only=True)
class Pinwheel(Planar):
    """Gaussian arms around (1, 0), turned by 2 pi k / K + rate * exp(first coordinate), doubled, as in FFJORD's toys.

    (Johnson et al. 2016, arXiv 1603.06277, figure 1.) The entropy is not known.

    Args:
        arms: number K of arms, the classes.
        radial: standard deviation along an arm.
        tangential: standard deviation across it.
        rate: how much the arms bend.
    """

    name: ClassVar[str] = "pinwheel"
    positive: ClassVar[tuple[str, ...]] = ("arms", "radial", "tangential")

    arms: int = 5
    radial: float = 0.3
    tangential: float = 0.1
    rate: float = 0.25

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(str(k) for k in range(self.arms))

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = random.integers(0, self.arms, count)
        r, t = (random.standard_normal((count, 2)) * (self.radial, self.tangential) + (1, 0)).T
        a = 2 * math.pi * y / self.arms + self.rate * np.exp(r)
        return 2 * np.stack([r * np.cos(a) - t * np.sin(a), r * np.sin(a) + t * np.cos(a)], 1), y
