"""Features kept for metrics that need all of them at once, and the distances between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from genlab.errors import GenlabError
from genlab.metrics.base import GENERATED
from genlab.models.base import Batch

BLOCK = 2**20  # distances computed at once: 8 MB
NEAR = 1e-2  # squared distances below this part of the squared lengths lose digits to cancellation
TIE = 1 + 1e-10  # squared distances of a ratio below this are equal up to rounding


def keep_features(metric: Any) -> None:
    """Give a metric the states ``generated`` and ``real`` for ``keep`` to fill.

    In float32, as extractors compute them, so that equal examples have equal features on both sides; and flat, for
    torchmetrics takes a rank without an example for one with an empty vector, and gathers no matrices beside that.
    """
    for side in ("generated", "real"):
        metric.add_state(side, [], dist_reduce_fx="cat")


def keep(metric: Any, batch: Batch, source: str) -> None:
    """Add the features of a batch to what a metric has of that source."""
    features = metric.extractor(batch["x"]).features
    (metric.generated if source == GENERATED else metric.real).append(features.float().flatten())


def kept(metric: Any, least: int, what: str) -> tuple[Tensor, Tensor]:
    """Features of all generated and of all real examples, (N, D) and (M, D) in float32.

    Raises:
        GenlabError: there are fewer than ``least`` on a side, or some are not finite.
    """
    dimensions = metric.extractor.dimensions
    generated, real = (
        dim_zero_cat(state).reshape(-1, dimensions) if len(state) else torch.empty(0, dimensions)
        for state in (metric.generated, metric.real)
    )
    if min(len(generated), len(real)) < least:
        counts = f"{len(generated)} and {len(real)}"
        raise GenlabError(f"{what} takes {least} examples on each side; here are {counts}")
    if not (generated.isfinite().all() and real.isfinite().all()):
        raise GenlabError(f"some features are not finite, so there is no figure of {what}")
    return generated, real


def some(x: Tensor, count: int, seed: int) -> Tensor:
    """``count`` rows by a fixed seed, in their order; all where there are no more."""
    if len(x) <= count:
        return x
    rows = np.sort(np.random.RandomState(seed).permutation(len(x))[:count])
    return x[torch.from_numpy(rows).to(x.device)]


def squared_distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """|a_i - b_j|^2 in float64, in blocks: some rows of ``a``, and their distances to all of ``b``.

    By matrix products, |a|^2 + |b|^2 - 2 a.b about the centre of ``b``, and again by differences for pairs so close
    that this cancels: equal rows are at exactly 0, and no distance is off by more than about 1e-11 of itself.
    """
    centre = b.double().mean(0)
    b = b.double() - centre
    lengths = b.square().sum(1)
    rows = max(1, BLOCK // len(b))
    for start in range(0, len(a), rows):
        part = a[start : start + rows].double() - centre
        scale = part.square().sum(1)[:, None] + lengths
        found = torch.addmm(scale, part, b.T, alpha=-2)
        near = (found <= NEAR * scale).nonzero()
        for i, j in (pairs.T for pairs in near.split(max(1, BLOCK // b.shape[1]))):
            found[i, j] = (part[i] - b[j]).square().sum(1)
        yield slice(start, start + len(part)), found
