"""RealNVP: affine couplings under alternating masks, for vectors and, over several scales, for images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from genlab.bijections.affine_coupling import AffineCoupling
from genlab.bijections.base import Bijection
from genlab.bijections.chain import Chain
from genlab.bijections.factor_out import FactorOut
from genlab.bijections.flatten import Flatten
from genlab.bijections.permute import Permute
from genlab.bijections.squeeze import Squeeze, halvings
from genlab.errors import ConfigError, nearest
from genlab.models.flow.assemble import admit, assemble
from genlab.models.flow.conditioner import MLPConditioner, ResNetConditioner
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.models.flow.masks import halves, parity
from genlab.spec import Spec

NETS = ("resnet", "mlp")
COARSEST = 4  # the paper goes on "until the input of the last recursion is a 4 x 4 x c tensor"


def realnvp(
    spec: Spec,
    net: Literal["resnet", "mlp"] = "resnet",
    maps: int = 64,
    blocks: int = 8,
    couplings: int = 3,
    scales: int | None = 2,
    layers: int = 8,
    width: int = 128,
    depth: int = 2,
    dropout: float = 0.0,
    limit: float = 2.0,
    alpha: float = 0.05,
    conditional: bool = False,
    dequantization: Literal["uniform", "variational"] = "uniform",
) -> Flow | Dequantized:
    """A ``Flow`` for continuous data, a ``Dequantized`` flow behind a logit for integers. Dinh et al. 2017, 1605.08803.

    Vectors, and images with ``net=mlp``: ``layers`` couplings whose masks alternate (on images as a checkerboard).
    Images with ``net=resnet``: at each scale ``couplings`` couplings under checkerboards, a squeeze, as many under
    halves of the channels, and half of the channels factored out; at the last scale ``couplings + 1`` checkerboards.
    Feature maps double with every squeeze, as in the released code.

    Deviations: no batch norm, neither between couplings nor in the nets (group norm over one example there), so
    training, evaluation and every rank see the same density; no weight norm; a fixed bound ``limit`` on the log-scale.

    Args:
        spec: of the data; image or vector.
        net: conditioners, ``resnet`` or ``mlp``; vectors always have ``mlp``.
        maps: feature maps of a ResNet at the finest scale.
        blocks: its residual blocks.
        couplings: of each mask type and scale.
        scales: of an image, at most; None for as many as halve height and width down to 4.
        layers: couplings of the MLP flow.
        width: hidden features of an MLP.
        depth: its hidden layers.
        dropout: inside the conditioners.
        limit: bound on the log-scale of one coupling.
        alpha: of the logit.
        conditional: on the class.
        dequantization: of integers, ``uniform``, or ``variational``, learned with the flow.
    """
    context = admit(spec, "RealNVP", conditional)
    if net not in NETS:
        raise ConfigError("model.net", net, f"no such conditioner; there are {', '.join(NETS)}", nearest(net, NETS))
    bijection: Bijection
    if net == "resnet" and spec.kind == "image":
        available = count_scales(spec.shape)
        if scales is not None and scales < 1:
            raise ConfigError("model.scales", scales, "an image has one scale at least")
        resnet = partial(ResNetConditioner, blocks=blocks, context=context, dropout=dropout)
        bijection = multi_scale(spec.shape, min(scales or available, available), couplings, maps, resnet, limit)
    else:
        mlp = partial(MLPConditioner, width=width, depth=depth, context=context, dropout=dropout)
        bijection = alternating(spec.shape, layers, mlp, limit)
    return assemble([bijection], spec, conditional, alpha, dequantization=dequantization)


def alternating(shape: tuple[int, ...], layers: int, net: Callable[..., nn.Module], limit: float) -> Chain:
    """``layers`` couplings of flattened examples under a mask and its complement in turn."""
    masks = [parity(shape, layer % 2) for layer in range(layers)]
    return Chain([*(AffineCoupling(net(shape), mask, limit) for mask in masks), Flatten(shape)])


def multi_scale(
    shape: tuple[int, ...], scales: int, couplings: int, maps: int, net: Callable[..., nn.Module], limit: float
) -> Chain:
    """The flow of the finest of ``scales`` scales, and with it, inside its ``FactorOut``, of the coarser ones."""
    C, H, W = shape

    def coupling(mask: Tensor, channels: int, maps: int) -> AffineCoupling:
        return AffineCoupling(net(channels, maps), mask, limit)

    last = scales == 1
    fine = [coupling(parity(shape, i % 2), C, maps) for i in range(couplings + last)]
    if last:
        return Chain([*fine, Flatten(shape)])
    coarse = [coupling(halves(4 * C, i % 2), 4 * C, 2 * maps) for i in range(couplings)]
    rest = multi_scale((2 * C, H // 2, W // 2), scales - 1, couplings, 2 * maps, net, limit)
    return Chain([*fine, Squeeze(), *coarse, Permute(diagonals_first(C)), FactorOut(rest, (4 * C, H // 2, W // 2))])


def count_scales(shape: tuple[int, ...]) -> int:
    """How many scales an image has: 8 and 28 pixels have two and three, 32 four."""
    return 1 + halvings(shape, COARSEST)


def diagonals_first(channels: int) -> list[int]:
    """The order of squeezed channels in which the first half is one colour of the checkerboard.

    Factoring out rows would leave the next scale images squashed to half their height; the released code takes this
    order too.
    """
    return [position * channels + channel for position in (0, 3, 1, 2) for channel in range(channels)]
