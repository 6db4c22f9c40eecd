"""The divergence that a game's critic shows, by the f-divergence that the game was trained by."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.losses.fgan import FGAN
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch, Criticises
from genlab.spec import Spec


class CriticBound(Metric):
    """critic_bound = E_p[T] - E_q[f*(T)],   T = g_f(v), v the critic's values: at most D_f(p || q), hence ``>=``.

    (Nowozin et al. 2016, arXiv 1606.00709, eq. 4.) The divergence f is that of the run's own loss, one of ``fgan_...``;
    of other losses nothing is known that their critics bound.

    Args:
        loss: that the model was trained by; None where there is no model.
        split: of the real examples.
    """

    needs: ClassVar[tuple[type, ...]] = (Criticises,)
    figures: ClassVar[tuple[str, ...]] = ("critic_bound",)
    higher_is_better = False
    full_state_update = False
    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, loss: Any, split: str = "test"):
        super().__init__()
        self.loss, self.reads = loss, (GENERATED, split)
        for name in ("count", "total", "squares"):  # of generated, then of real examples
            self.add_state(name, torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Losses that are no f-divergence."""
        return "" if isinstance(self.loss, FGAN) else "the loss of this run is no f-divergence (loss=fgan_...)"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add T of real examples, f*(T) of generated ones."""
        assert isinstance(model, Criticises)  # by ``needs``
        values, side = model.criticise(batch["x"]).double(), int(source != GENERATED)
        shown = self.loss.output(values) if side else self.loss.conjugate(values)
        self.count[side] += len(shown)
        self.total[side] += shown.sum()
        self.squares[side] += shown.square().sum()

    def compute(self) -> dict[str, Figure]:
        """The bound, and its standard error."""
        if self.count.min() < 2:
            raise GenlabError("a critic's bound takes two examples on each side")
        mean = self.total / self.count
        if not mean.isfinite().all():
            raise GenlabError("the critic's values are not finite")
        variance = (self.squares / self.count - mean.square()).clamp(min=0) / self.count
        return {"critic_bound": Figure(float(mean[1] - mean[0]), ">=", float(variance.sum().sqrt()))}
