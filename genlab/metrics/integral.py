"""The integral of a density in the plane: 1, or the model's log-determinants are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.metrics.base import Figure
from genlab.models.base import Batch, Density
from genlab.spec import Spec


@torch.no_grad()
def integrate(
    log_prob: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, cells: int = 200
) -> tuple[float, Tensor]:
    """The integral of exp(log_prob) over a box by the midpoint rule, and its values (cells of y, cells of x)."""
    middles = (torch.arange(cells, device=low.device) + 0.5) / cells
    x, y = (low[axis] + (high[axis] - low[axis]) * middles for axis in (0, 1))
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2).float()
    values = torch.cat([log_prob(part) for part in points.split(4096)]).double().exp().reshape(cells, cells)
    return float(values.sum() * (high - low).double().prod() / cells**2), values


class Integral(Metric):
    """The integral of exp(log_prob) over a box twice as wide and high as the data, on a grid.

    A little less than 1 is mass that the model puts outside the box; more than 1 is an error of the model, or of the
    grid where the density has details finer than a cell.

    Args:
        cells: of the grid along each axis.
        split: whose range is the box's.
    """

    needs: ClassVar[tuple[type, ...]] = (Density,)
    figures: ClassVar[tuple[str, ...]] = ("integral",)
    higher_is_better = None
    full_state_update = False
    low: Tensor
    high: Tensor

    def __init__(self, cells: int = 400, split: str = "test"):
        super().__init__()
        self.cells, self.reads = cells, (split,)
        self.log_prob: Callable[[Tensor], Tensor] | None = None
        self.add_state("low", torch.full((2,), torch.inf, dtype=torch.float64), dist_reduce_fx="min")
        self.add_state("high", torch.full((2,), -torch.inf, dtype=torch.float64), dist_reduce_fx="max")

    def refuses(self, spec: Spec) -> str:
        """Everything but points of the plane."""
        return "" if spec.shape == (2,) and spec.levels is None else "takes densities over the plane"

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Widen the box to hold the batch."""
        self.log_prob = model.log_prob  # type: ignore[assignment]
        self.low = torch.minimum(self.low, batch["x"].double().amin(0))
        self.high = torch.maximum(self.high, batch["x"].double().amax(0))

    def compute(self) -> dict[str, Figure]:
        """The integral; ``~`` for the grid. Of a rank that was shown no example, and so no model, nothing."""
        if self.log_prob is None:
            return {}
        room = (self.high - self.low) / 2
        total, _ = integrate(self.log_prob, self.low - room, self.high + room, self.cells)
        return {"integral": Figure(total, "~", None, {"cells": self.cells})}
