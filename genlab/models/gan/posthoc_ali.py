"""A GAN whose generator is encoded after the fact: the encoder plays ALI's game, the generator does not know of it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.ali import ALI
from genlab.models.gan.critic import Critic
from genlab.penalties.base import Penalty
from genlab.spec import Spec, to_signed


class PostHocALI(ALI):
    """G plays against a critic of x alone; q(z | x) against one of pairs, as in ``ALI``, with G as it is.

    q:  max over D of  E[log D(x, z^)] + E[log(1 - D(G(z), z))],   z^ ~ q(z | x),   with no gradient to G

    (Dumoulin et al. 2017, arXiv 1606.00704, section 4.5 and figure 7, one of the ways that ALI is compared with.)
    Deviation: q learns while G still moves, not afterwards; at the end both have settled. G and q are one player and
    both critics another, so that one step moves all four.

    Protocols and arguments: those of ``ALI``, without conditions, and

    Args:
        judge: called with ``(spec)`` of packed examples; a module from scaled examples to critic values, (B,).
    """

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        encoder: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        judge: Callable[..., nn.Module],
        latent: int = 64,
        net: str = "",
        pack: int = 1,
    ):
        super().__init__(spec, generator, encoder, discriminator, latent, net, pack)
        self.judge = Critic(judge(spec.packed(pack)), pack)

    def players(self) -> dict[str, list[nn.Module]]:
        """Both critics, then generator and encoder."""
        return {"critic": [self.judge, self.critic], "generator": [self.generator, self.encoder]}

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``; ``pairs`` among the parts is the game of the encoder."""
        x = to_signed(batch["x"], self.spec.levels)
        z = torch.randn(len(x), self.latent, device=x.device)
        if player == "generator":
            fake = self.generate(z, None)
            value = self.judge.against(fake, loss, x)
            inferred = self.critic.against_both((x, self.infer(x, None)), (fake.detach(), z), loss)
            return value + inferred, {"generator": value.detach(), "pairs": inferred.detach()}
        with torch.no_grad():
            (_, code), (fake, _) = self.pairs(x, z, None)
        value, parts = self.judge.turn(x, fake, loss, penalty)
        inferred, _ = self.critic.turn((x, code), (fake, z), loss, penalty)
        return value + inferred, parts | {"pairs": inferred.detach()}

    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The judge's values of data-space examples, (B,); of packs of equal ones, where it rates packs."""
        return self.judge(to_signed(x, self.spec.levels).repeat_interleave(self.judge.pack, 0))
