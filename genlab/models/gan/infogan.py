"""InfoGAN: a generator whose codes can be read off its examples."""

import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.critic import Critic
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.spec import Spec, from_signed, to_signed


class Codes(NamedTuple):
    """What an example is made of.

    Args:
        noise: (B, Z).
        category: (B,), of ``categories``.
        continuous: (B, C), in [-1, 1].
    """

    noise: Tensor
    category: Tensor
    continuous: Tensor


class InfoGAN(nn.Module):
    """x = G(z, c): codes c, one categorical and some continuous ones, that a net Q must be able to infer from x.

    critic:     L_critic    - weight E[log Q(k | G(z, c)) + continuous_weight log Q(u | G(z, c))]
    generator:  L_generator - weight E[log Q(k | G(z, c)) + continuous_weight log Q(u | G(z, c))]

    for c = (k, u), the category and the continuous ones.

    E[log Q(c | x)] + H(c) is a lower bound on the mutual information I(c; x). Q gives a categorical distribution, and
    for continuous codes the mean of a Gaussian of standard deviation 1, its constant left out. Protocols: Samples,
    Generates, Varies, Classifies (by the categorical code, whose order is arbitrary), Criticises, Game. (Chen et al.
    2016, arXiv 1606.03657, eq. 3 to 6; the critic's turn trains Q too, as in the released code.)

    Q shares all of the critic's layers but the last; one that rates packs sees other things, so Q has a net of its own
    beside it. Deviation: z is normal.

    Args:
        spec: of the data.
        generator: called with ``(spec, Z + categories + C)``; a module from codes to scaled examples.
        discriminator: called with ``(spec)``; a module from scaled examples to values, with ``features``.
        noise: number Z of latent dimensions that nothing is said of.
        categories: of the categorical code.
        continuous: number C of continuous codes, uniform on [-1, 1].
        weight: lambda.
        continuous_weight: of the continuous codes beside the categorical one; 1 in the released code.
        width: units of the layer that Q has above the features.
        net: the word from which a preset names the nets.
        pack: number of examples that the critic rates as one.
    """

    takes_imitation: ClassVar = True  # penalties of generators

    supervised = False  # nobody has told the categories which class they are

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        noise: int = 62,
        categories: int = 10,
        continuous: int = 2,
        weight: float = 1.0,
        continuous_weight: float = 1.0,
        width: int = 128,
        net: str = "",
        pack: int = 1,
    ):
        super().__init__()
        self.spec, self.net, self.weight, self.continuous_weight = spec, net, weight, continuous_weight
        self.noise, self.categories, self.continuous = noise, categories, continuous
        self.latent = noise + categories + continuous
        self.generator = generator(spec, self.latent)
        self.critic = Critic(discriminator(spec.packed(pack)), pack)
        self.trunk = discriminator(spec, outputs=width) if pack > 1 else None
        features = width if self.trunk is not None else self.critic.net.head.linear.in_features
        above = [nn.Linear(features, width), nn.BatchNorm1d(width), nn.LeakyReLU(0.2)]
        self.recognition = nn.Sequential(*above, nn.Linear(width, categories + continuous))

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic with Q, then the generator."""
        inferring = [self.recognition] if self.trunk is None else [self.recognition, self.trunk]
        return {"critic": [self.critic, *inferring], "generator": [self.generator]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises; ``information`` among the parts is E[log Q(c | x)] + H(c) of the category."""
        real = to_signed(batch["x"], self.spec.levels)
        codes = self.codes(torch.randn(len(real), self.latent, device=real.device))
        if player == "generator":
            fake = self.make(codes)
            rated, seen = self.critic.see(fake)
            value = self.critic.against(fake, loss, real, penalty=penalty, rated=rated)
            parts = {"generator": value.detach()}
        else:
            with torch.no_grad():
                fake = self.make(codes)
            (on_real, _), (on_fake, seen) = self.critic.view(real, fake)
            value, parts = self.critic.turn(real, fake, loss, penalty, rated=(on_real, on_fake))
        uncertainty, missed = self.missing(seen if self.trunk is None else self.trunk(fake), codes)
        parts["information"] = math.log(self.categories) - uncertainty.detach()
        return value + self.weight * (uncertainty + self.continuous_weight * missed), parts

    def missing(self, features: Tensor, codes: Codes) -> tuple[Tensor, Tensor]:
        """-E[log Q] of the categorical code and, up to a constant, of the continuous ones."""
        logits, mean = self.read(features)
        missed = (codes.continuous - mean).square().sum(1).mean() / 2
        return cross_entropy(logits, codes.category), missed

    def recognise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Q of scaled examples: logits of the category, (B, categories), and means of the rest, (B, C)."""
        return self.read(self.critic.net.features(x) if self.trunk is None else self.trunk(x))

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Q of the features that it sees, (B, F)."""
        found = self.recognition(features)
        return found[:, : self.categories], found[:, self.categories :]

    def codes(self, z: Tensor) -> Codes:
        """Codes by normal numbers, (B, Z + categories + C): the category is the place of the largest, the continuous
        ones are 2 Phi(z) - 1."""
        noise, category, rest = z.split((self.noise, self.categories, self.continuous), 1)
        return Codes(noise, category.argmax(1), 2 * torch.special.ndtr(rest) - 1)

    def make(self, codes: Codes) -> Tensor:
        """Scaled examples, (B, *spec.shape)."""
        category = one_hot(codes.category, self.categories).to(codes.noise.dtype)
        return self.generator(torch.cat((codes.noise, category, codes.continuous), 1))

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Scaled examples of normal numbers, (B, Z + categories + C), as ``codes`` reads them."""
        return self.make(self.codes(z))

    def variations(self, noise: Noise, steps: int) -> dict[str, Tensor]:
        """The category, then each continuous code from -2 to 2 (the paper's grids; it was trained from -1 to 1)."""
        codes = self.codes(noise.normal(self.latent))
        count, found = len(codes.category), {}
        for name in ("category", *(f"code {number + 1}" for number in range(self.continuous))):
            columns = self.categories if name == "category" else steps
            varied = Codes(*(part.repeat_interleave(columns, 0) for part in codes))
            if name == "category":
                varied = varied._replace(category=torch.arange(columns, device=codes.noise.device).repeat(count))
            else:
                values = torch.linspace(-2, 2, columns, device=codes.noise.device).repeat(count)
                varied.continuous[:, int(name.split()[1]) - 1] = values
            found[name] = from_signed(self.make(varied), self.spec.levels).unflatten(0, (count, columns))
        return found

    def classify(self, x: Tensor) -> Tensor:
        """Logits of the categorical code of data-space examples, (B, categories)."""
        return self.recognise(to_signed(x, self.spec.levels))[0]

    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The critic's values of data-space examples, (B,); of packs of equal ones, where it rates packs."""
        return self.critic(to_signed(x, self.spec.levels).repeat_interleave(self.critic.pack, 0))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of normal numbers, (B, Z + categories + C), as ``codes`` reads them."""
        return from_signed(self.generate(z), self.spec.levels)

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example for each stream of ``noise``; ``temperature`` multiplies the normal numbers."""
        return self.decode(noise.normal(self.latent) * temperature)
