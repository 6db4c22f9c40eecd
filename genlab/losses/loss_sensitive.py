"""Loss-sensitive GAN: real examples are rated above generated ones by as much as the two are apart."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import leaky_relu

from genlab.errors import ConfigError


class LossSensitive:
    """A critic that owes each pair a margin, and no more than that.

    critic:     E[max(0, Delta(x, G(z)) + d(G(z)) - d(x))],   Delta(x, y) = margin |x - y|_1 / D
    generator: -E[d(G(z))]

    (Qi 2017, arXiv 1701.06264, with the learned loss L = -d.) ``slope`` is that of max(0, .) below zero, by which the
    paper generalises LS-GAN: with 1 the loss is Wasserstein's, up to a constant, and like that one it then needs a
    penalty.

    Deviations: the term E[L(x)] is left out, as in the released code, since it is the differences that teach, and
    L may be negative (there a ReLU ends the critic; without the term a shift of L changes nothing). The distance is the
    mean over the D numbers of an example: 2.5 of it is 0.0002 of the sum at 64x64x3, where the released code has that.

    Args:
        margin: of Delta.
        slope: from 0 to 1.

    Raises:
        ConfigError: ``slope`` is out of its range.
    """

    needs_examples: ClassVar[bool] = True

    def __init__(self, margin: float = 2.5, slope: float = 0.0):
        if not 0 <= slope <= 1:
            raise ConfigError("loss.slope", slope, "must be from 0 (loss-sensitive) to 1 (Wasserstein)")
        self.margin, self.slope = margin, slope

    def critic(self, real: Tensor, fake: Tensor, examples: tuple[Tensor, Tensor]) -> Tensor:
        """Loss of the critic from its values ``real`` and ``fake``, (B,) each, of the two ``examples``, (B, D) each."""
        x, y = examples
        distance = (x - y).abs().mean(1).detach()
        return leaky_relu(self.margin * distance + fake - real, self.slope).mean()

    def generator(
        self, fake: Tensor, real: Tensor | None = None, examples: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Loss of the generator from the critic's values on its examples, (B,)."""
        return -fake.mean()

    def both(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of players that make both kinds, who owe each other no margin."""
        return real.mean() - fake.mean()
