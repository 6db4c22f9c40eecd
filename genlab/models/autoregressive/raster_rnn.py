"""A recurrent net that reads an image as a line of values, row by row: the plainest of auto-regressive nets.

Teacher forcing is that of Williams and Zipser 1989; the LSTM is Hochreiter and Schmidhuber's of 1997, with the forget
gate of Gers et al. 2000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Layout
from genlab.models.autoregressive.sequence import Sequence
from genlab.spec import Spec


class Recurrence(nn.Module):
    """h_t = f(h_t-1, e_t), of several layers of LSTM or GRU units.

    Forget gates of the LSTM start near one, for what is to be remembered is a row away.

    Args:
        width: units of a layer, and numbers read.
        cell: lstm or gru.
        layers: how many.
        dropout: probability with which a value between layers, and of the last, is dropped in training.
    """

    def __init__(self, width: int, cell: Literal["lstm", "gru"], layers: int, dropout: float):
        super().__init__()
        if cell not in ("lstm", "gru"):
            raise ConfigError("model.cell", cell, "no such cell; there are lstm, gru", "lstm")
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.net = kind(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        if cell == "lstm":
            with torch.no_grad():
                for name, parameter in self.net.named_parameters():
                    if name.startswith("bias_ih"):
                        parameter[width : 2 * width] += 1  # torch's order of gates is input, forget, cell, output

    def forward(self, h: Tensor) -> Tensor:
        return self.dropout(self.net(h)[0])

    def begin(self, h: Tensor, length: int) -> None:
        return None  # zeros, as torch has it

    def step(
        self, h: Tensor, state: tuple[Tensor, Tensor] | Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | Tensor]:
        y, state = self.net(h[:, None], state)
        return y[:, 0], state


def raster_rnn(
    spec: Spec,
    width: int = 256,
    layers: int = 1,
    cell: Literal["lstm", "gru"] = "lstm",
    dropout: float = 0.0,
    likelihood: str | Callable[..., Likelihood] | None = None,
    order: str = "raster",
    conditional: bool = False,
) -> AutoRegressive:
    """An ``AutoRegressive`` model by a ``Sequence`` through a ``Recurrence``; see there for the arguments."""

    def net(layout: Layout) -> nn.Module:
        return Sequence(layout, width, Recurrence(width, cell, layers, dropout))

    return AutoRegressive(spec, net, likelihood, order, conditional)
