"""The objective of a latent-variable model whose class is a latent variable, too, and known of few examples."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, cast

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.errors import ConfigError


class PartlyLabelled(Protocol):
    """What the loss asks of a model."""

    def joint_bound(self, x: Tensor, y: Tensor) -> Tensor:
        """A bound on log p(x, y) of examples whose class is known, on log p(x) of those where it is -1, (B,)."""
        ...

    def classify(self, x: Tensor) -> Tensor:
        """Logits of q(y | x), (B, K)."""
        ...


class SemiSupervised:
    """-(sum_labelled L(x, y) + sum_unlabelled U(x)) / N - alpha E_labelled[log q(y | x)], nats per example.

    (Kingma, Rezende, Mohamed & Welling 2014, arXiv 1406.5298, eq. 8 and 9, divided by the number N of examples, so that
    the paper's alpha = 0.1 N is 0.1 here.) A batch holds the labelled in their true share; those of ``data.labelled``
    that come with it are of the last term alone, without which q(y | x) would not learn from labels: in L it is absent.

    Args:
        alpha: weight of the classifier.
    """

    asks: ClassVar[tuple[str, ...]] = ("joint_bound", "classify")

    def __init__(self, alpha: float = 0.1):
        if alpha < 0:
            raise ConfigError("loss.alpha", alpha, "must not be negative")
        self.alpha = alpha

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise; ``elbo``, the mean bound, ``classes``, the cross-entropy, and ``accuracy`` of it."""
        teller = cast(PartlyLabelled, model)
        bound = teller.joint_bound(batch["x"], batch["y"]).mean()
        x, y = batch.get("x_labelled", batch["x"]), batch.get("y_labelled", batch["y"]).long()
        logits = teller.classify(x)
        classes = cross_entropy(logits, y)
        right = (logits.detach().argmax(1) == y).float().mean()
        return self.alpha * classes - bound, {"elbo": bound.detach(), "classes": classes.detach(), "accuracy": right}
