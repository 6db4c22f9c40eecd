"""Relativistic losses: what counts is by how much a real example is rated above a generated one."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus


class Relativistic:
    """The probability that a real example is more real than a generated one, sigmoid of the difference of two logits.

    critic:     E[-log sigmoid(d(x) - d(G(z)))], x and G(z) in pairs
    generator:  the same with x and G(z) in each other's place

    or, where ``average``, each example against the mean of the other kind:

    critic:     E[-log sigmoid(d(x) - E d(G(z)))] + E[-log(1 - sigmoid(d(G(z)) - E d(x)))]
    generator:  the same with x and G(z) in each other's place

    (Jolicoeur-Martineau 2018, arXiv 1807.00734, its RSGAN and its RaSGAN; the paired form is also that of R3GAN, Huang
    et al. 2025, arXiv 2501.05441.) With pairs the best critic has d(x) - d(y) = 0 for all x, y where p = q, and the
    loss is log 2; of averages it is log 4. Without a penalty the pairs can be parted ever further.

    Args:
        average: averages instead of pairs.
    """

    needs_real: ClassVar[bool] = True

    def __init__(self, average: bool = False):
        self.average = average

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its logits ``real`` and ``fake``, (B,) each."""
        if self.average:
            return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()
        return softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Loss of the generator from the critic's logits on its examples and on real ones, (B,) each."""
        return self.critic(fake, real)

    def both(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of players that make both kinds: the generator's, which has both in it."""
        return self.critic(fake, real)
