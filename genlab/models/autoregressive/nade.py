"""NADE: an image, or a point, as a sequence of its values, each conditioned on those before by a running sum.

Larochelle and Murray 2011, The Neural Autoregressive Distribution Estimator, AISTATS; as Uria et al. 2016, Neural
Autoregressive Distribution Estimation, arXiv 1605.02226, write it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Draw, Layout
from genlab.models.autoregressive.sequence import length, places, to_maps, to_parts
from genlab.nn.mlp import make_activation
from genlab.spec import Spec


class Nade(nn.Module):
    """theta_t = b_t + V_t s(a_t),   a_1 = c,   a_{t+1} = a_t + W_t x_t.   (Uria et al. 2016, equations 6 to 10)

    The pre-activation a runs along, so that all of an image costs O(S N), in training as in sampling. Deviations: the
    paper's s is a sigmoid; theta is whatever the output distribution wants (the paper's of real values are mixtures,
    and scale a_t by a learned number); conditions, of which it has none, are added to a_1 and to theta.

    Args:
        layout: of images and parameters, S parts.
        width: N hidden units.
        activation: s.
        dropout: probability with which a hidden unit is dropped in training.
    """

    def __init__(self, layout: Layout, width: int = 500, activation: str = "relu", dropout: float = 0.0):
        super().__init__()
        S, T = length(layout), layout.shape[0] // layout.groups
        self.layout = layout
        self.read = nn.Parameter(torch.randn(S, T, width) / math.sqrt(S * T))
        # at zero a ReLU's units would all sit on its corner
        self.start = nn.Parameter(torch.empty(width).uniform_(-0.1, 0.1))
        self.write = nn.Parameter(torch.randn(S, width, layout.parameters) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(S, layout.parameters))
        self.condition = nn.Linear(layout.conditions, width, bias=False) if layout.conditions else None
        self.told = nn.Linear(layout.conditions, S * layout.parameters, bias=False) if layout.conditions else None
        self.activation, self.dropout = make_activation(activation), nn.Dropout(dropout)

    def begin(self, count: int, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """a_1, (B, N), and what of theta depends on no value, (S, B, Q)."""
        a, theta = self.start.expand(count, -1), self.bias[:, None].expand(-1, count, -1)
        if self.condition is not None and self.told is not None:
            a, theta = a + self.condition(c), theta + self.told(c).unflatten(1, self.bias.shape).transpose(0, 1)
        return a, theta

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        a, theta = self.begin(len(x), c)
        parts = to_parts(x, self.layout).transpose(0, 1)  # (S, B, T)
        steps = torch.cat([a[None], torch.bmm(parts[:-1], self.read[:-1])])
        h = self.dropout(self.activation(steps.cumsum(0)))
        return to_maps(torch.baddbmm(theta, h, self.write).transpose(0, 1), self.layout)

    def generate(self, draw: Draw, count: int, c: Tensor | None = None) -> None:
        """A part at a time; a is all that is kept of those before."""
        a, theta = self.begin(count, c)
        for t, (row, column, group) in enumerate(places(self.layout)):
            params = torch.addmm(theta[t], self.activation(a), self.write[t])
            a = torch.addmm(a, draw(params[None], row, column, group)[0], self.read[t])


def nade(
    spec: Spec,
    width: int = 500,
    activation: str = "relu",
    dropout: float = 0.0,
    likelihood: str | Callable[..., Likelihood] | None = None,
    order: str = "raster",
    conditional: bool = False,
) -> AutoRegressive:
    """An ``AutoRegressive`` model by a ``Nade``; see there for the arguments."""
    net = partial(Nade, width=width, activation=activation, dropout=dropout)
    return AutoRegressive(spec, net, likelihood, order, conditional)
