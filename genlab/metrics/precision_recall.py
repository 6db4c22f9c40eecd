"""Precision and recall of generated features, density and coverage: quality and diversity told apart."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.extractors.base import Extractor
from genlab.metrics.base import GENERATED, Figure
from genlab.metrics.features import TIE, keep, keep_features, kept, squared_distances
from genlab.models.base import Batch, Samples
from genlab.spec import Spec


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
    varied: ClassVar[tuple[str, ...]] = ("precision_3", "precision_5")
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
