"""The objective of an OT-Flow: likelihood, the cost of transport, and the equation that its potential should solve."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, cast

from torch import Tensor, nn

from genlab.errors import ConfigError


class Transports(Protocol):
    """What the loss asks of a model."""

    def costs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x), the cost of transport and the violation of the Hamilton-Jacobi-Bellman equation, (B,) each."""
        ...


class OTFlow:
    """likelihood E[-log p(x)] + transport E[L] + hjb E[R],

    L the integral of |dx/dt|^2 / 2 along the way of x, R that of |-dPhi/dt + |grad Phi|^2 / 2|.
    (Onken et al. 2021, arXiv 2006.00104) Only training knows the penalties: for a model in eval mode the scalar is the
    negative log-likelihood, and ``genlab eval`` asks the model's ``log_prob``.

    Args:
        likelihood: the paper's alpha_1.
        transport: weight of L, 1 in the paper.
        hjb: the paper's alpha_2.
    """

    asks: ClassVar[tuple[str, ...]] = ("costs",)

    def __init__(self, likelihood: float = 8.0, transport: float = 1.0, hjb: float = 1.0):
        for key, value in {"likelihood": likelihood, "transport": transport, "hjb": hjb}.items():
            if value < 0:
                raise ConfigError(f"loss.{key}", value, "must not be negative")
        self.likelihood, self.transport, self.hjb = likelihood, transport, hjb

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise; ``nll``, ``transport`` and ``hjb`` to be logged, unweighted."""
        log_prob, transport, hjb = (part.mean() for part in cast(Transports, model).costs(batch["x"]))
        parts = {"nll": -log_prob.detach(), "transport": transport.detach(), "hjb": hjb.detach()}
        if not model.training:
            return -log_prob, parts
        return self.transport * transport + self.hjb * hjb - self.likelihood * log_prob, parts
