"""A hybrid of a flow and a classifier: one bijection, a density on the one side of it and classes on the other."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import Tensor, nn

from genlab.bijections.actnorm import ActNorm
from genlab.bijections.base import Bijection
from genlab.bijections.chain import Chain
from genlab.bijections.coupling import Coupling, halve
from genlab.bijections.flatten import Flatten
from genlab.bijections.invertible_linear import InvertibleLinear
from genlab.bijections.logit import Logit
from genlab.bijections.residual import Residual, Roulette
from genlab.bijections.shift_and_scale import ShiftAndScale
from genlab.bijections.squeeze import Squeeze, halvings
from genlab.errors import ConfigError, nearest
from genlab.models.flow.assemble import check_counts
from genlab.models.flow.conditioner import GlowConditioner
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.models.flow.standard_normal import StandardNormal
from genlab.nn.contraction import RestrainedConvNet
from genlab.spec import Spec, dequantize

BLOCKS = ("coupling", "convolution", "residual")


class HybridFlow(Dequantized):
    """log P(x) >= E_u[log p_z(f((x + u) / n)) + log|det|] - D log n,   log p(y | x) = log softmax(head(f(x)))[y].

    (Nalisnick et al. 2019, arXiv 1902.02767; Chen et al. 2019, arXiv 1906.02735) ``loss=hybrid`` weighs the two.
    Protocols: those of ``Dequantized``, Classifies.

    Args:
        flow: f and p_z, over [0, 1)^D.
        head: latents (B, D) to logits (B, K).
    """

    supervised = True

    def __init__(self, flow: Flow, head: nn.Module):
        super().__init__(flow)
        self.head = head

    def classify(self, x: Tensor) -> Tensor:
        """Logits at the middle of the cell of x, (B, K)."""
        return self.head(self.encode(x))

    def scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A bound on log P(x), (B,), and logits, (B, K), at one and the same draw of u and by one pass of f."""
        u, log_q = self._draw(x)
        cell = self.spec.dimensions * math.log(self.levels)
        z, log_det = self.flow.bijection(dequantize(x, self.levels, u))
        return self.flow.base.log_prob(z) + log_det - log_q - cell, self.head(z)


class Head(nn.Module):
    """A 3 x 3 convolution of the latent as a map, ReLU, mean over pixels, a linear layer: (B, D) to (B, K).

    Deviation: the paper looks at the map of every scale and normalises the features' activations.

    Args:
        shape: (C, H, W) of the map.
        classes: K.
        width: feature maps.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int):
        super().__init__()
        self.shape = shape
        self.convolution = nn.Conv2d(shape[0], width, 3, padding=1)
        self.linear = nn.Linear(width, classes)

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(self.convolution(z.unflatten(1, self.shape)).relu().mean((2, 3)))


def hybrid_flow(
    spec: Spec,
    block: Literal["coupling", "convolution", "residual"] = "residual",
    blocks: int = 8,
    scales: int = 2,
    width: int = 64,
    head: int = 256,
    bound: float = 0.98,
    limit: float = 2.0,
    alpha: float = 0.05,
) -> HybridFlow:
    """A ``HybridFlow``: at each scale a squeeze, then blocks, each behind activation normalisation.

    Nothing is factored out. A block has 3 x 3, 1 x 1 and 3 x 3 convolutions of ``width`` maps inside, whichever it is:
    an affine coupling whose halves exchange their roles from block to block; the same behind an invertible 1 x 1
    convolution in the place of the exchange; a residual block.

    Args:
        spec: of the data, images of integers with classes.
        block: ``coupling``, ``convolution`` (a coupling behind an invertible 1 x 1 convolution) or ``residual``.
        blocks: of each scale.
        scales: of an image, at most as many as halve height and width.
        width: feature maps inside a block.
        head: feature maps of the classifier.
        bound: Lipschitz constant of each layer of a residual block.
        limit: bound on the log-scale of a coupling.
        alpha: of the logit.
    """
    if spec.kind != "image" or spec.levels is None or not spec.classes:
        raise ConfigError("data", spec.kind, "a hybrid flow takes images of integer levels that have classes")
    if block not in BLOCKS:
        raise ConfigError("model.block", block, f"there are {', '.join(BLOCKS)}", nearest(block, BLOCKS))
    check_counts(blocks=blocks, scales=scales, width=width, head=head)
    available = halvings(spec.shape)
    if available == 0:
        raise ConfigError("data", spec.shape, "a hybrid flow halves images, so height and width must be even")
    made: list[Bijection] = [Logit(alpha)]
    C, H, W = spec.shape
    for _ in range(min(scales, available)):
        made.append(Squeeze())
        C, H, W = 4 * C, H // 2, W // 2
        for number in range(blocks):
            made.extend([ActNorm(C), *one_block(block, number, (C, H, W), width, bound, limit)])
    made.extend([ActNorm(C), Flatten((C, H, W))])
    flow = Flow(Chain(made), StandardNormal(spec.dimensions), spec)
    return HybridFlow(flow, Head((C, H, W), len(spec.classes), head))


def one_block(
    kind: str, number: int, shape: tuple[int, int, int], width: int, bound: float, limit: float
) -> list[Bijection]:
    """What one block is."""
    C = shape[0]
    if kind == "residual":
        net = RestrainedConvNet(shape, width, "lipswish", bound, first=number > 0)
        return [Residual(net, Roulette(), f"residual block {number} of {C} channels")]
    mixed = kind == "convolution"
    swapped = number % 2 == 1 and not mixed
    kept, changed = halve(C, swapped)
    coupling: Any = Coupling(GlowConditioner(kept, 2 * changed, width), ShiftAndScale(limit), swapped)
    return [InvertibleLinear(C, f"1 x 1 convolution {number} of {C} channels"), coupling] if mixed else [coupling]
