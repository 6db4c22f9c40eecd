"""Inverse: a bijection with its directions exchanged."""

from torch import Tensor

from genlab.bijections.base import Bijection


class Inverse(Bijection):
    """y = f^-1(x). Costs what f costs, the other way round.

    Around a ``MaskedAutoregressive`` it is the inverse auto-regressive flow. (Kingma et al. 2016, arXiv 1606.04934)

    Args:
        bijection: f.
    """

    def __init__(self, bijection: Bijection):
        super().__init__()
        self.bijection = bijection

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(x, c)

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection(y, c)
