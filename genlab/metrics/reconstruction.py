"""How much of an example is left after encoding and decoding it, beside what a random pairing would show."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Batch, Encodes, Hierarchical
from genlab.spec import Spec

EXACT = 1e-9  # share of the other error below which nothing but rounding is lost, as in a flow
LEVELS = 2  # that are told apart; further ones are left out


class Reconstruction(Metric):
    """Mean squared error of x against r(x) = decode(encode(x)), beside that of x against r(x') of another example x'.

    reconstruction       = E_i |x_i - r(x_i)|^2 / D
    reconstruction_other = E_(i != j) |x_i - r(x_j)|^2 / D, over all pairs of the split, not over some drawn ones
    reconstruction_gain  = reconstruction_other / reconstruction

    in squared units of the data: levels of integer data. A gain of 1 means that nothing of x is left, whatever the
    examples look like; a single error cannot tell, for two dark images are near. (Donahue et al. 2017, arXiv
    1605.09782, released code, whose EGr and EGr_b are the means of the norms instead: 5.95 and 9.60 on MNIST.)

    Of a hierarchical model these are the figures of its last level; ``reconstruction_l`` and ``reconstruction_gain_l``
    are those of going up to level l and back. Sums in float64; stderr of the errors over the examples.

    Args:
        split: of the data.
    """

    needs: ClassVar[tuple[type, ...]] = (Encodes,)
    figures: ClassVar[tuple[str, ...]] = (
        "reconstruction",
        "reconstruction_other",
        "reconstruction_gain",
        "reconstruction_1",
        "reconstruction_gain_1",
        "reconstruction_2",
        "reconstruction_gain_2",
    )
    higher_is_better = False
    full_state_update = False
    count: Tensor
    errors: Tensor
    squares: Tensor
    lengths: Tensor
    examples: Tensor
    left: Tensor

    def __init__(self, spec: Spec, split: str = "test"):
        super().__init__()
        self.spec, self.reads, self.levels = spec, (split,), 1
        sums = torch.zeros(LEVELS, dtype=torch.float64)
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("errors", sums.clone(), dist_reduce_fx="sum")  # |x - r(x)|^2
        self.add_state("squares", sums.clone(), dist_reduce_fx="sum")  # |x - r(x)|^4
        self.add_state("lengths", sums.clone(), dist_reduce_fx="sum")  # |x|^2 + |r(x)|^2
        whole = torch.zeros(spec.dimensions, dtype=torch.float64)
        self.add_state("examples", whole.clone(), dist_reduce_fx="sum")  # x
        self.add_state("left", whole.expand(LEVELS, -1).clone(), dist_reduce_fx="sum")  # r(x)

    def refuses(self, spec: Spec) -> str:
        """Nothing: any examples have a distance."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Add a batch of real examples."""
        assert isinstance(model, Encodes)  # it is what the metric needs
        y = batch.get("y") if getattr(model, "conditional", False) else None
        x = batch["x"].flatten(1).double()
        self.count += len(x)
        self.examples += x.sum(0)
        self.levels = min(LEVELS, model.levels) if isinstance(model, Hierarchical) else 1
        for level in range(self.levels):
            if isinstance(model, Hierarchical):
                back = model.descend(model.ascend(batch["x"], level + 1, y), level + 1, y)
            else:
                back = model.decode(model.encode(batch["x"], y), y)
            back = back.flatten(1).double()
            error = (x - back).square().sum(1)
            if not error.isfinite().all():
                wrong = int((~error.isfinite()).sum())
                raise GenlabError(f"what is left of {wrong} of {len(x)} examples is not finite")
            self.errors[level] += error.sum()
            self.squares[level] += error.square().sum()
            self.lengths[level] += x.square().sum() + back.square().sum()
            self.left[level] += back.sum(0)

    def compute(self) -> dict[str, Figure]:
        """All figures; no gain where nothing but rounding is lost."""
        n = float(self.count)
        if n < 2:
            raise GenlabError(f"another example takes two of '{self.reads[0]}'; here are {int(n)}")
        figures: dict[str, Figure] = {}
        for level in range(self.levels):
            found = self._level(level, n)
            if level == self.levels - 1:
                figures |= found
            if self.levels > 1:
                numbered = ("reconstruction", "reconstruction_gain")
                figures |= {f"{name}_{level + 1}": figure for name, figure in found.items() if name in numbered}
        return figures

    def _level(self, level: int, n: float) -> dict[str, Figure]:
        """sum over i != j of |x_i - r_j|^2 = n sum |x|^2 + n sum |r|^2 - 2 (sum x) (sum r) - sum |x_i - r_i|^2."""
        total, size = float(self.errors[level]), self.spec.dimensions
        every = n * self.lengths[level] - 2 * (self.examples @ self.left[level])
        own, other = total / n / size, float(every - total) / (n * (n - 1)) / size
        spread = max(float(self.squares[level]) - total**2 / n, 0.0) / (n - 1)
        protocol: dict[str, Any] = {"n": int(n)}
        figures = {
            "reconstruction": Figure(own, stderr=math.sqrt(spread / n) / size, protocol=protocol),
            "reconstruction_other": Figure(other, protocol=protocol),
        }
        if own > EXACT * other:
            figures["reconstruction_gain"] = Figure(other / own, protocol=protocol)
        return figures
