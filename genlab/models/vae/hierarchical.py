"""A VAE of several latent layers, from one vector down to maps, which inference and generation go through alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from genlab.errors import ConfigError
from genlab.likelihoods import make_likelihood
from genlab.likelihoods.base import Likelihood
from genlab.models.vae.conv import halvings
from genlab.models.vae.latent_layer import LatentLayer, log_normal
from genlab.noise import Noise
from genlab.spec import Spec, to_signed

NUMBERS_AT_ONCE = 2**20  # of decoder outputs in one piece of an importance-weighted bound
Pick = Callable[[int, LatentLayer, Tensor], Tensor]
"""Number of a latent layer, the layer, and the features above it, (B, W, h, w), to its code."""


class HierarchicalVAE(nn.Module):
    """p(x) = integral of p(x | z_1 ... z_L) p(z_1) prod_l p(z_l | z_<l), counted from the top, z_1 of 1 x 1.

    log p(x) >= E_q[log p(x | z)] - sum_l E_q KL(q(z_l | z_<l, x) || p(z_l | z_<l)),  q(z | x) = prod_l q(z_l | z_<l, x)

    One way down for both: h starts as a constant, and at each layer z_l is drawn from p or from q, given h (and for q
    features of x of that size, from one way up), and added to h; residual cells stand between. p(z_1) = N(0, I).
    q(z_l | .) is N(mu_p + d, sigma_p^2 exp(r)) with what the features say as d and r, so that a layer which learns
    nothing costs nothing. (Sonderby et al. 2016, Ladder VAE, arXiv 1602.02282; Kingma et al. 2016, arXiv 1606.04934,
    section 4 and figure 3; Vahdat & Kautz 2020, NVAE, arXiv 2007.03898, eq. 3.) Free bits of ``loss=elbo`` are of each
    layer here. Deviations: no batch norm, no importance of a precision-weighted sum as in the ladder.

    Protocols: Samples, Redraws, Bound, Encodes, Hierarchical, Diverges, Weighs. Level 1 has the codes of all layers,
    the last level that of the top alone, and ``descend`` gives the layers below a level their prior's mean.

    Args:
        spec: of the data, images.
        latent: dimensions of the top layer.
        maps: channels of the others.
        grids: sizes that have latent layers: 1 is 1 x 1 alone, 2 adds the smallest map (4 x 4 of 8 x 8, 7 x 7 of
            28 x 28), 3 the next.
        layers: of each map.
        width: features.
        cells: residual cells after each layer.
        likelihood: the output distribution p(x | z), as ``VAE`` has it.
        latent_prior: ``factorised`` or ``autoregressive``: given what is above, the values of a map are independent, or
            each position is a function of those before it, too.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        latent: int = 32,
        maps: int = 4,
        grids: int = 2,
        layers: int = 1,
        width: int = 32,
        cells: int = 1,
        likelihood: str | Callable[..., Likelihood] | None = None,
        latent_prior: Literal["factorised", "autoregressive"] = "factorised",
    ):
        super().__init__()
        sizes = halvings(spec)
        if not 1 <= grids <= len(sizes):
            raise ConfigError("model.grids", grids, f"from 1 to {len(sizes)} for images of {sizes[0]}", str(len(sizes)))
        for key, value in {"latent": latent, "maps": maps, "layers": layers, "width": width}.items():
            if value < 1:
                raise ConfigError(f"model.{key}", value, "at least one is needed")
        self.spec, self.latent = spec, latent
        self.likelihood = make_likelihood(likelihood, spec)
        self.up = WayUp(spec.shape[0], sizes, width, cells)
        self.start = nn.Parameter(torch.zeros(width, 1, 1))
        prior = latent_prior == "autoregressive"
        stages = [Stage(nn.Identity(), [LatentLayer(width, latent, 1, first=True)], width, cells, one=True)]
        for place, size in enumerate(reversed(sizes[1:]), 1):
            here = [LatentLayer(width, maps, 3, prior) for _ in range(layers if place < grids else 0)]
            stages.append(Stage(grow(width, size, alone=place == 1), here, width, cells))
        self.down = nn.ModuleList(stages)
        odd = (sizes[0][0] % 2, sizes[0][1] % 2)
        out = self.likelihood.outputs * spec.shape[0]
        self.head = nn.Sequential(nn.ELU(), nn.ConvTranspose2d(width, out, 4, 2, 1, odd))
        self.levels = sum(stage.count for stage in stages)
        grid = [(1, 1), *reversed(sizes[1:])]
        each = [
            layer.maps * math.prod(size) for stage, size in zip(stages, grid, strict=True) for layer in stage.layers()
        ]
        self.numbers = [sum(each[: place + 1]) for place in range(self.levels)]
        """Of the codes from the top down to each layer."""

    def terms(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log p(x | z) at one z ~ q(z | x), (B,), and the KL of each layer at what was drawn above it, (B, L): that of
        a layer with an auto-regressive prior is an estimate of one draw."""
        features, costs = self.up(self._scaled(x)), []

        def pick(number: int, layer: LatentLayer, h: Tensor) -> Tensor:
            z, cost = layer.infer(h, features[h.shape[-2:]])
            costs.append(cost)
            return z

        log_prob = self.likelihood.log_prob(self._down(len(x), pick), x)
        return log_prob, torch.stack(costs, 1)

    def divergence(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The KL of each layer, (B, L), given what was drawn above it."""
        return self.terms(x, y)[1]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z_l | z_<l, x) of all layers side by side, top first, (B, Z_1 + ... + Z_L), each
        with the means of those above it."""
        features, found = self.up(self._scaled(x)), []

        def pick(number: int, layer: LatentLayer, h: Tensor) -> Tensor:
            mean, log_variance = layer.posterior(h, features[h.shape[-2:]])
            found.append((mean.flatten(1), log_variance.flatten(1)))
            return mean

        self._down(len(x), pick)
        means, log_variances = zip(*found, strict=True)
        return torch.cat(means, 1), torch.cat(log_variances, 1)

    def bound(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log (1/k) sum_i p(x, z_i) / q(z_i | x), z_i ~ q, (B,); for k = 1 with KLs in closed form if they have one."""
        if k == 1:
            reconstruction, kl = self.terms(x, y)
            return reconstruction - kl.sum(1)
        return self.log_weights(x, y, k).logsumexp(0).sub(math.log(k)).to(next(self.parameters()).dtype)

    def log_weights(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log p(x, z_i) - log q(z_i | x), (k, B). The way up is gone once, the way down for some of the k at a time."""
        piece = max(1, NUMBERS_AT_ONCE // (self.likelihood.outputs * self.spec.dimensions * len(x)))
        features = self.up(self._scaled(x))
        parts = [self._drawn(x, features, min(piece, k - done)) for done in range(0, k, piece)]
        return torch.cat([log_prob + log_ratio for _, log_prob, log_ratio in parts]).double()

    def draws(
        self, x: Tensor, y: Tensor | None = None, k: int = 1, held: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """z_i ~ q(z | x), (k, B, Z), log p(x | z_i) and log p(z_i) - log q(z_i | x), (k, B) each, differentiable."""
        if held:
            reason = "is of one latent layer: here the q of a layer depends on what was drawn above it"
            raise ConfigError("loss.gradient", "dreg", reason, "reparameterised")
        return self._drawn(x, self.up(self._scaled(x)), k)

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """x ~ p(x | z), z from the top down; temperature multiplies the standard deviation of every layer."""
        return self._generated(noise, noise, 0, temperature)

    def redraw(self, noise: Noise, anew: Noise, level: int, y: Tensor | None = None) -> Tensor:
        """x ~ p(x | z), where x and the ``level`` lowest layers are drawn by ``anew``."""
        return self._generated(noise, anew, level)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of the top code, (B, Z)."""
        return self.ascend(x, self.levels)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x | z) where all below the top are their prior's means; floats, not rounded to a level."""
        return self.descend(z, self.levels)

    def ascend(self, x: Tensor, level: int, y: Tensor | None = None) -> Tensor:
        """The means of the codes from the top down to a level, side by side, (B, ...)."""
        return self.posterior(x)[0][:, : self.numbers[self.levels - level]]

    def descend(self, code: Tensor, level: int, y: Tensor | None = None) -> Tensor:
        """The mean of p(x | z) in data units, with the prior's means below the level."""
        known = self.levels - level + 1
        at = 0

        def pick(number: int, layer: LatentLayer, h: Tensor) -> Tensor:
            nonlocal at
            if number >= known:
                return layer.generate(h, h.new_zeros(len(h), layer.maps, *h.shape[2:]))
            shape = (layer.maps, *h.shape[2:])
            at += math.prod(shape)
            return code[:, at - math.prod(shape) : at].unflatten(1, shape)

        return self.likelihood.mean(self._down(len(code), pick))

    def _drawn(self, x: Tensor, features: dict[torch.Size, Tensor], k: int) -> tuple[Tensor, Tensor, Tensor]:
        many = {size: part.repeat(k, 1, 1, 1) for size, part in features.items()}
        codes: list[Tensor] = []
        ratios: list[Tensor] = []

        def pick(number: int, layer: LatentLayer, h: Tensor) -> Tensor:
            mean, log_variance = layer.posterior(h, many[h.shape[-2:]])
            z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
            ratios.append(layer.log_prior(z, h) - log_normal(z, mean, log_variance))
            codes.append(z.flatten(1))
            return z

        params = self._down(k * len(x), pick)
        log_prob = self.likelihood.log_prob(params, x.repeat(k, *[1] * (x.dim() - 1)))
        z = torch.cat(codes, 1).unflatten(0, (k, -1))
        return z, log_prob.view(k, -1), torch.stack(ratios).sum(0).view(k, -1)

    def _generated(self, noise: Noise, anew: Noise, level: int, temperature: float = 1.0) -> Tensor:
        def pick(number: int, layer: LatentLayer, h: Tensor) -> Tensor:
            stream = noise if number < self.levels - level else anew
            return layer.generate(h, temperature * stream.normal(layer.maps, *h.shape[2:]))

        params = self._down(len(noise), pick)
        return self.likelihood.sample(params, anew.uniform(self.likelihood.draws, *self.spec.shape))

    def _down(self, count: int, pick: Pick) -> Tensor:
        """Parameters of p(x | z), (B, P, C, H, W), of what ``pick`` gives each layer."""
        h, number = self.start.expand(count, *self.start.shape), 0
        for stage in self.down:
            h = stage(h, pick, number)
            number += stage.count  # type: ignore[assignment, operator]  # a ModuleList forgets what it holds
        return self.head(h).unflatten(1, (self.likelihood.outputs, -1))

    def _scaled(self, x: Tensor) -> Tensor:
        return to_signed(x, self.spec.levels)


class Stage(nn.Module):
    """The way down at one size: it grows to it, and for each latent layer adds the code, then goes through cells.

    Args:
        grow: from the size before.
        layers: latent layers; without one the features go through cells once.
        width: features.
        cells: residual cells after each layer.
        one: whether the size is 1 x 1.
    """

    def __init__(self, grow: nn.Module, layers: list[LatentLayer], width: int, cells: int, one: bool = False):
        super().__init__()
        self.grow, self.codes, self.count = grow, nn.ModuleList(layers), len(layers)
        self.cells = nn.ModuleList(nn.Sequential(*cells_of(width, cells, one)) for _ in range(max(1, len(layers))))

    def layers(self) -> list[LatentLayer]:
        """Its latent layers, from the top down."""
        return list(self.codes)  # type: ignore[arg-type]

    def forward(self, h: Tensor, pick: Pick, number: int) -> Tensor:
        """Features (B, W, h, w) of the size before to those of this one; ``number`` is that of its first layer."""
        h = self.grow(h)
        if not self.count:
            return self.cells[0](h)
        for place, layer in enumerate(self.layers()):
            h = self.cells[place](h + layer.out(pick(number + place, layer, h)))
        return h


class WayUp(nn.Module):
    """Features of an image at every size that halving gives, and at 1 x 1.

    Args:
        channels: of the image.
        sizes: (H, W) and its halves.
        width: features.
        cells: residual cells at each size but the first.
    """

    def __init__(self, channels: int, sizes: list[tuple[int, int]], width: int, cells: int):
        super().__init__()
        steps: list[nn.Module] = []
        for stage in range(len(sizes) - 1):
            halve = nn.Conv2d(width if stage else channels, width, 4, 2, 1)
            steps.append(nn.Sequential(halve, *cells_of(width, cells)))
        self.steps = nn.ModuleList(steps)
        self.top = nn.Sequential(nn.ELU(), nn.Conv2d(width, width, sizes[-1]), *cells_of(width, cells, one=True))

    def forward(self, x: Tensor) -> dict[torch.Size, Tensor]:
        """(B, C, H, W) to features (B, W, h, w), by (h, w)."""
        found = {}
        for step in self.steps:
            x = step(x)
            found[x.shape[-2:]] = x
        top = self.top(x)
        return found | {top.shape[-2:]: top}


class Cell(nn.Module):
    """x + conv(elu(conv(elu(x)))), whose last convolution starts at zero."""

    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        self.last = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(elu(self.first(elu(x))))


def cells_of(width: int, count: int, one: bool = False) -> list[nn.Module]:
    return [Cell(width, 1 if one else 3) for _ in range(count)]


def grow(width: int, size: tuple[int, int], alone: bool) -> nn.Module:
    """From 1 x 1, which stands ``alone``, to a map, or from a map to the one twice as large."""
    if alone:
        return nn.ConvTranspose2d(width, width, size)
    return nn.ConvTranspose2d(width, width, 4, 2, 1, (size[0] % 2, size[1] % 2))
