"""What a penalty is: everything that keeps a critic smooth, by a term, by a projection, or by reparametrisation."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn


class Penalty:
    """No penalty; the others override what they need.

    Attributes:
        every: the term is computed in every ``every``-th critic turn only (lazy regularisation); whoever takes the
            turns keeps count, and the term is multiplied by ``every`` by the penalty itself.
        twice: the term differentiates the critic twice, which ``torch.compile`` cannot.
    """

    every: int = 1
    twice: ClassVar[bool] = False

    def prepare(self, critic: nn.Module) -> None:
        """Called once for each of the critic's modules, before training and after loading alike."""

    def term(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor | None:
        """A scalar added to the critic's loss, from examples as the critic sees them, (B, ...), or None."""
        return None

    def project(self, critic: nn.Module) -> None:
        """Called after each of the critic's optimizer steps."""
