"""Shifted convolutions: the kernel's last row is the pixel's own, so that they see nothing below; weight-normalised.

Salimans et al. 2017, PixelCNN++, arXiv 1701.05517, section 2.5; Salimans and Kingma 2016, Weight Normalization, arXiv
1602.07868.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class ShiftedConv2d(nn.Module):
    """y = g t + b,   t = V / |V| convolved with x, of which rows up to i and columns j - left to j + right reach i, j.

    (B, I, H, W) to (B, O, H / stride, W / stride), where (i, j) stands for (stride i, stride j); ``transposed`` the
    other way round, (B, O, stride H, stride W), whose (i, j) is reached by what lies at (i, j) / stride, rounded down,
    and at columns within the kernel's width of that.

    |V| is over all weights of an output. ``adapt`` is the data-dependent initialisation: g and b such that outputs have
    mean 0 and standard deviation ``gain`` over a first batch.

    Args:
        inputs: I.
        outputs: O.
        kernel: its height and width.
        right: columns to the right of the pixel that it sees.
        stride: 1 or 2.
        transposed: whether it enlarges.
        gain: standard deviation that outputs start with.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int] = (1, 1),
        right: int = 0,
        stride: int = 1,
        transposed: bool = False,
        gain: float = 1.0,
    ):
        super().__init__()
        self.inputs, self.outputs, self.kernel = inputs, outputs, kernel
        self.stride, self.transposed = stride, transposed
        self.top, self.left, self.right, self.gain = kernel[0] - 1, kernel[1] - 1 - right, right, gain
        shape = (inputs, outputs) if transposed else (outputs, inputs)
        self.direction = nn.Parameter(0.05 * torch.randn(*shape, *kernel))
        self.scale = nn.Parameter(torch.full((outputs,), gain))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def weight(self) -> Tensor:
        """g V / |V|, of the shape of V."""
        own, others = (1, (0, 2, 3)) if self.transposed else (0, (1, 2, 3))
        size = self.direction.square().sum(others, keepdim=True).clamp(min=1e-12).sqrt()
        return self.direction * (self.scale.unflatten(0, [-1 if d == own else 1 for d in range(4)]) / size)

    def forward(self, x: Tensor) -> Tensor:
        if self.transposed:
            y = F.conv_transpose2d(x, self.weight(), self.bias, self.stride)
            return y[:, :, : self.stride * x.shape[2], self.right : self.right + self.stride * x.shape[3]]
        if self.kernel != (1, 1):
            x = F.pad(x, (self.left, self.right, self.top, 0))
        return F.conv2d(x, self.weight(), self.bias, self.stride)

    @torch.no_grad()
    def adapt(self, x: Tensor) -> Tensor:
        """Set g and b by a batch, that of all ranks together, and return its outputs under them.

        A map that is constant over the batch, as all are in an image of one pixel, keeps its g.
        """
        self.scale.fill_(1.0)
        self.bias.zero_()
        t = self(x)
        t = t.to(torch.promote_types(t.dtype, torch.float32))
        moments = torch.stack([t.mean((0, 2, 3)), t.square().mean((0, 2, 3))])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(moments)
            moments /= dist.get_world_size()
        mean, variance = moments[0], moments[1] - moments[0].square()
        self.scale.copy_(torch.where(variance > 1e-6, self.gain * variance.clamp(min=1e-6).rsqrt(), self.gain))
        self.bias.copy_(-mean * self.scale)
        return self(x)

    def extra_repr(self) -> str:
        return (
            f"{self.inputs}, {self.outputs}, kernel={self.kernel}, stride={self.stride}, transposed={self.transposed}"
        )
