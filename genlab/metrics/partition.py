"""The constant of a model that is known up to it: log Z, exactly where it can be had, and by annealing."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Anneals, Batch
from genlab.spec import Spec


class Partition(Metric):
    """``log_z``: in nats, ``=`` where all states were listed, else the estimate. ``log_z_ais``: the estimate by
    annealed importance sampling in any case, with its standard error, so that the two can be held against each other.

    Args:
        split: of the data, of which nothing but a first batch is waited for.
    """

    needs: ClassVar[tuple[type, ...]] = (Anneals,)
    figures: ClassVar[tuple[str, ...]] = ("log_z", "log_z_ais")
    on_request: ClassVar[bool] = True
    full_state_update = False
    found: Tensor
    settings: Tensor

    def __init__(self, split: str = "test"):
        super().__init__()
        self.reads = (split,)
        # All ranks find the same, but for those that are shown no example.
        self.add_state("found", torch.full((5,), -torch.inf, dtype=torch.float64), dist_reduce_fx="max")
        self.add_state("settings", torch.zeros(3, dtype=torch.long), dist_reduce_fx="max")

    def refuses(self, spec: Spec) -> str:
        """Nothing."""
        return ""

    def update(self, batch: Batch, source: str, model: Any = None) -> None:
        """Ask the model, once."""
        if self.found[0].isfinite():
            return
        whole = model.partition()
        estimate = model.anneal() if model.exact else whole
        self.found = self.found.new_tensor([*whole, *estimate, model.exact])
        self.settings = self.settings.new_tensor([*model.annealing.values()])

    def compute(self) -> dict[str, Figure]:
        """log_z and log_z_ais."""
        log_z, spread, estimate, error, exact = self.found.tolist()
        if log_z == -torch.inf:
            raise GenlabError("there is no example with which to ask the model")
        how = dict(zip(("chains", "temperatures", "AIS seed"), self.settings.tolist(), strict=True))
        return {
            "log_z": Figure(log_z, "=") if exact else Figure(log_z, "~", spread, how),
            "log_z_ais": Figure(estimate, "~", error, how),
        }
