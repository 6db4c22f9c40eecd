"""The variational auto-encoder: any pair of nets, any output distribution, posterior and prior."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.bijections.base import Bijection
from genlab.errors import ConfigError
from genlab.likelihoods import make_likelihood
from genlab.likelihoods.base import Likelihood
from genlab.models.conditions import as_conditions, conditions
from genlab.models.flow.flow import Base
from genlab.models.flow.standard_normal import StandardNormal
from genlab.models.vae.ascent import ascend
from genlab.models.vae.inferred import Inferred
from genlab.noise import Noise
from genlab.spec import Spec, to_signed

NUMBERS_AT_ONCE = 2**21  # of decoder outputs in one piece of an importance-weighted bound: what caches still like
MOMENTS = 64  # draws of a posterior whose moments have no closed form


class VAE(nn.Module):
    """p(x) = integral of p(x | z) p(z) dz, learnt with an approximate posterior q(z | x).

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)),   z_0 = mu(x) + sigma(x) * epsilon, z = f(z_0; h(x))
    log q(z | x) = log N(z_0; mu, sigma^2) - log|det df/dz_0|
    KL = sum_j (mu_j^2 + sigma_j^2 - 1 - log sigma_j^2) / 2 for f = identity and p(z) = N(0, I), as they usually are;
    with a flow f or another prior it is log q(z | x) - log p(z) at the draw.

    Protocols: Samples, Redraws, Bound, Encodes, Joint, Diverges, Weighs, Refines. (Kingma & Welling 2014, arXiv
    1312.6114, eq. 3 and appendix B; Rezende et al. 2014, arXiv 1401.4082; Rezende & Mohamed 2015, arXiv 1505.05770,
    eq. 15.) Deviation: log sigma^2 is clamped to [-10, 10], which keeps the first steps finite.

    Args:
        spec: of the data.
        encoder: called with ``(spec, outputs)``; a module from scaled examples, (B, *spec.shape), to (B, outputs). With
            labels it is called with ``condition=K``, too, and the module with one-hot labels, (B, K), too.
        decoder: called with ``(spec, latent, parameters)``; a module from z, (B, Z), to the parameters of the output
            distribution, (B, P, *spec.shape). With labels, which are K numbers more of a z, (B, Z + K).
        latent: number Z of latent dimensions.
        likelihood: the output distribution p(x | z): ``bernoulli``, ``categorical``, ``gaussian``,
            ``discretised_logistic``, ``gaussian_mixture``, ``logistic_mixture``, a class called with ``(levels)``, or
            None for the usual one of such data.
        net: the word from which a preset names the two nets (``genlab.models.vae.${model.net}.Encoder``).
        posterior: the word from which a preset names the flow of the posterior.
        posterior_flow: f, called with ``(latent, context)``: a bijection of vectors, or None for none.
        context: number F of features h(x) that f is told.
        prior: the word from which a preset names the prior.
        prior_model: p(z), called with ``(spec, latent, gaussian)``, of which the last gives mu and log sigma^2 of
            scaled examples; None for N(0, I).
        conditional: whether all is given the label, or attributes: q(z | x, y), p(x | z, y), but p(z).
    """

    def __init__(
        self,
        spec: Spec,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        latent: int = 40,
        likelihood: str | Callable[..., Likelihood] | None = None,
        net: str = "",
        posterior: str = "diagonal",
        posterior_flow: Callable[..., Bijection | None] | None = None,
        context: int = 64,
        prior: str = "standard_normal",
        prior_model: Callable[..., Base] | None = None,
        conditional: bool = False,
    ):
        super().__init__()
        self.levels = 1
        if latent < 1:
            raise ConfigError("model.latent", latent, "at least one is needed")
        self.spec, self.latent, self.net, self.conditional = spec, latent, net, conditional
        self.likelihood = make_likelihood(likelihood, spec)
        self.flow = None if posterior_flow is None else posterior_flow(latent, context)
        self.context = 0 if self.flow is None else context
        labels = conditions(spec, conditional)
        told = {"condition": labels} if labels else {}
        self.encoder = encoder(spec, 2 * latent + self.context, **told)
        self.decoder = decoder(spec, latent + labels, self.likelihood.outputs)
        self.prior = StandardNormal(latent) if prior_model is None else prior_model(spec, latent, self._gaussian)

    def infer(self, x: Tensor, y: Tensor | None = None) -> Inferred:
        """What the encoder says of data-space examples."""
        return self._inferred(to_signed(x, self.spec.levels), y)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of each dimension of q(z | x), (B, Z) each; with a flow those of its draws."""
        inferred = self.infer(x, y)
        if self.flow is None:
            return inferred.mean, inferred.log_variance
        z, _ = self.draw(inferred, MOMENTS)
        return z.mean(0), z.var(0).log()

    def draw(self, inferred: Inferred, k: int = 1, held: bool = False) -> tuple[Tensor, Tensor]:
        """z_i ~ q(z | x), (k, B, Z), and log q(z_i | x), (k, B); ``held`` as in ``draws``."""
        mean, log_variance, context = inferred
        epsilon = torch.randn(k, *mean.shape, dtype=mean.dtype, device=mean.device)
        z = mean + torch.exp(log_variance / 2) * epsilon
        if held:
            log_variance = log_variance.detach()
            epsilon = (z - mean.detach()) * torch.exp(-log_variance / 2)
        log_q = -(epsilon.square() + log_variance + math.log(2 * math.pi)).sum(2) / 2
        if self.flow is None:
            return z, log_q
        if held:
            reason = "is of a Gaussian posterior: here log q(z | x) would take the inverse of a flow"
            raise ConfigError("loss.gradient", "dreg", reason, "reparameterised")
        told = None if context is None else context.expand(k, *context.shape).flatten(0, 1)
        z, log_det = self.flow(z.flatten(0, 1), told)
        return z.unflatten(0, (k, -1)), log_q - log_det.unflatten(0, (k, -1))

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z), (..., Z) to (...)."""
        return self.prior.log_prob(z.flatten(0, -2)).view(z.shape[:-1])

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x | z), (B,), of an example and a code each."""
        return self.likelihood.log_prob(self._decoded(z, y), x)

    def log_likelihoods(self, x: Tensor, z: Tensor, y: Tensor | None) -> Tensor:
        """log p(x | z_i), (k, B), of codes (k, B, Z)."""
        of_each = [None if part is None else part.expand(len(z), *part.shape).flatten(0, 1) for part in (x, y)]
        return self.log_likelihood(of_each[0], z.flatten(0, 1), of_each[1]).view(len(z), -1)  # type: ignore[arg-type]

    def terms(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The two terms of the bound: log p(x | z) at one z ~ q(z | x), (B,), and the KL: of each dimension, (B, Z),
        where it has a closed form, else all of it at z, (B, 1)."""
        return self.terms_at(self.infer(x, y), x, y)

    def terms_at(self, inferred: Inferred, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``terms`` of any posterior of this form."""
        z, log_q = self.draw(inferred)
        return self.log_likelihood(x, z[0], y), self._divergence(inferred, z, log_q)

    def divergence(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """KL(q(z | x) || p(z)), of each dimension, (B, Z), or a one-draw estimate of all of it, (B, 1)."""
        inferred = self.infer(x, y)
        return self._divergence(inferred, *self.draw(inferred))

    def bound(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log (1/k) sum_i p(x, z_i) / q(z_i | x), z_i ~ q, (B,); for k = 1 with the KL in closed form if it has one.

        (Burda et al. 2016, arXiv 1509.00519, eq. 8)
        """
        if k == 1:
            reconstruction, kl = self.terms(x, y)
            return reconstruction - kl.sum(1)
        return self.log_weights(x, y, k).logsumexp(0).sub(math.log(k)).to(next(self.parameters()).dtype)

    def log_weights(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log p(x, z_i) - log q(z_i | x), (k, B). The encoder runs once, the decoder on some of the k at a time."""
        return self.log_weights_at(self.infer(x, y), x, y, k)

    def log_weights_at(self, inferred: Inferred, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """``log_weights`` of any posterior of this form."""
        z, log_q = self.draw(inferred, k)
        log_ratio = self.log_prior(z) - log_q
        piece = max(1, NUMBERS_AT_ONCE // (self.likelihood.outputs * self.spec.dimensions * len(x)))
        return torch.cat([self.log_likelihoods(x, part, y) for part in z.split(piece)]).add(log_ratio).double()

    def draws(
        self, x: Tensor, y: Tensor | None = None, k: int = 1, held: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """z_i ~ q(z | x), (k, B, Z), log p(x | z_i) and log p(z_i) - log q(z_i | x), (k, B) each, all differentiable;
        ``held``: mu and sigma are constants in log q, so that its gradient reaches the encoder through z_i alone."""
        z, log_q = self.draw(self.infer(x, y), k, held)
        return z, self.log_likelihoods(x, z, y), self.log_prior(z) - log_q

    def refine(self, x: Tensor, y: Tensor | None = None, steps: int = 200) -> Inferred:
        """What the encoder says, after ``steps`` of each example's own ascent."""
        return ascend(self, self.infer(x, y), x, y, steps)

    def log_joint(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x | z) + log p(z), (B,)."""
        return self.log_likelihood(x, z, y) + self.log_prior(z)

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """x ~ p(x | z), drawn from the output distribution, not its mean; temperature is that of the prior."""
        z = self.prior.sample(noise, temperature)
        return self._given(z, noise, y)

    def redraw(self, noise: Noise, anew: Noise, level: int, y: Tensor | None = None) -> Tensor:
        """x ~ p(x | z), where x is drawn by ``anew``, and at level 1 z, too."""
        return self._given(self.prior.sample(anew if level else noise), anew, y)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """mu(x), and with a flow where it goes to from there, (B, Z)."""
        mean, _, context = self.infer(x, y)
        return mean if self.flow is None else self.flow(mean, context)[0]

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x | z) in data units, (B, *spec.shape); floats, not rounded to a level."""
        return self.likelihood.mean(self._decoded(z, y))

    def _inferred(self, scaled: Tensor, y: Tensor | None = None) -> Inferred:
        told = (as_conditions(y, self.spec),) if self.conditional else ()
        Z = self.latent
        mean, log_variance, context = self.encoder(scaled, *told).split([Z, Z, self.context], dim=1)
        return Inferred(mean, log_variance.clamp(-10, 10), context if self.context else None)

    def _gaussian(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma^2 of scaled examples, (B, Z) each."""
        inferred = self._inferred(scaled)
        return inferred.mean, inferred.log_variance

    def _given(self, z: Tensor, noise: Noise, y: Tensor | None) -> Tensor:
        """x ~ p(x | z), (B, *spec.shape)."""
        u = noise.uniform(self.likelihood.draws, *self.spec.shape)
        return self.likelihood.sample(self._decoded(z, y), u)

    def _decoded(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Parameters of p(x | z), (B, P, *spec.shape)."""
        return self.decoder(torch.cat([z, as_conditions(y, self.spec).to(z.dtype)], 1) if self.conditional else z)

    def _divergence(self, inferred: Inferred, z: Tensor, log_q: Tensor) -> Tensor:
        """KL of each dimension, (B, Z), in closed form, else log q(z | x) - log p(z), (B, 1), at a draw (1, B, Z)."""
        mean, log_variance, _ = inferred
        if self.flow is None and isinstance(self.prior, StandardNormal):
            return (mean.square() + log_variance.exp() - 1 - log_variance) / 2
        return (log_q - self.log_prior(z)).T
