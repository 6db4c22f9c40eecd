"""The order in which the pixels of an image are generated: any will do, for the chain rule holds in each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError, nearest

ORDERS = ("raster", "reverse", "column", "random")


class Order(nn.Module):
    """Lays an image out so that its pixels, read row by row, come in the order wanted.

    ``raster`` row by row from the top left, ``reverse`` row by row from the bottom right, ``column`` column by column
    from the top left (the net sees the image transposed, so neighbours stay neighbours), ``random`` a permutation of
    all pixels, the same in every run, under which they do not. The channels of a pixel stay together.

    Args:
        name: of the order.
        shape: of an image, (C, H, W).
    """

    pixels: Tensor
    back: Tensor

    def __init__(self, name: str, shape: tuple[int, int, int]):
        super().__init__()
        C, H, W = shape
        raster = torch.arange(H * W)
        if name not in ORDERS:
            raise ConfigError(
                "model.order", name, f"no such order; there are {', '.join(ORDERS)}", nearest(name, ORDERS)
            )
        pixels = {
            "raster": raster,
            "reverse": raster.flip(0),
            "column": raster.view(H, W).t().flatten(),
            "random": torch.randperm(H * W, generator=torch.Generator().manual_seed(0)),
        }[name]
        self.name, self.given = name, shape
        self.shape = (C, W, H) if name == "column" else shape
        # kept in checkpoints, for another version of torch might permute in another way
        self.register_buffer("pixels", pixels, persistent=name == "random")
        self.register_buffer("back", pixels.argsort(), persistent=name == "random")

    def lay(self, x: Tensor) -> Tensor:
        """(..., H, W) as the data have it to what the net sees, (..., H', W')."""
        return x if self.name == "raster" else x.flatten(-2)[..., self.pixels].unflatten(-1, self.shape[1:])

    def restore(self, x: Tensor) -> Tensor:
        """The inverse of ``lay``."""
        return x if self.name == "raster" else x.flatten(-2)[..., self.back].unflatten(-1, self.given[1:])

    def values(self, sequence: Tensor | None = None) -> Tensor:
        """Flat indices into (C, H, W), in the order generated, (C H W,).

        ``sequence``: the order in which a net goes through the pixels as they are laid out, None for row by row.
        """
        C, H, W = self.given
        pixels = self.pixels if sequence is None else self.pixels[sequence]
        return (pixels[:, None] + H * W * torch.arange(C, device=pixels.device)).flatten()
