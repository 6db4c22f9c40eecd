"""The convolutional nets of spectral normalisation: Miyato et al. 2018, arXiv 1802.05957, table 3.

For 32x32 the critic is 64, 64/2, 128, 128/2, 256, 256/2, 512 and the generator 4x4x512 -> 256 -> 128 -> 64 -> 3. Other
sizes have as many layers of stride 2 as they halve down to 4 or just above. Spectral normalisation itself is a penalty
(``penalty=spectral_norm``), so that any net can have it and this one can do without.
"""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.models.gan.layers import Conditioned, Head, halvings, initialise, normalise
from genlab.spec import Spec


class Generator(nn.Module):
    """z -> linear, no norm -> transposed convolutions 4x4 of stride 2, batch norm, ReLU -> 3x3, tanh.

    Args:
        spec: of the data, images.
        latent: number of latent dimensions.
        width: channels of the widest-open map.
        norm: ``batch``, ``layer``, ``conditional`` or None; of the transposed convolutions.
        std: of the initial weights; None scales them to the layer (see ``layers.initialise``).
        given: number K of conditions, joined to the latent or, under ``norm=conditional``, in every normalisation.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 64,
        norm: str | None = "batch",
        std: float | None = 0.02,
        given: int = 0,
    ):
        super().__init__()
        count = halvings(spec, "sngan")
        channels, height, breadth = spec.shape
        widths = [width << step for step in reversed(range(count + 1))]
        base = (widths[0], height >> count, breadth >> count)
        self.joins = norm != "conditional"
        inputs = latent + given if self.joins else latent
        layers: list[nn.Module] = [nn.Linear(inputs, base[0] * base[1] * base[2]), nn.Unflatten(1, base)]
        for inputs, outputs in pairwise(widths):
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=norm is None))
            layers += [*normalise(norm, outputs, given=given), nn.ReLU()]
        layers += [nn.Conv2d(width, channels, 3, padding=1), nn.Tanh()]
        self.layers = Conditioned(*layers)
        initialise(self, std)

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, Z) and (B, K) to (B, C, H, W)."""
        return self.layers(torch.cat((z, given), 1) if given is not None and self.joins else z, given)


class Discriminator(nn.Module):
    """x -> pairs of a 3x3 convolution and one of 4x4 and stride 2, twice as wide each -> 3x3 -> linear -> values.

    Args:
        spec: of the data, images.
        width: channels of the first pair.
        norm: ``batch``, ``layer`` or None; of all convolutions but the first.
        slope: of the leaky ReLU below 0.
        std: of the initial weights; None scales them to the layer (see ``layers.initialise``).
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
        slope: float = 0.1,
        std: float | None = 0.02,
        outputs: int = 1,
        given: int = 0,
        minibatch: int = 0,
    ):
        super().__init__()
        count = halvings(spec, "sngan")
        inputs, height, breadth = spec.shape
        plan = [(width << step, side) for step in range(count) for side in (3, 4)] + [(width << count, 3)]
        layers: list[nn.Module] = []
        for number, (maps, kernel) in enumerate(plan):
            used = norm if number else None
            layers.append(nn.Conv2d(inputs, maps, kernel, 2 if kernel == 4 else 1, 1, bias=used is None))
            layers += [*normalise(used, maps), nn.LeakyReLU(slope)]
            inputs = maps
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.head = Head(inputs * (height >> count) * (breadth >> count), outputs, given, minibatch)
        initialise(self, std)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer is given, (B, F): the last maps, flat."""
        return self.layers(x)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, C, H, W) and (B, K) to (B,), or (B, outputs)."""
        return self.head(self.features(x), given)
