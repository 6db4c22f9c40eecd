"""A GAN beside which an encoder learns to undo the generator, without any say in the game."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.gan import GAN
from genlab.penalties.base import Penalty
from genlab.spec import Spec, to_signed


class LatentRegressor(GAN):
    """E minimises E|z - E(G(z))|^2, z ~ N(0, I), the sum over dimensions; G and D play as if it were not there.

    E sees generated examples alone, so of real ones it knows what they have in common with those: where G left
    something out, E was never shown it. (Donahue et al. 2017, arXiv 1605.09782, section 4, "latent regressor";
    Dumoulin et al. 2017, arXiv 1606.00704, figure 7, "GAN with learned inverse".) G and E are one player, so that the
    weights of both are averaged; no gradient goes from one to the other.

    Protocols: those of ``GAN``, and Encodes.

    Args:
        spec, generator, discriminator, latent, net, pack: as of ``GAN``.
        encoder: called with ``(spec, outputs=Z)``; a module from scaled examples to (B, Z).
    """

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        encoder: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 128,
        net: str = "",
        pack: int = 1,
    ):
        super().__init__(spec, generator, discriminator, latent, net, pack)
        self.encoder = encoder(spec, outputs=latent)

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic, then generator and encoder."""
        return {"critic": [self.critic], "generator": [self.generator, self.encoder]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``; ``missed`` among the parts is the encoder's."""
        if player == "critic":
            return super().turn(player, batch, loss, penalty)
        real = to_signed(batch["x"], self.spec.levels)
        z = torch.randn(len(real), self.latent, device=real.device)
        fake = self.generate(z)
        value = self.critic.against(fake, loss, real, penalty=penalty)
        missed = (self.infer(fake.detach()) - z).float().square().sum(1).mean()
        return value + missed, {"generator": value.detach(), "missed": missed.detach()}

    def infer(self, x: Tensor) -> Tensor:
        """Codes of scaled examples, (B, Z)."""
        return self.encoder(x).view(len(x), -1)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """E(x), (B, Z)."""
        return self.infer(to_signed(x, self.spec.levels))
