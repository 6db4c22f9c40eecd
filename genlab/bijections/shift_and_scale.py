"""Shift and scale: an affine map, what RealNVP, Glow, MAF and IAF are made of."""

from torch import Tensor


class ShiftAndScale:
    """y = x exp(s) + t,   log|det| = sum of s;   params are t and then what becomes s = limit tanh(. / limit).

    Args:
        limit: bound on abs(s). No paper has one of this form; without any, a scale overflows off the data.
    """

    parameters = 2

    def __init__(self, limit: float = 2.0):
        self.limit = limit

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.unbind(1)
        log_scale = self.limit * (raw / self.limit).tanh()
        return x * log_scale.exp() + shift, log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.unbind(1)
        log_scale = self.limit * (raw / self.limit).tanh()
        return (y - shift) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)
