"""DRAGAN: the critic's slope is pulled to one in a cloud around the data, wherever the generator is."""

import torch
from torch import Tensor

from genlab.penalties.base import Critic, Penalty, slopes


class DRAGAN(Penalty):
    """weight * E[(|grad d(x + e)|_2 - target)^2],   e ~ N(0, (noise s)^2 I), s the standard deviation of all numbers
    of the batch; the norm runs over all axes of an example.

    (Kodali et al. 2017, arXiv 1705.07215.) Deviation: the paper has e ~ N(0, c I) with c about 10 whatever the
    data's scale, its released code 0.5 s U(0, 1) in every coordinate, times another U(0, 1) for each example, which
    only ever adds; this is the paper's law at the code's scale.

    Args:
        weight: lambda.
        target: k, the slope aimed at.
        noise: standard deviation of e in those of the data.
        every: the term is due in every ``every``-th of the critic's turns, multiplied by ``every``; the paper has 1.
    """

    twice: bool = True
    restrains: bool = True

    def __init__(self, weight: float = 10.0, target: float = 1.0, noise: float = 0.5, every: int = 1):
        self.weight, self.target, self.noise, self.every = weight, target, noise, every

    def term(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty from real examples, (B, ...)."""
        around = real + self.noise * real.std() * torch.randn_like(real)
        excess = torch.linalg.vector_norm(slopes(critic, around), dim=1) - self.target
        return excess.square().mean() * (self.weight * self.every)
