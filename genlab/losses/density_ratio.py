"""The adversarial loss that follows from estimating a density ratio by classification."""

from torch import Tensor

from genlab.losses.minimax import Minimax


class DensityRatio(Minimax):
    """The critic of ``Minimax``, whose logit at its best is log p(x) - log q(x), and a generator that takes it at its
    word.

    generator:  -E[d(G(z))],   at the best critic KL(q || p)

    Its gradient neither fades nor grows with the critic's success. (Srivastava et al. 2017, arXiv 1705.07761,
    Algorithm 1, of pairs; Sonderby et al. 2017, arXiv 1610.04490)
    """

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's logits on its examples, (B,)."""
        return -fake.mean()
