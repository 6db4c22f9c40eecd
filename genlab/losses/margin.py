"""The loss of energy-based GANs."""

from typing import ClassVar

from torch import Tensor


class Margin:
    """Low energy for real examples, at least ``margin`` for generated ones; an energy is minus a critic's value.

    critic:     E[E(x)] + E[max(0, margin - E(G(z)))],   E = -d
    generator:  E[E(G(z))]

    At equilibrium the critic's loss is ``margin``, if no energy is below 0. (Zhao et al. 2017, arXiv 1609.03126, eq. 1
    and 2, theorem 1.)

    Args:
        margin: m, in units of the energy; about that of real examples under an auto-encoder, and more.
    """

    needs_energy: ClassVar = True  # of a critic without bounds the loss falls for ever

    def __init__(self, margin: float = 1.0):
        self.margin = margin

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its values ``real`` and ``fake``, (B,) each."""
        return (self.margin + fake).relu().mean() - real.mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's values on its examples, (B,)."""
        return -fake.mean()
