"""Glow: actnorm, an invertible 1 x 1 convolution and a coupling, over several scales."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn

from genlab.bijections.actnorm import ActNorm
from genlab.bijections.base import Bijection
from genlab.bijections.chain import Chain
from genlab.bijections.coupling import Coupling, halve
from genlab.bijections.factor_out import FactorOut
from genlab.bijections.flatten import Flatten
from genlab.bijections.invertible_linear import InvertibleLinear
from genlab.bijections.monotone import Monotone
from genlab.bijections.shift import Shift
from genlab.bijections.shift_and_scale import ShiftAndScale
from genlab.bijections.squeeze import Squeeze, halvings
from genlab.errors import ConfigError, nearest
from genlab.models.flow.assemble import admit, assemble, check_counts
from genlab.models.flow.conditioner import GlowConditioner, MLPConditioner, ZeroConv2d
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.spec import Spec

COUPLINGS = ("affine", "additive")


def glow(
    spec: Spec,
    levels: int = 3,
    steps: int = 32,
    width: int = 512,
    coupling: Literal["affine", "additive"] = "affine",
    split_prior: bool = True,
    depth: int = 2,
    limit: float = 2.0,
    conditional: bool = False,
    dequantization: Literal["uniform", "variational"] = "uniform",
) -> Flow | Dequantized:
    """Kingma and Dhariwal 2018, arXiv 1807.03039, section 3 and figure 2.

    At each of ``levels`` levels of an image: a squeeze, ``steps`` times actnorm, invertible 1 x 1 convolution and a
    coupling of channel halves; all levels but the last factor out half of the channels, whose mean and scale under
    ``split_prior`` are given by the other half: z_2 = (x_2 - mu(x_1)) / sigma(x_1), a coupling too, so that a
    temperature multiplies the standard deviations of every level. Vectors have one level, and perceptrons.

    Integers are dequantised to [0, 1), no logit. The paper's shift by one half is left out: the first actnorm takes the
    mean away. The mean and scale of the last level's prior, learned there, are an actnorm too.

    Deviations: scales are exp of a log-scale bounded by ``limit`` tanh(. / ``limit``) in place of a sigmoid, for a
    scale near zero makes samples explode; W by its PLU factors, for which the paper says it, and not whole.

    Args:
        spec: of the data; image, of even height and width, or vector.
        levels: L, at most; as many as halve height and width.
        steps: K of each level.
        width: feature maps, or features, of a conditioner.
        coupling: ``affine``, or ``additive``, under which log|det| is the same everywhere but in the split prior.
        split_prior: whether what is factored out depends on what goes on.
        depth: hidden layers of a perceptron.
        limit: bound on the log-scale of a coupling.
        conditional: couplings on the class.
        dequantization: of integers, ``uniform``, or ``variational``, learned with the flow.
    """
    context = admit(spec, "Glow", conditional, least=2)
    check_counts(levels=levels, steps=steps, width=width, depth=depth)
    if coupling not in COUPLINGS:
        reason = f"no such coupling; there are {', '.join(COUPLINGS)}"
        raise ConfigError("model.coupling", coupling, reason, nearest(coupling, COUPLINGS))
    monotone: Monotone = Shift() if coupling == "additive" else ShiftAndScale(limit)
    if spec.kind == "vector":
        D = spec.dimensions

        def of_features(kept: int, outputs: int) -> nn.Module:
            return MLPConditioner((kept,), width, depth, context, outputs=outputs)

        chain = [*step_after_step(D, steps, monotone, of_features, 1), ActNorm(D)]
        return assemble(chain, spec, conditional, dequantization=dequantization)
    available = halvings(spec.shape)
    if available == 0:
        raise ConfigError("data", spec.shape, "Glow halves images, so height and width must be even")
    of_maps = partial(GlowConditioner, width=width, context=context)
    prior = ShiftAndScale(limit) if split_prior else None
    whole = multi_level(spec.shape, min(levels, available), steps, monotone, of_maps, prior)
    return assemble([whole], spec, conditional, dequantization=dequantization)


def multi_level(
    shape: tuple[int, ...],
    levels: int,
    steps: int,
    monotone: Monotone,
    net: Callable[[int, int], nn.Module],
    prior: Monotone | None,
    number: int = 1,
) -> Chain:
    """The flow of an image of this shape at its finest level, and with it, inside its ``FactorOut``, of the others."""
    C, H, W = 4 * shape[0], shape[1] // 2, shape[2] // 2
    fine = [Squeeze(), *step_after_step(C, steps, monotone, net, number)]
    if levels == 1:
        return Chain([*fine, ActNorm(C), Flatten((C, H, W))])
    if prior is not None:
        fine.append(Coupling(ZeroConv2d(C // 2, prior.parameters * (C // 2)), prior))
    rest = multi_level((C // 2, H, W), levels - 1, steps, monotone, net, prior, number + 1)
    return Chain([*fine, FactorOut(rest, (C, H, W))])


def step_after_step(
    channels: int, steps: int, monotone: Monotone, net: Callable[[int, int], nn.Module], level: int
) -> list[Bijection]:
    """``steps`` times actnorm, a linear map of the channels and a coupling."""
    kept, changed = halve(channels)
    found: list[Bijection] = []
    for number in range(steps):
        linear = InvertibleLinear(channels, f"1 x 1 convolution of level {level}, step {number + 1}")
        found += [ActNorm(channels), linear, Coupling(net(kept, monotone.parameters * changed), monotone)]
    return found
