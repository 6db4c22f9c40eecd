"""The residual nets of WGAN-GP on CIFAR-10: Gulrajani et al. 2017, arXiv 1704.00028, appendix F and released script.

Both nets have one width throughout. Sizes other than 32x32 change the number of blocks that double or halve, nothing
else. Convolutions of kernel 1 change places with pooling and up-sampling, which they commute with, to save work.
"""

from typing import ClassVar

from torch import Tensor, nn, tanh
from torch.nn.functional import avg_pool2d, interpolate, relu

from genlab.models.gan.layers import halvings, initialise, normalise, scaled_uniform, side_by_side
from genlab.spec import Spec


class Block(nn.Module):
    """x -> norm, ReLU, 3x3, norm, ReLU, 3x3, plus x; with up-sampling before, or mean pooling after, the last 3x3.

    Args:
        inputs: channels of x.
        outputs: channels of the result.
        norm: ``batch``, ``layer`` or None.
        resample: ``up`` (nearest, before the first convolution), ``down`` (mean pooling, after the second) or None.
        first: x is an image: neither normalisation nor ReLU before the first convolution, and none of the former after.
    """

    def __init__(self, inputs: int, outputs: int, norm: str | None, resample: str | None = None, first: bool = False):
        super().__init__()
        self.resample, self.first = resample, first
        norm = None if first else norm
        self.norm1 = nn.Sequential(*normalise(norm, inputs))
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.Sequential(*normalise(norm, outputs))
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if resample or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H', W')."""
        h = x if self.first else relu(self.norm1(x))
        if self.resample == "up":
            h = interpolate(h, scale_factor=2.0)
        h = self.conv2(relu(self.norm2(self.conv1(h))))
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
        norm: ``batch``, ``layer`` or None.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(self, spec: Spec, latent: int, width: int = 128, norm: str | None = "batch"):
        super().__init__()
        count = halvings(spec, "resnet")
        channels, height, breadth = spec.shape
        base = (width, height >> count, breadth >> count)
        self.linear = nn.Sequential(nn.Linear(latent, base[0] * base[1] * base[2]), nn.Unflatten(1, base))
        self.blocks = nn.Sequential(*[Block(width, width, norm, "up") for _ in range(count)])
        self.norm = nn.Sequential(*normalise(norm, width))
        self.image = nn.Conv2d(width, channels, 3, padding=1)
        initialise_residual(self)
        scaled_uniform(self.image, gain=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) to (B, C, H, W)."""
        return tanh(self.image(relu(self.norm(self.blocks(self.linear(z))))))


class Discriminator(nn.Module):
    """x -> blocks that halve down to at most 8 pixels a side, at least one -> two plain blocks -> mean -> linear.

    Args:
        spec: of the data, images.
        width: channels of all layers.
        norm: ``layer`` or None; ``batch`` has no place under a penalty on single examples.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(self, spec: Spec, width: int = 128, norm: str | None = None):
        super().__init__()
        possible = halvings(spec, "resnet")
        channels, *sides = spec.shape
        count = next((n for n in range(1, possible) if max(sides) >> n <= 8), possible)
        self.blocks = nn.Sequential(
            Block(channels, width, norm, "down", first=True),
            *[Block(width, width, norm, "down") for _ in range(count - 1)],
            *[Block(width, width, norm) for _ in range(2)],
        )
        self.linear = nn.Linear(width, 1)
        initialise_residual(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B,)."""
        return self.linear(relu(self.blocks(x)).mean((2, 3))).squeeze(1)

    def features(self, x: Tensor) -> Tensor:
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
