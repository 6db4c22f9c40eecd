"""MAD-GAN: several generators, and a critic that must tell which of them made an example."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.critic import Critic, packed, values_of
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.spec import Spec, from_signed, to_signed


class Accuser(nn.Module):
    """d(x) = l_0(x) - log sum_i exp(l_i(x)): the logit of real against made by any of the generators i = 1 ... k.

    Args:
        net: a module from scaled examples to logits l, (B, k + 1), real first, with ``features``.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net: Any = net

    def features(self, x: Tensor) -> Tensor:
        """What the net's last layer is given, (B, F)."""
        return self.net.features(x)

    def logits(self, h: Tensor) -> Tensor:
        """Of features, (B, F) to (B, k + 1)."""
        return values_of(self.net)(h)

    def values(self, h: Tensor) -> Tensor:
        """Of features, (B, F) to (B,)."""
        logits = self.logits(h)
        return logits[:, 0] - logits[:, 1:].logsumexp(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *spec.shape) to (B,)."""
        return self.values(self.features(x))


class MADGAN(nn.Module):
    """k generators that share all layers but the last, against a critic over k + 1 sources:

    critic:     L_critic(d) - identify E[log p(i | G_i(z))],   d = l_0 - log sum_i exp(l_i)
    generators: L_generator(d)

    With the non-saturating loss, and identify 1, -log D_(k+1)(x) - log D_i(G_i(z)) of the softmax over k + 1 sources is
    this sum exactly: log D_i = log(1 - D_(k+1)) + log p(i | generated). The generators are drawn to real data and
    pushed apart only by the critic's telling them apart. Protocols: Samples, Generates, Criticises, Game. (Ghosh et al.
    2018, arXiv 1704.02906, eq. 3 and 4.) A code has one number more than z, which chooses the generator.

    Args:
        spec: of the data.
        generator: called with ``(spec, latent)``; a module from z to scaled examples.
        discriminator: called with ``(spec, outputs=k + 1)``; a module with ``features``.
        generators: number k.
        noise: number of dimensions of z.
        identify: weight of the generators' names.
        net: the word from which a preset names the nets.
        pack: number of examples that the critic rates as one; where they are of two generators, each has its share.
    """

    takes_imitation: ClassVar = True  # penalties of generators

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        generators: int = 4,
        noise: int = 64,
        identify: float = 1.0,
        net: str = "",
        pack: int = 1,
    ):
        super().__init__()
        self.spec, self.net, self.identify, self.noise, self.latent = spec, net, identify, noise, noise + 1
        self.generators = nn.ModuleList(generator(spec, noise) for _ in range(generators))
        for other in self.generators[1:]:
            share_all_but_last(self.generators[0], other)
        self.critic = Critic(Accuser(discriminator(spec.packed(pack), outputs=generators + 1)), pack)

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic, then the generators together."""
        return {"critic": [self.critic], "generator": [self.generators]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises; each generator makes an equal part of the batch. ``names`` among the parts is
        -E[log p(i | G_i(z))], log k where they are all alike."""
        real = to_signed(batch["x"], self.spec.levels)
        z = torch.randn(len(real), self.noise, device=real.device)
        if player == "generator":
            value = self.critic.against(self.make(z), loss, real, penalty=penalty)
            return value, {"generator": value.detach()}
        with torch.no_grad():
            fake = self.make(z)
        (on_real, _), (on_fake, seen) = self.critic.view(real, fake)
        value, told = self.critic.turn(real, fake, loss, penalty, rated=(on_real, on_fake))
        names = self.missed(seen, len(real))
        told["names"] = names.detach()
        return value + self.identify * names, told

    def make(self, z: Tensor) -> Tensor:
        """Scaled examples, one after another of all generators, each of an equal part of z, (B, noise)."""
        parts = z.chunk(len(self.generators))
        return torch.cat([make(part) for make, part in zip(self.generators, parts, strict=False)])

    def missed(self, seen: Tensor, batch: int) -> Tensor:
        """-E[log p(i | G_i(z))], by the critic's features of what ``make`` has made of a batch of z, (B / pack, F)."""
        count = len(self.generators)
        makers = torch.arange(batch, device=seen.device) // -(-batch // count)
        shares = packed(one_hot(makers, count).to(seen.dtype), self.critic.pack)
        shares = shares.unflatten(1, (-1, count)).mean(1)
        return cross_entropy(self.critic.net.logits(seen)[:, 1:], shares)

    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The critic's values of data-space examples, (B,); of packs of equal ones, where it rates packs."""
        return self.critic(to_signed(x, self.spec.levels).repeat_interleave(self.critic.pack, 0))

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Scaled examples of codes, (B, noise + 1): z, and one whose quantile chooses the generator."""
        count = len(self.generators)
        chosen = (torch.special.ndtr(z[:, -1]) * count).long().clamp(max=count - 1)
        made = torch.stack([make(z[:, :-1]) for make in self.generators])
        return made[chosen, torch.arange(len(z), device=z.device)]

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of each code, (B, noise + 1) to (B, *spec.shape)."""
        return from_signed(self.generate(z), self.spec.levels)

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example for each stream of ``noise``, by a generator that it chooses; ``temperature`` multiplies z."""
        z = noise.normal(self.latent)
        return self.decode(torch.cat((z[:, :-1] * temperature, z[:, -1:]), 1))


def share_all_but_last(net: nn.Module, other: nn.Module) -> None:
    """Let ``other``, of the same shape, have the layers of ``net``, but for the last that has parameters."""
    leaves = [name for name, part in net.named_modules() if list(part.parameters()) and not list(part.children())]
    for name in leaves[:-1]:
        parent, _, attribute = name.rpartition(".")
        setattr(other.get_submodule(parent), attribute, net.get_submodule(name))
