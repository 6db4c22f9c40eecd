"""The generative adversarial network: one generator, one critic, any adversarial loss and any penalty."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.errors import GenlabError
from genlab.models.base import AdversarialLoss, Batch
from genlab.models.conditions import as_conditions, conditions
from genlab.models.gan.critic import Critic
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.spec import Spec, from_signed, to_signed


class GAN(nn.Module):
    """x = G(z), z ~ N(0, I): the generator moves its examples to where a critic of real and generated ones rates high.

    Integer data are scaled to [-1, 1], where a generator of images ends in tanh; continuous data stay as they are.
    Protocols: Samples, Generates, Criticises, Game. (Goodfellow et al. 2014, arXiv 1406.2661, Algorithm 1; what each
    player minimises is the loss's and the penalty's affair. Conditional: Mirza and Osindero 2014, arXiv 1411.1784.)

    Deviation: DCGAN and the first GAN draw z uniformly; a normal z is what all later recipes have.

    Args:
        spec: of the data.
        generator: called with ``(spec, latent)`` and ``given=K`` under K conditions; a module from z, (B, Z), and
            conditions, (B, K), to scaled examples, (B, *spec.shape).
        discriminator: called with ``(spec)`` of packed examples, and ``given=pack K``; a module from scaled examples
            and conditions to critic values, (B,).
        latent: number Z of latent dimensions.
        net: the word from which a preset names the two nets (``genlab.models.gan.${model.net}.Generator``).
        pack: number of examples that the critic rates as one (PacGAN).
        conditional: on the class, or on all attributes; generated examples have labels of real ones.
    """

    takes_imitation: ClassVar = True  # penalties of generators

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 128,
        net: str = "",
        pack: int = 1,
        conditional: bool = False,
    ):
        super().__init__()
        self.spec, self.latent, self.net, self.conditional = spec, latent, net, conditional
        count = conditions(spec, conditional)
        self.generator = generator(spec, latent, **({"given": count} if count else {}))
        self.critic = Critic(discriminator(spec.packed(pack), **({"given": pack * count} if count else {})), pack)

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic, then the generator."""
        return {"critic": [self.critic], "generator": [self.generator]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``; ``critic`` among the parts is the loss without the penalty."""
        real, y = to_signed(batch["x"], self.spec.levels), batch.get("y")
        z, given = torch.randn(len(real), self.latent, device=real.device), self.given(y)
        if player == "generator":
            value = self.critic.against(self.generate(z, y), loss, real, given, penalty)
            return value, {"generator": value.detach()}
        with torch.no_grad():
            fake = self.generate(z, y)
        return self.critic.turn(real, fake, loss, penalty, given)

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Scaled examples of latents and labels, (B, *spec.shape)."""
        given = self.given(y)
        return self.generator(z) if given is None else self.generator(z, given)

    def given(self, y: Tensor | None) -> Tensor | None:
        """The conditions that are labels; None of a model that has none."""
        return as_conditions(y, self.spec) if self.conditional else None

    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The critic's values of data-space examples, (B,); of packs of equal ones, where it rates packs."""
        given, pack = self.given(y), self.critic.pack
        x = to_signed(x, self.spec.levels).repeat_interleave(pack, 0)
        return self.critic(x, None if given is None else given.repeat_interleave(pack, 0))

    def features(self, x: Tensor) -> Tensor:
        """What the critic's hidden layers see in data-space examples, (B, D)."""
        if self.conditional:
            raise GenlabError("a conditional critic sees labels beside examples")
        return self.critic.hidden(to_signed(x, self.spec.levels))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of each latent, (B, Z) to (B, *spec.shape)."""
        return from_signed(self.generate(z, y), self.spec.levels)

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example for each stream of ``noise``; ``temperature`` multiplies z, labels are those of a conditional."""
        return self.decode(noise.normal(self.latent) * temperature, y)
