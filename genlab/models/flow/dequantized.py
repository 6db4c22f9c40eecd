"""Dequantisation: what a density over the unit cube says about integers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.models.flow.flow import Flow
from genlab.noise import Noise
from genlab.spec import dequantize, quantize


class Dequantized(nn.Module):
    """log P(x) >= E[log (1/k) sum_i p((x + u_i) / n) / q(u_i | x)] - D log n,   u_i ~ q in [0, 1]^D, n levels.

    Equal to log of the integral of p over the cell of x as k grows. Only a bound, so there is no ``log_prob``. q is
    uniform, or learned. (Theis et al. 2016, arXiv 1511.01844, eq. 3; Ho et al. 2019, arXiv 1902.00275, eq. 12, for a
    learned q; k > 1 as importance weighting, Burda et al. 2016)

    Args:
        flow: p, a density over [0, 1)^D whose spec is that of the integer data.
        noise: q, x to u and log q(u | x); None for uniform.
    """

    def __init__(self, flow: Flow, noise: nn.Module | None = None):
        super().__init__()
        if flow.spec.levels is None:
            raise ConfigError("data", flow.spec.kind, "continuous data need no dequantisation")
        self.flow, self.spec, self.levels, self.noise = flow, flow.spec, flow.spec.levels, noise
        self.latent, self.conditional = flow.latent, flow.conditional

    @property
    def exact(self) -> bool:
        """Whether the density is; of estimates of it, ``bound`` is an estimate of a bound."""
        return self.flow.exact

    def bound(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """A lower bound on log P(x) in nats, (B,), from k draws of the global generator, one pass each."""
        draws = []
        for _ in range(k):
            u, log_q = self._draw(x)
            draws.append(self.flow.log_prob(dequantize(x, self.levels, u), y) - log_q)
        mean = torch.stack(draws).logsumexp(0) - math.log(k)
        return mean - self.spec.dimensions * math.log(self.levels)

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Samples of the density, rounded down to their level: uint8 (B, *spec.shape)."""
        return quantize(self.flow.sample(noise, y, temperature), self.levels)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The latent of the middle of the cell of x, (B, D), so that it is a function of x."""
        middle = torch.full(x.shape, 0.5, dtype=torch.get_default_dtype(), device=x.device)
        return self.flow.encode(dequantize(x, self.levels, middle), y)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return quantize(self.flow.decode(z, y), self.levels)

    def _draw(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """u, and log q(u | x)."""
        if self.noise is not None:
            return self.noise(x)
        return torch.rand(x.shape, dtype=torch.get_default_dtype(), device=x.device), 0.0
