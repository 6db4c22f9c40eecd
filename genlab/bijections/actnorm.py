"""Actnorm: a shift and a scale of each channel that start as the statistics of the first batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from genlab.bijections.base import Bijection

SMALLEST = 1e-6
"""Added to the standard deviation of a channel; a constant one would be divided by zero."""


class ActNorm(Bijection):
    """y = (x + t) exp(s) for each channel,   log|det| = H W sum of s.

    In the first call in training mode t and s are set so that every channel of that batch has mean 0 and variance 1;
    from then on they are ordinary parameters, and an example's result depends on that example alone. That it has
    happened is a buffer: it is saved, so neither a resumed nor a loaded model does it again, and copied by
    ``deepcopy``. Ranks take the statistics of all their batches together, so they start alike. A weight average that
    was taken before forgets what it had at its own pace (``genlab.training.average`` within some ten steps).
    Both directions are element-wise. (Kingma and Dhariwal 2018, Glow, arXiv 1807.03039, section 3.1)

    Args:
        channels: size of the first dimension of an example.
    """

    started: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("started", torch.tensor(False))
        self._known = False  # what the buffer said when it was last looked at: a look makes the device wait
        self.register_load_state_dict_post_hook(forget)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.training and not self._known:
            self._start(x)
        shift, log_scale = self._shaped(x)
        return (x + shift) * log_scale.exp(), self._log_det(x)

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shaped(y)
        return y * (-log_scale).exp() - shift, -self._log_det(y)

    def _shaped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *[1] * (x.dim() - 2))
        return self.shift.view(shape), self.log_scale.view(shape)

    def _log_det(self, x: Tensor) -> Tensor:
        return (math.prod(x.shape[2:]) * self.log_scale.sum()).expand(len(x))

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        if not self.started:
            rows = x.detach().transpose(0, 1).flatten(1).double()
            mean = of_ranks(rows.mean(1))
            variance = of_ranks((rows - mean[:, None]).square().mean(1))
            self.shift.copy_(-mean)
            self.log_scale.copy_(-(variance.sqrt() + SMALLEST).log())
            self.started.fill_(True)
        self._known = True


def of_ranks(value: Tensor) -> Tensor:
    """The mean over the ranks of a distributed training; where there are none, the value."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    torch.distributed.all_reduce(value)
    return value / torch.distributed.get_world_size()


def forget(module: Any, keys: Any) -> None:
    """A loaded buffer may say something else."""
    module._known = False
