"""How much a flow squeezes space at the data, and how large its density becomes there."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Batch
from genlab.spec import Spec

MOST = 64  # dimensions of which a Jacobian is taken


@runtime_checkable
class Flows(Protocol):
    """A density over data that encodes them without loss."""

    exact: bool

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor: ...

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor: ...

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor: ...


class Stretch(Metric):
    """``singular_min`` = the smallest singular value of dx/dz at a real example, ``log_density_max`` = the largest
    log p(x) of one, in nats.

    Where data lie on fewer dimensions than they have, the first goes to 0 and the second to infinity as a flow learns,
    and its likelihood says nothing about how well it has learned what there is.

    Args:
        split: of the real examples.
        limit: how many of them, the first ones.
    """

    needs: ClassVar[tuple[type, ...]] = (Flows,)
    figures: ClassVar[tuple[str, ...]] = ("singular_min", "log_density_max")
    on_request: ClassVar[bool] = True
    higher_is_better = None
    full_state_update = False
    steepest: Tensor
    largest: Tensor

    def __init__(self, split: str = "test", limit: int = 2000):
        super().__init__()
        self.reads, self.limit = (split,), limit
        for state in ("steepest", "largest"):
            self.add_state(state, torch.tensor(-torch.inf, dtype=torch.float64), dist_reduce_fx="max")

    def refuses(self, spec: Spec) -> str:
        """Integers, and many dimensions."""
        if spec.levels is not None:
            return "takes densities of continuous data"
        return "" if spec.dimensions <= MOST else f"takes at most {MOST} dimensions"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Look at the first examples."""
        assert isinstance(model, Flows)  # by ``needs``
        few = batch["index"] < self.limit
        if not few.any():
            return
        x, y = batch["x"][few], batch["y"][few] if "y" in batch else None
        with torch.no_grad():
            self.largest = torch.maximum(self.largest, model.log_prob(x, y).double().max())
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            z: Any = model.encode(x, y)
            rows = [torch.autograd.grad(z[:, d].sum(), x, retain_graph=True)[0].flatten(1) for d in range(z.shape[1])]
        steepest = torch.linalg.matrix_norm(torch.stack(rows, 1).double(), 2).max()
        self.steepest = torch.maximum(self.steepest, steepest)

    def compute(self) -> dict[str, Figure]:
        """Both; the smallest singular value of dx/dz is one over the largest of dz/dx."""
        if self.largest == -torch.inf:
            raise GenlabError("there is no example to look at")
        protocol = {"of the first": self.limit}
        return {
            "singular_min": Figure(float(1 / self.steepest), protocol=protocol),
            "log_density_max": Figure(float(self.largest), protocol=protocol),
        }
