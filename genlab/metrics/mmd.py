"""Maximum mean discrepancy between generated and real features under Gaussian kernels."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.extractors.base import Extractor
from genlab.metrics.base import GENERATED, Figure
from genlab.metrics.features import keep, keep_features, kept, some, squared_distances
from genlab.models.base import Batch, Samples
from genlab.spec import Spec

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the median distance between real examples
POOLED = 1000  # examples that the median distance is of


def median_distance(x: Tensor) -> float:
    """Median distance of pairs of different rows; of those that are apart, where half of the pairs are not; 1 where
    all rows are equal, when any bandwidth will do."""
    found = torch.cat([part for _, part in squared_distances(x, x)])
    distances = found[tuple(torch.triu_indices(len(x), len(x), 1, device=x.device))].sqrt()
    median = float(distances.quantile(0.5))
    apart = distances[distances > 0]
    return median or (float(apart.quantile(0.5)) if len(apart) else 1.0)


def mean_kernels(a: Tensor, b: Tensor, bandwidths: list[float]) -> Tensor:
    """Mean of exp(-|a - b|^2 / 2 s^2) over all pairs, for each bandwidth s; where ``a`` is ``b``, over pairs of
    different rows."""
    total = torch.zeros(len(bandwidths), dtype=torch.float64, device=a.device)
    for _, found in squared_distances(a, b):
        for i, bandwidth in enumerate(bandwidths):
            total[i] += (found / (-2 * bandwidth**2)).exp_().sum()
    return (total - len(a)) / (len(a) * (len(a) - 1)) if a is b else total / (len(a) * len(b))


class MMD(Metric):
    """Unbiased estimate of MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), k a Gaussian.  (Gretton et al. 2012, eq. 3)

    Of the bandwidth s in k = exp(-|x - y|^2 / 2 s^2): ``mmd2`` takes the median distance between examples of both
    sides together, so that each model is seen through a kernel of its own width. ``mmd2_multi`` is the mean of kernels
    of fixed widths, the same for all models: those given, or 1/4, 1/2, 1, 2 and 4 times the median distance between
    real examples. Medians are over pairs of at most 1000 examples. Unbiased estimates are below zero at times, and then
    ``mmd``, the root of ``mmd2``, is left out. Without a standard error: at equality of the two distributions the
    estimate degenerates, and the usual one does not hold.

    Args:
        extractor: gives the features.
        limit: examples of either side at most; more are thinned by the seed.
        bandwidths: of the fixed kernels, in units of the features; None: multiples of the median between real examples.
        seed: of the examples that are compared, and of those that give the median.
        split: of the real examples.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("mmd2", "mmd2_multi", "mmd")
    higher_is_better = False
    full_state_update = False
    generated: list[Tensor]
    real: list[Tensor]

    def __init__(
        self,
        extractor: Extractor,
        limit: int = 5000,
        bandwidths: list[float] | None = None,
        seed: int = 2020,
        split: str = "test",
    ):
        super().__init__()
        if limit < 2:
            raise GenlabError(f"limit={limit}: a kernel MMD takes two examples on each side")
        if bandwidths is not None and not (bandwidths and all(width > 0 for width in bandwidths)):
            raise GenlabError(f"bandwidths={bandwidths}: a kernel's width is positive, and there is one at least")
        self.extractor, self.reads = extractor, (GENERATED, split)
        self.limit, self.bandwidths, self.seed = limit, bandwidths, seed
        keep_features(self)

    def refuses(self, spec: Spec) -> str:
        """Nothing that the extractor does not refuse."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated or real examples."""
        keep(self, batch, source)

    def compute(self) -> dict[str, Figure]:
        """The square at the median bandwidth, that of the fixed ones, and the root of the first if there is one."""
        generated, real = kept(self, 2, "a kernel MMD")
        protocol = {"n real": len(real), "limit": self.limit, "pick seed": self.seed}
        x, y = (some(side, self.limit, self.seed) for side in (generated, real))
        median = median_distance(some(torch.cat([x, y]), POOLED, self.seed))
        if self.bandwidths is None:
            of_real = median_distance(some(y, POOLED, self.seed))
            fixed, told = [multiple * of_real for multiple in MULTIPLES], "median of real x 1/4 ... 4"
        else:
            fixed, told = self.bandwidths, ", ".join(map(str, self.bandwidths))
        widths = [median, *fixed]
        squares = mean_kernels(x, x, widths) + mean_kernels(y, y, widths) - 2 * mean_kernels(x, y, widths)
        square, own = float(squares[0]), protocol | {"bandwidth": "median"}
        figures = {
            "mmd2": Figure(square, protocol=own),
            "mmd2_multi": Figure(float(squares[1:].mean()), protocol=protocol | {"bandwidth": told}),
        }
        return figures | ({"mmd": Figure(square**0.5, protocol=own)} if square > 0 else {})
