"""The earth mover's distance as an adversarial loss."""

from typing import ClassVar

from torch import Tensor


class Wasserstein:
    """Kantorovich-Rubinstein duality: the best 1-Lipschitz critic's values differ by the earth mover's distance.

    W(p, q) = sup over Lipschitz-1 functions d of  E_p[d(x)] - E_q[d(x)]

    critic:     E[d(G(z))] - E[d(x)]
    generator: -E[d(G(z))]

    Minus the critic's loss is therefore an estimate of the distance, as good as the critic is Lipschitz-1: a penalty
    has to see to that (``clip``, ``gradient``). (Arjovsky et al. 2017, arXiv 1701.07875, eq. 2)
    """

    needs_penalty: ClassVar[bool] = True

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its values ``real`` and ``fake``, (B,) each."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's values on its examples, (B,)."""
        return -fake.mean()
