"""Convolutional nets in which every layer halves or doubles the image: DCGAN's, and those of WGAN-GP on CIFAR-10.

Radford et al. 2016, arXiv 1511.06434, figure 1; Gulrajani et al. 2017, arXiv 1704.00028, released script for CIFAR-10.
The number of layers follows from the size: two for 8x8 and 28x28, three for 32x32, four for 64x64. Deviations:
strided layers pad both sides alike (the papers' frameworks pad one pixel more at the far side), and a layer with a
normalisation behind it has no bias, for that would be subtracted again.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.models.gan.layers import Conditioned, Head, attended, halvings, handed_on, initialise, normalise, pieces
from genlab.models.gan.layers import activation as build_activation
from genlab.nn.attention import SelfAttention
from genlab.spec import Spec


class Generator(nn.Module):
    """z -> linear -> transposed convolutions of stride 2, each half as wide as the one before -> tanh.

    For 64x64 and width 128: 4x4x1024 -> 512 -> 256 -> 128 -> C; for 32x32 it starts with 4x4x512.

    Args:
        spec: of the data, images.
        latent: number of latent dimensions.
        width: channels of the widest-open layer, the one before the image.
        norm: ``batch``, ``layer``, ``conditional`` or None; of all layers but the last.
        kernel: side of a kernel; 4 overlaps evenly under stride 2.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``, ``maxout`` or ``gated``.
        std: of the initial weights; None scales them to the layer (see ``layers.initialise``).
        constant: all layers are as wide as the last (Arjovsky et al. 2017, arXiv 1701.07875, figure 6).
        attention: side of the map that self-attention looks over; None: none.
        dense: units of a layer between the latent and the first maps (1024 in Chen et al. 2016, arXiv 1606.03657,
            table 1); None: none.
        given: number K of conditions, joined to the latent or, under ``norm=conditional``, in every normalisation.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 128,
        norm: str | None = "batch",
        kernel: int = 5,
        activation: str = "relu",
        std: float | None = 0.02,
        constant: bool = False,
        attention: int | None = None,
        dense: int | None = None,
        given: int = 0,
    ):
        super().__init__()
        count, many = halvings(spec, "dcgan"), pieces(activation)
        channels, height, breadth = spec.shape
        widths = [width if constant else width << step for step in reversed(range(count))]
        base = (widths[0], height >> count, breadth >> count)
        features = math.prod(base)
        self.joins = norm != "conditional"
        layers: list[nn.Module] = []
        inputs = latent + given if self.joins else latent
        for units in filter(None, (dense, features)):
            layers += [
                nn.Linear(inputs, many * units, bias=norm is None),
                *normalise(norm, many * units, flat=True, given=given),
                build_activation(activation),
            ]
            inputs = units
        layers.append(nn.Unflatten(1, base))
        padding, extra = (kernel - 1) // 2, kernel % 2
        for step, (inputs, outputs) in enumerate(pairwise(widths), 1):
            layers.append(nn.ConvTranspose2d(inputs, many * outputs, kernel, 2, padding, extra, bias=norm is None))
            layers += [*normalise(norm, many * outputs, given=given), build_activation(activation)]
            if base[1] << step == attention:
                layers.append(SelfAttention(outputs))
        layers += [nn.ConvTranspose2d(width, channels, kernel, 2, padding, extra), nn.Tanh()]
        self.layers = Conditioned(*layers)
        attended(self, attention)
        initialise(self, std)

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, Z) and (B, K) to (B, C, H, W)."""
        return self.layers(torch.cat((z, given), 1) if given is not None and self.joins else z, given)


class Discriminator(nn.Module):
    """x -> convolutions of stride 2, each twice as wide as the one before -> linear -> one value, or several.

    For 64x64 and width 128: 128 -> 256 -> 512 -> 1024. The first layer has no normalisation.

    Args:
        spec: of the data, images.
        width: channels of the first layer.
        norm: ``batch``, ``layer`` or None; of all convolutions but the first.
        kernel: side of a kernel.
        activation: as the generator's.
        std: of the initial weights; None scales them to the layer (see ``layers.initialise``).
        attention: as the generator's.
        dense: units of a layer between the last maps and the value; None: none.
        outputs: number of values.
        given: number K of conditions, projected on the features (see ``layers.Head``).
        minibatch: similarities to the rest of the batch among the features (see ``layers.Head``).
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        width: int = 128,
        norm: str | None = "batch",
        kernel: int = 5,
        activation: str = "leaky_relu",
        std: float | None = 0.02,
        attention: int | None = None,
        dense: int | None = None,
        outputs: int = 1,
        given: int = 0,
        minibatch: int = 0,
    ):
        super().__init__()
        count, many = halvings(spec, "dcgan"), pieces(activation)
        inputs, height, breadth = spec.shape
        layers: list[nn.Module] = []
        for step in range(count):
            used = norm if step else None
            maps = width << step
            layers.append(nn.Conv2d(inputs, many * maps, kernel, 2, (kernel - 1) // 2, bias=used is None))
            layers += [*normalise(used, many * maps), build_activation(activation)]
            if height >> (step + 1) == attention:
                layers.append(SelfAttention(maps))
            inputs = maps
        features = inputs * (height >> count) * (breadth >> count)
        self.convolutional = len(layers)
        layers.append(nn.Flatten())
        if dense:
            layers.append(nn.Linear(features, many * dense, bias=norm is None))
            layers += [*normalise(norm, many * dense, flat=True), build_activation(activation)]
            features = dense
        self.layers = nn.Sequential(*layers)
        self.head = Head(features, outputs, given, minibatch)
        attended(self, attention)
        initialise(self, std)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer is given, (B, F): the last maps, flat, or the dense layer."""
        return self.layers(x)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, C, H, W) and (B, K) to (B,), or (B, outputs)."""
        return self.head(self.features(x), given)

    def hidden(self, x: Tensor) -> Tensor:
        """What its convolutions see, each map max-pooled to 4x4: (B, C, H, W) to (B, D)."""
        return handed_on(self.layers[: self.convolutional], x)


class Between(nn.Module):
    """From one level of a hierarchy to another by convolutions, each of stride 2 halving or doubling the sides.

    A map is first seen by a 3x3 convolution, a vector is spread by a linear layer over a map of 4 to 7 pixels a side,
    or of the target's where that is smaller; a map is made by a 3x3 convolution, a vector by a linear layer from a map
    of such a size. Channels double where sides halve, from ``width`` at the larger end.

    Args:
        source: shape of what is given, (C, H, W) or (Z,).
        target: shape of what is made, (C, H, W) or (Z,).
        width: channels of the largest map between.
        norm: ``batch``, ``layer`` or None; of all layers but the last.
        kernel: side of a kernel of stride 2.
        activation: as the generator's.
        std: of the initial weights; None scales them to the layer (see ``layers.initialise``).
    """

    def __init__(
        self,
        source: tuple[int, ...],
        target: tuple[int, ...],
        width: int = 64,
        norm: str | None = "batch",
        kernel: int = 4,
        activation: str = "leaky_relu",
        std: float | None = 0.02,
    ):
        super().__init__()
        rising = len(source) == 1 or (len(target) > 1 and target[1] > source[1])
        large, small = (target, source) if rising else (source, target)
        count = steps(large[1:], small[1:])
        sides = [side >> count for side in large[1:]]
        widths = [width << step for step in range(count + 1)]
        if rising:
            widths.reverse()
        padding, extra = (kernel - 1) // 2, kernel % 2

        def ready(features: int) -> list[nn.Module]:
            return [*normalise(norm, features), build_activation(activation)]

        layers: list[nn.Module] = []
        if len(source) == 1:
            layers += [nn.Linear(source[0], widths[0] * math.prod(sides)), nn.Unflatten(1, (widths[0], *sides))]
        else:
            layers.append(nn.Conv2d(source[0], widths[0], 3, padding=1))
        layers += ready(widths[0])
        for inputs, outputs in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding, extra)
                if rising
                else nn.Conv2d(inputs, outputs, kernel, 2, padding),
                *ready(outputs),
            ]
        if len(target) == 1:
            layers += [nn.Flatten(), nn.Linear(widths[-1] * math.prod(sides), target[0])]
        else:
            layers.append(nn.Conv2d(widths[-1], target[0], 3, padding=1))
        self.layers = nn.Sequential(*layers)
        initialise(self, std)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *source) to (B, *target)."""
        return self.layers(x)


def steps(large: Sequence[int], small: Sequence[int]) -> int:
    """How often the sides ``large`` halve until they are ``small``; where these are none, as for a vector, until they
    are below 8 or odd."""
    if small:
        return (large[0] // small[0]).bit_length() - 1
    count = 0
    while all(side >> count >= 8 and (side >> count) % 2 == 0 for side in large):
        count += 1
    return count
