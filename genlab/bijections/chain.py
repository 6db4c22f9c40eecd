"""Bijections one after the other."""

from collections.abc import Iterable

from torch import Tensor, nn

from genlab.bijections.base import Bijection, no_change


class Chain(Bijection):
    """y = f_n(... f_1(x)); log-determinants add up. The inverse goes backwards.

    Args:
        bijections: f_1, ..., f_n; all are given the same context.
    """

    def __init__(self, bijections: Iterable[Bijection]):
        super().__init__()
        self.bijections = nn.ModuleList(bijections)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = no_change(x)
        for bijection in self.bijections:
            x, part = bijection(x, c)
            log_det = log_det + part
        return x, log_det

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = no_change(y)
        for bijection in reversed(self.bijections):
            y, part = bijection.inverse(y, c)  # type: ignore[operator]  # a ModuleList forgets what it holds
            log_det = log_det + part
        return y, log_det
