"""What a causal net is: what it is built for, how it is called, and how it is sampled from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor


class Layout(NamedTuple):
    """What a causal net is built for: the first argument of its constructor.

    Args:
        shape: of what it sees, (C, H, W); points are images of one row.
        groups: G, how many parts of a pixel are generated one after the other: its C channels, or 1 where the output
            distribution is that of a whole pixel.
        parameters: Q of the output distribution of a part.
        conditions: K numbers that it is given beside an image, 0 for none.
    """

    shape: tuple[int, int, int]
    groups: int
    parameters: int
    conditions: int = 0


Draw = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""``draw(params, rows, columns, group)``: values of a part of n pixels of B images as the net reads them.

params (n, B, Q), rows and columns (n,); returned (n, B, C / G)."""


class Causal(Protocol):
    """A net whose parameters of a part of a pixel depend on the pixels before it, row by row, and on the parts before
    it within the pixel, and on nothing else, in training as in evaluation.

    A net that goes through the pixels in another order than row by row has a buffer ``sequence``, (H W,): that order.
    """

    def __call__(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Scaled images (B, C, H, W), and conditions (B, K), to parameters (B, G Q, H, W), part by part."""
        ...

    def generate(self, draw: Draw, count: int, c: Tensor | None = None) -> None:
        """Ask ``draw`` once for every part of every pixel of ``count`` images, each when the parts it depends on are
        known, with the parameters that a call on the whole image would give; from cached activations, so that all of
        it costs about one such call."""
        ...
