"""Birthday paradox test: how many different examples a generator has, from how often two of them coincide."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from scipy.special import gammaincinv, ndtri
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.extractors.base import Extractor
from genlab.metrics.base import GENERATED, Figure
from genlab.metrics.features import TIE, keep, keep_features, kept, some, squared_distances
from genlab.models.base import Batch, Samples
from genlab.spec import Spec

LEAST = 10  # samples: the few pairs of less tell nothing of a support
CONFIDENCE = 0.95


def nearest_distances(x: Tensor) -> Tensor:
    """Distance from every row to the nearest other one, (N,)."""
    return torch.cat([found.topk(2, largest=False).values[:, 1] for _, found in squared_distances(x, x)]).sqrt()


def coincidences(x: Tensor, distance: float) -> Tensor:
    """How many others lie within ``distance`` of every row, (N,)."""
    within = distance**2 * TIE
    return torch.cat([(found <= within).sum(1) - 1 for _, found in squared_distances(x, x)]).double()


def collision_rate(degrees: Tensor) -> tuple[float, float]:
    """Unbiased estimate of sum p_i^2, and its standard error, from how many others each of s samples coincides with.

    The share of the s (s - 1) / 2 pairs that coincide is a U-statistic of degree two. Its variance, with
    q = sum p_i^2, is (4 (s - 2) (sum p_i^3 - q^2) + 2 q (1 - q)) / (s (s - 1)), where sum p_i^3 is estimated by the
    share of triples in which one coincides with the two others. For equally likely items the first term is none, and
    the relative error is one over the root of the number of coincidences.
    """
    s = len(degrees)
    rate = float(degrees.sum()) / (s * (s - 1))
    triples = float((degrees * (degrees - 1)).sum()) / (s * (s - 1) * (s - 2)) if s > 2 else rate**2
    uneven = max(triples - rate**2, 0.0)
    return rate, math.sqrt((4 * (s - 2) * uneven + 2 * rate * (1 - rate)) / (s * (s - 1)))


def poisson_limit(count: float) -> float:
    """The mean of which a Poisson number is ``count`` or less with probability 1 - ``CONFIDENCE``."""
    return float(gammaincinv(count + 1, CONFIDENCE))


class Birthday(Metric):
    """Support size 1 / sum p_i^2 of a generator: N for N equally likely items, less than their number otherwise.

    Two generated examples are duplicates where their features are no farther apart than the first percentile of the
    distances to the nearest neighbour among equally many real examples, or all of these where they are fewer. Of the
    s (s - 1) / 2 pairs among s samples let a share r be duplicates. Then ``support`` is 1 / r, and ``duplicates``, the
    probability of any among so many samples, is 1 - (1 - r)^pairs. Arora and Zhang (2017, arXiv 1706.08224) search for
    the s at which it is a half and judge pairs by eye, both deviations; all pairs of one large s tell more, about
    s^2 / 2N of them being duplicates, with a relative error of one over the root of that.

    By the choice of the distance some 0.01 / s to 0.02 / s of the pairs of s different real examples are as close, so
    a support beyond 50 s to 100 s cannot be told. Where the share r is not above that of the real pairs, by two
    standard errors, ``support`` is a lower limit, marked ``>=``: one over the share that r may be with a confidence of
    95 %, each such pair counting as a duplicate. For m duplicates that is the upper limit of a Poisson number, 3.0 for
    none, 4.7 for one, over the number of pairs, or r and 1.64 standard errors where that is more. Examples that crowd
    more than real ones do come close more often, without being copies; what is told of such a generator is its support
    at this resolution.

    Args:
        extractor: gives the features.
        seed: of the real examples taken.
        split: of the real examples.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("support", "duplicates")
    higher_is_better = True
    full_state_update = False
    generated: list[Tensor]
    real: list[Tensor]

    def __init__(self, extractor: Extractor, seed: int = 2020, split: str = "test"):
        super().__init__()
        self.extractor, self.reads, self.seed = extractor, (GENERATED, split), seed
        keep_features(self)

    def refuses(self, spec: Spec) -> str:
        """Nothing that the extractor does not refuse."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated or real examples."""
        keep(self, batch, source)

    def compute(self) -> dict[str, Figure]:
        """Support size, and how likely a duplicate is among so many samples."""
        generated, real = kept(self, LEAST, "a birthday test")
        real = some(real, len(generated), self.seed)
        distance = float(nearest_distances(real).quantile(0.01))
        control, control_error = collision_rate(coincidences(real, distance))
        rate, stderr = collision_rate(coincidences(generated, distance))
        pairs = len(generated) * (len(generated) - 1) / 2
        protocol = {"n real": len(real), "percentile": 1, "pick seed": self.seed}
        of_support = protocol | {"confidence": CONFIDENCE}  # of the limit that it may be: one column for both
        if rate - control > 2 * math.hypot(stderr, control_error):
            support = Figure(1 / rate, "~", stderr / rate**2, of_support)
        else:
            limit = max(poisson_limit(rate * pairs) / pairs, rate + ndtri(CONFIDENCE) * stderr)
            support = Figure(1 / limit, ">=", None, of_support)
        likely = 1 - (1 - rate) ** pairs
        return {"support": support, "duplicates": Figure(likely, "~", None, protocol)}
