"""The vector-quantised VAE: an example is a grid of codes, each the number of a vector of a codebook."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.bijections.actnorm import of_ranks
from genlab.errors import ConfigError
from genlab.likelihoods import make_likelihood
from genlab.likelihoods.base import Likelihood
from genlab.models.vae.vqvae_nets import GridDecoder, GridEncoder
from genlab.noise import Noise
from genlab.spec import Spec, to_signed


class Quantisation(NamedTuple):
    """What ``loss=vector_quantised`` is made of: log p(x | e), |sg(z) - e|^2 and |z - sg(e)|^2 of each example, (B,),
    and the perplexity of the batch's codes."""

    log_prob: Tensor
    codebook: Tensor
    commitment: Tensor
    perplexity: Tensor


class Codebook(nn.Module):
    """K vectors e_k, of which the nearest stands for a vector z: k(z) = argmin_k |z - e_k|^2.

    ``ema``: e_k = m_k / n_k,  n_k <- d n_k + (1 - d) |Z_k|,  m_k <- d m_k + (1 - d) sum of Z_k,  Z_k the vectors of the
    batch that are nearest to e_k: k-means on line. (Appendix A.1.) ``loss``: by the gradient of |sg(z) - e|^2.

    A code that takes less than ``dead`` of an even share of a batch, by the moving average n_k, starts anew as a vector
    of the batch, a deviation: it would never be the nearest again. So do all of them in the first batch.

    Args:
        codes: K.
        maps: D of a vector.
        learnt: ``ema`` or ``loss``.
        decay: d.
        dead: share of an even share.
    """

    counts: Tensor
    sums: Tensor

    def __init__(
        self, codes: int, maps: int, learnt: Literal["ema", "loss"] = "ema", decay: float = 0.99, dead: float = 0.01
    ):
        super().__init__()
        self.decay, self.dead, self.averages = decay, dead, learnt == "ema"
        self.vectors: Tensor
        if self.averages:
            self.register_buffer("vectors", torch.zeros(codes, maps))
            self.register_buffer("sums", torch.zeros(codes, maps))
        else:
            self.vectors = nn.Parameter(torch.zeros(codes, maps))
        self.register_buffer("counts", torch.zeros(codes))

    def nearest(self, z: Tensor) -> Tensor:
        """The number of the vector nearest to each, (M, D) to (M,); the first of equal ones."""
        with torch.autocast(z.device.type, enabled=False):  # half of the digits would mistake a neighbour
            vectors = self.vectors.detach()
            return (vectors.square().sum(1) - 2 * z.detach().to(vectors.dtype) @ vectors.T).argmin(1)

    def forward(self, codes: Tensor) -> Tensor:
        """Vectors of codes, (...) to (..., D)."""
        return F.embedding(codes, self.vectors)

    @torch.no_grad()
    def revive(self, z: Tensor) -> None:
        """Start codes that are hardly used anew, from vectors (M, D) of the batch."""
        z, K = z.to(self.vectors.dtype), len(self.counts)
        share = len(z) / K
        dead = self.counts <= self.dead * share
        fresh = z[torch.randint(len(z), (K,), device=z.device)]
        self.vectors.copy_(torch.where(dead[:, None], fresh, self.vectors))
        self.counts.masked_fill_(dead, share)
        if self.averages:
            self.sums.copy_(torch.where(dead[:, None], share * fresh, self.sums))

    @torch.no_grad()
    def learn(self, z: Tensor, codes: Tensor) -> None:
        """Take vectors (M, D) and the codes that stand for them into the averages."""
        z = z.to(self.vectors.dtype)
        counts = of_ranks(torch.bincount(codes, minlength=len(self.counts)).to(z.dtype))
        self.counts.lerp_(counts, 1 - self.decay)
        if self.averages:
            sums = of_ranks(torch.zeros_like(self.sums).index_add_(0, codes, z))
            self.sums.lerp_(sums, 1 - self.decay)
            self.vectors.copy_(self.sums / self.counts.clamp(min=torch.finfo(z.dtype).tiny)[:, None])


class VQVAE(nn.Module):
    """z(x) of h x w = N positions, each moved to the nearest vector of a codebook of K: codes k(x), vectors e(x).

    log p(x) = log sum_k p(x | e_k) p(k) >= log p(x | e(x)) + log p(k(x)),   p(k) uniform: log p(k) = -N log K

    The encoder is deterministic, so that its q(k | x) is one point and the bound has no draws; importance samples do
    not tighten it. The gradient of e goes to z as it is, straight through. (van den Oord et al. 2017, arXiv 1711.00937,
    eq. 1-3) Samples are of the uniform p(k), independent at every position, and look like it; model=vqvae_prior learns
    another p(k).

    A code as a vector, as ``encode`` and ``decode`` have it, is e(x), (B, D h w); any other is moved to the nearest
    vectors first.

    Protocols: Samples, Bound, Quantises.

    Args:
        spec: of the data, images.
        codes: size K of the codebook.
        maps: D of a vector of it.
        width: feature maps of the nets.
        stages: how often an image is halved: 2 make 8 x 8 positions of 32 x 32 pixels.
        blocks: residual blocks of each net.
        codebook: learnt by moving averages, ``ema``, or by a term of the loss, ``loss``.
        decay: of the moving averages.
        dead: share of an even share of a batch below which a code starts anew.
        likelihood: the output distribution p(x | e), as ``VAE`` has it.
    """

    requires: ClassVar = {"data.kind": ("image",)}
    frozen: tuple[str, ...] = ()

    def __init__(
        self,
        spec: Spec,
        codes: int = 512,
        maps: int = 64,
        width: int = 256,
        stages: int = 2,
        blocks: int = 2,
        codebook: Literal["ema", "loss"] = "ema",
        decay: float = 0.99,
        dead: float = 0.01,
        likelihood: str | Callable[..., Likelihood] | None = None,
    ):
        super().__init__()
        if spec.kind != "image":
            raise ConfigError("data", spec.kind, "this model is of images, which become grids of codes", "digits")
        if codes < 2:
            raise ConfigError("model.codes", codes, "one code says nothing: two are needed")
        for key, value in {"maps": maps, "width": width, "stages": stages}.items():
            if value < 1:
                raise ConfigError(f"model.{key}", value, "at least one is needed")
        for key, share in {"decay": decay, "dead": dead}.items():
            if not 0 <= share < 1:
                raise ConfigError(f"model.{key}", share, "from 0 to below 1")
        self.spec, self.maps, self.size = spec, maps, codes
        self.likelihood = make_likelihood(likelihood, spec)
        self.encoder = GridEncoder(spec, maps, width, stages, blocks)
        self.codebook = Codebook(codes, maps, codebook, decay, dead)
        self.decoder = GridDecoder(spec, maps, self.likelihood.outputs, width, stages, blocks)
        self.grid = self.encoder.grid
        self.latent = maps * math.prod(self.grid)

    def quantisation(self, x: Tensor, y: Tensor | None = None) -> Quantisation:
        """What is minimised in training; there the codebook takes the batch in, too."""
        z = self._rows(x)
        if self.training:
            self.codebook.revive(z)
        codes = self.codebook.nearest(z)
        e = self.codebook(codes).to(z.dtype)
        if self.training:
            self.codebook.learn(z, codes)
        through = e.detach() + (z - z.detach())  # in this order the value is e to the bit
        log_prob = self.likelihood.log_prob(self.decoder(self._as_map(through)), x)
        codebook, commitment = ((a - b).square().view(len(x), -1).sum(1) for a, b in ((z.detach(), e), (z, e.detach())))
        shares = torch.bincount(codes, minlength=self.size) / len(codes)
        perplexity = torch.exp(-torch.special.xlogy(shares, shares).sum())
        return Quantisation(log_prob, codebook, commitment, perplexity)

    @torch.no_grad()
    def codes(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """k(x), (B, 1, h, w)."""
        return self.codebook.nearest(self._rows(x)).view(len(x), 1, *self.grid)

    def log_likelihood(self, x: Tensor, codes: Tensor) -> Tensor:
        """log p(x | e), (B,), of an example and its codes (B, 1, h, w)."""
        return self.likelihood.log_prob(self._decoded(codes), x)

    def log_prior(self, codes: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(k), (B,)."""
        return self.codebook.vectors.new_full((len(codes),), -math.prod(self.grid) * math.log(self.size))

    def bound(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log p(x | e(x)) + log p(k(x)), (B,), whatever k.

        Raises:
            ConfigError: its gradient is wanted in training, and the codebook has none.
        """
        if self.training and torch.is_grad_enabled() and not self.frozen:
            raise ConfigError("loss", "nll", "by its bound alone a codebook learns nothing", "vector_quantised")
        codes = self.codes(x)
        return self.log_likelihood(x, codes) + self.log_prior(codes, y)

    def draw_codes(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """k ~ p(k), (B, 1, h, w); a uniform one is so at any temperature."""
        return (noise.uniform(1, *self.grid) * self.size).long()

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """x ~ p(x | e_k), drawn from the output distribution; temperature is that of the prior."""
        params = self._decoded(self.draw_codes(noise, y, temperature))
        return self.likelihood.sample(params, noise.uniform(self.likelihood.draws, *self.spec.shape))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """e(x), (B, D h w)."""
        return self._as_map(self.codebook(self.codes(x).flatten())).flatten(1)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x | e) in data units at the vectors nearest to z; floats, not rounded to a level."""
        rows = z.view(-1, self.maps, math.prod(self.grid)).transpose(1, 2).reshape(-1, self.maps)
        return self.likelihood.mean(self._decoded(self.codebook.nearest(rows).view(-1, 1, *self.grid)))

    def _rows(self, x: Tensor) -> Tensor:
        """z(x), a row for each position of each example, (B N, D)."""
        return self.encoder(to_signed(x, self.spec.levels)).permute(0, 2, 3, 1).reshape(-1, self.maps)

    def _as_map(self, rows: Tensor) -> Tensor:
        """(B N, D) to (B, D, h, w)."""
        return rows.view(-1, *self.grid, self.maps).permute(0, 3, 1, 2)

    def _decoded(self, codes: Tensor) -> Tensor:
        """Parameters of p(x | e), (B, P, *spec.shape)."""
        return self.decoder(self._as_map(self.codebook(codes.flatten().long())))
