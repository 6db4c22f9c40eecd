"""What a loss is: for games, two functions of critic values; for likelihoods, one function of model and batch."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn


class AdversarialLoss(Protocol):
    """Two pure functions of critic values; both are minimised, and neither knows a network or a step."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss from its values on real and generated examples, (B,) each."""
        ...

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss from the critic's values on its examples, (B,)."""
        ...


class Objective(Protocol):
    """A likelihood objective: a scalar to minimise, in nats per example, and named detached parts to be logged."""

    def __call__(
        self, model: nn.Module, batch: Mapping[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]: ...
