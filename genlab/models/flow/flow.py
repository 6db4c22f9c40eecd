"""A normalising flow: a bijection and a base distribution, for continuous data."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genlab.bijections.base import Bijection
from genlab.errors import ConfigError
from genlab.noise import Noise
from genlab.spec import Spec


class Base(Protocol):
    """The distribution of a flow's latent, over vectors."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(B, D) to (B,), in nats."""
        ...

    def sample(self, noise: Noise, temperature: float = 1.0) -> Tensor:
        """(B, D); temperature multiplies standard deviations."""
        ...


class Flow(nn.Module):
    """log p(x) = log p_z(f(x)) + log|det df/dx|,   samples f^-1(z), z from the base. (Dinh et al. 2017, eq. 2-3)

    One pass of the bijection a direction. The density is exact where the log-determinants of all parts are.

    Args:
        bijection: f, from (B, *spec.shape) to (B, D).
        base: p_z; its temperature multiplies standard deviations.
        spec: of the data.
        conditional: whether the bijection's context is the class, one-hot.
    """

    def __init__(self, bijection: Bijection, base: Base, spec: Spec, conditional: bool = False):
        super().__init__()
        self.bijection, self.base, self.spec, self.conditional = bijection, base, spec, conditional
        self.latent = spec.dimensions

    @property
    def exact(self) -> bool:
        parts = (module for module in self.bijection.modules() if isinstance(module, Bijection))
        return all(part.is_exact(self.spec.dimensions) for part in parts)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x), or log p(x | y), in nats and data units, (B,)."""
        z, log_det = self.bijection(x, self._context(y))
        return self.base.log_prob(z) + log_det

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One inverse pass, (B, *spec.shape); classes that are not given are drawn uniformly."""
        z = self.base.sample(noise, temperature)
        if self.conditional and y is None:
            y = (noise.uniform() * len(self.spec.classes)).long()
        return self.decode(z, y)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.bijection(x, self._context(y))[0]

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.bijection.inverse(z, self._context(y))[0]

    def _context(self, y: Tensor | None) -> Tensor | None:
        if not self.conditional:
            return None
        if y is None:
            raise ConfigError("y", None, "this flow is conditional on the class, so every example needs one")
        return one_hot(y, len(self.spec.classes)).to(torch.get_default_dtype())
