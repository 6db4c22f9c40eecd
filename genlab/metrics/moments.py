"""Mean and standard deviation of what is generated on the line."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch, Samples
from genlab.spec import Spec


class Moments(Metric):
    """``mean`` and ``std`` (ddof 1) of generated numbers, which say all of a Gaussian; those of real ones stand in the
    row of the control."""

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("mean", "std")
    full_state_update = False
    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.reads = (GENERATED,)
        for name in ("count", "total", "squares"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """All but numbers."""
        return "" if spec.kind == "vector" and spec.dimensions == 1 else "takes numbers, one an example"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated numbers."""
        x = batch["x"].double()
        self.count += len(x)
        self.total += x.sum()
        self.squares += x.square().sum()

    def compute(self) -> dict[str, Figure]:
        """Both, with the standard errors that normal numbers would have."""
        if self.count < 2:
            raise GenlabError("a standard deviation takes two examples")
        n, mean = float(self.count), float(self.total / self.count)
        std = math.sqrt(max(float(self.squares) - n * mean**2, 0.0) / (n - 1))
        if not math.isfinite(mean + std):
            raise GenlabError("some of what was generated is not finite")
        return {
            "mean": Figure(mean, stderr=std / math.sqrt(n)),
            "std": Figure(std, stderr=std / math.sqrt(2 * (n - 1))),
        }
