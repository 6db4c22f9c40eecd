"""VEEGAN: a reconstructor that maps examples back to noise, and notices which noise the generator has forgotten."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.bigan import BiGAN
from genlab.models.gan.critic import asks_for_real
from genlab.penalties.base import Penalty
from genlab.spec import Spec, to_signed


class VEEGAN(BiGAN):
    """F maps examples to noise; the critic tells (x, F(x) + epsilon) from (G(z), z), epsilon and z ~ N(0, I).

    O = KL(q(x | z) p(z) || p(z | x) p(x)) + weight E|z - F(G(z))|^2,   p(z | x) = N(F(x), I),  summed over Z

    G minimises both terms, the first of them as the critic estimates it; F minimises the second alone, although the
    first depends on it too. (Srivastava et al. 2017, arXiv 1705.07761, section 3 and Algorithm 1)

    In the paper and its code the critic's logit is high on generated pairs, so that G minimises it. Here it is high on
    real ones, as everywhere in genlab: with ``loss=density_ratio`` the critic's d estimates log p(z | x) p(x) -
    log q(x | z) p(z), and G minimises -E[d]. Other losses are played as they are against a generator.

    Protocols: those of ``BiGAN``; ``encode`` is F(x). Deviation: G has no noise beside z.

    Args:
        spec, generator, encoder, discriminator, latent, net, pack, conditional: as of ``BiGAN``; the encoder is F.
        weight: of the distance between noise and its reconstruction; 1/2 is a log-likelihood under N(F(x), I).
        noise: standard deviation of epsilon.
    """

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        encoder: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 254,
        net: str = "",
        pack: int = 1,
        conditional: bool = False,
        weight: float = 1.0,
        noise: float = 1.0,
    ):
        super().__init__(spec, generator, encoder, discriminator, latent, net, pack, conditional)
        self.weight, self.noise = weight, noise

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's turn is that of ``BiGAN``; generator and reconstructor then minimise one sum."""
        if player != "generator":
            return super().turn(player, batch, loss, penalty)
        x, given = to_signed(batch["x"], self.spec.levels), self.given(batch.get("y"))
        z = torch.randn(len(x), self.latent, device=x.device)
        fake = self.generate(z, given)
        with torch.no_grad():  # real pairs would lead the reconstructor to deceive the critic
            code = self.infer(x, given) if asks_for_real(loss) else z
        value = self.critic.against((fake, z), loss, (x, code), given)
        distance = (z - self.encoded(fake, given)).square().sum(1).mean()
        return value + self.weight * distance, {"generator": value.detach(), "distance": distance.detach()}

    def infer(self, x: Tensor, given: Tensor | None) -> Tensor:
        """One code drawn from N(F(x), noise^2 I) for each scaled example, (B, Z)."""
        code = self.encoded(x, given)
        return code + self.noise * torch.randn_like(code)
