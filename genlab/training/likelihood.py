"""Training by a likelihood objective: one player, one update a step."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.losses.base import Objective
from genlab.models.base import Bound, Density
from genlab.spec import Spec
from genlab.training.module import Module
from genlab.training.settings import Settings


class Likelihood(Module):
    """Minimise an objective in nats per example; the validation figure is the negative log-likelihood or its bound,
    of as many draws as an objective says by its ``k``; a model that has neither has no such figure.

    Raises:
        ConfigError: the model has no likelihood, nor what the objective asks for instead.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Objective,
        spec: Spec,
        optimizer: Callable[..., torch.optim.Optimizer],
        settings: Settings,
        config: dict[str, Any],
        steps: int,
    ):
        super().__init__(model, spec, optimizer, settings, config, steps)
        asked = getattr(loss, "asks", ())  # an objective may be of something else that a model has
        if not isinstance(model, (Density, Bound)) and not (asked and all(hasattr(model, name) for name in asked)):
            reason = f"{type(model).__name__} has no likelihood to train by, neither a log_prob nor a bound"
            raise ConfigError("training", type(self).__name__, reason)
        self.objective = loss

    def take_step(self, batch: dict[str, Tensor]) -> None:
        parts = iter(self.split_batch(batch, self.settings.accumulate_grad_batches))
        self.update(
            "model",
            lambda: self.objective(self.model, next(parts), self.global_step),
            self.settings.accumulate_grad_batches,
        )

    def validation_nats(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        model: Any = self.model
        if isinstance(model, Density):
            return -model.log_prob(batch["x"], batch.get("y"))
        if isinstance(model, Bound):
            return -model.bound(batch["x"], batch.get("y"), getattr(self.objective, "k", 1))
        return None
