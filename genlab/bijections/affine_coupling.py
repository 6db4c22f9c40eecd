"""Affine coupling: some dimensions decide how the others are scaled and shifted."""

from torch import Tensor, nn

from genlab.bijections.base import Bijection
from genlab.bijections.shift_and_scale import ShiftAndScale


class AffineCoupling(Bijection):
    """y = b x + (1 - b) (x exp(s(b x)) + t(b x)),   log|det dy/dx| = sum of (1 - b) s.

    b is a mask, 1 for the dimensions that stay and decide, 0 for those that change. What the net says is masked before
    ``ShiftAndScale`` reads it, so that of dimensions that stay reaches neither y nor the log-determinant. Forward and
    inverse cost one pass of the net each. (Dinh et al. 2017, arXiv 1605.08803, eq. 9; the released code learns a scale
    for the tanh that bounds s.)

    Args:
        net: (b x, c) to t and s one after the other along the first dimension of an example: (B, C, ...) to
            (B, 2C, ...). Its last layer should start at zero, so that the coupling starts as the identity.
        mask: b, of a shape that broadcasts to that of one example.
        limit: bound on abs(s).
    """

    mask: Tensor

    def __init__(self, net: nn.Module, mask: Tensor, limit: float = 2.0):
        super().__init__()
        self.net, self.monotone = net, ShiftAndScale(limit)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.monotone.forward(x, self._params(x, c))

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.monotone.inverse(y, self._params(y, c))

    def _params(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Shifts, then log-scales before their bound, (B, 2, C, ...)."""
        mask = self.mask.to(x.dtype)
        return self.net(x * mask, c).to(x.dtype).unflatten(1, (2, x.shape[1])) * (1 - mask)
