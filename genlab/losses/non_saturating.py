"""The adversarial loss of the first GAN, as it is trained in practice."""

from torch import Tensor
from torch.nn.functional import softplus

from genlab.losses.minimax import Minimax


class NonSaturating(Minimax):
    """The critic of ``Minimax``, and a generator that wants its examples to be taken for real ones.

    generator:  E[-log D(G(z))],   D = sigmoid(d)

    Same fixed point as minimax, with a gradient proportional to 1 - D(G(z)): strongest where the critic wins.
    (Goodfellow et al. 2014, arXiv 1406.2661, section 3) At the best critic it is the gradient of
    KL(q || p) - 2 JS(p, q). (Arjovsky and Bottou 2017, arXiv 1701.04862, theorem 2.5)
    """

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's logits on its examples, (B,)."""
        return softplus(-fake).mean()

    def both(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of players that make both kinds, each of which wants to be taken for the other."""
        return softplus(real).mean() + softplus(-fake).mean()
