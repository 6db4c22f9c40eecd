"""Metrics that are functions of sums whose number shows only in the first batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Sums(Metric):
    """One flat vector of float64 sums, whose width depends on the model; that of a rank without a share is empty.

    Attributes:
        width: of the vector; 0 where nothing was added.
    """

    full_state_update = False
    sums: list[Tensor]
    width: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", [], dist_reduce_fx="cat")
        self.add_state("width", torch.zeros((), dtype=torch.long), dist_reduce_fx="max")

    @property
    def dtype(self) -> torch.dtype:
        """Of the empty vector that torchmetrics lets a rank hand over that was shown nothing."""
        return torch.float64

    def add(self, new: Tensor) -> None:
        """Add a vector, (width,)."""
        self.width = torch.full_like(self.width, len(new))
        self.sums = [self._over([*self.sums, new.double()])]

    def total(self) -> Tensor:
        """The sums over all batches and ranks, (width,)."""
        return self._over(self.sums)

    def _over(self, parts: list[Tensor] | Tensor) -> Tensor:
        return dim_zero_cat(parts).view(-1, int(self.width)).sum(0)
