"""Masked auto-regressive bijection: every dimension is mapped as those before it say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genlab.bijections.base import Bijection, no_change
from genlab.bijections.monotone import Monotone
from genlab.nn.made import MADE
from genlab.nn.made_steps import MADESteps


class MaskedAutoregressive(Bijection):
    """y_i = m(x_i; net(x_<i, c)),   log|det dy/dx| = the sum of those of m: the Jacobian is triangular.

    Forward is **one** pass of a MADE. The inverse is sequential, x_i needing x_<i: D steps, which without gradients
    compute every hidden unit once (``MADESteps``), so that together they cost one pass, and with gradients take a whole
    pass each. Forward from data to latent this is MAF; under ``Inverse`` it is IAF, one pass to sample.
    (Papamakarios et al. 2017, arXiv 1705.07057, eq. 2 to 6; Kingma et al. 2016, arXiv 1606.04934, eq. 9 to 14)

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
        return self._inverse_by_passes(y, c) if torch.is_grad_enabled() else self._inverse_by_steps(y, c)

    def _inverse_by_passes(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        x, log_det = torch.zeros_like(y), no_change(y)
        columns = list(y.unbind(1))
        for i in self.order:
            params = self.net(x, c).to(y.dtype)[:, :, i : i + 1]
            value, part = self.monotone.inverse(y[:, i : i + 1], params)
            columns[i] = value.squeeze(1)
            x = x.index_copy(1, torch.tensor([i], device=y.device), value)
            log_det = log_det + part
        return torch.stack(columns, 1), log_det

    def _inverse_by_steps(self, y: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        steps, log_det = MADESteps(self.net, self.order, len(y), c), no_change(y)
        x = torch.empty_like(y)
        for i in self.order:
            params = steps.parameters()[:, :, None].to(y.dtype)
            value, part = self.monotone.inverse(y[:, i : i + 1], params)
            steps.advance(value)
            x[:, i : i + 1] = value
            log_det += part
        return x, log_det
