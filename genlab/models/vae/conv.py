"""Convolutional encoder and decoder, for images: every layer halves or doubles the image.

Four-by-four kernels of stride 2, then one fully connected hidden layer, as in DCGAN (Radford et al. 2016, arXiv
1511.06434) without its batch norm, which would let one example's bound depend on another. The number of stages
follows from the size: one for 8x8, two for 28x28, three for 32x32, four for 64x64.
"""

import math
from typing import ClassVar

from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.models.vae.mlp import keep_variance
from genlab.nn.mlp import make_activation
from genlab.spec import Spec


class Encoder(nn.Module):
    """Stages of channels, 2 channels, 4 channels ... -> width features -> outputs.

    Args:
        spec: of the data, images.
        outputs: numbers for each example.
        width: features of the fully connected hidden layer.
        channels: of the first stage.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``.
        dropout: probability of dropping a feature of the fully connected layer.
        condition: numbers K of a label that its fully connected layer is told, 0 for none.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        outputs: int,
        width: int = 256,
        channels: int = 32,
        activation: str = "silu",
        dropout: float = 0.0,
        condition: int = 0,
    ):
        super().__init__()
        sizes = halvings(spec)
        layers: list[nn.Module] = []
        before = spec.shape[0]
        for stage in range(len(sizes) - 1):
            layers += [nn.Conv2d(before, channels << stage, 4, 2, 1), make_activation(activation)]
            before = channels << stage
        layers += [nn.Flatten(), nn.Linear(before * math.prod(sizes[-1]), width), make_activation(activation)]
        self.layers = keep_variance(nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(width, outputs)))
        self.before = len(layers) - 1  # layers until the one of all features has spoken
        self.told = nn.Linear(condition, width, bias=False) if condition else None

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """(B, C, H, W), and a label (B, K) if it is told any, to (B, outputs)."""
        if self.told is None or c is None:
            return self.layers(x)
        return self.layers[self.before :](self.layers[: self.before](x) + self.told(c.to(x.dtype)))


class Decoder(nn.Module):
    """The encoder mirrored, with transposed convolutions, to P numbers for each of C x H x W dimensions.

    Args:
        spec: of the data, images.
        latent: number Z of latent dimensions.
        parameters: numbers P for each dimension.
        width: features of the fully connected hidden layer.
        channels: before the last stage.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``.
        dropout: probability of dropping a feature of the fully connected layer.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        latent: int,
        parameters: int,
        width: int = 256,
        channels: int = 32,
        activation: str = "silu",
        dropout: float = 0.0,
    ):
        super().__init__()
        sizes = halvings(spec)
        self.shape = (parameters, *spec.shape)
        before = channels << (len(sizes) - 2)
        layers: list[nn.Module] = [nn.Linear(latent, width), make_activation(activation), nn.Dropout(dropout)]
        layers += [nn.Linear(width, before * math.prod(sizes[-1])), make_activation(activation)]
        layers.append(nn.Unflatten(1, (before, *sizes[-1])))
        for stage in reversed(range(len(sizes) - 1)):
            after = channels << (stage - 1) if stage else parameters * spec.shape[0]
            # halving drops the last row or column of an odd size, which doubling has to add again
            odd = (sizes[stage][0] % 2, sizes[stage][1] % 2)
            layers.append(nn.ConvTranspose2d(before, after, 4, 2, 1, odd))
            if stage:
                layers.append(make_activation(activation))
            before = after
        self.layers = keep_variance(nn.Sequential(*layers))

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) to (B, P, C, H, W)."""
        return self.layers(z).unflatten(1, self.shape[:2])


def halvings(spec: Spec) -> list[tuple[int, int]]:
    """(H, W) and its halves, at least one, down to a shorter side of 4 to 7."""
    if spec.kind != "image" or min(spec.shape[1:]) < 2:
        raise ConfigError("model.net", "conv", f"for images; these data are of kind {spec.kind}, {spec.shape}", "mlp")
    height, width = spec.shape[1:]
    sizes = [(height, width), (height // 2, width // 2)]
    while min(sizes[-1]) >= 8:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes
