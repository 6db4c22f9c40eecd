"""Encoder and decoder between images and a smaller grid of vectors."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn.functional import relu

from genlab.spec import Spec


class GridEncoder(nn.Module):
    """Four-by-four convolutions of stride 2, residual blocks, and a 1 x 1 convolution to the maps of the grid.

    Args:
        spec: of the data, images.
        maps: D of a position of the grid.
        width: feature maps; half of them after the first of several stages.
        stages: how often the image is halved; fewer where a side would be left without a pixel.
        blocks: residual blocks.
    """

    def __init__(self, spec: Spec, maps: int, width: int = 256, stages: int = 2, blocks: int = 2):
        super().__init__()
        sizes = halved(spec, stages)
        self.grid = sizes[-1]
        channels = [spec.shape[0], *widths(width, len(sizes) - 1)]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
        layers += [nn.Conv2d(channels[-1], width, 3, padding=1), *(Block(width) for _ in range(blocks)), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, maps, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, h, w)."""
        return self.layers(x)


class GridDecoder(nn.Module):
    """The encoder mirrored, with transposed convolutions, to P numbers for each of C x H x W dimensions.

    Args:
        spec: of the data, images.
        maps: D of a position of the grid.
        parameters: numbers P for each dimension.
        width: feature maps; half of them before the last of several stages.
        stages: how often the grid is doubled, as often as the encoder halves.
        blocks: residual blocks.
    """

    def __init__(self, spec: Spec, maps: int, parameters: int, width: int = 256, stages: int = 2, blocks: int = 2):
        super().__init__()
        sizes = halved(spec, stages)
        self.shape = (parameters, spec.shape[0])
        outputs = parameters * spec.shape[0]
        layers: list[nn.Module] = [nn.Conv2d(maps, width, 3, padding=1)]
        layers += [*(Block(width) for _ in range(blocks)), nn.ReLU()]
        channels = [outputs, *widths(width, len(sizes) - 1)]
        for stage in reversed(range(len(sizes) - 1)):
            # halving drops the last row or column of an odd size, which doubling has to add again
            odd = (sizes[stage][0] % 2, sizes[stage][1] % 2)
            layers.append(nn.ConvTranspose2d(channels[stage + 1], channels[stage], 4, 2, 1, odd))
            if stage:
                layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers, *([nn.Conv2d(width, outputs, 1)] if len(sizes) == 1 else []))

    def forward(self, z: Tensor) -> Tensor:
        """(B, D, h, w) to (B, P, C, H, W)."""
        return self.layers(z).unflatten(1, self.shape)


class Block(nn.Module):
    """h + conv 1 x 1 (relu(conv 3 x 3 (relu(h))))."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.last(relu(self.first(relu(h))))


def halved(spec: Spec, stages: int) -> list[tuple[int, int]]:
    """(H, W) and its halves, as many as there are stages or as leave a pixel."""
    sizes = [(spec.shape[1], spec.shape[2])]
    while len(sizes) <= stages and min(sizes[-1]) > 1:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def widths(width: int, stages: int) -> list[int]:
    """Feature maps after each stage: half as many after the first of several; without a stage there are none to speak
    of."""
    return [max(1, width // 2), *[width] * (stages - 1)] if stages > 1 else [width] * stages
