"""Softmax GAN: a batch is a distribution, and the players disagree about which examples should have its mass."""

from typing import ClassVar

import torch
from torch import Tensor


class Softmax:
    """P(i) = e^d_i / Z over all N + M examples i of a batch, N real and M generated, Z = sum_i e^d_i.

    critic:     E[-d(x)] + log Z,   the cross-entropy of P against 1 / N on every real example; at least log N
    generator: -mean of d over the whole batch + log Z,   that against 1 / (N + M) on every example; least, log(N + M),
                where the critic tells none from another

    (Lin 2017, arXiv 1704.06191, with mu = -d.) With the real examples given, only generated ones move.
    Across ranks each has the Z of its own batch.
    """

    needs_real: ClassVar[bool] = True

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its values ``real``, (N,), and ``fake``, (M,)."""
        return torch.cat((real, fake)).logsumexp(0) - real.mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Loss of the generator from the critic's values on its examples and on real ones, (M,) and (N,)."""
        batch = torch.cat((real, fake))
        return batch.logsumexp(0) - batch.mean()

    def both(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of players that make both kinds: the generator's, whose target is the same for all."""
        return self.generator(fake, real)
