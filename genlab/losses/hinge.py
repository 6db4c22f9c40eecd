"""Hinge loss: a critic that stops caring once an example is on the right side by a margin."""

from torch import Tensor


class Hinge:
    """The support vector machine's loss.

    critic:     E[max(0, 1 - d(x))] + E[max(0, 1 + d(G(z)))]
    generator: -E[d(G(z))]

    The best critic is sign(p - q), and its loss 2 - 2 TV(p, q), with TV = E_q|p / q - 1| / 2 the total variation.
    (Lim and Ye 2017, arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957, eq. 16 and 17)
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its values ``real`` and ``fake``, (B,) each."""
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's values on its examples, (B,)."""
        return -fake.mean()

    def both(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of players that make both kinds. (Donahue and Simonyan 2019, arXiv 1907.02544, less the hinge)"""
        return real.mean() - fake.mean()
