"""Factor out: half of the channels are done, the other half goes on."""

import math

import torch
from torch import Tensor

from genlab.bijections.base import Bijection


class FactorOut(Bijection):
    """y = (x_2, f(x_1)) as one vector, x_1 and x_2 the halves of the channels;   log|det| = that of f.

    Nested, this is the multi-scale architecture: f is the flow of the next coarser scale.
    (Dinh et al. 2017, arXiv 1605.08803, eq. 14-16). Costs what f costs.

    Args:
        deeper: f, from (B, C/2, H, W) to a vector (B, C H W / 2).
        shape: of x, (C, H, W), with an even C.
    """

    def __init__(self, deeper: Bijection, shape: tuple[int, int, int]):
        super().__init__()
        self.deeper = deeper
        self.part = (shape[0] // 2, *shape[1:])

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        on, done = x.chunk(2, dim=1)
        z, log_det = self.deeper(on, c)
        return torch.cat([done.flatten(1), z], dim=1), log_det

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        done, z = y.split(math.prod(self.part), dim=1)
        on, log_det = self.deeper.inverse(z, c)
        return torch.cat([on, done.unflatten(1, self.part)], dim=1), log_det
