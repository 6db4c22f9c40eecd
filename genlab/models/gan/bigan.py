"""BiGAN: a generator, an encoder that undoes it, and a critic of pairs of an example and its code."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.models.base import AdversarialLoss, Batch
from genlab.models.conditions import as_conditions, conditions
from genlab.models.gan.critic import Critic, Seen
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.spec import Spec, from_signed, to_signed


class BiGAN(nn.Module):
    """The critic tells (x, E(x)), x of the data, from (G(z), z), z ~ N(0, I); G and E together see to it that it fails.

    min over G and E, max over D of  E[log D(x, E(x))] + E[log(1 - D(G(z), z))]

    Where no critic can tell the pairs apart their laws are equal, and then E is the inverse of G almost everywhere.
    G and E are one player, which minimises the critic's loss with its labels exchanged, as the released code does.
    (Donahue et al. 2017, arXiv 1605.09782, section 3)

    Protocols: Samples, Encodes, Criticises (of x beside E(x)), Game. Deviation: z is normal, in the paper uniform.

    Args:
        spec: of the data.
        generator: called with ``(spec, latent)`` and ``given=K`` under K conditions; a module from z, (B, Z), and
            conditions, (B, K), to scaled examples, (B, *spec.shape).
        encoder: called with ``(spec, outputs=Z)`` and ``given=K``; a module from scaled examples and conditions to
            (B, outputs).
        discriminator: called with ``(spec, codes)`` of packed examples and the shapes of their codes, and
            ``given=pack K``; a module from scaled examples, codes and conditions to critic values, (B,).
        latent: number Z of latent dimensions.
        net: the word from which a preset names the nets (``genlab.models.gan.${model.net}.Generator``).
        pack: number of pairs that the critic rates as one.
        conditional: on the class, or on all attributes, all three nets.
    """

    numbers: ClassVar[int] = 1
    """That the encoder gives for each latent dimension."""

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        encoder: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 50,
        net: str = "",
        pack: int = 1,
        conditional: bool = False,
    ):
        super().__init__()
        self.spec, self.latent, self.net, self.conditional = spec, latent, net, conditional
        count = conditions(spec, conditional)
        given = {"given": count} if count else {}
        self.generator = generator(spec, latent, **given)
        self.encoder = encoder(spec, outputs=self.numbers * latent, **given)
        packed = {"given": pack * count} if count else {}
        self.critic = Critic(discriminator(spec.packed(pack), [(pack * latent,)], **packed), pack)

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic, then generator and encoder as one."""
        return {"critic": [self.critic], "generator": [self.generator, self.encoder]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``; ``critic`` among the parts is the loss without the penalty."""
        x, given = to_signed(batch["x"], self.spec.levels), self.given(batch.get("y"))
        z = torch.randn(len(x), self.latent, device=x.device)
        if player == "generator":
            value = self.critic.against_both(*self.pairs(x, z, given), loss, given)
            return value, {"generator": value.detach()}
        with torch.no_grad():
            real, fake = self.pairs(x, z, given)
        return self.critic.turn(real, fake, loss, penalty, given)

    def pairs(self, x: Tensor, z: Tensor, given: Tensor | None) -> tuple[Seen, Seen]:
        """The encoder's pairs, which are the real ones to the critic, and the generator's."""
        return (x, self.infer(x, given)), (self.generate(z, given), z)

    def generate(self, z: Tensor, given: Tensor | None) -> Tensor:
        """Scaled examples, (B, *spec.shape)."""
        return self.generator(z) if given is None else self.generator(z, given)

    def encoded(self, x: Tensor, given: Tensor | None) -> Tensor:
        """What the encoder says of scaled examples, (B, numbers Z)."""
        return (self.encoder(x) if given is None else self.encoder(x, given)).view(len(x), -1)

    def infer(self, x: Tensor, given: Tensor | None) -> Tensor:
        """The codes of scaled examples that the critic is shown, (B, Z)."""
        return self.encoded(x, given)

    def given(self, y: Tensor | None) -> Tensor | None:
        """The conditions that are labels; None of a model that has none."""
        return as_conditions(y, self.spec) if self.conditional else None

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """E(x), (B, Z)."""
        return self.encoded(to_signed(x, self.spec.levels), self.given(y))[:, : self.latent]

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of each code, (B, Z) to (B, *spec.shape)."""
        return from_signed(self.generate(z, self.given(y)), self.spec.levels)

    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The critic's values of data-space examples beside their codes, (B,); of packs of equal ones."""
        code, given, pack = self.encode(x, y), self.given(y), self.critic.pack
        seen = to_signed(x, self.spec.levels).repeat_interleave(pack, 0), code.repeat_interleave(pack, 0)
        return self.critic(seen, None if given is None else given.repeat_interleave(pack, 0))

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example for each stream of ``noise``; ``temperature`` multiplies z, labels are those of a conditional."""
        return self.decode(noise.normal(self.latent) * temperature, y)
