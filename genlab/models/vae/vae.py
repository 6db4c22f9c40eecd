"""The variational auto-encoder: any pair of nets, any output distribution."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.likelihoods import make_likelihood
from genlab.likelihoods.base import Likelihood
from genlab.noise import Noise
from genlab.spec import Spec, to_signed

NUMBERS_AT_ONCE = 2**21  # of decoder outputs in one piece of an importance-weighted bound: what caches still like


class VAE(nn.Module):
    """p(x) = integral of p(x | z) N(z; 0, I) dz, learnt with an approximate posterior q(z | x) = N(mu(x), sigma(x)^2).

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || N(0, I)),   z = mu + sigma * epsilon
    KL = sum_j (mu_j^2 + sigma_j^2 - 1 - log sigma_j^2) / 2

    Protocols: Samples, Bound, Encodes, Joint, Weighs. (Kingma & Welling 2014, arXiv 1312.6114, eq. 3 and appendix
    B; Rezende et al. 2014, arXiv 1401.4082.) Deviation: log sigma^2 is clamped to [-10, 10], which keeps the first
    steps finite.

    Args:
        spec: of the data.
        encoder: called with ``(spec, outputs)``; a module from scaled examples, (B, *spec.shape), to (B, outputs).
        decoder: called with ``(spec, latent, parameters)``; a module from z, (B, Z), to the parameters of the output
            distribution, (B, P, *spec.shape).
        latent: number Z of latent dimensions.
        likelihood: the output distribution p(x | z): ``bernoulli``, ``categorical``, ``gaussian``,
            ``discretised_logistic``, ``gaussian_mixture``, ``logistic_mixture``, a class called with ``(levels)``, or
            None for the usual one of such data.
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
        self.likelihood = make_likelihood(likelihood, spec.levels)
        self.encoder = encoder(spec, 2 * latent)
        self.decoder = decoder(spec, latent, self.likelihood.parameters)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), (B, Z) each."""
        mean, log_variance = self.encoder(to_signed(x, self.spec.levels)).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def terms(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The two terms of the bound: log p(x | z) at one z ~ q(z | x), (B,), and the KL of each dimension, (B, Z)."""
        mean, log_variance = self.posterior(x)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
        return self.likelihood.log_prob(self.decoder(z), x), kl

    def bound(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log (1/k) sum_i p(x, z_i) / q(z_i | x), z_i ~ q, (B,); for k = 1 with the KL in closed form.

        (Burda et al. 2016, arXiv 1509.00519, eq. 8)
        """
        if k == 1:
            reconstruction, kl = self.terms(x, y)
            return reconstruction - kl.sum(1)
        return self.log_weights(x, y, k).logsumexp(0).sub(math.log(k)).to(next(self.parameters()).dtype)

    def log_weights(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log p(x, z_i) - log q(z_i | x), (k, B). The encoder runs once, the decoder on some of the k at a time."""
        mean, log_variance = self.posterior(x)
        outputs = self.likelihood.parameters * self.spec.dimensions
        piece = max(1, NUMBERS_AT_ONCE // (outputs * len(x)))
        epsilon = torch.randn(k, *mean.shape, dtype=mean.dtype, device=mean.device)
        log_weights = []
        for part in epsilon.split(piece):
            z = mean + torch.exp(log_variance / 2) * part
            log_prob, log_ratio = self._terms_of(x, z, part, log_variance)
            log_weights.append(log_prob + log_ratio)
        return torch.cat(log_weights).double()

    def draws(
        self, x: Tensor, y: Tensor | None = None, k: int = 1, held: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """z_i ~ q(z | x), (k, B, Z), log p(x | z_i) and log p(z_i) - log q(z_i | x), (k, B) each, all differentiable;
        ``held``: mu and sigma are constants in log q, so that its gradient reaches the encoder through z_i alone."""
        mean, log_variance = self.posterior(x)
        epsilon = torch.randn(k, *mean.shape, dtype=mean.dtype, device=mean.device)
        z = mean + torch.exp(log_variance / 2) * epsilon
        if held:
            log_variance = log_variance.detach()
            epsilon = (z - mean.detach()) * torch.exp(-log_variance / 2)
        return z, *self._terms_of(x, z, epsilon, log_variance)

    def _terms_of(self, x: Tensor, z: Tensor, epsilon: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x | z_i), and log p(z_i) - log q(z_i | x) where epsilon_i = (z_i - mu) / sigma, (k, B) each."""
        repeated = x.expand(len(z), *x.shape).flatten(0, 1)
        log_prob = self.likelihood.log_prob(self.decoder(z.flatten(0, 1)), repeated).view(len(z), -1)
        return log_prob, (epsilon.square() - z.square() + log_variance).sum(2) / 2

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) + log N(z; 0, I), (B,)."""
        log_prior = -(z.square() + math.log(2 * math.pi)).sum(1) / 2
        return self.likelihood.log_prob(self.decoder(z), x) + log_prior

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """x ~ p(x | z) for z ~ N(0, temperature^2 I): drawn from the output distribution, not its mean."""
        z = noise.normal(self.latent) * temperature
        u = noise.uniform(self.likelihood.draws, *self.spec.shape)
        return self.likelihood.sample(self.decoder(z), u)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The posterior mean, (B, Z)."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x | z) in data units, (B, *spec.shape); floats, not rounded to a level."""
        return self.likelihood.mean(self.decoder(z))
