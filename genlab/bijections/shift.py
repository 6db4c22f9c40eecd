"""Shift: an additive map, what NICE couples by."""

from torch import Tensor

from genlab.bijections.base import no_change


class Shift:
    """y = x + t, log|det| = 0: volume is preserved. (Dinh et al. 2015, NICE, arXiv 1410.8516, section 3.2)"""

    parameters = 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return x + params.squeeze(1), no_change(x)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return y - params.squeeze(1), no_change(y)
