"""Masked convolution: a pixel sees pixels before it in raster order, a channel of it the channels before it.

van den Oord et al. 2016, Pixel Recurrent Neural Networks, arXiv 1601.06759, section 3.4 and figure 2.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def channel_groups(channels: int, groups: int) -> Tensor:
    """The image channel each of ``channels`` feature maps belongs to, (channels,): contiguous, ascending, near equal.

    Every layer lays its groups out by this one rule; were one layer to differ, red would see blue.
    """
    return torch.arange(channels) * groups // channels


class MaskedConv2d(nn.Module):
    """y = (mask * weight) convolved with x, + bias;  (B, I, H, W) to (B, O, H, W).

    Rows above the centre and pixels left of it are seen whole. At the centre, a map of group c sees the groups before
    c (kind A, for a layer that reads the image) or up to c itself (kind B, for all others).

    The weight has no rows below the centre, (O, I, k // 2 + 1, k): they would be masked whole, and a third of a 3 x 3
    convolution's work with them. It is drawn with the fan-in that the mask leaves.

    Args:
        inputs: feature maps I.
        outputs: feature maps O.
        kernel: odd edge length k of the kernel.
        kind: A or B.
        groups: image channels among which inputs and outputs are shared out.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, kind: Literal["A", "B"], groups: int = 1):
        super().__init__()
        self.inputs, self.outputs, self.kernel, self.kind, self.groups = inputs, outputs, kernel, kind, groups
        self.reach = kernel // 2
        source, target = channel_groups(inputs, groups)[None, :], channel_groups(outputs, groups)[:, None]
        mask = torch.ones(outputs, inputs, self.reach + 1, kernel)
        mask[:, :, -1, self.reach :] = 0
        mask[:, :, -1, self.reach] = (source < target if kind == "A" else source <= target).float()
        self.register_buffer("mask", mask, persistent=False)
        bound = 1 / math.sqrt(max(1.0, mask.sum().item() / outputs))
        self.weight = nn.Parameter(torch.empty_like(mask).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def masked_weight(self) -> Tensor:
        """mask * weight; the parameter itself keeps its masked entries, so averages and copies of it stay plain."""
        return self.mask * self.weight

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(x, self.masked_weight(), self.bias, padding=(self.reach, self.reach))
        return y[:, :, : x.shape[2]]  # padding is symmetric: what follows the last row belongs to no pixel

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, kernel={self.kernel}, kind={self.kind}, groups={self.groups}"
