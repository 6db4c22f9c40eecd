"""The evidence lower bound, as variational auto-encoders maximise it."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, cast

from torch import Tensor, nn

from genlab.errors import ConfigError


class Variational(Protocol):
    """What the loss asks of a model."""

    def terms(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log p(x | z) at one z ~ q(z | x), (B,), and the KL of each latent dimension, (B, Z)."""
        ...


class ELBO:
    """-E[log p(x | z)] + beta sum_j max(E[KL_j], free_bits), nats per example.

    With beta = 1 and no free bits it is the negative bound of Kingma & Welling 2014, arXiv 1312.6114. beta: Higgins et
    al. 2017. Free bits, in nats in spite of the name, on each latent dimension's mean over the batch: Kingma et al.
    2016, arXiv 1606.04934, eq. 15. Warm-up of beta: Bowman et al. 2016, arXiv 1511.06349.

    Only training knows beta, free bits and warm-up: for a model in eval mode the scalar is the negative bound itself,
    and ``genlab eval`` asks the model's ``bound``.

    Args:
        beta: weight of the KL.
        free_bits: nats of KL of each latent dimension that cost nothing.
        warmup: steps over which the weight rises to beta linearly.
    """

    asks: ClassVar[tuple[str, ...]] = ("terms",)

    def __init__(self, beta: float = 1.0, free_bits: float = 0.0, warmup: int = 0):
        for key, value in {"beta": beta, "free_bits": free_bits, "warmup": warmup}.items():
            if value < 0:
                raise ConfigError(f"loss.{key}", value, "must not be negative")
        self.beta, self.free_bits, self.warmup = beta, free_bits, warmup

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise; ``elbo`` (the true one), ``reconstruction`` and ``kl`` to be logged."""
        log_prob, kl = cast(Variational, model).terms(batch["x"], batch.get("y"))
        reconstruction, each = log_prob.mean(), kl.mean(0)
        elbo = reconstruction - each.sum()
        parts = {"elbo": elbo.detach(), "reconstruction": reconstruction.detach(), "kl": each.sum().detach()}
        if not model.training:
            return -elbo, parts
        weight = self.beta * min(1.0, (step + 1) / self.warmup) if self.warmup else self.beta
        return weight * each.clamp(min=self.free_bits).sum() - reconstruction, parts
