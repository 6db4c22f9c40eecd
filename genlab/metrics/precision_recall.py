"""Precision and recall of generated features, density and coverage: quality and diversity told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.extractors.base import Extractor
from genlab.metrics.base import GENERATED, Figure
from genlab.metrics.kernel_distance import keep, keep_features, kept
from genlab.models.base import Batch, Samples
from genlab.spec import Spec

BLOCK = 2**20  # distances computed at once: 8 MB
NEAR = 1e-2  # squared distances below this part of the squared lengths lose digits to cancellation
TIE = 1 + 1e-10  # squared distances of a ratio below this are equal up to rounding


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


def squared_radii(x: Tensor, neighbours: tuple[int, ...]) -> list[Tensor]:
    """Squared distance from every row to its k-th nearest other row, (N,) for each k.

    Equal up to rounding counts as equal: with the slack of a tie, so that ``<=`` holds at the neighbour itself.
    """
    nearest = [found.topk(max(neighbours) + 1, largest=False).values for _, found in squared_distances(x, x)]
    return [torch.cat(nearest)[:, k] * TIE for k in neighbours]  # the nearest row is the row itself


class PrecisionRecall(Metric):
    """Whether generated examples lie among the real ones, and real ones among the generated.

    The ball B_k(x) around an example reaches to the k-th nearest other example of its own side.

    precision_k = share of generated examples within some B_k of a real one,
    recall_k    = share of real examples within some B_k of a generated one;  (Kynkaanniemi et al. 2019, 1904.06991)
    density     = mean over generated examples of the number of B_5 of real ones that hold them, over 5,
    coverage    = share of real examples whose B_5 holds a generated one.     (Naeem et al. 2020, arXiv 2002.09797)

    A ball contains its border, as in torch-fidelity; the code of Naeem et al. leaves it out, a deviation that shows
    only where examples repeat: of a copy of the real examples the density is 1 + 1/k, not 1. All four depend on the
    numbers of examples, recall and coverage most; the papers take equal ones, other ones are in the protocol.
    Quadratic in time, not in memory.

    Args:
        extractor: gives the features.
        split: of the real examples.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = (
        "precision_3", "recall_3", "precision_5", "recall_5", "density", "coverage"
    )  # fmt: skip
    higher_is_better = True
    full_state_update = False
    generated: list[Tensor]
    real: list[Tensor]

    def __init__(self, extractor: Extractor, split: str = "test"):
        super().__init__()
        self.extractor, self.reads = extractor, (GENERATED, split)
        keep_features(self)

    def refuses(self, spec: Spec) -> str:
        """Nothing that the extractor does not refuse."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated or real examples."""
        keep(self, batch, source)

    def compute(self) -> dict[str, Figure]:
        """The six figures, from one pass over the distances between the sides and one within each."""
        generated, real = kept(self, 6, "precision and recall with k = 5")
        around_generated, around_real = squared_radii(generated, (3, 5)), squared_radii(real, (3, 5))
        precise = torch.zeros(2, dtype=torch.float64, device=real.device)
        inside = torch.zeros((), dtype=torch.float64, device=real.device)
        recalled = torch.zeros(2, len(real), dtype=torch.bool, device=real.device)
        covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
        for rows, found in squared_distances(generated, real):
            for i in range(2):
                held = found <= around_real[i]
                precise[i] += held.any(1).sum()
                recalled[i] |= (found <= around_generated[i][rows, None]).any(0)
            inside += held.sum()
            covered |= held.any(0)
        values = torch.stack([precise / len(generated), recalled.double().mean(1)], 1).flatten().tolist()
        values += [float(inside / (5 * len(generated))), float(covered.double().mean())]
        named = zip(self.figures, values, strict=True)
        return {name: Figure(value, protocol={"n real": len(real)}) for name, value in named}
