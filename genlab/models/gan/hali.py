"""Hierarchical ALI: codes at two levels, a map and a vector, each inferred from the level below."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn, tanh

from genlab.errors import ConfigError
from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.ali import drawn, gaussian
from genlab.models.gan.critic import Critic, Seen
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.spec import Spec, from_signed, to_signed


class HALI(nn.Module):
    """The critic tells (x, z1^, z2^) of the inference model from (x~, z1, z2) of the generative model.

    inference:   x of the data,     z1 ~ q(z1 | x) = N(mu(x), sigma(x)^2),      z2 ~ q(z2 | z1), Gaussian too
    generation:  z2 ~ N(0, I),      z1 ~ p(z1 | z2), Gaussian,                  x = G(z1)

    min over p and q, max over D of  E_q[log D(x, z1, z2)] + E_p[log(1 - D(x, z1, z2))]

    z1 is a map of (maps, H, W) halved ``halvings`` times, z2 a vector. The smaller the Jensen-Shannon divergence of the
    two, the better x comes back from each level, and it comes back better from z1. (Belghazi et al. 2018, arXiv
    1802.01071, section 3.) Deviation: log sigma^2 is clamped to [-10, 10]; the widths of the nets are not the paper's.

    ``encode`` gives the mean of z2 at the mean of z1, ``decode`` G at the mean of z1.
    Protocols: Samples, Encodes, Hierarchical, Criticises, Game.

    Args:
        spec: of the data, images.
        generator: called with the shapes ``(source, target)``, twice: a module from one level to the one below, to
            (mean, log-variance) side by side of z1, and to x, which a tanh follows.
        encoder: called in the same way, for the way up.
        discriminator: called with ``(spec, codes)`` of packed examples and the shapes of their codes; a module from
            scaled examples, z1 and z2 to critic values, (B,).
        latent: number Z of dimensions of z2.
        maps: channels of z1.
        halvings: how often the sides halve from x to z1.
        net: the word from which a preset names the nets (``genlab.models.gan.${model.net}.Between``).
        pack: number of triples that the critic rates as one.
    """

    requires: ClassVar = {"data.kind": ("image",)}
    levels = 2

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        encoder: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 16,
        maps: int = 4,
        halvings: int = 2,
        net: str = "",
        pack: int = 1,
    ):
        super().__init__()
        self.spec, self.latent, self.net = spec, latent, net
        sides = spec.shape[1:]
        if any(side % (1 << halvings) for side in sides):
            raise ConfigError("model.halvings", halvings, f"{sides[0]} x {sides[1]} pixels do not halve so often", "1")
        self.shape = (maps, *(side >> halvings for side in sides))
        both = (2 * maps, *self.shape[1:])  # mean and log-variance
        self.generator = nn.ModuleList([generator(self.shape, spec.shape), generator((latent,), both)])
        self.encoder = nn.ModuleList([encoder(spec.shape, both), encoder(self.shape, (2 * latent,))])
        codes = [(pack * maps, *self.shape[1:]), (pack * latent,)]
        self.critic = Critic(discriminator(spec.packed(pack), codes), pack)

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic, then the four other nets as one."""
        return {"critic": [self.critic], "generator": [self.generator, self.encoder]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``; ``critic`` among the parts is the loss without the penalty."""
        x = to_signed(batch["x"], self.spec.levels)
        z2 = torch.randn(len(x), self.latent, device=x.device)
        if player == "generator":
            value = self.critic.against_both(*self.triples(x, z2), loss)
            return value, {"generator": value.detach()}
        with torch.no_grad():
            real, fake = self.triples(x, z2)
        return self.critic.turn(real, fake, loss, penalty)

    def triples(self, x: Tensor, z2: Tensor) -> tuple[Seen, Seen]:
        """The inference model's, which are the real ones to the critic, and the generative model's."""
        inferred = drawn(*self.low(x))
        made = drawn(*self.prior(z2))
        return (x, inferred, drawn(*self.high(inferred))), (self.generate(made), made, z2)

    def low(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z1 | x) for scaled examples, (B, *shape) each."""
        return gaussian(self.encoder[0](x))

    def high(self, z1: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z2 | z1), (B, Z) each."""
        return gaussian(self.encoder[1](z1))

    def prior(self, z2: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of p(z1 | z2), (B, *shape) each."""
        return gaussian(self.generator[1](z2))

    def generate(self, z1: Tensor) -> Tensor:
        """Scaled examples, (B, *spec.shape)."""
        x = self.generator[0](z1)
        return x if self.spec.levels is None else tanh(x)

    def infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z1, (B, *shape), and z2, (B, Z), of scaled examples, each the mean at the level below."""
        z1 = self.low(x)[0]
        return z1, self.high(z1)[0]

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """z2, (B, Z)."""
        return self.ascend(x, self.levels)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of each z2, (B, Z) to (B, *spec.shape)."""
        return self.descend(z, self.levels)

    def ascend(self, x: Tensor, level: int, y: Tensor | None = None) -> Tensor:
        """z1 (level 1), (B, *shape), or z2 (level 2), (B, Z), of data-space examples."""
        return self.infer(to_signed(x, self.spec.levels))[level - 1]

    def descend(self, code: Tensor, level: int, y: Tensor | None = None) -> Tensor:
        """The data-space example of each z1 or z2, (B, *spec.shape)."""
        z1 = self.prior(code)[0] if level == self.levels else code
        return from_signed(self.generate(z1), self.spec.levels)

    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The critic's values of data-space examples beside their codes, (B,); of packs of equal ones."""
        x = to_signed(x, self.spec.levels)
        return self.critic(tuple(part.repeat_interleave(self.critic.pack, 0) for part in (x, *self.infer(x))))

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example for each stream of ``noise``; ``temperature`` multiplies the standard deviations of z2 and z1."""
        mean, log_variance = self.prior(noise.normal(self.latent) * temperature)
        z1 = mean + torch.exp(log_variance / 2) * noise.normal(*self.shape) * temperature
        return from_signed(self.generate(z1), self.spec.levels)
