"""R1 and R2 together: the critic is flat where the data are and where the generator is."""

from torch import Tensor

from genlab.penalties.base import Critic, Penalty
from genlab.penalties.r1 import R1
from genlab.penalties.r2 import R2


class R1R2(Penalty):
    """(weight / 2) (E[|grad d(x)|^2] + E[|grad d(G(z))|^2]).

    With a relativistic loss it makes that one converge where either alone does not.
    (Huang et al. 2025, arXiv 2501.05441, section 2.2)

    Two calls of the critic, not one on both: in a critic that looks at its whole batch they must not mix.

    Args:
        weight: gamma. It goes with the data's size: R3GAN's released script starts at 0.05 on CIFAR-10, 2 on 64x64 and
            150 on 256x256 faces, and lets each fall to a tenth.
        every: as in ``R1``.
    """

    twice: bool = True

    def __init__(self, weight: float = 0.05, every: int = 1):
        self.r1, self.r2, self.every = R1(weight, every), R2(weight, every), every

    def term(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty from real and generated examples, (B, ...) each."""
        return self.r1.term(critic, real, fake) + self.r2.term(critic, real, fake)
