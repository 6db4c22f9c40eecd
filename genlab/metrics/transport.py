"""Exact Wasserstein distances and the energy distance between generated and real points."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from genlab.errors import GenlabError
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch, Samples
from genlab.spec import Spec

PIVOTS = 10_000_000  # of the network simplex: hundreds of times what 2000 points a side take


def wasserstein(cost: Tensor) -> float:
    """min over couplings of sum_ij P_ij cost_ij, the marginals uniform: (N, M) costs, by the network simplex.

    (Bonneel et al. 2011, doi 10.1145/2070781.2024192, in the library POT; Flamary et al. 2021, JMLR 22:78.)
    """
    from ot import emd2  # imported late: it looks for every array library there is

    found, log = emd2([], [], cost.cpu().numpy(), numItermax=PIVOTS, log=True)
    if log["warning"]:
        raise GenlabError(f"optimal transport has not ended: {' '.join(str(log['warning']).split())}")
    return max(float(found), 0.0)


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'|, of (N, D) and (M, D), x' and y' other points than x and y: unbiased.

    So it may be negative where the distributions are near to one another. (Szekely & Rizzo 2013, doi
    10.1016/j.jspi.2013.03.018; the V-statistic, never negative, counts each point as another one too.)
    """
    within = [distances(z, z).sum() / (len(z) * (len(z) - 1)) for z in (x, y)]
    return float(2 * distances(x, y).mean() - within[0] - within[1])


def distances(x: Tensor, y: Tensor) -> Tensor:
    """(N, M), from differences: exact where points coincide."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


class Transport(Metric):
    """How far the generated points must be moved to become real ones.

    wasserstein_1 = min_P sum_ij P_ij |x_i - y_j|,   wasserstein_2 = (min_P sum_ij P_ij |x_i - y_j|^2)^(1/2)

    over couplings P of equally many points of both, exactly, in the data's own units; and ``energy``, the unbiased
    energy distance of the same points. At most ``limit`` of each, chosen by a fixed seed. Two sets of one distribution
    are some way apart too, the more so the fewer they are: compare with the distance of real points.

    Args:
        split: of the real points.
        limit: largest number of points of each; cost grows with its cube.
        seed: of the choice.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("wasserstein_1", "wasserstein_2", "energy")
    higher_is_better = False
    full_state_update = False
    generated: list[Tensor]
    real: list[Tensor]

    def __init__(self, spec: Spec, split: str = "test", limit: int = 2000, seed: int = 0):
        super().__init__()
        if limit < 2:
            raise GenlabError(f"limit={limit}: distances between sets take two points of each")
        self.reads = (GENERATED, split)
        self.dimensions, self.limit, self.seed = spec.dimensions, limit, seed
        # Flat: torchmetrics lets a rank that was shown nothing hand over an empty vector of floats.
        self.add_state("generated", [], dist_reduce_fx="cat")
        self.add_state("real", [], dist_reduce_fx="cat")

    def refuses(self, spec: Spec) -> str:
        """Vectors only: between images, these distances are of pixels and need far more points."""
        return "" if spec.kind == "vector" else "exact transport is computed between vectors"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated or real points."""
        (self.generated if source == GENERATED else self.real).append(batch["x"].float().flatten())

    def compute(self) -> dict[str, Figure]:
        """The three distances."""
        x, y = self._points(self.generated), self._points(self.real)
        count = min(len(x), len(y), self.limit)
        if count < 2:
            raise GenlabError(f"distances between sets take two points of each; here are {len(x)} and {len(y)}")
        x, y = self._some(x, count), self._some(y, count)
        cost = distances(x, y)
        protocol: dict[str, Any] = {"points": count, "subset seed": self.seed}
        return {
            "wasserstein_1": Figure(wasserstein(cost), protocol=protocol),
            "wasserstein_2": Figure(math.sqrt(wasserstein(cost.square())), protocol=protocol),
            "energy": Figure(energy_distance(x, y), protocol=protocol),
        }

    def _points(self, parts: list[Tensor] | Tensor) -> Tensor:
        """All points of a side, (N, D), in float64."""
        points = dim_zero_cat(parts) if len(parts) else torch.zeros(0)
        points = points.view(-1, self.dimensions).double()
        if not points.isfinite().all():
            raise GenlabError("some points are not finite, so they are no distance away from others")
        return points

    def _some(self, points: Tensor, count: int) -> Tensor:
        """``count`` of them, by the seed."""
        rows = np.random.RandomState(self.seed).permutation(len(points))[:count]
        return points[torch.from_numpy(rows).to(points.device)]
