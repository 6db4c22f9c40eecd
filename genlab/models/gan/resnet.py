"""The residual nets of WGAN-GP on CIFAR-10: Gulrajani et al. 2017, arXiv 1704.00028, appendix F and released script.

Both nets have one width throughout. Sizes other than 32x32 change the number of blocks that double or halve, nothing
else. Convolutions of kernel 1 change places with pooling and up-sampling, which they commute with, to save work.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn, tanh
from torch.nn.functional import avg_pool2d, interpolate, relu

from genlab.errors import ConfigError
from genlab.models.gan.layers import (
    Conditioned,
    Head,
    attended,
    halvings,
    initialise,
    normalise,
    scaled_uniform,
    side_by_side,
)
from genlab.nn.attention import SelfAttention
from genlab.spec import Spec


class Block(nn.Module):
    """x -> norm, ReLU, 3x3, norm, ReLU, 3x3, plus x; with up-sampling before, or mean pooling after, the last 3x3.

    Args:
        inputs: channels of x.
        outputs: channels of the result.
        norm: ``batch``, ``layer`` or None.
        resample: ``up`` (nearest, before the first convolution), ``down`` (mean pooling, after the second) or None.
        first: x is an image: neither normalisation nor ReLU before the first convolution, and none of the former after.
        given: number K of conditions, for ``norm=conditional``.
    """

    conditioned = True  # its normalisations may want the conditions

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: str | None,
        resample: str | None = None,
        first: bool = False,
        given: int = 0,
    ):
        super().__init__()
        self.resample, self.first = resample, first
        norm = None if first else norm
        self.norm1 = Conditioned(*normalise(norm, inputs, given=given))
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = Conditioned(*normalise(norm, outputs, given=given))
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if resample or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H', W')."""
        h = x if self.first else relu(self.norm1(x, given))
        if self.resample == "up":
            h = interpolate(h, scale_factor=2.0)
        h = self.conv2(relu(self.norm2(self.conv1(h), given)))
        if self.resample == "up":
            return h + interpolate(self.shortcut(x), scale_factor=2.0)
        if self.resample == "down":
            return avg_pool2d(h, 2) + self.shortcut(avg_pool2d(x, 2))
        return h + self.shortcut(x)


class Generator(nn.Module):
    """z -> linear, 4x4 -> a block for each doubling -> norm, ReLU, 3x3, tanh.

    Args:
        spec: of the data, images.
        latent: number of latent dimensions.
        width: channels of all layers.
        norm: ``batch``, ``layer``, ``conditional`` or None.
        attention: side of the map that self-attention looks over; None: none.
        given: number K of conditions, joined to the latent or, under ``norm=conditional``, in every normalisation.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 128,
        norm: str | None = "batch",
        attention: int | None = None,
        given: int = 0,
    ):
        super().__init__()
        count = halvings(spec, "resnet")
        channels, height, breadth = spec.shape
        base = (width, height >> count, breadth >> count)
        self.joins = norm != "conditional"
        inputs = latent + given if self.joins else latent
        self.linear = nn.Sequential(nn.Linear(inputs, base[0] * base[1] * base[2]), nn.Unflatten(1, base))
        self.blocks = Conditioned()
        for step in range(1, count + 1):
            self.blocks.append(Block(width, width, norm, "up", given=given))
            if base[1] << step == attention:
                self.blocks.append(SelfAttention(width))
        attended(self, attention)
        self.norm = Conditioned(*normalise(norm, width, given=given))
        self.image = nn.Conv2d(width, channels, 3, padding=1)
        initialise_residual(self)
        scaled_uniform(self.image, gain=1)

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, Z) and (B, K) to (B, C, H, W)."""
        x = self.linear(torch.cat((z, given), 1) if given is not None and self.joins else z)
        return tanh(self.image(relu(self.norm(self.blocks(x, given), given))))


class Discriminator(nn.Module):
    """x -> blocks that halve down to at most 8 pixels a side, at least one -> two plain blocks -> mean -> linear.

    ``pool=sum`` and ``bias=false`` make it that of spectral normalisation (Miyato et al. 2018, arXiv 1802.05957,
    appendix B.4 and released code).

    Args:
        spec: of the data, images.
        width: channels of all layers.
        norm: ``layer`` or None; ``batch`` has no place under a penalty on single examples.
        pool: ``mean`` or ``sum`` of the last maps.
        bias: whether the last layer has one.
        attention: as the generator's.
        outputs: number of values.
        given: number K of conditions, projected on the features (see ``layers.Head``).
        minibatch: similarities to the rest of the batch among the features (see ``layers.Head``).
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        width: int = 128,
        norm: str | None = None,
        pool: str = "mean",
        bias: bool = True,
        attention: int | None = None,
        outputs: int = 1,
        given: int = 0,
        minibatch: int = 0,
    ):
        super().__init__()
        if pool not in ("mean", "sum"):
            raise ConfigError("model.discriminator.pool", pool, "there are mean, sum", "mean")
        self.pool = pool
        possible = halvings(spec, "resnet")
        channels, *sides = spec.shape
        count = next((n for n in range(1, possible) if max(sides) >> n <= 8), possible)
        self.blocks = nn.Sequential()
        for step in range(1, count + 3):
            first, down = step == 1, "down" if step <= count else None
            self.blocks.append(Block(channels if first else width, width, norm, down, first))
            if down and sides[0] >> step == attention:
                self.blocks.append(SelfAttention(width))
        attended(self, attention)
        self.head = Head(width, outputs, given, minibatch, bias)
        initialise_residual(self)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer is given, (B, width): the mean, or sum, of each of the last maps."""
        maps = relu(self.blocks(x))
        return maps.mean((2, 3)) if self.pool == "mean" else maps.sum((2, 3))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, C, H, W) and (B, K) to (B,), or (B, outputs)."""
        return self.head(self.features(x), given)

    def hidden(self, x: Tensor) -> Tensor:
        """What its blocks hand on, each map behind a ReLU and max-pooled to 4x4: (B, C, H, W) to (B, D)."""
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(relu(x))
        return side_by_side(maps)


def initialise_residual(net: nn.Module) -> None:
    """The released script's scales: Glorot's for linear layers and shortcuts, the one before a ReLU elsewhere."""
    initialise(net, std=None)
    for block in net.modules():
        if isinstance(block, Block) and isinstance(block.shortcut, nn.Conv2d):
            scaled_uniform(block.shortcut, gain=1)
