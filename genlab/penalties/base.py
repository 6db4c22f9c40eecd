"""What a penalty is: all that keeps a critic smooth, by a term, a projection, or reparametrisation; and what else
a generator is asked for."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Critic = Callable[[Tensor], Tensor]
"""From examples as the critic sees them, (B, ...), to its values, (B,)."""


class Penalty:
    """No penalty; the others override what they need.

    Attributes:
        every: the term is computed in every ``every``-th critic turn only (lazy regularisation); whoever takes the
            turns keeps count, and the term is multiplied by ``every`` by the penalty itself.
        twice: the term differentiates the critic twice, which ``torch.compile`` cannot.
    """

    every: int = 1
    twice: bool = False

    def prepare(self, critic: nn.Module) -> None:
        """Called for each of the critic's modules, before training and after loading alike; again does no harm."""

    def term(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor | None:
        """A scalar added to the critic's loss, from examples as the critic sees them, (B, ...), or None."""
        return None

    def imitation(self, features: Critic, real: Tensor, fake: Tensor) -> Tensor | None:
        """A scalar added to the generator's loss, from what the critic's last layer is given, (B, F), or None."""
        return None

    def project(self, critic: nn.Module) -> None:
        """Called after each of the critic's optimizer steps."""


def slopes(critic: Critic, x: Tensor) -> Tensor:
    """The critic's gradient at each example of ``x``, (B, D) whatever the shape of an example; differentiable again.

    Critics that rate an example by itself, without batch norm: else it is the gradient of the sum of all values.
    """
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return slope.flatten(1)
