"""Contrastive divergence, by which energy-based models with a Gibbs chain are trained."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, cast

from torch import Tensor, nn

from genlab.errors import ConfigError


class Undirected(Protocol):
    """What the loss asks of a model."""

    def free_energy(self, x: Tensor) -> Tensor:
        """F(x) = -log p(x) up to a constant, (B,)."""
        ...

    def negatives(self, x: Tensor, steps: int, persistent: bool = False) -> Tensor:
        """Where its chains are after so many sweeps from x, or onward from where they were."""
        ...


class ContrastiveDivergence:
    """E[F(v)] - E[F(v_k)],   v from the data, v_k after k sweeps of a Gibbs chain from v, held fixed.

    Its gradient is that of CD-k, positive minus negative statistics, <v h>_data - <v h>_k for a weight, with
    probabilities for the last h; its value is no likelihood, not even a bound. (Hinton 2002, Neural Computation 14(8))
    Persistent: the chains go on from step to step and forget where they began, so that v_k comes nearer to the model.
    (Tieleman 2008, ICML)

    Args:
        steps: k.
        persistent: chains are not begun anew from the batch.
    """

    asks: ClassVar[tuple[str, ...]] = ("free_energy", "negatives")

    def __init__(self, steps: int = 1, persistent: bool = False):
        if steps < 1:
            raise ConfigError("loss.steps", steps, "is at least 1")
        self.steps, self.persistent = steps, persistent

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and ``contrast``, the same to be logged."""
        undirected = cast(Undirected, model)
        negatives = undirected.negatives(batch["x"], self.steps, self.persistent)
        contrast = undirected.free_energy(batch["x"]).mean() - undirected.free_energy(negatives).mean()
        return contrast, {"contrast": contrast.detach()}
