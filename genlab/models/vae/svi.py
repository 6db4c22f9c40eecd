"""Stochastic variational inference: a decoder alone, and for every example a posterior of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods.base import Likelihood
from genlab.models.vae.ascent import Gradient, ascend
from genlab.models.vae.inferred import Inferred
from genlab.models.vae.vae import VAE
from genlab.spec import Spec


class SVI(VAE):
    """q(z | x) = N(mu, sigma^2), with mu and sigma that climb the bound of x itself, from N(0, I), before the decoder
    climbs it at them. No encoder, and so no amortisation: what it costs is ``steps`` passes of the decoder an example.

    Protocols: those of ``VAE``. (Hoffman et al. 2013, arXiv 1206.7051; the two steps in turn are those of EM: Neal &
    Hinton 1998.) Deviation: an example's posterior starts anew each time the example comes.

    Args:
        spec: of the data.
        decoder: called with ``(spec, latent, parameters)``.
        latent: number Z of latent dimensions.
        likelihood: the output distribution p(x | z), as ``VAE`` has it.
        steps: of the ascent.
        rate: of its first step.
        draws: of z for each of its gradients.
        gradient: ``reparameterised``, or ``reinforce``, which asks nothing of the decoder but its values.
        net: the word from which a preset names the decoder.
    """

    def __init__(
        self,
        spec: Spec,
        decoder: Callable[..., nn.Module],
        latent: int = 40,
        likelihood: str | Callable[..., Likelihood] | None = None,
        steps: int = 20,
        rate: float = 0.3,
        draws: int = 1,
        gradient: Gradient = "reparameterised",
        net: str = "",
    ):
        for key, value in {"steps": steps, "draws": draws}.items():
            if value < 1:
                raise ConfigError(f"model.{key}", value, "at least one is needed")
        if gradient == "reinforce" and draws < 2:
            raise ConfigError("model.draws", draws, "the baseline of a draw is the mean of the others: two are needed")
        super().__init__(spec, no_encoder, decoder, latent, likelihood, net)
        self.steps, self.rate, self.number, self.gradient = steps, rate, draws, gradient

    def infer(self, x: Tensor, y: Tensor | None = None) -> Inferred:
        """Where the ascent of each example ends."""
        like = next(self.parameters())
        nought = torch.zeros(len(x), self.latent, dtype=like.dtype, device=like.device)
        return ascend(self, Inferred(nought, nought), x, y, self.steps, self.rate, self.number, self.gradient)


def no_encoder(spec: Spec, outputs: int) -> nn.Module:
    """Nothing that could be asked."""
    return nn.Module()
