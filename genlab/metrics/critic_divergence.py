"""What a game's own critic estimates of the divergence between data and samples."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.losses.minimax import Minimax
from genlab.losses.wasserstein import Wasserstein
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch, Criticises
from genlab.spec import Spec


class CriticDivergence(Metric):
    """By a critic f, from its values on generated and real examples:

    ``critic_js`` = log 2 - (E_p softplus(-f) + E_q softplus(f)) / 2,   at most JS(p, q), reached by f = log p / q
    (Goodfellow et al. 2014, arXiv 1406.2661, theorem 1), so it is marked ``>=``: the true JS is at least that.
    ``critic_gap`` = E_p f - E_q f,   the Wasserstein distance where f is the best of all 1-Lipschitz functions
    (Arjovsky et al. 2017, arXiv 1701.07875, eq. 2); under a penalty f is only nearly so, hence ``~``.

    The first is given of critics that are logits (``Minimax`` and losses made of it), the second of Wasserstein ones;
    of other losses nothing is known that their critics bound.

    Args:
        loss: that the model was trained by; None where it is not known, and both are given.
        split: of the real examples.
    """

    needs: ClassVar[tuple[type, ...]] = (Criticises,)
    figures: ClassVar[tuple[str, ...]] = ("critic_js", "critic_gap")
    higher_is_better = False
    full_state_update = False
    count: Tensor
    total: Tensor
    squares: Tensor
    entropy: Tensor

    def __init__(self, loss: Any = None, split: str = "test"):
        super().__init__()
        self.meant = [name for name, kind in zip(self.figures, (Minimax, Wasserstein), strict=True) if of(loss, kind)]
        why = "it means nothing of a critic of this run's loss"
        self.absent = {name: why for name in self.figures if name not in self.meant}
        self.reads = (GENERATED, split)
        for name in ("count", "total", "squares", "entropy"):  # of generated, then of real examples
            self.add_state(name, torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Images, for a critic of images is far from the best one; and losses of which a critic shows neither."""
        if spec.kind != "vector":
            return "takes points, not images"
        return "" if self.meant else "the loss of this run makes no logits of a critic, and is not Wasserstein's"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add the critic's values of a batch."""
        assert isinstance(model, Criticises)  # by ``needs``
        values, side = model.criticise(batch["x"]).double(), int(source != GENERATED)
        self.count[side] += len(values)
        self.total[side] += values.sum()
        self.squares[side] += values.square().sum()
        self.entropy[side] += softplus(-values if side else values).sum()

    def compute(self) -> dict[str, Figure]:
        """What the loss has the critic estimate."""
        if self.count.min() < 2:
            raise GenlabError("a critic's divergence takes two examples on each side")
        mean = self.total / self.count
        gap = float(mean[1] - mean[0])
        js = math.log(2) - float((self.entropy / self.count).sum()) / 2
        if not (math.isfinite(gap) and math.isfinite(js)):
            raise GenlabError("the critic's values are not finite")
        variance = (self.squares / self.count - mean.square()).clamp(min=0) / self.count
        found = {"critic_js": Figure(js, ">="), "critic_gap": Figure(gap, "~", float(variance.sum().sqrt()))}
        return {name: found[name] for name in self.meant}


def of(loss: Any, kind: type) -> bool:
    """Whether a loss is of a kind, or may be."""
    return loss is None or isinstance(loss, kind)
