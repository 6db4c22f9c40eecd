"""LipSwish, and both sides of it: activations for nets whose Lipschitz constant is bounded."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LipSwish(nn.Module):
    """x sigmoid(softplus(beta) x) / 1.1, of Lipschitz constant 1: the slope of swish is 1.0998 at most.

    Its slope is continuous, and bends where it is steep; that of ELU bends only where it is flat, which starves the
    gradient of a log-determinant. (Chen et al. 2019, arXiv 1906.02735, section 3.3)
    """

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.full((), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(F.softplus(self.beta) * x) / 1.1


class ConcatenatedLipSwish(LipSwish):
    """(LipSwish(x), LipSwish(-x)) / 1.004 along dimension 1, of Lipschitz constant 1 and twice as many features.

    With the slope a of swish at x, that at -x is 1 - a, so that the pair is steep on either side where LipSwish is on
    one alone; sqrt(a^2 + (1 - a)^2) <= 1.1044. (Perugachi-Diaz, Tomczak and Bhulai 2021, arXiv 2102.02694, section 3.2)
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super().forward(x), super().forward(-x)], 1) / 1.004
