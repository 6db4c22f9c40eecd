"""The loss of boundary equilibrium GANs: the critic's attention is divided by a control loop."""

from typing import ClassVar

import torch
from torch import Tensor, nn


class Equilibrium(nn.Module):
    """The critic reconstructs real examples and, k times as eagerly, fails to reconstruct generated ones.

    critic:     E[E(x)] - k E[E(G(z))],   E = -d
    generator:  E[E(G(z))]
    k <- clip(k + rate (diversity E[E(x)] - E[E(G(z))]), 0, 1) after each of the critic's turns, from 0

    so that E[E(G(z))] / E[E(x)] tends to ``diversity``. The convergence measure is E[E(x)] + |diversity E[E(x)] -
    E[E(G(z))]|. (Berthelot et al. 2017, arXiv 1703.10717, eq. 2 to 6; deviation: k moves by the generated examples of
    the critic's turn, not of the generator's.) k is kept in checkpoints.

    Args:
        diversity: gamma; low values give clear pictures of few kinds.
        rate: lambda_k.
    """

    needs_energy: ClassVar = True  # of a critic without bounds the loss falls for ever
    balance: Tensor

    def __init__(self, diversity: float = 0.5, rate: float = 1e-3):
        super().__init__()
        self.diversity, self.rate = diversity, rate
        self.register_buffer("balance", torch.zeros(()))

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its values ``real`` and ``fake``, (B,) each."""
        value = self.balance.clone() * fake.mean() - real.mean()
        with torch.no_grad():
            self.balance.add_(self.rate * (fake.mean() - self.diversity * real.mean())).clamp_(0, 1)
        return value

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's values on its examples, (B,)."""
        return -fake.mean()
