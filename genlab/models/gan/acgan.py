"""AC-GAN: a critic that also says of which class an example is."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from genlab.models.base import AdversarialLoss, Batch
from genlab.models.conditions import as_conditions, conditions
from genlab.models.gan.critic import Critic
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.spec import Spec, from_signed, to_signed


class ACGAN(nn.Module):
    """x = G(z, y); the critic does not see y but names it, and both players want it named:

    critic:     L_critic    - critic_weight    (E[log C(y | x)] + E[log C(y | G(z, y))])
    generator:  L_generator - generator_weight  E[log C(y | G(z, y))]

    Protocols: Samples, Generates, Classifies, Criticises, Game. (Odena et al. 2017, arXiv 1610.09585, eq. 2 and 3.) The
    classifier shares all of the critic's layers but the last; a critic that rates packs sees other things, so the
    classifier has a net of its own beside it. Of data with attributes for classes, C is the product of a Bernoulli
    distribution for each, which is ours.

    Args:
        spec: of the data, which have classes or attributes.
        generator: called with ``(spec, latent, given=K)``; a module from z and labels to scaled examples.
        discriminator: called with ``(spec)``; a module from scaled examples to values, with ``features``.
        latent: number Z of latent dimensions.
        critic_weight: of the classes in the critic's turn.
        generator_weight: of the classes in the generator's turn.
        real_only: the classifier learns from real examples alone (released code of WGAN-GP, weights 1 and 0.1).
        net: the word from which a preset names the nets.
        pack: number of examples that the critic rates as one.
    """

    takes_imitation: ClassVar = True  # penalties of generators

    conditional = True
    supervised = True

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 100,
        critic_weight: float = 1.0,
        generator_weight: float = 1.0,
        real_only: bool = False,
        net: str = "",
        pack: int = 1,
    ):
        super().__init__()
        self.spec, self.latent, self.net, self.real_only = spec, latent, net, real_only
        self.weights = {"critic": critic_weight, "generator": generator_weight}
        classes = conditions(spec, True)
        self.generator = generator(spec, latent, given=classes)
        self.critic = Critic(discriminator(spec.packed(pack)), pack)
        self.trunk = discriminator(spec, outputs=classes) if pack > 1 else None
        self.classifier = nn.Linear(self.critic.net.head.linear.in_features, classes) if pack == 1 else None

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic with the classifier, then the generator."""
        naming = self.trunk if self.classifier is None else self.classifier
        assert naming is not None
        return {"critic": [self.critic, naming], "generator": [self.generator]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``; ``classes`` among the parts is its cross-entropy of the classes."""
        real, y = to_signed(batch["x"], self.spec.levels), batch.get("y")
        given = as_conditions(y, self.spec)
        z = torch.randn(len(real), self.latent, device=real.device)
        if player == "generator":
            fake = self.generator(z, given)
            rated, seen = self.critic.see(fake)
            value = self.critic.against(fake, loss, real, penalty=penalty, rated=rated)
            parts = {"generator": value.detach()}
            named = self.unnamed(self.name(fake, seen), given)
        else:
            with torch.no_grad():
                fake = self.generator(z, given)
            (on_real, of_real), (on_fake, of_fake) = self.critic.view(real, fake)
            value, parts = self.critic.turn(real, fake, loss, penalty, rated=(on_real, on_fake))
            named = self.unnamed(self.name(real, of_real), given)
            if not self.real_only:
                named = named + self.unnamed(self.name(fake, of_fake), given)
        parts["classes"] = named.detach()
        return value + self.weights[player] * named, parts

    def unnamed(self, logits: Tensor, given: Tensor) -> Tensor:
        """-E[log C(y | x)] of logits and conditions, (B, K) each: of one class among K, or of K attributes."""
        if self.spec.classes:
            return cross_entropy(logits, given)
        return binary_cross_entropy_with_logits(logits, given, reduction="none").sum(1).mean()

    def name(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """Logits of the classes of scaled examples, (B, K), by the critic's features of them, if they are known."""
        if self.classifier is None:
            assert self.trunk is not None
            return self.trunk(x)
        return self.classifier(self.critic.net.features(x) if features is None else features)

    def classify(self, x: Tensor) -> Tensor:
        """Logits of the classes of data-space examples, (B, K)."""
        return self.name(to_signed(x, self.spec.levels))

    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The critic's values of data-space examples, (B,); of packs of equal ones, where it rates packs."""
        return self.critic(to_signed(x, self.spec.levels).repeat_interleave(self.critic.pack, 0))

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Scaled examples, (B, *spec.shape)."""
        return self.generator(z, as_conditions(y, self.spec))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of each latent and label, (B, Z) and (B,) to (B, *spec.shape)."""
        return from_signed(self.generate(z, y), self.spec.levels)

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example of each class asked for; ``temperature`` multiplies z."""
        return self.decode(noise.normal(self.latent) * temperature, y)
