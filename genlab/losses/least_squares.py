"""Least-squares adversarial loss."""

from torch import Tensor


class LeastSquares:
    """Pull critic values to fixed targets instead of classifying.

    critic:    (E[(d(x) - real)^2] + E[(d(G(z)) - fake)^2]) / 2
    generator:  E[(d(G(z)) - aim)^2] / 2

    With ``real - aim = 1`` and ``real - fake = 2`` the generator minimises the Pearson chi-squared divergence
    between p + q and 2q. Defaults are the 0-1 coding. (Mao et al. 2017, arXiv 1611.04076)

    Args:
        real: target for real examples.
        fake: target for generated examples, in the critic's turn.
        aim: target for generated examples, in the generator's turn.
    """

    def __init__(self, real: float = 1.0, fake: float = 0.0, aim: float = 1.0):
        self.real, self.fake, self.aim = real, fake, aim

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its values ``real`` and ``fake``, (B,) each."""
        return ((real - self.real).square().mean() + (fake - self.fake).square().mean()) / 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's values on its examples, (B,)."""
        return (fake - self.aim).square().mean() / 2
