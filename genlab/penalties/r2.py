"""R2: the critic is flat where the generator is."""

from torch import Tensor

from genlab.penalties.base import Critic, Penalty, slopes


class R2(Penalty):
    """(weight / 2) E[|grad d(G(z))|^2] at generated examples; the norm runs over all axes of an example.

    (Mescheder et al. 2018, arXiv 1801.04406, eq. 10)

    Args:
        weight: gamma.
        every: as in ``R1``.
    """

    twice: bool = True

    def __init__(self, weight: float = 10.0, every: int = 1):
        self.weight, self.every = weight, every

    def term(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty from generated examples, (B, ...)."""
        return slopes(critic, fake).square().sum() * (self.weight * self.every / 2 / len(fake))
