"""The error of an auto-encoder."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, cast

from torch import Tensor, nn


class Reconstructs(Protocol):
    """What the loss asks of a model."""

    def reconstruction(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x | z) at the code z of each example, (B,)."""
        ...


class Reconstruction:
    """-E[log p(x | z)] at the code z of x, nats per example: half the squared error where p(x | z) is N(g(z), I), up to
    a constant. It bounds no likelihood, for z costs nothing."""

    asks: ClassVar[tuple[str, ...]] = ("reconstruction",)

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise; ``reconstruction``, its negative as in the ELBO, to be logged."""
        log_prob = cast(Reconstructs, model).reconstruction(batch["x"], batch.get("y")).mean()
        return -log_prob, {"reconstruction": log_prob.detach()}
