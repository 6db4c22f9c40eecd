"""The generative adversarial network: one generator, one critic, any adversarial loss and any penalty."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.errors import GenlabError
from genlab.models.base import AdversarialLoss, Batch
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.spec import Spec, from_signed, to_signed


class GAN(nn.Module):
    """x = G(z), z ~ N(0, I): the generator moves its examples to where a critic of real and generated ones rates high.

    Integer data are scaled to [-1, 1], where a generator of images ends in tanh; continuous data stay as they are.
    Protocols: Samples, Decodes, Game. (Goodfellow et al. 2014, arXiv 1406.2661, Algorithm 1; what each player
    minimises is the loss's and the penalty's affair.)

    Deviation: DCGAN and the first GAN draw z uniformly; a normal z is what all later recipes have.

    Args:
        spec: of the data.
        generator: called with ``(spec, latent)``; a module from z, (B, Z), to scaled examples, (B, *spec.shape).
        discriminator: called with ``(spec)``; a module from scaled examples to critic values, (B,).
        latent: number Z of latent dimensions.
        net: the word from which a preset names the two nets (``genlab.models.gan.${model.net}.Generator``).
    """

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 128,
        net: str = "",
    ):
        super().__init__()
        self.spec, self.latent, self.net = spec, latent, net
        self.generator = generator(spec, latent)
        self.discriminator = discriminator(spec)
        # Batch norm sees whom it is averaged with: mixed batches would tell the critic more than an example does.
        self.mixes = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.discriminator.modules())

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic, then the generator."""
        return {"critic": [self.discriminator], "generator": [self.generator]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``; ``critic`` among the parts is the loss without the penalty."""
        x = batch["x"]
        z = torch.randn(len(x), self.latent, device=x.device)
        if player == "generator":
            value = loss.generator(self.discriminator(self.generator(z)))
            return value, {"generator": value.detach()}
        real = to_signed(x, self.spec.levels)
        with torch.no_grad():
            fake = self.generator(z)
        on_real, on_fake = self.rate(real, fake)
        value = loss.critic(on_real, on_fake)
        parts = {
            "critic": value.detach(),
            "critic_real": on_real.detach().mean(),
            "critic_fake": on_fake.detach().mean(),
        }
        term = None if penalty is None else self.penalise(penalty, real, fake)
        if term is not None:
            parts["penalty"] = term.detach()
            value = value + term
        return value, parts

    def rate(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Critic values of real and generated examples, (B,) each; in one call where that is exact."""
        if self.mixes:
            return self.discriminator(real), self.discriminator(fake)
        on_real, on_fake = self.discriminator(torch.cat((real, fake))).chunk(2)
        return on_real, on_fake

    def penalise(self, penalty: Penalty, real: Tensor, fake: Tensor) -> Tensor | None:
        """The penalty's term, in full precision: under autocast the gradient of a gradient loses its last bits."""
        if not torch.is_autocast_enabled(real.device.type):
            return penalty.term(self.discriminator, real, fake)
        with torch.autocast(real.device.type, enabled=False):
            return penalty.term(self.discriminator, real.float(), fake.float())

    def criticise(self, x: Tensor) -> Tensor:
        """The discriminator's values of data-space examples, (B,)."""
        return self.discriminator(to_signed(x, self.spec.levels))

    def features(self, x: Tensor) -> Tensor:
        """What the discriminator's hidden layers see in data-space examples, (B, D)."""
        see = getattr(self.discriminator, "features", None)
        if see is None:
            raise GenlabError(f"{type(self.discriminator).__name__} has no method features(x), (B, D)")
        return see(to_signed(x, self.spec.levels))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of each latent, (B, Z) to (B, *spec.shape)."""
        return from_signed(self.generator(z), self.spec.levels)

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example for each stream of ``noise``; ``temperature`` multiplies z, labels are not used."""
        return self.decode(noise.normal(self.latent) * temperature)
