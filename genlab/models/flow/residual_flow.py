"""Flows of invertible residual blocks: Residual Flow and i-ResNet, which differ in their series and activation."""

from __future__ import annotations

from typing import Literal

from genlab.bijections.actnorm import ActNorm
from genlab.bijections.base import Bijection
from genlab.bijections.flatten import Flatten
from genlab.bijections.residual import Residual, Series
from genlab.bijections.squeeze import Squeeze
from genlab.errors import ConfigError, nearest
from genlab.models.flow.assemble import admit, assemble
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.models.flow.realnvp import count_scales
from genlab.nn.contraction import RestrainedConvNet, RestrainedMLP
from genlab.spec import Spec

NETS = ("conv", "mlp")


def residual_flow(
    spec: Spec,
    series: Series,
    net: Literal["conv", "mlp"] = "conv",
    maps: int = 512,
    blocks: int = 16,
    scales: int = 3,
    last: int = 4,
    layers: int = 10,
    width: int = 128,
    depth: int = 2,
    bound: float = 0.98,
    activation: Literal["lipswish", "clipswish", "elu", "softplus", "tanh"] = "lipswish",
    dequantization: Literal["uniform", "variational"] = "uniform",
    alpha: float = 0.05,
    tolerance: float = 1e-5,
) -> Flow | Dequantized:
    """A ``Flow`` for continuous data, a ``Dequantized`` flow behind a logit for integers. Chen et al. 2019, 1906.02735.

    Vectors, and images with ``net=mlp``: ``layers`` blocks of perceptrons. Images with ``net=conv``: at each scale
    ``blocks`` blocks of 3 x 3, 1 x 1, 3 x 3 convolutions, between scales a squeeze and nothing factored out, at the end
    ``last`` blocks of perceptrons.

    Activation normalisation stands before every block and at the end.

    Args:
        spec: of the data; image or vector.
        series: of the log-determinants, ``genlab.bijections.residual.Roulette`` or ``Truncated``.
        net: of the blocks, ``conv`` or ``mlp``; vectors always have ``mlp``.
        maps: feature maps inside a convolutional block.
        blocks: of each scale.
        scales: of an image, at most as many as halve its height and width down to 4.
        last: blocks of perceptrons at the end of a convolutional flow.
        layers: blocks of the MLP flow.
        width: hidden features of a perceptron.
        depth: its hidden layers.
        bound: Lipschitz constant of each layer of a block.
        activation: ``lipswish``, ``clipswish`` (both sides of it, side by side), ``elu``, ``softplus`` or ``tanh``.
        dequantization: of integers, ``uniform``, or ``variational``, learned with the flow.
        alpha: of the logit.
        tolerance: of the inverse.
    """
    admit(spec, "a residual flow")
    if net not in NETS:
        raise ConfigError("model.net", net, f"no such net; there are {', '.join(NETS)}", nearest(net, NETS))
    made: list[Bijection] = []

    def block(channels: int, inside: RestrainedConvNet | RestrainedMLP) -> None:
        number = sum(isinstance(part, Residual) for part in made)
        made.extend([ActNorm(channels), Residual(inside, series, f"residual block {number}", tolerance)])

    shape = spec.shape
    if net == "conv" and spec.kind == "image":
        for scale in range(min(scales, count_scales(shape))):
            if scale:
                made.append(Squeeze())
                shape = (4 * shape[0], shape[1] // 2, shape[2] // 2)
            for _ in range(blocks):
                block(shape[0], RestrainedConvNet(shape, maps, activation, bound, first=any_residual(made)))
        layers = last
    if len(shape) > 1:
        made.append(Flatten(shape))
    sizes = [spec.dimensions, *[width] * depth, spec.dimensions]
    for _ in range(layers):
        block(spec.dimensions, RestrainedMLP(sizes, activation, bound, first=any_residual(made)))
    made.append(ActNorm(spec.dimensions))
    return assemble(made, spec, alpha=alpha, dequantization=dequantization)


def any_residual(parts: list[Bijection]) -> bool:
    """Whether a block stands before; an activation comes first in all blocks but the very first."""
    return any(isinstance(part, Residual) for part in parts)
