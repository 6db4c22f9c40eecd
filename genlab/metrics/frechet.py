"""Frechet distance between generated and real features (FID where the extractor is the Inception network)."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.extractors.base import Extractor
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch, Samples
from genlab.spec import Spec


def frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """|m_a - m_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^1/2), in float64.  (Heusel et al. 2017, arXiv 1706.08500, eq. 6)

    With S_a = R R^T, the trace of the root is the sum of the roots of the eigenvalues of R^T S_b R, which is symmetric:
    real at any rank, where the root of the product itself turns complex or not finite. R is a Cholesky factor with
    pivoting, which stops at the rank of S_a. Eigenvalues below rounding error count as zero, for their roots would not
    be small.
    """
    root = _factor(covariance_a)
    between = torch.linalg.eigvalsh(root.T @ covariance_b.double() @ root)
    trace = between[between > _rounding(between)].sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + covariance_a.trace() + covariance_b.trace() - 2 * trace
    return max(float(distance), 0.0)


def _factor(covariance: Tensor) -> Tensor:
    """R (D, rank) with R R^T = the covariance, (D, D) positive semi-definite."""
    packed, pivots, rank, _ = lapack.dpstrf(covariance.double().cpu().numpy(), lower=1)
    root = np.empty((len(packed), rank))
    root[pivots - 1] = np.tril(packed)[:, :rank]
    return torch.from_numpy(root).to(covariance.device)


def _rounding(eigenvalues: Tensor) -> float:
    """Below which an eigenvalue cannot be told from zero."""
    largest = float(eigenvalues.max()) if len(eigenvalues) else 0.0
    return max(largest, 0.0) * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps


class FrechetDistance(Metric):
    """``frechet_distance`` of Gaussians with the means and covariances (ddof 1) of generated and real features.

    Streamed: sums of features and of their outer products in float64. Biased upwards for few samples, so the numbers of
    both are part of its protocol. Fewer samples than features are fine, though then the bias is large, and it warns.

    Args:
        extractor: gives the features.
        split: of the real examples.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("fid",)
    higher_is_better = False
    full_state_update = False
    count: Tensor
    total: Tensor
    outer: Tensor

    def __init__(self, extractor: Extractor, split: str = "test"):
        super().__init__()
        self.extractor, self.reads = extractor, (GENERATED, split)
        size = extractor.dimensions
        self.add_state("count", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(2, size, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(2, size, size, dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Nothing that the extractor does not refuse."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated or real examples."""
        features = self.extractor(batch["x"]).features.double()
        side = int(source != GENERATED)
        self.count[side] += len(features)
        self.total[side] += features.sum(0)
        self.outer[side].addmm_(features.T, features)

    def compute(self) -> dict[str, Figure]:
        """The distance; 0 for equal moments."""
        if self.count.min() < 2:
            counts = " and ".join(str(int(count)) for count in self.count)
            raise GenlabError(f"a Frechet distance takes two examples on each side; here are {counts}")
        if not self.outer.isfinite().all():
            raise GenlabError("some features are not finite, so there is no Frechet distance")
        least, size = int(self.count.min()), self.total.shape[1]
        if least <= size:
            warnings.warn(f"{least} examples for {size} features: far above what thousands would give", stacklevel=2)
        mean = self.total / self.count[:, None]
        covariance = self.outer - self.count[:, None, None] * mean[:, :, None] * mean[:, None, :]
        covariance = covariance / (self.count[:, None, None] - 1)
        distance = frechet_distance(mean[0], covariance[0], mean[1], covariance[1])
        return {"fid": Figure(distance, protocol={"n real": int(self.count[1])})}
