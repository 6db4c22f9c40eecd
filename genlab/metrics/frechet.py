"""Frechet distance between generated and real features (FID where the extractor is the Inception network)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from scipy.linalg import blas, eigvalsh, lapack, svdvals
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
    real at any rank, where the root of the product itself turns complex or not finite. What rounding makes negative
    counts as zero. All are rounded as the largest is, and the root of a small one makes much of that: where it may
    reach the distance's seventh digit, for features are of unlike scales, say, or the distance is small, the roots are
    had as singular values of R_b^T R_a, without squares.

    Means are (D,), covariances (D, D), of which the upper triangles are read.
    """
    sides = (mean_a, covariance_a), (mean_b, covariance_b)

    def moments(side: int) -> tuple[np.ndarray, np.ndarray]:
        mean, covariance = (part.double().cpu().numpy() for part in sides[side])
        return mean, covariance.T

    return _distance(moments)


def _distance(moments: Callable[[int], tuple[np.ndarray, np.ndarray]], spoil: bool = False) -> float:
    """``frechet_distance`` of the ``moments`` of both sides, of which lower triangles are read.

    One covariance takes 32 MB in 2048 dimensions; those that may be spoilt make room for what comes of them.
    """
    (mean_a, a), (mean_b, b) = moments(0), moments(1)
    others = float(np.square(mean_a - mean_b).sum() + a.trace() + b.trace())
    factor, singular = lapack.dpotrf(a, lower=1, clean=0, overwrite_a=spoil)
    if not singular:  # R^T b R, by a quarter of the products
        between, _ = lapack.dsygst(b, factor, itype=2, lower=1, overwrite_a=spoil)
    else:
        product = _between(moments(0)[1] if spoil else a, b)
        if not product.size:  # of points that are all one
            return max(others, 0.0)
        between = blas.dsyrk(1.0, product, trans=1, lower=1)
    roots = eigvalsh(between, lower=True, overwrite_a=True, check_finite=False, driver="evd").clip(min=0) ** 0.5
    distance = others - 2 * float(roots.sum())
    if _uncertain(roots) > DIGITS * distance:
        a, b = (moments(side)[1] for side in (0, 1))
        distance = others - 2 * float(svdvals(_between(a, b), check_finite=False).sum())
    return max(distance, 0.0)


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """R^T Q of factors of a and b, Q that of the lower rank: its singular values are the roots of the eigenvalues of
    a b but for zeros."""
    factor, lesser = sorted((_factor(a), _factor(b)), key=lambda root: -root.shape[1])
    return np.asfortranarray(factor.T @ lesser)


DIGITS = 1e-7
"""Relative error up to which eigenvalues will do; they take a third of the time of singular values."""


def _uncertain(roots: np.ndarray) -> float:
    """What rounding of eigenvalues may make of twice the sum of their ``roots``."""
    error = 8 * np.finfo(np.float64).eps * roots.max(initial=0.0) ** 2
    return float((2 * error / np.maximum(roots, np.sqrt(error) + TINY)).sum())


TINY = np.finfo(np.float64).tiny


def _factor(a: np.ndarray) -> np.ndarray:
    """R (D, rank) with R R^T = a, (D, D), of which the lower triangle is read. The rank is found at equal scales: it is
    no matter of units, and a feature of small ones is not taken for rounding."""
    scales = np.sqrt(a.diagonal().clip(min=TINY))
    packed, pivots, rank, _ = lapack.dpstrf(a / scales / scales[:, None], lower=1)
    root = np.empty((len(packed), rank))
    root[pivots - 1] = np.tril(packed)[:, :rank]
    return root * scales[:, None]


def _add_products(outer: Tensor, features: Tensor) -> None:
    """outer += features^T features in its upper triangle at least, for BLAS takes half the time for a triangle."""
    if outer.device.type == "cpu":
        blas.dsyrk(1.0, features.numpy().T, 1.0, outer.numpy().T, lower=1, overwrite_c=1)  # their T are by columns
    else:
        outer.addmm_(features.T, features)


class FrechetDistance(Metric):
    """``frechet_distance`` of Gaussians with the means and covariances (ddof 1) of generated and real features.

    Streamed: sums of features and of their outer products in float64, about the first example that a rank is shown,
    lest means far from zero cost digits; ranks are merged as by Chan et al. (1979). Biased upwards for few samples, so
    the numbers of both are part of its protocol. Fewer samples than features are fine, though then the bias is large,
    and it warns.

    Args:
        extractor: gives the features.
        split: of the real examples.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("fid",)
    higher_is_better = False
    full_state_update = False
    count: Tensor
    shift: Tensor
    total: Tensor
    outer: Tensor

    def __init__(self, extractor: Extractor, split: str = "test"):
        super().__init__()
        self.extractor, self.reads = extractor, (GENERATED, split)
        size = extractor.dimensions
        self.add_state("count", torch.zeros(2, dtype=torch.float64), dist_reduce_fx=None)  # of ranks, one after another
        self.add_state("shift", torch.zeros(2, size, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("total", torch.zeros(2, size, dtype=torch.float64), dist_reduce_fx=None)
        # One zero in all places: neither this nor the copy that torchmetrics keeps of it takes memory.
        self.add_state("outer", torch.zeros((), dtype=torch.float64).expand(2, size, size), dist_reduce_fx=None)

    def refuses(self, spec: Spec) -> str:
        """Nothing that the extractor does not refuse."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated or real examples."""
        features = self.extractor(batch["x"]).features.detach()
        side = int(source != GENERATED)
        if not self.outer.is_contiguous():
            self.outer = torch.from_numpy(np.zeros(self.outer.shape)).to(features.device)  # by pages, as they are used
        self.shift[side] = torch.where(self.count[side] > 0, self.shift[side], features[0])
        features = features - self.shift[side]  # of float32 and float64
        self.count[side] += len(features)
        self.total[side] += features.sum(0)
        _add_products(self.outer[side], features)

    def compute(self) -> dict[str, Figure]:
        """The distance; 0 for equal moments."""
        counts = self.count.view(-1, 2).sum(0).int().tolist()
        if min(counts) < 2:
            here = " and ".join(map(str, counts))
            raise GenlabError(f"a Frechet distance takes two examples on each side; here are {here}")
        if not self.outer.diagonal(dim1=-2, dim2=-1).isfinite().all():  # squares, that no product exceeds
            raise GenlabError("some features are not finite, so there is no Frechet distance")
        least, size = min(counts), self.total.shape[-1]
        if least <= size:
            warnings.warn(f"{least} examples for {size} features: far above what thousands would give", stacklevel=2)
        distance = _distance(self._moments, spoil=True)
        return {"fid": Figure(distance, protocol={"n real": counts[1]})}

    def _moments(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean (D,) and covariance (D, D), of which the lower triangle counts."""
        size = self.total.shape[-1]
        counts = self.count.view(-1, 2)[:, side].cpu().numpy()
        shifts, totals = (state.view(-1, 2, size)[:, side].cpu().numpy() for state in (self.shift, self.total))
        about = totals / counts.clip(min=1)[:, None]  # of each rank, its mean less its shift
        means, freedom = shifts + about, counts.sum() - 1
        mean = counts @ means / counts.sum()
        covariance = self.outer.view(-1, 2, size, size)[:, side].sum(0).div_(freedom).cpu().numpy().T
        for count, inner, outer in zip(counts, about, means - mean, strict=True):
            blas.dsyr(-count / freedom, inner, a=covariance, lower=1, overwrite_a=1)
            if len(counts) > 1:
                blas.dsyr(count / freedom, outer, a=covariance, lower=1, overwrite_a=1)
        return mean, covariance
