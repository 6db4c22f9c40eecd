"""Permute: another order of the channels of an image or of the features of a vector."""

from collections.abc import Sequence

import torch
from torch import Tensor

from genlab.bijections.base import Bijection, no_change


class Permute(Bijection):
    """y[i] = x[order[i]] along the first dimension of an example; log|det| = 0. Both directions are one gather.

    Args:
        order: each of 0 ... C - 1 once; ``range(C)[::-1]`` flips.
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Sequence[int]):
        super().__init__()
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("back", torch.tensor(order).argsort(), persistent=False)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x[:, self.order], no_change(x)

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y[:, self.back], no_change(y)
