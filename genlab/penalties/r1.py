"""R1: the critic is flat where the data are."""

from torch import Tensor

from genlab.penalties.base import Critic, Penalty, slopes


class R1(Penalty):
    """(weight / 2) E[|grad d(x)|^2] at real examples x; the norm runs over all axes of an example.

    (Mescheder et al. 2018, arXiv 1801.04406, eq. 9)

    Args:
        weight: gamma.
        every: the term is due in every ``every``-th of the critic's turns, multiplied by ``every`` (lazy
            regularisation, Karras et al. 2020, arXiv 1912.04958, who have 16); the paper has 1.
    """

    twice: bool = True

    def __init__(self, weight: float = 10.0, every: int = 1):
        self.weight, self.every = weight, every

    def term(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty from real examples, (B, ...)."""
        return slopes(critic, real).square().sum() * (self.weight * self.every / 2 / len(real))
