"""MADE, one dimension after the other: every hidden unit is computed once, when all that it sees is there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from genlab.nn.made import MADE


class Steps:
    """D steps that together have the work of one pass of a ``MADE``, for sampling.

    In turn ``parameters()``, those of the next dimension in the net's order given the values before, and ``see`` with
    the value of that dimension. Units are sorted by the step at which the last of what they see is there, so what a
    step computes, and what that sees, are slices.

    Args:
        net: of D dimensions.
        batch: number B of examples.
        c: their context, (B, K).
    """

    def __init__(self, net: MADE, batch: int, c: Tensor | None = None):
        self.net, self.t = net, 0
        sorts = [degrees.argsort(stable=True) for degrees in net.degrees]
        # units of a layer that have seen the first t dimensions at most, for t = 0 ... D
        self.known = [d.bincount(minlength=len(net.degrees[0]) + 1).cumsum(0).tolist() for d in net.degrees]
        T = net.together
        self.known[0] = [count * T for count in self.known[0]]
        orders = [(sorts[0][:, None] * T + torch.arange(T)).flatten(), *sorts[1:]]
        hidden: list[Any] = list(net.hidden)
        self.layers = [
            (layer.masked_weight()[after][:, before], layer.bias[after])
            for layer, before, after in zip(hidden, orders[:-1], orders[1:], strict=True)
        ]
        self.weight = self._by_step(net.output.masked_weight(), orders[-1])
        self.direct = None if net.direct is None else self._by_step(net.direct.masked_weight(), orders[0])
        said = net.output.bias.expand(batch, -1)
        c = None if c is None else c.to(said.dtype)
        shift = None if net.context is None or c is None else net.context(c)
        if shift is not None and not self.layers:
            said = said + shift
        elif shift is not None:
            shift = shift[:, orders[1]]
        if net.told is not None and c is not None:
            said = said + net.told(c)
        self.shift = shift
        self.said = said.unflatten(1, (net.parameters_per_dimension, -1))[:, :, sorts[0]]  # (B, P, D)
        self.values = [said.new_zeros(batch, len(order)) for order in orders]

    def _by_step(self, weight: Tensor, order: Tensor) -> Tensor:
        """(P D, units) to (P, D, units), dimensions and units in their order."""
        by_dimension = weight.unflatten(0, (self.net.parameters_per_dimension, -1))
        return by_dimension[:, self.net.degrees[0].argsort()][:, :, order]

    def parameters(self) -> Tensor:
        """Those of the next dimension, (B, P)."""
        count = self.known[-1][self.t]
        y = self.said[:, :, self.t] + linear(self.values[-1][:, :count], self.weight[:, self.t, :count])
        if self.direct is not None:
            count = self.known[0][self.t]
            y = y + linear(self.values[0][:, :count], self.direct[:, self.t, :count])
        return y

    def see(self, x: Tensor) -> None:
        """The value of that dimension, (B, T)."""
        before, self.t = self.t, self.t + 1
        self.values[0][:, self.known[0][before] : self.known[0][self.t]] = x
        for i, (weight, bias) in enumerate(self.layers):
            start, stop = self.known[i + 1][before], self.known[i + 1][self.t]
            if start < stop:
                seen = self.known[i][self.t]
                h = linear(self.values[i][:, :seen], weight[start:stop, :seen], bias[start:stop])
                if i == 0 and self.shift is not None:
                    h = h + self.shift[:, start:stop]
                self.values[i + 1][:, start:stop] = self.net.activation(h)
