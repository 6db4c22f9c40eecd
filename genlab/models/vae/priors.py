"""Distributions of the codes of a VAE: N(0, I), a flow's, or the mixture of the encoder's own Gaussians."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from genlab.bijections.chain import Chain
from genlab.bijections.masked_autoregressive import MaskedAutoregressive
from genlab.bijections.shift_and_scale import ShiftAndScale
from genlab.errors import ConfigError
from genlab.models.flow.standard_normal import StandardNormal
from genlab.noise import Noise
from genlab.spec import Spec

Gaussian = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Scaled examples, (B, *spec.shape), to mean and log-variance of their codes, (B, Z) each."""


def standard_normal(spec: Spec, latent: int, gaussian: Gaussian) -> StandardNormal:
    """N(0, I)."""
    return StandardNormal(latent)


def autoregressive(
    spec: Spec, latent: int, gaussian: Gaussian, steps: int = 2, widths: Sequence[int] = (320, 320), limit: float = 2.0
) -> FlowPrior:
    """z that N(0, I) becomes under ``steps`` masked auto-regressive maps: p(z) = prod_i p(z_i | z_<i), learnt.

    To bound p(x) by a Gaussian q and this prior is to bound it by an IAF posterior and N(0, I): both differ in the
    space that the decoder sees. (Chen et al. 2017, Variational Lossy Autoencoder, arXiv 1611.02731, section 3.2)
    """
    if steps < 1:
        raise ConfigError("model.prior_model.steps", steps, "at least one is needed")
    orders = [range(latent)[:: -1 if step % 2 else 1] for step in range(steps)]
    return FlowPrior(
        Chain(
            MaskedAutoregressive(latent, ShiftAndScale(limit), widths, order=order, activation="elu")
            for order in orders
        ),
        latent,
    )


def vampprior(spec: Spec, latent: int, gaussian: Gaussian, components: int = 500) -> VampPrior:
    """The mixture of the encoder's Gaussians of ``components`` learnt examples."""
    return VampPrior(spec, gaussian, components)


class FlowPrior(nn.Module):
    """log p(z) = log N(f(z); 0, I) + log|det df/dz|; one pass forward to score, one back to draw.

    Args:
        bijection: f.
        latent: number Z of dimensions.
    """

    def __init__(self, bijection: Chain, latent: int):
        super().__init__()
        self.bijection, self.base = bijection, StandardNormal(latent)

    def log_prob(self, z: Tensor) -> Tensor:
        """(B, Z) to (B,), in nats."""
        noise, log_det = self.bijection(z)
        return self.base.log_prob(noise) + log_det

    def sample(self, noise: Noise, temperature: float = 1.0) -> Tensor:
        """(B, Z); temperature multiplies the standard deviation of what is mapped."""
        return self.bijection.inverse(self.base.sample(noise, temperature))[0]


class VampPrior(nn.Module):
    """p(z) = (1/M) sum_m N(z; mu(u_m), sigma(u_m)^2), the encoder's Gaussians of M learnt examples u_m.

    (Tomczak & Welling 2018, arXiv 1705.07120, eq. 9.) They live where scaled examples do: hardtanh keeps them in
    [-1, 1] for data of levels; continuous ones are free.

    Args:
        spec: of the data.
        gaussian: mu and log sigma^2 of scaled examples, which belong to the model whose prior this is.
        components: M, 500 in the paper.
    """

    def __init__(self, spec: Spec, gaussian: Gaussian, components: int = 500):
        super().__init__()
        if components < 1:
            raise ConfigError("model.prior_model.components", components, "at least one is needed")
        self.spec, self.gaussian = spec, gaussian
        start = torch.randn(components, *spec.shape)
        self.examples = nn.Parameter(start if spec.levels is None else 0.05 * start - 0.9)

    def log_prob(self, z: Tensor) -> Tensor:
        """(B, Z) to (B,), in nats."""
        mean, log_variance = self._components()
        precision = (-log_variance).exp()
        # |(z - mu) / sigma|^2 as products of matrices, for B M Z numbers are many
        squares = z.square() @ precision.T - 2 * z @ (mean * precision).T + (mean.square() * precision).sum(1)
        each = -(squares + log_variance.sum(1) + z.shape[1] * math.log(2 * math.pi)) / 2
        return each.logsumexp(1) - math.log(len(mean))

    def sample(self, noise: Noise, temperature: float = 1.0) -> Tensor:
        """(B, Z): of a component drawn uniformly; temperature multiplies its standard deviations."""
        mean, log_variance = self._components()
        which = (noise.uniform() * len(mean)).long()
        return mean[which] + temperature * torch.exp(log_variance[which] / 2) * noise.normal(mean.shape[1])

    def _components(self) -> tuple[Tensor, Tensor]:
        return self.gaussian(self.examples if self.spec.levels is None else nn.functional.hardtanh(self.examples))
