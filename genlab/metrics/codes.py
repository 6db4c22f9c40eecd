"""How much of a codebook is in use."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Batch, Quantises
from genlab.spec import Spec


class Codes(Metric):
    """perplexity = exp(-sum_k p_k log p_k), p_k the share of code k in all positions of all examples: K where all are
    used alike, 1 where one stands everywhere; codes_used is the number of those with p_k > 0.

    Args:
        split: of the data.
    """

    needs: ClassVar[tuple[type, ...]] = (Quantises,)
    figures: ClassVar[tuple[str, ...]] = ("perplexity", "codes_used")
    higher_is_better = True
    full_state_update = False
    counts: list[Tensor]
    size: Tensor
    examples: Tensor

    def __init__(self, split: str = "test"):
        super().__init__()
        self.reads = (split,)
        # One flat vector from each rank; its length K shows in the first batch.
        self.add_state("counts", [], dist_reduce_fx="cat")
        self.add_state("size", torch.zeros((), dtype=torch.long), dist_reduce_fx="max")
        self.add_state("examples", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    @property
    def dtype(self) -> torch.dtype:
        """Of the empty vector that torchmetrics lets a rank hand over that was shown nothing."""
        return torch.float64

    def refuses(self, spec: Spec) -> str:
        """Nothing: it looks at codes."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Add the codes of real examples."""
        assert isinstance(model, Quantises)  # it is what the metric needs
        new = torch.bincount(model.codes(batch["x"], batch.get("y")).flatten(), minlength=model.size).double()
        self.counts = [sum(self.counts, new)]
        self.size = torch.full_like(self.size, model.size)
        self.examples += len(batch["x"])

    def compute(self) -> dict[str, Figure]:
        """Both."""
        if not self.size:
            raise GenlabError(f"the split '{self.reads[0]}' holds no example")
        counts = dim_zero_cat(self.counts).view(-1, int(self.size)).sum(0)
        shares = counts / counts.sum()
        entropy = -torch.special.xlogy(shares, shares).sum()
        protocol = {"n": int(self.examples), "codes": int(self.size)}
        return {
            "perplexity": Figure(float(entropy.exp()), protocol=protocol),
            "codes_used": Figure(int((counts > 0).sum()), protocol=protocol),
        }
