"""Scale: one learned factor for every dimension."""

import torch
from torch import Tensor, nn

from genlab.bijections.base import Bijection


class Scale(Bijection):
    """y = x exp(s),   log|det| = sum of s. NICE ends in one, for couplings that only shift leave every volume alone.

    Both directions are element-wise. (Dinh et al. 2015, NICE, arXiv 1410.8516, section 3.3)

    Args:
        shape: of one example, and of s.
    """

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(y))
