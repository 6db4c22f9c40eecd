"""One layer of a hierarchy of latent maps: its prior given what is above, its posterior given features of x, too."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from genlab.nn.masked import MaskedConv2d


class LatentLayer(nn.Module):
    """p(z | h) = N(mu_p, sigma_p^2),   q(z | h, e) = N(mu_p + d, sigma_p^2 exp(r)), with d and r functions of h and e.

    With an auto-regressive prior mu_p and log sigma_p^2 of a position have one term more, of the positions of z before
    it in raster order, by two masked convolutions that see h; those of q have it not.

    Args:
        width: features W of h and of e.
        maps: channels of z.
        kernel: of the convolutions that read h and e.
        autoregressive: whether p is.
        first: whether p is N(0, I), whatever h.
    """

    def __init__(self, width: int, maps: int, kernel: int, autoregressive: bool = False, first: bool = False):
        super().__init__()
        self.maps = maps
        self.prior = None if first else nn.Conv2d(width, 2 * maps, kernel, padding=kernel // 2)
        self.seen = nn.Conv2d(2 * width, 2 * maps, kernel, padding=kernel // 2)
        self.out = nn.Conv2d(maps, width, 1)
        self.before = MaskedConv2d(maps, width, 5, "A") if autoregressive else None
        self.told = nn.Conv2d(width, width, 1) if autoregressive else None
        self.after = nn.Conv2d(width, 2 * maps, 1) if autoregressive else None
        for layer in (self.prior, self.after):
            if layer is not None:
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)

    def posterior(self, h: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q, (B, maps, ...) each."""
        mean, log_variance = self._shared(h)
        shift, stretch = self.seen(elu(torch.cat([h, e], 1))).chunk(2, 1)
        return mean + shift, (log_variance + stretch).clamp(-10, 10)

    def infer(self, h: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """z ~ q, and what it costs, (B,): KL(q || p), or log q(z) - log p(z) under an auto-regressive prior."""
        mean, log_variance = self.posterior(h, e)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        if self.before is not None:
            return z, log_normal(z, mean, log_variance) - self.log_prior(z, h)
        other, other_log_variance = self._shared(h)
        ratio = ((mean - other).square() + log_variance.exp()) * (-other_log_variance).exp()
        return z, (ratio - 1 + other_log_variance - log_variance).flatten(1).sum(1) / 2

    def log_prior(self, z: Tensor, h: Tensor) -> Tensor:
        """log p(z | h), (B,)."""
        return log_normal(z, *self._prior_of(z, h))

    def generate(self, h: Tensor, epsilon: Tensor) -> Tensor:
        """z of the prior that noise makes, (B, maps, ...): position after position where it is auto-regressive."""
        if self.before is None:
            mean, log_variance = self._shared(h)
            return mean + torch.exp(log_variance / 2) * epsilon
        z = torch.zeros_like(epsilon)
        rows, columns = z.shape[2:]
        for row in range(rows):
            for column in range(columns):
                mean, log_variance = self._prior_of(z, h)
                at = (..., row, column)
                z[at] = mean[at] + torch.exp(log_variance[at] / 2) * epsilon[at]
        return z

    def _shared(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance that h alone gives the prior."""
        if self.prior is None:
            nought = h.new_zeros(len(h), self.maps, *h.shape[2:])
            return nought, nought
        mean, log_variance = self.prior(elu(h)).chunk(2, 1)
        return mean, log_variance.clamp(-10, 10)

    def _prior_of(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of p at the positions of z."""
        mean, log_variance = self._shared(h)
        if self.before is None or self.told is None or self.after is None:
            return mean, log_variance
        shift, stretch = self.after(elu(self.before(z) + self.told(elu(h)))).chunk(2, 1)
        return mean + shift, (log_variance + stretch).clamp(-10, 10)


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; mean, exp(log_variance)), summed over all but the batch, (B,)."""
    squares = (z - mean).square() * (-log_variance).exp()
    return -(squares + log_variance + math.log(2 * math.pi)).flatten(1).sum(1) / 2
