"""What a model that classifies makes of real examples."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Batch, Classifies
from genlab.spec import Spec


class Classification(Metric):
    """By the model's own classifier, c(x) = argmax of its logits, on labelled examples:

    ``error``  = share of examples with c(x) != y, of a model that was told the classes.
    ``purity`` = (1/n) sum over categories c of max_y n_cy, n_cy the number of examples of class y in category c: the
    accuracy where each category is given its most frequent class. It grows with the number of categories, so it
    compares models of equally many. (Unsupervised codes: Chen et al. 2016, arXiv 1606.03657, section 7.2.)

    Standard errors binomial.

    Args:
        split: of the data.
    """

    needs: ClassVar[tuple[type, ...]] = (Classifies,)
    figures: ClassVar[tuple[str, ...]] = ("error", "purity")
    higher_is_better = False
    full_state_update = False
    categories: Tensor
    supervised: Tensor

    def __init__(self, spec: Spec, split: str = "test"):
        super().__init__()
        self.classes, self.reads = len(spec.classes), (split,)
        self.add_state("pairs", [], dist_reduce_fx="cat")  # class and category of every example
        for name in ("categories", "supervised"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")

    def refuses(self, spec: Spec) -> str:
        """Data without classes."""
        return "" if spec.classes else "the data have no classes"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add the categories of labelled examples."""
        assert isinstance(model, Classifies)
        with torch.no_grad():
            logits = model.classify(batch["x"])
        self.categories.fill_(logits.shape[1])
        self.supervised.fill_(int(model.supervised))
        self.pairs.append(batch["y"].long() * logits.shape[1] + logits.argmax(1))  # type: ignore[union-attr, operator]

    def compute(self) -> dict[str, Figure]:
        """The purity, and the error of a model that was told the classes."""
        if not self.pairs:
            raise GenlabError("no labelled examples were classified")
        pairs, categories = dim_zero_cat(self.pairs), int(self.categories)  # type: ignore[arg-type]
        count = torch.bincount(pairs, minlength=self.classes * categories).view(self.classes, categories)
        n = len(pairs)
        protocol = {"n": n, "categories": categories}
        pure = int(count.amax(0).sum()) / n
        figures = {"purity": Figure(pure, "", math.sqrt(pure * (1 - pure) / n), protocol)}
        if self.supervised:
            wrong = 1 - int(count.diagonal().sum()) / n
            figures = {"error": Figure(wrong, "", math.sqrt(wrong * (1 - wrong) / n), protocol)} | figures
        return figures
