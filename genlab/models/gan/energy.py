"""Critics that are auto-encoders: what they reconstruct badly they take for generated."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.spec import Spec


class Discriminator(nn.Module):
    """d(x) = -E(x),   E(x) = mean over dimensions of |Dec(Enc(x)) - x|^power.

    (Zhao et al. 2017, arXiv 1609.03126, eq. 3, there without the mean, so margins are D times as large, and without the
    square; Berthelot et al. 2017, arXiv 1703.10717, eq. 1, with power 1.) Any adversarial loss takes such values; those
    that their papers have are ``margin`` and ``equilibrium``.

    Args:
        spec: of what is rated.
        encoder: called with ``(spec, outputs=code)``.
        decoder: called with ``(spec, code)``; ends in the range of scaled examples, as a generator does.
        code: number of dimensions of the code.
        power: 1 or 2.

    Raises:
        ConfigError: there is no such power.
    """

    gives_energy: ClassVar = True  # what losses with ``needs_energy`` take

    def __init__(
        self,
        spec: Spec,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        code: int = 64,
        power: int = 2,
    ):
        super().__init__()
        if power not in (1, 2):
            raise ConfigError("model.discriminator.power", power, "is 1 or 2", "2")
        self.power = power
        self.encoder: Any = encoder(spec, outputs=code)
        self.decoder: Any = decoder(spec, code)

    def features(self, x: Tensor) -> Tensor:
        """The code, (B, code)."""
        return self.encoder(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *spec.shape) to (B,)."""
        apart = (self.decoder(self.features(x)) - x).flatten(1)
        return -(apart.abs() if self.power == 1 else apart.square()).mean(1)
