"""Affine coupling: some dimensions decide how the others are scaled and shifted."""

from torch import Tensor, nn

from genlab.bijections.base import Bijection


class AffineCoupling(Bijection):
    """y = b x + (1 - b) (x exp(s(b x)) + t(b x)),   log|det dy/dx| = sum of (1 - b) s.

    b is a mask, 1 for the dimensions that stay and decide, 0 for those that change; s and t are masked before anything
    is done with them, so what the net says about dimensions that stay reaches neither y nor the log-determinant.
    Forward and inverse cost one pass of the net each. (Dinh et al. 2017, arXiv 1605.08803, eq. 9)

    s is bounded by ``limit * tanh(s / limit)``; the released code learns a scale for the tanh. An unbounded scale
    overflows off the data.

    Args:
        net: (b x, c) to t and s one after the other along the first dimension of an example: (B, C, ...) to
            (B, 2C, ...). Its last layer should start at zero, so that the coupling starts as the identity.
        mask: b, of a shape that broadcasts to that of one example.
        limit: bound on abs(s).
    """

    mask: Tensor

    def __init__(self, net: nn.Module, mask: Tensor, limit: float = 2.0):
        super().__init__()
        self.net, self.limit = net, limit
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(x, c)
        return x * log_scale.exp() + shift, log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(y, c)
        return (y - shift) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)

    def _shift_and_log_scale(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        mask = self.mask.to(x.dtype)
        shift, log_scale = self.net(x * mask, c).to(x.dtype).chunk(2, dim=1)
        changed = 1 - mask
        return shift * changed, self.limit * (log_scale / self.limit).tanh() * changed
