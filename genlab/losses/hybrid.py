"""The objective of a hybrid model: likelihood of examples and of their classes, weighed."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, cast

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.errors import ConfigError


class Scores(Protocol):
    """What the loss asks of a model."""

    spec: Any

    def scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x), or a bound on it, (B,), and logits of the classes, (B, K)."""
        ...


class Hybrid:
    """-lambda E[log p(x)] - E[log p(y | x)].  (Nalisnick et al. 2019, arXiv 1902.02767; Chen et al. 2019, 1906.02735)

    lambda = 0 is a classifier, 1 the likelihood of both, 1 / D in between: nats a dimension. In nats; the released code
    divides all by log 2.

    Args:
        weight: lambda; None for 1 / D, D the dimensions of an example.
    """

    asks: ClassVar[tuple[str, ...]] = ("scores",)

    def __init__(self, weight: float | None = None):
        if weight is not None and weight < 0:
            raise ConfigError("loss.weight", weight, "must not be negative")
        self.weight = weight

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise; ``nll`` and ``classes``, unweighted, and ``accuracy`` to be logged."""
        log_prob, logits = cast(Scores, model).scores(batch["x"])
        weight = 1 / cast(Scores, model).spec.dimensions if self.weight is None else self.weight
        nll, y = -log_prob.mean(), batch["y"].long()
        classes = cross_entropy(logits, y)
        right = (logits.detach().argmax(1) == y).float().mean()
        value = classes + weight * nll if weight else classes
        return value, {"nll": nll.detach(), "classes": classes.detach(), "accuracy": right}
