"""The mass that a model puts between the clusters of its data."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.data.base import Data
from genlab.errors import GenlabError
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch, Samples
from genlab.spec import Spec


class Bridge(Metric):
    """The share of samples farther than ``beyond`` standard deviations from every centre of a mixture.

    A continuous map with a continuous inverse carries one connected base to one connected support: clusters that are
    apart stay joined by a filament. Of the mixture itself it is exp(-beyond^2 / 2) on the plane, 1.5e-8 for six.

    Args:
        data: of which ``centres``, (K, D), and ``std`` are known.
        beyond: number of standard deviations.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("bridge",)
    on_request: ClassVar[bool] = True
    higher_is_better = False
    full_state_update = False
    far: Tensor
    total: Tensor

    def __init__(self, data: Data, beyond: float = 6.0):
        super().__init__()
        self.reads = (GENERATED,)
        self.centres: Tensor | None = getattr(data, "centres", None)
        self.std: float | None = getattr(data, "std", None)
        self.beyond = beyond
        for state in ("far", "total"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Data without known centres."""
        return "" if self.centres is not None and self.std is not None else "the modes of these data are not known"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated points."""
        assert self.centres is not None and self.std is not None  # refused before
        x = batch["x"].flatten(1).double()
        near = (torch.cdist(x, self.centres.to(x)) <= self.beyond * self.std).any(1)
        self.far += (~near).sum()
        self.total += len(x)

    def compute(self) -> dict[str, Figure]:
        """The share, with its binomial standard error."""
        if not self.total:
            raise GenlabError("a bridge is sought among samples, and here is none")
        n, share = float(self.total), float(self.far / self.total)
        return {"bridge": Figure(share, stderr=math.sqrt(share * (1 - share) / n), protocol={"beyond": self.beyond})}
