"""The adversarial loss of the first GAN, played to the letter."""

from torch import Tensor
from torch.nn.functional import softplus


class Minimax:
    """A classifier of real against generated, and a generator that maximises its cross-entropy.

    critic:     E[-log D(x)] + E[-log(1 - D(G(z)))],   D = sigmoid(d)
    generator:  E[log(1 - D(G(z)))]

    At the best critic D* = p / (p + q) the critic's loss is log 4 - 2 JS(p, q), at most log 4 = 1.386. The generator's
    gradient is proportional to D(G(z)), so it fades while the critic wins; ``NonSaturating`` mends that.
    (Goodfellow et al. 2014, arXiv 1406.2661, eq. 1 and section 4)

    Critic values d are logits: -log D = softplus(-d) and -log(1 - D) = softplus(d) never overflow.
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its logits ``real`` and ``fake``, (B,) each."""
        return softplus(-real).mean() + softplus(fake).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's logits on its examples, (B,)."""
        return -softplus(fake).mean()
