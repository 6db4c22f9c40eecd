"""A learnt prior of the codes of a VQ-VAE, whose nets and codebook stay as another run has left them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Layout
from genlab.models.vae.vqvae import VQVAE, Quantisation
from genlab.noise import Noise
from genlab.spec import Spec


class CodePrior(AutoRegressive):
    """log P(k) = sum over positions i of log P(k_i | k_<i), of codes that have no order: the net is told a vector of
    each, learnt, in the place of its number.

    Args:
        spec: of the codes, images of one channel.
        net: builds the causal net for a ``Layout``.
        embedding: dimensions E of such a vector.
        conditional: on the class or the attributes.
    """

    def __init__(self, spec: Spec, net: Callable[[Layout], nn.Module], embedding: int, conditional: bool = False):
        def wider(layout: Layout) -> nn.Module:
            return net(layout._replace(shape=(embedding, *layout.shape[1:])))

        super().__init__(spec, wider, "categorical", conditional=conditional)
        self.embedding = nn.Embedding(spec.levels or 1, embedding)

    def scale(self, x: Tensor) -> Tensor:
        """Vectors of codes: of grids, (B, 1, h, w) to (B, E, h, w), of single positions, (n, B, 1) to (n, B, E)."""
        axis = 1 if x.dim() == 4 else 2
        return self.embedding(x.squeeze(axis).long()).movedim(-1, axis)


class VQVAEPrior(VQVAE):
    """The bound of ``VQVAE`` with a learnt p(k), the only part that learns: encoder, codebook and decoder are those of
    the run that ``init_from`` names.

    log p(x) >= log p(x | e(x)) + sum_i log p(k_i(x) | k_<i(x))

    What is minimised is minus this bound, of which the first term is constant. (van den Oord et al. 2017, arXiv
    1711.00937, section 3.3) Protocols: those of ``VQVAE``, and Watched. Temperature divides the logits of the codes.

    Args:
        prior: builds a causal net of the grid for a ``Layout``.
        embedding: dimensions of the vector by which that net is told a code.
        conditional: p(k | y), on the class or the attributes.
        others: those of ``VQVAE``, as the run has them.
    """

    requires: ClassVar = {"data.kind": ("image",)}
    frozen = ("encoder", "codebook", "decoder")

    def __init__(
        self,
        spec: Spec,
        prior: Callable[..., nn.Module],
        embedding: int = 64,
        conditional: bool = False,
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
        super().__init__(spec, codes, maps, width, stages, blocks, codebook, decay, dead, likelihood)
        if embedding < 1:
            raise ConfigError("model.embedding", embedding, "at least one is needed")
        self.conditional = conditional
        for part in self.frozen:
            self.get_submodule(part).requires_grad_(False)
        grid = Spec("image", (1, *self.grid), codes, spec.classes, spec.attributes)
        self.prior = CodePrior(grid, prior, embedding, conditional)

    @property
    def watch(self) -> Callable[[float], None] | None:
        """Told how far the codes are."""
        return self.prior.watch

    @watch.setter
    def watch(self, told: Callable[[float], None] | None) -> None:
        self.prior.watch = told

    def quantisation(self, x: Tensor, y: Tensor | None = None) -> Quantisation:
        """Raises:
        ConfigError: there is nothing of it to learn.
        """
        raise ConfigError("loss", "vector_quantised", "encoder, codebook and decoder stay as they are here", "nll")

    def log_prior(self, codes: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(k), (B,)."""
        return self.prior.log_prob(codes, y)

    def draw_codes(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """k ~ p(k), (B, 1, h, w), position after position, from cached activations."""
        return self.prior.sample(noise, y, temperature)
