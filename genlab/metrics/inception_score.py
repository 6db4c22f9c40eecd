"""Inception Score. The classifier is whichever extractor it is given, and its name is in the score's name."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.extractors.base import Extractor
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch, Samples
from genlab.spec import Spec


class InceptionScore(Metric):
    """exp(E_x KL(p(y|x) || p(y))), p(y) = E_x p(y|x), for generated x: from 1 to K.  (Salimans et al. 2016, 1606.03498)

    The mean over ``splits`` parts of a fixed permutation of the samples, as in the reference code and torch-fidelity
    (seed 2020 there too). Softmax and its logarithm in float64, without an epsilon. The mean and the standard error of
    that mean are over the parts; papers print the standard deviation, sqrt(splits) times as large.

    Args:
        extractor: the classifier.
        n: number of samples that it will see.
        splits: number of parts; fewer where that leaves less than 100 samples to a part.
        seed: of the permutation.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("is",)
    higher_is_better = True
    full_state_update = False
    count: Tensor
    marginal: Tensor
    negative_entropy: Tensor

    def __init__(self, extractor: Extractor, n: int, splits: int = 10, seed: int = 2020):
        super().__init__()
        self.reads = (GENERATED,)
        self.extractor, self.n, self.seed = extractor, n, seed
        self.splits = max(1, min(splits, n // 100))
        order = np.random.RandomState(seed).permutation(n)
        self.part = torch.empty(n, dtype=torch.long)
        for part in range(self.splits):
            self.part[order[part * n // self.splits : (part + 1) * n // self.splits]] = part
        zeros = torch.zeros(self.splits, dtype=torch.float64)
        self.add_state("count", zeros, dist_reduce_fx="sum")
        self.add_state("negative_entropy", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("marginal", zeros[:, None].repeat(1, extractor.classes), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Examples of which the extractor tells no classes."""
        return "" if self.extractor.classes else f"extractor={self.extractor.name} has no classes"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated examples; ``index`` says which of the n each one is."""
        log_p = self.extractor(batch["x"]).logits.double().log_softmax(1)
        p = log_p.exp()
        part = self.part[batch["index"].cpu()].to(p.device)
        self.count.index_add_(0, part, torch.ones_like(p[:, 0]))
        self.negative_entropy.index_add_(0, part, (p * log_p).sum(1))
        self.marginal.index_add_(0, part, p)

    def scores(self) -> Tensor:
        """One score for each part, (splits,)."""
        marginal = self.marginal / self.count[:, None]
        return (self.negative_entropy / self.count - torch.xlogy(marginal, marginal).sum(1)).exp()

    def compute(self) -> dict[str, Figure]:
        """Mean over the parts."""
        scores = self.scores()
        stderr = float(scores.std() / self.splits**0.5) if self.splits > 1 else None
        return {"is": Figure(float(scores.mean()), "", stderr, {"splits": self.splits, "split seed": self.seed})}
