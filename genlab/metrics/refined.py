"""Likelihood of held-out data by posteriors that each example has improved for itself."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.metrics.likelihood import Likelihood
from genlab.models.base import Refines
from genlab.spec import Spec


class Refined(Likelihood):
    """``nats``, ``negative_elbo`` and ``gap`` of ``Likelihood`` where the posterior of each example has climbed its
    bound of one draw from where the encoder has it: semi-amortised inference. What the bound gains is what amortisation
    costs. (Kim et al. 2018, arXiv 1802.02550; Cremer et al. 2018, arXiv 1801.03558, section 3)

    Args:
        spec: of the data.
        k: importance samples of the bound; None: 500.
        split: of the data.
        refine: steps of gradient ascent; None: nobody asks for these figures.
    """

    needs: ClassVar[tuple[type, ...]] = (Refines,)
    figures: ClassVar[tuple[str, ...]] = ("refined_nats", "refined_elbo", "refined_gap")

    def __init__(self, spec: Spec, k: int | None = None, split: str = "test", refine: int | None = None):
        super().__init__(spec, k, split)
        if refine is not None and refine < 0:
            raise GenlabError(f"refine={refine}: there are no fewer steps than none")
        self.refine = refine or 0

    def refuses(self, spec: Spec) -> str:
        """Unless it is asked for."""
        return "" if self.refine else "refine=200 steps of each example's own ascent would give them"

    def infer(self, model: Any, x: Tensor, y: Tensor | None) -> Any:
        """Where the ascents end."""
        return model.refine(x, y, self.refine)

    def compute(self) -> dict[str, Figure]:
        """refined_nats, and with more than one importance sample refined_elbo and refined_gap."""
        names = {"nats": "refined_nats", "negative_elbo": "refined_elbo", "gap": "refined_gap"}
        found = super().compute()
        return {
            new: figure._replace(protocol={**figure.protocol, "refine": self.refine})
            for old, new in names.items()
            if (figure := found.get(old)) is not None
        }
