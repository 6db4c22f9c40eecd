"""The objective of a VQ-VAE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from torch import Tensor, nn

from genlab.errors import ConfigError

if TYPE_CHECKING:
    from genlab.models.vae.vqvae import Quantisation


class Quantises(Protocol):
    """What the loss asks of a model."""

    def quantisation(self, x: Tensor, y: Tensor | None = None) -> Quantisation:
        """log p(x | e), |sg(z) - e|^2 and |z - sg(e)|^2 of each example, (B,), and the perplexity of their codes."""
        ...


class VectorQuantised:
    """-E[log p(x | e)] + E|sg(z) - e|^2 + beta E|z - sg(e)|^2, nats per example, sg: no gradient goes there.

    The squares are summed over all positions and dimensions. Of a codebook that learns by moving averages the middle
    term has no gradient. (van den Oord et al. 2017, arXiv 1711.00937, eq. 3)

    Args:
        beta: weight of the commitment, by which the encoder stays near the codes.
    """

    asks: ClassVar[tuple[str, ...]] = ("quantisation",)

    def __init__(self, beta: float = 0.25):
        if beta < 0:
            raise ConfigError("loss.beta", beta, "must not be negative")
        self.beta = beta

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise; ``reconstruction``, ``commitment`` and ``perplexity`` to be logged."""
        found = cast(Quantises, model).quantisation(batch["x"], batch.get("y"))
        reconstruction, commitment = found.log_prob.mean(), found.commitment.mean()
        parts: dict[str, Any] = {"reconstruction": reconstruction, "commitment": commitment}
        parts["perplexity"] = found.perplexity
        value = found.codebook.mean() + self.beta * commitment - reconstruction
        return value, {name: part.detach() for name, part in parts.items()}
