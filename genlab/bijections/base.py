"""What a bijection is: one call maps a batch and returns the log-determinant of the way it went."""

from torch import Tensor, nn

EXACT = 64
"""Dimensions up to which evaluation computes the log-determinant itself, where larger ones need an estimate."""


class Bijection(nn.Module):
    """An invertible map of one example, x <-> y, perhaps given a context c.

    1. ``forward(x, c)`` is (y, log|det dy/dx|), ``inverse(y, c)`` is (x, log|det dx/dy|): the log-determinant of the
       direction asked for, so those of a round trip sum to zero.
    2. The first dimension of x and y is the batch. ``log_det`` is (B,), summed over all the others, zeros included
       where nothing is scaled.
    3. y has as many numbers an example as x; its shape may be another.
    4. c is (B, K) or None. A bijection that needs no context ignores it; one that holds others hands it on.
    5. Example i of the results depends on example i of the arguments alone, in training mode too: no batch statistics.
       Chance comes from dropout inside a conditioner, in training mode only, and from estimates of a log-determinant:
       a bijection that has no more than those says so by ``is_exact``.
    6. Results have the dtype of x, whatever the precision in which a conditioner ran.

    In a flow, forward goes from data to latent. The docstring of each class says which direction is cheap.
    """

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def is_exact(self, dimensions: int) -> bool:
        """Whether log-determinants, in evaluation mode, of examples of so many dimensions are no estimates."""
        return True


def no_change(x: Tensor) -> Tensor:
    """The log-determinant of a map that preserves volume, (B,)."""
    return x.new_zeros(len(x))
