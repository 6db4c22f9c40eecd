"""Squeeze: trade height and width for channels."""

from torch import Tensor

from genlab.bijections.base import Bijection, no_change


class Squeeze(Bijection):
    """(B, C, H, W) to (B, 4C, H/2, W/2); an exact permutation, log|det| = 0. Both directions are free.

    Output channel (2i + j) C + k is input channel k at row i and column j of each 2 x 2 block: the first half of the
    channels are the even rows, so a mask of channel halves is not redundant with a checkerboard.
    (Dinh et al. 2017, arXiv 1605.08803, section 3.6 and figure 3)
    """

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        B, C, H, W = x.shape
        y = x.reshape(B, C, H // 2, 2, W // 2, 2).permute(0, 3, 5, 1, 2, 4)
        return y.reshape(B, 4 * C, H // 2, W // 2), no_change(x)

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        B, C, H, W = y.shape
        x = y.reshape(B, 2, 2, C // 4, H, W).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(B, C // 4, 2 * H, 2 * W), no_change(y)


def halvings(shape: tuple[int, ...], least: int = 1) -> int:
    """How often an image of this shape, (C, H, W), can be squeezed with ``least`` pixels left along each edge."""
    H, W = shape[1:]
    count = 0
    while H % 2 == W % 2 == 0 and min(H, W) >= 2 * least:
        H, W, count = H // 2, W // 2, count + 1
    return count
