"""Flatten: an image as a vector."""

from torch import Tensor

from genlab.bijections.base import Bijection, no_change


class Flatten(Bijection):
    """(B, *shape) to (B, D); log|det| = 0. Both directions are free.

    Args:
        shape: of one example.
    """

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.flatten(1), no_change(x)

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y.unflatten(1, self.shape), no_change(y)
