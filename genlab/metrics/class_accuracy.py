"""Whether a conditional model generates what it is asked for."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.extractors.base import Extractor
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch, Samples
from genlab.spec import Spec


class ClassAccuracy(Metric):
    """Share of generated examples that the extractor's classifier gives the label they were generated with.

    stderr binomial. The classifier's own mistakes count, so the share of real examples is not 1; and one perfect
    example of each class scores as well as many: it says nothing of diversity. (GAN-test of Shmelkov et al. 2018,
    arXiv 1807.09499.)

    Args:
        extractor: the classifier, of the classes of the data in their order.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("class_accuracy",)
    higher_is_better = True
    full_state_update = False
    count: Tensor
    right: Tensor

    def __init__(self, extractor: Extractor):
        super().__init__()
        self.extractor, self.reads = extractor, (GENERATED,)
        for name in ("count", "right"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Labels that are not the classifier's."""
        ours, theirs, name = len(spec.classes), self.extractor.classes, self.extractor.name
        if ours != theirs:
            return f"the data have {ours or 'no'} classes and the extractor {name} tells {theirs or 'none'} apart"
        known = getattr(self.extractor, "labels", spec.classes)  # not every extractor says what its classes are
        return "" if tuple(known) == spec.classes else f"the extractor {name} knows other classes than the data have"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated examples that carry their labels."""
        if "y" in batch:
            found = self.extractor(batch["x"]).logits.argmax(1)
            self.count += len(found)
            self.right += (found == batch["y"]).sum()

    def compute(self) -> dict[str, Figure]:
        """The share."""
        if not self.count:
            raise GenlabError("the examples were generated without labels")
        n, share = float(self.count), float(self.right / self.count)
        return {"class_accuracy": Figure(share, stderr=math.sqrt(share * (1 - share) / n))}
