"""Negative log-likelihood."""

from collections.abc import Mapping

from torch import Tensor, nn

from genlab.models.base import Bound, Density


class NLL:
    """-E[log p(x)], nats per example; of a model without a density, its bound from one importance sample."""

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and ``nll``, the same to be logged."""
        x, y = batch["x"], batch.get("y")
        if isinstance(model, Density):
            log_prob = model.log_prob(x, y)
        elif isinstance(model, Bound):
            log_prob = model.bound(x, y)
        else:
            raise TypeError(f"{type(model).__name__} has neither log_prob nor bound")
        nll = -log_prob.mean()
        return nll, {"nll": nll.detach()}
