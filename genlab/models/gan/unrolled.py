"""Unrolled GAN: a generator that foresees the critic's answer."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genlab.errors import ConfigError
from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.critic import Critic
from genlab.models.gan.gan import GAN
from genlab.penalties.base import Penalty
from genlab.spec import Spec, to_signed

Weights = dict[str, Tensor]


class Reweighted(nn.Module):
    """A net with other weights, in whose functions gradients can be taken; its own buffers stay as they are.

    Args:
        net: the net.
        weights: of its parameters, by name.
    """

    def __init__(self, net: nn.Module, weights: Weights):
        super().__init__()
        self.net = net
        self.weights = weights | {name: buffer.clone() for name, buffer in net.named_buffers()}

    def forward(self, *arguments: Tensor) -> Tensor:
        return functional_call(self.net, self.weights, arguments)


class UnrolledGAN(GAN):
    """The generator minimises its loss against the critic that K updates on the same batch would make of this one:

    w_0 = w,   w_(k+1) = w_k - step(grad_w L_critic(w_k; theta)),   L(theta) = L_generator(theta; w_K(theta))

    and its gradient goes through all of the updates, second derivatives included; the critic itself takes one ordinary
    step from w_0. (Metz et al. 2017, arXiv 1611.02163, eq. 6 to 11.) A penalty of the critic is left out of the updates
    that are foreseen.

    Args:
        spec, generator, discriminator, latent, net, pack, conditional: as of ``GAN``.
        unroll: number K of updates; 0 is the plain GAN.
        inner: ``adam`` (released code; beta1 0.5, its moments starting from 0 in every step, a deviation) or ``sgd``.
        inner_lr: learning rate of the updates foreseen.
    """

    takes_imitation: ClassVar = False  # a critic that is foreseen is no module that has features

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 128,
        net: str = "",
        pack: int = 1,
        conditional: bool = False,
        unroll: int = 5,
        inner: str = "adam",
        inner_lr: float = 1e-4,
    ):
        super().__init__(spec, generator, discriminator, latent, net, pack, conditional)
        if inner not in ("adam", "sgd"):
            raise ConfigError("model.inner", inner, "there are adam, sgd", "adam")
        if unroll < 0:
            raise ConfigError("model.unroll", unroll, "must be at least 0")
        self.unroll, self.inner, self.inner_lr = unroll, inner, inner_lr

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As the GAN's, but the generator meets the critic of K updates later."""
        if player != "generator" or not self.unroll:
            return super().turn(player, batch, loss, penalty)
        real, y = to_signed(batch["x"], self.spec.levels), batch.get("y")
        fake, given = self.generate(torch.randn(len(real), self.latent, device=real.device), y), self.given(y)
        value = self.foreseen(real, fake, loss, given).against(fake, loss, real, given)
        return value, {"generator": value.detach()}

    def foreseen(self, real: Tensor, fake: Tensor, loss: AdversarialLoss, given: Tensor | None) -> Critic:
        """The critic after K updates, a function of ``fake``."""
        net, pack = self.critic.net, self.critic.pack
        weights = {name: value.detach().requires_grad_() for name, value in net.named_parameters()}
        moments: tuple[Weights, Weights] = ({}, {})
        for step in range(1, self.unroll + 1):
            value, _ = Critic(Reweighted(net, weights), pack).turn(real, fake, loss, None, given)
            slopes = torch.autograd.grad(value, list(weights.values()), create_graph=True, allow_unused=True)
            reached = {name: slope for name, slope in zip(weights, slopes, strict=True) if slope is not None}
            weights = weights | self.updated(weights, reached, moments, step)
        return Critic(Reweighted(net, weights), pack)

    def updated(self, weights: Weights, slopes: Weights, moments: tuple[Weights, Weights], step: int) -> Weights:
        """The weights after one more update; ``moments`` are brought up to date in place."""
        if self.inner == "sgd":
            return {name: weights[name] - self.inner_lr * slope for name, slope in slopes.items()}
        first, second = moments
        changed = {}
        for name, slope in slopes.items():
            first[name] = 0.5 * slope + 0.5 * first.get(name, torch.zeros_like(slope))
            second[name] = 0.001 * slope.square() + 0.999 * second.get(name, torch.zeros_like(slope))
            mean, square = first[name] / (1 - 0.5**step), second[name] / (1 - 0.999**step)
            changed[name] = weights[name] - self.inner_lr * mean / (square + 1e-16).sqrt()  # a root has a slope at 0
        return changed
