"""Convolutional nets in which every layer halves or doubles the image: DCGAN's, and those of WGAN-GP on CIFAR-10.

Radford et al. 2016, arXiv 1511.06434, figure 1; Gulrajani et al. 2017, arXiv 1704.00028, released script for CIFAR-10.
The number of layers follows from the size: two for 8x8 and 28x28, three for 32x32, four for 64x64. Deviations:
strided layers pad both sides alike (the papers' frameworks pad one pixel more at the far side), and a layer with a
normalisation behind it has no bias, for that would be subtracted again.
"""

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from genlab.models.gan.layers import activation as build_activation
from genlab.models.gan.layers import halvings, handed_on, initialise, normalise
from genlab.spec import Spec


class Generator(nn.Module):
    """z -> linear -> transposed convolutions of stride 2, each half as wide as the one before -> tanh.

    For 64x64 and width 128: 4x4x1024 -> 512 -> 256 -> 128 -> C; for 32x32 it starts with 4x4x512.

    Args:
        spec: of the data, images.
        latent: number of latent dimensions.
        width: channels of the widest-open layer, the one before the image.
        norm: ``batch``, ``layer`` or None; of all layers but the last.
        kernel: side of a kernel; 4 overlaps evenly under stride 2.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``.
        std: of the initial weights; None scales them to the layer (see ``layers.initialise``).
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
    ):
        super().__init__()
        count = halvings(spec, "dcgan")
        channels, height, breadth = spec.shape
        widths = [width << step for step in reversed(range(count))]
        base = (widths[0], height >> count, breadth >> count)
        features = base[0] * base[1] * base[2]
        layers: list[nn.Module] = [
            nn.Linear(latent, features, bias=norm is None),
            *normalise(norm, features, flat=True),
            build_activation(activation),
            nn.Unflatten(1, base),
        ]
        padding, extra = (kernel - 1) // 2, kernel % 2
        for inputs, outputs in pairwise(widths):
            layers.append(nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding, extra, bias=norm is None))
            layers += [*normalise(norm, outputs), build_activation(activation)]
        layers += [nn.ConvTranspose2d(width, channels, kernel, 2, padding, extra), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialise(self, std)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) to (B, C, H, W)."""
        return self.layers(z)


class Discriminator(nn.Module):
    """x -> convolutions of stride 2, each twice as wide as the one before -> linear -> one value.

    For 64x64 and width 128: 128 -> 256 -> 512 -> 1024. The first layer has no normalisation.

    Args:
        spec: of the data, images.
        width: channels of the first layer.
        norm: ``batch``, ``layer`` or None; of all convolutions but the first.
        kernel: side of a kernel.
        activation: as the generator's.
        std: of the initial weights; None scales them to the layer (see ``layers.initialise``).
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
    ):
        super().__init__()
        count = halvings(spec, "dcgan")
        inputs, height, breadth = spec.shape
        layers: list[nn.Module] = []
        for step in range(count):
            used = norm if step else None
            outputs = width << step
            layers.append(nn.Conv2d(inputs, outputs, kernel, 2, (kernel - 1) // 2, bias=used is None))
            layers += [*normalise(used, outputs), build_activation(activation)]
            inputs = outputs
        features = inputs * (height >> count) * (breadth >> count)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 1))
        initialise(self, std)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B,)."""
        return self.layers(x).squeeze(1)

    def features(self, x: Tensor) -> Tensor:
        """What its convolutions see, each map max-pooled to 4x4: (B, C, H, W) to (B, D)."""
        return handed_on(self.layers[:-2], x)
