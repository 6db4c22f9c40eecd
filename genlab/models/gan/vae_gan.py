"""VAE-GAN: an auto-encoder that measures its errors in the features of a critic."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.critic import Critic
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.spec import Spec, from_signed, to_signed


class VAEGAN(nn.Module):
    """Three players; h(x) are the critic's features, x~ = G(z~), z~ ~ q(z | x) = N(mu(x), sigma(x)^2):

    critic:     L_critic on real examples against x~ and G(z), z ~ N(0, I), half each
    encoder:    KL(q(z | x) || N(0, I)) + L_h,   L_h = (1/2) sum over features of E[(h(x) - h(x~))^2]
    generator:  similarity L_h + L_generator on x~ and G(z)

    Protocols: Samples, Generates, Encodes, Posterior, Criticises, Game. (Larsen et al. 2016, arXiv 1512.09300,
    algorithm 1; no adversarial gradient reaches the encoder, none of L_h the critic.) Deviation: h are the features
    below the critic's last layer, there those of its third convolution. A critic that rates packs has no features of
    one example, so it rates single ones.

    Args:
        spec: of the data.
        encoder: called with ``(spec, outputs=2 latent)``.
        generator: called with ``(spec, latent)``.
        discriminator: called with ``(spec)``, with ``features``.
        latent: number Z of latent dimensions.
        similarity: gamma, what an error in features weighs for the generator.
        net: the word from which a preset names the nets.
    """

    def __init__(
        self,
        spec: Spec,
        encoder: Callable[..., nn.Module],
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 64,
        similarity: float = 1e-2,
        net: str = "",
    ):
        super().__init__()
        self.spec, self.latent, self.similarity, self.net = spec, latent, similarity, net
        self.encoder, self.generator = encoder(spec, outputs=2 * latent), generator(spec, latent)
        self.critic = Critic(discriminator(spec))

    averaged = ("encoder", "generator")

    def players(self) -> dict[str, list[nn.Module]]:
        """The critic, the encoder, then the generator."""
        return {"critic": [self.critic], "encoder": [self.encoder], "generator": [self.generator]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``."""
        real = to_signed(batch["x"], self.spec.levels)
        mean, log_variance = self.posterior(batch["x"])
        code = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        if player == "encoder":
            kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
            unlike = self.unlike(real, self.critic.net.features(self.generator(code)))
            return kl + unlike, {"kl": kl.detach(), "features": unlike.detach()}
        z, twice = torch.randn_like(mean), torch.cat((real, real))
        if player == "critic":
            with torch.no_grad():
                fake = self.generator(torch.cat((code, z)))
            if self.critic.compares:  # and could tell by their number who is real
                return self.critic.turn(twice, fake, loss, penalty)
            on_real, on_fake = self.critic.rate(real, fake)
            return self.critic.turn(twice, fake, loss, penalty, rated=(on_real.repeat(2), on_fake))
        fake = self.generator(torch.cat((code.detach(), z)))
        rated, seen = self.critic.see(fake)
        value = self.critic.against(fake, loss, twice, rated=rated)
        unlike = self.unlike(real, seen[: len(real)])
        return self.similarity * unlike + value, {"generator": value.detach(), "features": unlike.detach()}

    def unlike(self, real: Tensor, seen: Tensor) -> Tensor:
        """L_h of scaled examples, (B, *spec.shape), and the features of their reconstructions, (B, F)."""
        with torch.no_grad():
            wanted = self.critic.net.features(real)
        return (seen.float() - wanted.float()).square().sum(1).mean() / 2

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), (B, Z) each."""
        mean, log_variance = self.encoder(to_signed(x, self.spec.levels)).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The posterior mean, (B, Z)."""
        return self.posterior(x)[0]

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Scaled examples, (B, *spec.shape)."""
        return self.generator(z)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of each code, (B, Z) to (B, *spec.shape)."""
        return from_signed(self.generate(z, y), self.spec.levels)

    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The critic's values of data-space examples, (B,)."""
        return self.critic(to_signed(x, self.spec.levels))

    @torch.no_grad()
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example for each stream of ``noise``; ``temperature`` multiplies z."""
        return self.decode(noise.normal(self.latent) * temperature)
