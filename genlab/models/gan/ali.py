"""Adversarially learned inference: BiGAN with an encoder that draws codes from a Gaussian."""

from typing import ClassVar

import torch
from torch import Tensor

from genlab.models.gan.bigan import BiGAN
from genlab.spec import to_signed


class ALI(BiGAN):
    """The critic tells (x, z^), z^ ~ q(z | x) = N(mu(x), sigma(x)^2), from (G(z), z), z ~ N(0, I).

    min over G and q, max over D of  E[log D(x, z^)] + E[log(1 - D(G(z), z))],   z^ = mu(x) + sigma(x) epsilon

    At the best critic the players minimise the Jensen-Shannon divergence between q(z | x) p(x) and p(x | z) p(z).
    (Dumoulin et al. 2017, arXiv 1606.00704, eq. 2 to 5.) ``encode`` gives mu(x). Deviations: the players move one after
    the other, at once in the paper; log sigma^2 is clamped to [-10, 10], which keeps the first steps finite; the
    decoder's last bias starts at 0, in the released code at the log-odds of the mean image.

    Protocols: those of ``BiGAN``, and Posterior. Arguments: those of ``BiGAN``; the encoder is called with
    ``outputs=2 Z``.
    """

    numbers: ClassVar[int] = 2

    def posterior(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), (B, Z) each, of data-space examples."""
        return gaussian(self.encoded(to_signed(x, self.spec.levels), self.given(y)))

    def infer(self, x: Tensor, given: Tensor | None) -> Tensor:
        """One code drawn from q(z | x) for each scaled example, (B, Z)."""
        return drawn(*gaussian(self.encoded(x, given)))


def gaussian(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance, halves of the first axis of ``parameters``, (B, 2 C, ...)."""
    mean, log_variance = parameters.chunk(2, 1)
    return mean, log_variance.clamp(-10, 10)


def drawn(mean: Tensor, log_variance: Tensor) -> Tensor:
    """mean + sigma epsilon, epsilon of the global generator."""
    return mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
