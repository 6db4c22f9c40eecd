"""The auto-encoder: a code for each example and no distribution of codes, for comparison with the VAE of equal nets."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from genlab.likelihoods import make_likelihood
from genlab.likelihoods.base import Likelihood
from genlab.likelihoods.gaussian import Gaussian
from genlab.noise import Noise
from genlab.spec import Spec, to_signed


class AutoEncoder(nn.Module):
    """Minimise -log p(x | z) at z = f(x): of continuous data |x - g(z)|^2 / 2 + D log(2 pi) / 2.

    No likelihood of x, not even a bound: nothing is paid for z, nor does anything make codes look like N(0, I), from
    which ``sample`` takes them all the same, to show what the KL of a VAE is for. Linear nets and squared error find
    the principal components. (Hinton & Salakhutdinov 2006, Science 313; Bourlard & Kamp 1988)

    Protocols: Samples, Encodes.

    Args:
        spec: of the data.
        encoder: called with ``(spec, outputs)``; a module from scaled examples, (B, *spec.shape), to (B, outputs).
        decoder: called with ``(spec, latent, parameters)``; a module from z, (B, Z), to the parameters of the output
            distribution, (B, P, *spec.shape).
        latent: number Z of latent dimensions.
        likelihood: the output distribution p(x | z), as ``VAE`` has it; None: the usual one of integer data, of
            continuous data a Gaussian of variance 1, for one that is learnt would fall to zero with the error.
        net: the word from which a preset names the two nets (``genlab.models.vae.${model.net}.Encoder``).
    """

    def __init__(
        self,
        spec: Spec,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        latent: int = 40,
        likelihood: str | Callable[..., Likelihood] | None = None,
        net: str = "",
    ):
        super().__init__()
        self.spec, self.latent, self.net = spec, latent, net
        if likelihood is None and spec.levels is None:
            likelihood = partial(Gaussian, scale=1.0)
        self.likelihood = make_likelihood(likelihood, spec)
        self.encoder = encoder(spec, latent)
        self.decoder = decoder(spec, latent, self.likelihood.outputs)

    def reconstruction(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x | z) at the code of each example, (B,)."""
        return self.likelihood.log_prob(self.decoder(self.encode(x)), x)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """f(x), (B, Z)."""
        return self.encoder(to_signed(x, self.spec.levels))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x | z) in data units, (B, *spec.shape); floats, not rounded to a level."""
        return self.likelihood.mean(self.decoder(z))

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """What z ~ N(0, temperature^2 I) decodes to, integer data rounded to the nearest level."""
        x = self.decode(noise.normal(self.latent) * temperature)
        return x if self.spec.levels is None else x.round().clamp(0, self.spec.levels - 1).to(torch.uint8)
