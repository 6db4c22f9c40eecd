"""Residual nets of a hundred layers, the last row of the robustness grid of WGAN-GP.

Gulrajani et al. 2017, arXiv 1704.00028, section 5.1 and the released 64x64 script: bottleneck blocks at every size of
the map, whose residual is added by three tenths, and between sizes one that resamples; 33 blocks of three layers, the
first and the last layer make 101. Deviation: up-sampling is a transposed convolution of stride 2 in the residual, as
there, but nearest neighbours and a 1x1 in the shortcut, where the script has a sub-pixel convolution.
"""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn, tanh
from torch.nn.functional import avg_pool2d, interpolate, relu

from genlab.models.gan.layers import Conditioned, Head, halvings, initialise, normalise
from genlab.spec import Spec

BLOCKS = 33


class Bottleneck(nn.Module):
    """shortcut(x) + 0.3 norm(W_3 relu(W_2 relu(W_1 relu(x)))),   1x1, 3x3 and 1x1 convolutions, half as wide inside.

    Args:
        inputs: channels of x.
        outputs: channels of the result.
        norm: ``batch``, ``layer``, ``conditional`` or None.
        resample: ``up``, ``down`` or None; by the middle convolution.
        given: number K of conditions, for ``norm=conditional``.
    """

    conditioned = True  # its normalisation may want the conditions

    def __init__(self, inputs: int, outputs: int, norm: str | None, resample: str | None = None, given: int = 0):
        super().__init__()
        self.resample = resample
        narrow, half = max(1, inputs // 2), max(1, outputs // 2)
        self.narrow = nn.Conv2d(inputs, narrow, 1)
        self.middle: nn.Module = nn.Conv2d(narrow, half, 3, 2 if resample == "down" else 1, 1)
        if resample == "up":
            self.middle = nn.ConvTranspose2d(narrow, half, 3, 2, 1, 1)
        self.wide = nn.Conv2d(half, outputs, 1, bias=norm is None)
        self.norm = Conditioned(*normalise(norm, outputs, given=given))
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if resample or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H', W')."""
        h = self.norm(self.wide(relu(self.middle(relu(self.narrow(relu(x)))))), given)
        if self.resample == "up":
            return interpolate(self.shortcut(x), scale_factor=2.0) + 0.3 * h
        return self.shortcut(avg_pool2d(x, 2) if self.resample == "down" else x) + 0.3 * h


def plain(blocks: int, count: int) -> list[int]:
    """How many plain blocks each of ``count + 1`` sizes has: all but those that resample, the first sizes one more."""
    some, more = divmod(max(0, blocks - count), count + 1)
    return [some + (place < more) for place in range(count + 1)]


def widths_of(width: int, count: int) -> list[int]:
    """Channels at each size, from the largest map: half of ``width``, then twice as many at each."""
    return [max(1, (width << place) // 2) for place in range(count + 1)]


class Generator(nn.Module):
    """z -> linear, 4x4 -> blocks, doubling -> 1x1, tanh(x / 5).

    For 64x64 and width 64: 6, 6, 6, 6 and 5 plain blocks at 4x4x512, 8x8x256, ... 64x64x32.

    Args:
        spec: of the data, images.
        latent: number of latent dimensions.
        width: twice the channels of the largest map.
        norm: ``batch``, ``layer``, ``conditional`` or None.
        blocks: number of bottleneck blocks, those that resample included.
        given: number K of conditions, joined to the latent or, under ``norm=conditional``, in every normalisation.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 64,
        norm: str | None = "batch",
        blocks: int = BLOCKS,
        given: int = 0,
    ):
        super().__init__()
        count = halvings(spec, "resnet101")
        channels, height, breadth = spec.shape
        widths = widths_of(width, count)[::-1]
        base = (widths[0], height >> count, breadth >> count)
        self.joins = norm != "conditional"
        inputs = latent + given if self.joins else latent
        self.linear = nn.Sequential(nn.Linear(inputs, base[0] * base[1] * base[2]), nn.Unflatten(1, base))
        self.blocks = Conditioned()
        for many, (maps, after) in zip(plain(blocks, count), pairwise([*widths, 0]), strict=True):
            self.blocks.extend([Bottleneck(maps, maps, norm, given=given) for _ in range(many)])
            if after:
                self.blocks.append(Bottleneck(maps, after, norm, "up", given=given))
        self.image = nn.Conv2d(widths[-1], channels, 1)
        initialise(self, std=None)

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, Z) and (B, K) to (B, C, H, W)."""
        x = self.linear(torch.cat((z, given), 1) if given is not None and self.joins else z)
        return tanh(self.image(self.blocks(x, given)) / 5)


class Discriminator(nn.Module):
    """x -> 1x1 -> blocks, halving -> linear -> values / 5; sizes are the generator's, turned round.

    Args:
        spec: of the data, images.
        width: twice the channels of the largest map.
        norm: ``batch``, ``layer`` or None.
        blocks: number of bottleneck blocks, those that resample included.
        outputs: number of values.
        given: number K of conditions, projected on the features (see ``layers.Head``).
        minibatch: similarities to the rest of the batch among the features (see ``layers.Head``).
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        width: int = 64,
        norm: str | None = None,
        blocks: int = BLOCKS,
        outputs: int = 1,
        given: int = 0,
        minibatch: int = 0,
    ):
        super().__init__()
        count = halvings(spec, "resnet101")
        channels, height, breadth = spec.shape
        widths = widths_of(width, count)
        self.blocks = nn.Sequential(nn.Conv2d(channels, widths[0], 1))
        for many, (maps, after) in zip(plain(blocks, count)[::-1], pairwise([*widths, 0]), strict=True):
            self.blocks.extend([Bottleneck(maps, maps, norm) for _ in range(many)])
            if after:
                self.blocks.append(Bottleneck(maps, after, norm, "down"))
        self.head = Head(widths[-1] * (height >> count) * (breadth >> count), outputs, given, minibatch)
        initialise(self, std=None)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer is given, (B, F): the last maps, flat."""
        return self.blocks(x).flatten(1)

    def values(self, h: Tensor, given: Tensor | None = None) -> Tensor:
        """Of features, (B, F), and (B, K), to (B,), or (B, outputs)."""
        return self.head(h, given) / 5

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, C, H, W) and (B, K) to (B,), or (B, outputs)."""
        return self.values(self.features(x), given)
