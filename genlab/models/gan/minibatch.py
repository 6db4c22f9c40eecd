"""Minibatch discrimination: a discriminator that sees how alike the examples of a batch are."""

import torch
from torch import Tensor, nn


class MinibatchDiscrimination(nn.Module):
    """M_i = h_i T, (kernels, size);   o_ib = sum over j != i of exp(-|M_ib - M_jb|_1);   [h, o] goes on.

    (Salimans et al. 2016, arXiv 1606.03498, section 3.2.) The released code has 100 kernels of size 5 on CIFAR-10.
    Deviation: o is divided by B - 1, so that its scale does not depend on the batch. Real and generated batches must
    not be mixed, and a value depends on the company that an example is in.

    Args:
        features: number F of features h.
        kernels: number of similarities.
        size: of the vectors that are compared.
    """

    mixes = True  # an example's value depends on the rest of its batch

    def __init__(self, features: int, kernels: int, size: int = 5):
        super().__init__()
        self.kernels, self.size = kernels, size
        self.compared = nn.Linear(features, kernels * size, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """(B, F) to (B, F + kernels)."""
        m = self.compared(h).unflatten(1, (self.kernels, self.size))
        apart = (m[:, None] - m[None]).abs().sum(3)  # (B, B, kernels)
        alike = apart.neg().exp().sum(1) - 1  # but itself
        return torch.cat((h, alike / max(1, len(h) - 1)), 1)
