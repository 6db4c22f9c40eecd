"""What a model that solves differential equations costs: how often it evaluates their right-hand side."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Batch, Integrates
from genlab.spec import Spec


class FunctionEvaluations(Metric):
    """``evaluations``: of the dynamics from data to latent, as a likelihood takes them; ``evaluations_back``: from
    latent to data, as a sample does. Means over batches: a solver takes the same steps for all examples of one.

    Args:
        split: of the data.
    """

    needs: ClassVar[tuple[type, ...]] = (Integrates,)
    figures: ClassVar[tuple[str, ...]] = ("evaluations", "evaluations_back")
    on_request: ClassVar[bool] = True
    higher_is_better = False
    full_state_update = False
    totals: Tensor

    def __init__(self, split: str = "test"):
        super().__init__()
        self.reads = (split,)
        self.add_state("totals", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")  # batches, there, back

    def refuses(self, spec: Spec) -> str:
        """Nothing."""
        return ""

    def update(self, batch: Batch, source: str, model: Any = None) -> None:
        """There and back with the examples of a batch."""
        with torch.no_grad():
            z = model.encode(batch["x"], batch.get("y"))
            there = model.evaluations()
            model.decode(z, batch.get("y"))
        self.totals += self.totals.new_tensor([1, there, model.evaluations()])

    def compute(self) -> dict[str, Figure]:
        """The means."""
        batches, there, back = self.totals.tolist()
        if not batches:
            raise GenlabError("there is no example to go there and back with")
        return {"evaluations": Figure(there / batches), "evaluations_back": Figure(back / batches)}
