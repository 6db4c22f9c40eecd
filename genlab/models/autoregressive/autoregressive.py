"""An auto-regressive model: a causal net, an output distribution, and the order in which values are generated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods import make_likelihood
from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.base import Layout
from genlab.models.autoregressive.order import Order
from genlab.models.conditions import as_conditions, conditions
from genlab.noise import Noise
from genlab.spec import Spec, to_signed


class AutoRegressive(nn.Module):
    """log P(x) = sum over pixels i and parts g of log P(x_ig | what comes before it), exactly.

    Args:
        spec: of images, or of points.
        net: builds the causal net for a ``Layout``.
        likelihood: output distribution, a name or a class; null is Bernoulli for two levels, categorical for more,
            Gaussian for continuous data.
        order: raster, reverse, column or random.
        conditional: on the class or the attributes.
    """

    exact = True
    requires: ClassVar = {"data.kind": ("image", "vector")}

    def __init__(
        self,
        spec: Spec,
        net: Callable[[Layout], nn.Module],
        likelihood: str | Callable[..., Likelihood] | None = None,
        order: str = "raster",
        conditional: bool = False,
    ):
        super().__init__()
        if spec.kind not in ("image", "vector"):
            raise ConfigError("data", spec.kind, "this model is of images and points")
        if likelihood is None and spec.levels is not None:
            likelihood = "bernoulli" if spec.levels == 2 else "categorical"
        self.spec, self.conditional = spec, conditional
        C, H, W = spec.shape if spec.kind == "image" else (1, 1, spec.dimensions)
        self.path = Order(order, (C, H, W))
        self.likelihood: Any = make_likelihood(likelihood, spec, C if spec.kind == "image" else None)
        self.joint = getattr(self.likelihood, "joint", False)
        groups = 1 if self.joint else C
        self.layout = Layout(self.path.shape, groups, self.likelihood.outputs, conditions(spec, conditional))
        self.net: Any = net(self.layout)
        self.watch: Callable[[float], None] | None = None

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """Shape of the uniform numbers that an example is made of: draws of each part of each pixel."""
        return (self.likelihood.draws, self.layout.groups, *self.path.shape[1:])

    @property
    def order(self) -> Tensor:
        """Flat indices into an example, in the order generated."""
        return self.path.values(getattr(self.net, "sequence", None))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Data-space examples to parameters of the distribution of each value, (B, Q, *spec.shape); of each pixel,
        (B, Q, H, W), where the distribution is of whole pixels."""
        params = self.path.restore(self.net(self.path.lay(self.scale(self.as_images(x))), self._conditions(y)))
        if not self.joint:
            params = params.unflatten(1, (self.layout.groups, self.layout.parameters)).transpose(1, 2)
        return params if self.spec.kind == "image" else params.flatten(2)

    def conditionals(self, x: Tensor) -> Tensor:
        """Parameters of each value given those before it, (B, P, *spec.shape)."""
        params = self(x)
        return self.likelihood.conditionals(params, x) if self.joint else params

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.likelihood.log_prob(self(x, y), x)

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One example a stream, from cached activations; classes that are not given are drawn uniformly."""
        if self.conditional and y is None and self.spec.classes:
            y = (noise.uniform() * len(self.spec.classes)).long()
        return self.of_uniform(noise.uniform(*self.numbers), y, temperature)

    def complete(
        self, x: Tensor, known: Tensor, noise: Noise, y: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        """Examples (B, *spec.shape) with the values drawn anew where ``known``, (B, H, W), is False.

        Where all that is known comes before all that is not, in the model's order, this is a sample of the
        conditional distribution; elsewhere a value takes only what comes before it into account.
        """
        return self.of_uniform(noise.uniform(*self.numbers), y, temperature, self.as_images(x), known)

    @torch.no_grad()
    def of_uniform(
        self,
        u: Tensor,
        y: Tensor | None,
        temperature: float,
        given: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """What uniform numbers, (B, *numbers), become. Every value is drawn once, when the net asks for it. The numbers
        belong to places and not to turns, so that a sample is the same whatever goes together."""
        _, H, W = self.path.shape
        count, u = len(u), u.permute(3, 4, 2, 0, 1)  # (H, W, G, B, draws)
        kept: Tensor | None = None
        if given is not None and known is not None:
            kept = self.path.lay(known).permute(1, 2, 0)
            given = self.path.lay(given).permute(2, 3, 1, 0).unflatten(2, (self.layout.groups, -1))  # (H, W, G, C/G, B)
        values: list[Tensor] = []
        places: list[Tensor] = []
        done = 0

        def draw(params: Tensor, rows: Tensor, columns: Tensor, group: int) -> Tensor:
            nonlocal done
            n, B = params.shape[:2]
            picked = u[rows, columns, group].flatten(0, 1)[:, :, None]
            x = self.likelihood.sample(params.flatten(0, 1)[:, :, None], picked, temperature)
            x = x.reshape(n, B, -1)
            if kept is not None and given is not None:
                there = given[rows, columns, group].transpose(1, 2)
                x = torch.where(kept[rows, columns][:, :, None], there.to(x.dtype), x)
            values.append(x)
            places.append((rows * W + columns) * self.layout.groups + group)
            done += n
            if self.watch is not None:
                self.watch(done / (H * W * self.layout.groups))
            return self.scale(x)

        self.net.generate(draw, count, self._conditions(y))
        drawn = torch.cat(values)  # (H W G, B, C/G), in the order in which they were drawn
        image = drawn.new_empty(drawn.shape).index_copy_(0, torch.cat(places).to(drawn.device), drawn)
        x = image.unflatten(0, (H, W, -1)).permute(3, 2, 4, 0, 1).flatten(1, 2)
        return self.path.restore(x).reshape(-1, *self.spec.shape).contiguous()

    def scale(self, x: Tensor) -> Tensor:
        """Data-space values as the net reads them."""
        return to_signed(x, self.spec.levels).to(next(self.net.parameters()).dtype)

    def as_images(self, x: Tensor) -> Tensor:
        """(B, *spec.shape) to (B, C, H, W)."""
        return x if self.spec.kind == "image" else x[:, None, None, :]

    def _conditions(self, y: Tensor | None) -> Tensor | None:
        if not self.conditional:
            return None
        c = as_conditions(y, self.spec).to(next(self.net.parameters()).dtype)
        return self.path.lay(c) if c.dim() == 4 else c
