"""Masked convolution along a row, for both sides of a gate.

van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, arXiv 1606.05328, section 2.2.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.nn.masked import channel_groups


class RowConv2d(nn.Module):
    """y = a 1 x k convolution of x over the pixel and the k // 2 to its left;  (B, I, H, W) to (B, 2 O, H, W).

    The centre is masked as in ``MaskedConv2d``. Outputs come twice, O maps for each side of a gate, and each O are
    shared out among the groups for themselves, so that a map and its gate are of one group.

    Args:
        inputs: feature maps I.
        outputs: feature maps O of each side of the gate.
        kernel: odd edge length k.
        kind: A or B, as of ``MaskedConv2d``.
        groups: image channels among which inputs and outputs are shared out.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, kind: Literal["A", "B"], groups: int):
        super().__init__()
        self.reach = kernel // 2
        source, target = channel_groups(inputs, groups)[None, :], channel_groups(outputs, groups).repeat(2)[:, None]
        mask = torch.ones(2 * outputs, inputs, 1, self.reach + 1)
        mask[:, :, 0, -1] = (source < target if kind == "A" else source <= target).float()
        self.register_buffer("mask", mask, persistent=False)
        bound = 1 / math.sqrt(max(1.0, mask.sum().item() / (2 * outputs)))
        self.weight = nn.Parameter(torch.empty_like(mask).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(2 * outputs).uniform_(-bound, bound))

    def masked_weight(self) -> Tensor:
        """mask * weight, (2 O, I, 1, k // 2 + 1)."""
        return self.mask * self.weight

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (self.reach, 0)), self.masked_weight(), self.bias)
