"""LipSwish: an activation for nets whose Lipschitz constant is bounded."""

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
