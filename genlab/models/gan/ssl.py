"""Semi-supervised GAN: the critic is a classifier, and generated examples are of none of its classes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.errors import ConfigError
from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.critic import Critic, values_of
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.spec import Spec, from_signed, to_signed


class Evidence(nn.Module):
    """d(x) = log sum_k exp(l_k(x)): the logit of being real, where the logit of "generated" is fixed at 0.

    Args:
        net: a module from scaled examples, or from these and what belongs to them, to logits l of the classes, (B, K);
            has ``features`` where a game matches them.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net: Any = net

    def features(self, x: Tensor) -> Tensor:
        """What the net's last layer is given, (B, F)."""
        return self.net.features(x)

    def values(self, h: Tensor) -> Tensor:
        """Of features, (B, F) to (B,)."""
        return values_of(self.net)(h).logsumexp(1)

    def forward(self, *seen: Tensor) -> Tensor:
        """(B, ...) each to (B,)."""
        return self.net(*seen).logsumexp(1)


class SemiSupervisedGAN(nn.Module):
    """A classifier of K classes and "generated", from few labels and many examples without one:

    critic:     -E[log p(y | x, labelled)] + (unsupervised / 2) L_critic(d),   d = log sum_k exp(l_k)
    generator:  matching |E[h(x)] - E[h(G(z))]|^2 (``norm: absolute``: their mean absolute difference)
                + adversarial L_generator(d)

    h are the features below the logits. With the non-saturating loss D(x) = Z / (Z + 1), Z = sum_k exp(l_k), the
    critic's loss is the paper's. (Salimans et al. 2016, arXiv 1606.03498, sections 3.1 and 5, with the halves of its
    released code.) Protocols: Samples, Generates, Classifies, Criticises, Game. Deviation: z is normal.

    Labelled examples are those of ``data.labelled``; where all labels are known, the batch itself. With
    ``unsupervised=0`` the classifier learns from labels alone: the baseline.

    Args:
        spec: of the data, which have classes.
        generator: called with ``(spec, latent)``; a module from z to scaled examples.
        discriminator: called with ``(spec, outputs=K)``; a module from scaled examples to logits, with ``features``.
        latent: number Z of latent dimensions.
        unsupervised: weight of real against generated in the critic's turn.
        matching: weight of the matching of mean features.
        adversarial: weight of the adversarial loss in the generator's turn.
        norm: ``squared`` (the mean over features; MNIST in the paper) or ``absolute`` (CIFAR-10 and SVHN).
        net: the word from which a preset names the nets.

    Raises:
        ConfigError: the data have no classes, or there is no such norm.
    """

    supervised = True
    averaged = ("critic", "generator")  # the classifier is tested with averaged weights, as in the released code

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 100,
        unsupervised: float = 1.0,
        matching: float = 1.0,
        adversarial: float = 0.0,
        norm: str = "squared",
        net: str = "",
    ):
        super().__init__()
        if not spec.classes:
            raise ConfigError("data", "", "a semi-supervised GAN takes data that have classes")
        if norm not in ("squared", "absolute"):
            raise ConfigError("model.norm", norm, "there are squared, absolute", "squared")
        self.spec, self.latent, self.net, self.norm = spec, latent, net, norm
        self.unsupervised, self.matching, self.adversarial = unsupervised, matching, adversarial
        self.generator = generator(spec, latent)
        self.critic = Critic(Evidence(discriminator(spec, outputs=len(spec.classes))))

    @property
    def classifier(self) -> Any:
        """The net of the logits."""
        return self.critic.net.net

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic, which is the classifier, then the generator."""
        return {"critic": [self.critic], "generator": [self.generator]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``; ``classes`` among the parts is the labelled cross-entropy."""
        real = to_signed(batch["x"], self.spec.levels)
        z = torch.randn(len(real), self.latent, device=real.device)
        if player == "generator":
            return self.imitate(real, self.generator(z), loss)
        with torch.no_grad():
            fake = self.generator(z)
        value, parts = self.critic.turn(real, fake, loss, penalty)
        x, y = batch.get("x_labelled", batch["x"]), batch.get("y_labelled", batch["y"])
        classes = cross_entropy(self.classifier(to_signed(x, self.spec.levels)), y.long())
        parts["classes"] = classes.detach()
        return classes + self.unsupervised / 2 * value, parts

    def imitate(self, real: Tensor, fake: Tensor, loss: AdversarialLoss) -> tuple[Tensor, dict[str, Tensor]]:
        """What the generator minimises."""
        rated, made = self.critic.see(fake) if self.adversarial else (None, self.classifier.features(fake))
        seen = self.classifier.features(real)
        apart = seen.float().mean(0) - made.float().mean(0)  # 16 bits lose the difference of means
        matched = apart.square().mean() if self.norm == "squared" else apart.abs().mean()
        value, parts = self.matching * matched, {"matching": matched.detach()}
        if self.adversarial:
            value = value + self.adversarial * self.critic.against(fake, loss, real, rated=rated)
        return value, parts | {"generator": value.detach()}

    def classify(self, x: Tensor) -> Tensor:
        """Logits of the classes of data-space examples, (B, K)."""
        return self.classifier(to_signed(x, self.spec.levels))

    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The logit of being real of data-space examples, (B,)."""
        return self.critic(to_signed(x, self.spec.levels))

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Scaled examples, (B, *spec.shape)."""
        return self.generator(z)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of each latent, (B, Z) to (B, *spec.shape)."""
        return from_signed(self.generate(z, y), self.spec.levels)

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example for each stream of ``noise``; ``temperature`` multiplies z."""
        return self.decode(noise.normal(self.latent) * temperature)
