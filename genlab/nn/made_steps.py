"""MADE, one dimension after the other: every hidden unit is computed once, when all that it sees is there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.nn.made import MADE


class MADESteps:
    """D steps that together have the work of one pass of a ``MADE``, for sampling: no gradients.

    At step i, ``parameters()`` are those of dimension ``order[i]``, given the values handed to ``advance`` before.
    Units are sorted by the step at which the last of what they see is there, so what a step computes, and what that
    sees, are slices.

    Args:
        net: without direct connections from inputs to outputs.
        order: that of the net.
        batch: number B of examples.
        c: context, (B, K) or None.
    """

    @torch.no_grad()
    def __init__(self, net: MADE, order: Sequence[int], batch: int, c: Tensor | None = None):
        if net.direct is not None:
            raise ValueError("direct connections are not cached")
        self.net, self.D, self.step = net, len(order), 0
        weight = net.output.weight
        before = torch.as_tensor(list(order), device=weight.device)
        ready = torch.empty_like(before)
        ready[before] = torch.arange(1, self.D + 1, device=weight.device)
        self.weights: list[Tensor] = []
        self.biases: list[Tensor | None] = []
        self.ends: list[list[int]] = []  # by layer and step, how many units are there
        shift = None if net.context is None or c is None else net.context(c.to(weight.dtype))
        for number, layer in enumerate(net.hidden):
            ready = (layer.mask * ready).amax(1).long()  # type: ignore[operator]
            sorted_units = ready.argsort(stable=True)
            self.weights.append((layer.mask * layer.weight)[sorted_units][:, before])  # type: ignore[operator]
            bias = layer.bias[sorted_units]  # type: ignore[index]
            self.biases.append(bias if number or shift is None else bias + shift[:, sorted_units])
            before = sorted_units
            self.ends.append(torch.bincount(ready, minlength=self.D + 1).cumsum(0).tolist())
        given = torch.as_tensor(list(order), device=weight.device)
        self.weights.append((net.output.mask * weight).unflatten(0, (-1, self.D))[:, given][:, :, before])
        bias = net.output.bias.unflatten(0, (-1, self.D))[:, given]
        if not net.hidden and shift is not None:
            bias = bias + shift.unflatten(1, (-1, self.D))[:, :, given]
        if net.told is not None and c is not None:
            bias = bias + net.told(c.to(weight.dtype)).unflatten(1, (-1, self.D))[:, :, given]
        self.bias = bias.expand(batch, *bias.shape[-2:])
        sizes = [self.D, *(len(layer.mask) for layer in net.hidden)]  # type: ignore[arg-type]
        self.values = [weight.new_zeros(batch, size) for size in sizes]
        self._compute()

    @torch.no_grad()
    def parameters(self) -> Tensor:
        """(B, P) of the dimension that the next step draws."""
        seen = self.ends[-1][self.step] if self.ends else self.step
        return self.bias[:, :, self.step] + self.values[-1][:, :seen] @ self.weights[-1][:, self.step, :seen].T

    @torch.no_grad()
    def advance(self, value: Tensor) -> None:
        """Go on, with the value (B, 1) of that dimension."""
        self.values[0][:, self.step] = value.squeeze(1)
        self.step += 1
        if self.step < self.D:
            self._compute()

    def _compute(self) -> None:
        """The units that see the values up to here, layer by layer."""
        for number, ends in enumerate(self.ends):
            start, end = ends[self.step - 1] if self.step else 0, ends[self.step]
            if start == end:
                continue
            seen = self.ends[number - 1][self.step] if number else self.step
            bias = self.biases[number]
            part = F.linear(self.values[number][:, :seen], self.weights[number][start:end, :seen])
            self.values[number + 1][:, start:end] = self.net.activation(part + bias[..., start:end])  # type: ignore[index]
