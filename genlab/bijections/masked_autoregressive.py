"""Masked auto-regressive bijection: every dimension is mapped as those before it say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genlab.bijections.base import Bijection, no_change
from genlab.bijections.monotone import Monotone
from genlab.nn.made import MADE
from genlab.nn.made_steps import Steps

FEW = 4
"""Dimensions up to which passes of the whole net are sooner done than so many steps through its units."""


class MaskedAutoregressive(Bijection):
    """y_i = m(x_i; net(x_<i, c)),   log|det dy/dx| = the sum of those of m: the Jacobian is triangular.

    Forward is **one** pass of a MADE. The inverse is sequential, x_i needing x_<i: D steps, which without gradients
    compute every hidden unit once (``Steps``), so that together they cost one pass; with gradients, or of few
    dimensions, each takes a whole pass. Forward from data to latent this is MAF; under ``Inverse`` it is IAF, one pass
    to sample. (Papamakarios et al. 2017, arXiv 1705.07057, eq. 2 to 6; Kingma et al. 2016, arXiv 1606.04934, eq. 9 to
    14)

    Args:
        dimensions: D, of a vector.
        monotone: m, ``ShiftAndScale`` in both papers.
        widths: units of each hidden layer of the MADE.
        context: features of c, 0 for none.
        order: the dimensions in their order; None for 0 ... D - 1.
        activation: of the hidden layers.
    """

    def __init__(
        self,
        dimensions: int,
        monotone: Monotone,
        widths: Sequence[int],
        context: int = 0,
        order: Sequence[int] | None = None,
        activation: str = "relu",
    ):
        super().__init__()
        self.monotone = monotone
        self.order = list(range(dimensions) if order is None else order)
        self.net = MADE(dimensions, monotone.parameters, widths, context, self.order, activation)
        for parameter in self.net.output.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.monotone.forward(x, self.net(x, c).to(x.dtype))

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() or len(self.order) <= FEW:
            return self._inverse_by_passes(y, c)
        return self._inverse_by_steps(y, c)

    def _inverse_by_passes(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        x, log_det = torch.zeros_like(y), no_change(y)
        for number, i in enumerate(self.order):
            seen = x if number or c is not None else x[:1]  # the first dimension sees none: one row for all
            params = self.net(seen, c).to(y.dtype)[:, :, i : i + 1].expand(len(y), -1, -1)
            value, part = self.monotone.inverse(y[:, i : i + 1], params)
            x = torch.cat([x[:, :i], value, x[:, i + 1 :]], 1)
            log_det = log_det + part
        return x, log_det

    def _inverse_by_steps(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        x, log_det = torch.empty_like(y), no_change(y)
        steps = Steps(self.net, len(y), c)
        for i in self.order:
            params = steps.parameters()[:, :, None].to(y.dtype)
            value, part = self.monotone.inverse(y[:, i : i + 1], params)
            steps.see(value)
            x[:, i : i + 1] = value
            log_det += part
        return x, log_det
