"""The adversarial loss of the first GAN, played to the letter."""

from torch import Tensor
from torch.nn.functional import softplus

from genlab.errors import ConfigError


class Minimax:
    """A classifier of real against generated, and a generator that maximises its cross-entropy.

    critic:     E[-log D(x)] + E[-log(1 - D(G(z)))],   D = sigmoid(d)
    generator:  E[log(1 - D(G(z)))]

    At the best critic D* = p / (p + q) the critic's loss is log 4 - 2 JS(p, q), at most log 4 = 1.386. The generator's
    gradient is proportional to D(G(z)), so it fades while the critic wins; ``NonSaturating`` mends that.
    (Goodfellow et al. 2014, arXiv 1406.2661, eq. 1 and section 4)

    With a smoothing s the label of real examples is 1 - s, so that D* = (1 - s) p / (p + q); generated ones stay at 0,
    for else D* would rise with q where there are no data. (Salimans et al. 2016, arXiv 1606.03498, section 3.4)

    Critic values d are logits: -log D = softplus(-d) and -log(1 - D) = softplus(d) never overflow.

    Args:
        smoothing: s, at least 0 and below 0.5; the paper of 2016 has 0.1.

    Raises:
        ConfigError: ``smoothing`` is out of its range.
    """

    def __init__(self, smoothing: float = 0.0):
        if not 0 <= smoothing < 0.5:
            raise ConfigError("loss.smoothing", smoothing, "must be at least 0 and below 0.5, where labels say nothing")
        self.smoothing = smoothing

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its logits ``real`` and ``fake``, (B,) each."""
        value = softplus(-real).mean() + softplus(fake).mean()
        if self.smoothing:  # -(1 - s) log D - s log(1 - D) = softplus(-d) + s d
            value = value + self.smoothing * real.mean()
        return value

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's logits on its examples, (B,)."""
        return -softplus(fake).mean()

    def both(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of players that make both kinds, whose labels are not smoothed."""
        return -softplus(-real).mean() - softplus(fake).mean()
