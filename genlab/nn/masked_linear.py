"""Masked linear layer: an output sees the inputs that a mask leaves it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedLinear(nn.Linear):
    """y = (mask * weight) x + bias, (..., I) to (..., O); weights are drawn with the fan-in that the mask leaves.

    Args:
        mask: (O, I), 1 where an output sees an input.
        bias: whether there is one.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, bias: bool = True):
        super().__init__(mask.shape[1], mask.shape[0], bias)
        self.register_buffer("mask", mask.float(), persistent=False)
        with torch.no_grad():
            bound = 1 / self.mask.sum(1, keepdim=True).clamp(min=1).sqrt()
            self.weight.uniform_(-1, 1).mul_(bound)

    def masked_weight(self) -> Tensor:
        """mask * weight; the parameter itself keeps its masked entries, so averages and copies of it stay plain."""
        return self.mask * self.weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.masked_weight(), self.bias)
