"""Feature matching: what the critic looks at has the same mean in generated examples as in real ones."""

from torch import Tensor

from genlab.errors import ConfigError
from genlab.penalties.base import Critic, Penalty


class FeatureMatching(Penalty):
    """The generator minimises weight * |E[h(x)] - E[h(G(z))]|^2 too, h what the critic's last layer is given.

    (Salimans et al. 2016, arXiv 1606.03498, section 3.1, where it takes the place of the generator's loss. The mean of
    squares over features, or of absolute values, as the released code has for MNIST and for CIFAR-10.) A critic of
    pairs, or under conditions, has no features of an example: there it asks for nothing.

    Args:
        weight: of the term.
        norm: ``squared`` or ``absolute``.

    Raises:
        ConfigError: there is no such norm.
    """

    def __init__(self, weight: float = 1.0, norm: str = "squared"):
        if norm not in ("squared", "absolute"):
            raise ConfigError("penalty.norm", norm, "there are squared, absolute", "squared")
        self.weight, self.norm = weight, norm

    def imitation(self, features: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The generator's term."""
        apart = features(real).mean(0) - features(fake).mean(0)
        return self.weight * (apart.square() if self.norm == "squared" else apart.abs()).mean()
