"""Mode Score: the Inception Score's question, put to the classes of the training data as well."""

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

OVERFLOW = 700.0  # exp of more is no float64


def add_logs(logs: Tensor) -> Tensor:
    """log of the sum over ranks of what the ranks have the logs of."""
    return logs.logsumexp(0)


class ModeScore(Metric):
    """Classes that the generator leaves out or favours, by a classifier's p(y|x).  (Che et al. 2017, arXiv 1612.02136)

    mode_score       = exp(E KL(p(y|x) || p_train) - KL(p_gen || p_train)),
    mode_score_train = exp(E KL(p(y|x) || p_train) - KL(p_train || p_gen)),
    class_kl         = KL(p_train || p_gen) in nats,  p_gen(y) = E p(y|x), all E over generated x.

    In the first, as it is printed, p_train cancels, so that it is the Inception Score of one split and does not see how
    often the training data have a class. The second turns the last term around: it is the first times
    exp(KL(p_gen || p_train) - KL(p_train || p_gen)), and for a classifier that is sure, K exp(-class_kl) where training
    classes are equally frequent. Where they are not, wrong frequencies may raise it, so ``class_kl`` is what tells.
    p_train is the mean of the same classifier's p(y|x) over all training examples, a deviation: the paper has the
    frequencies of the labels, which the classifier's errors would be held against.

    No class is quite empty, for a softmax is positive; probabilities are kept as their logarithms in float64, so
    ``class_kl`` is finite even where they underflow. How large it grows for a class that is never generated is then up
    to how sure the classifier is. ``mode_score_train`` is left out where it overflows.

    Args:
        extractor: the classifier.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("mode_score", "mode_score_train", "class_kl")
    higher_is_better = True
    full_state_update = False
    count: Tensor
    log_total: Tensor
    total: Tensor
    negative_entropy: Tensor

    def __init__(self, extractor: Extractor):
        super().__init__()
        self.extractor, self.reads = extractor, (GENERATED, "train")
        size = extractor.classes
        self.add_state("count", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        empty = torch.full((2, size), -math.inf, dtype=torch.float64)
        self.add_state("log_total", empty, dist_reduce_fx=add_logs)  # log of the sum of p(y|x), generated and train
        self.add_state("negative_entropy", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Extractors that tell no classes apart."""
        return "" if self.extractor.classes else f"extractor={self.extractor.name} has no classes"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated or training examples."""
        log_p = self.extractor(batch["x"]).logits.double().log_softmax(1)
        side = int(source != GENERATED)
        self.count[side] += len(log_p)
        self.log_total[side] = torch.logaddexp(self.log_total[side], log_p.logsumexp(0))
        if source == GENERATED:
            self.negative_entropy += (log_p.exp() * log_p).sum()

    def compute(self) -> dict[str, Figure]:
        """The two scores, and the divergence that the second is wary of."""
        if self.count.min() < 1:
            counts = " and ".join(str(int(count)) for count in self.count)
            raise GenlabError(f"a Mode Score takes generated and training examples; here are {counts}")
        if not self.log_total.isfinite().all():
            raise GenlabError("some logits are not finite, so there is no Mode Score")
        log_generated, log_train = self.log_total - self.count.log()[:, None]
        generated, train = log_generated.exp(), log_train.exp()
        example = float(self.negative_entropy / self.count[0] - generated @ log_train)
        marginal = float(generated @ (log_generated - log_train))
        reverse = max(float(train @ (log_train - log_generated)), 0.0)
        protocol = {"n train": int(self.count[1]), "p_train": "mean of p(y|x)"}
        figures = {"mode_score": math.exp(example - marginal), "class_kl": reverse}
        if example - reverse < OVERFLOW:
            figures["mode_score_train"] = math.exp(example - reverse)
        return {name: Figure(figures[name], protocol=protocol) for name in self.figures if name in figures}
