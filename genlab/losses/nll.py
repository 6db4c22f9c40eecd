"""Negative log-likelihood."""

from collections.abc import Mapping

from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.models.base import Bound, Density


class NLL:
    """-E[log p(x)], nats per example; of a model without a density, its bound from one importance sample."""

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and ``nll``, the same to be logged.

        Raises:
            ConfigError: the model gives something else than a number for each example.
        """
        x, y = batch["x"], batch.get("y")
        if isinstance(model, Density):
            log_prob = model.log_prob(x, y)
        elif isinstance(model, Bound):
            log_prob = model.bound(x, y)
        else:
            raise TypeError(f"{type(model).__name__} has neither log_prob nor bound")
        if log_prob.shape != x.shape[:1]:
            given = f"log p(x) of {len(x)} examples has shape {tuple(log_prob.shape)}, and must be a number for each"
            raise ConfigError("model", type(model).__name__, given)
        nll = -log_prob.mean()
        return nll, {"nll": nll.detach()}
