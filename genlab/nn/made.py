"""MADE: a perceptron whose outputs for a dimension see only the dimensions before it, by masks on its weights.

Germain et al. 2015, MADE: Masked Autoencoder for Distribution Estimation, arXiv 1502.03509, equations 8 to 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from genlab.nn.masked_linear import MaskedLinear
from genlab.nn.mlp import make_activation


class MADE(nn.Module):
    """(B, D), and a context (B, K), to P numbers for each dimension, (B, P, D): those of dimension d are a function of
    the context and of the dimensions before d.

    Dimension ``order[i]`` has degree i + 1; a hidden unit of degree m sees inputs and units of degree at most m, an
    output of degree d units of a smaller one, and inputs of a smaller one directly. Degrees of a hidden layer go
    through 1 ... D - 1 in turn (the paper draws them). In one dimension there is nothing before: what comes out is a
    function of the context alone.

    Args:
        dimensions: D.
        parameters: P.
        widths: units of each hidden layer.
        context: K, 0 for none.
        order: the dimensions in their order; None for 0 ... D - 1.
        activation: of the hidden layers.
        direct: whether inputs reach outputs past the hidden layers too.
        together: T, how many numbers each dimension is made of, as the channels of a pixel: what is read is (B, D T).

    Attributes:
        degrees: of the dimensions, and of the units of each hidden layer.
    """

    def __init__(
        self,
        dimensions: int,
        parameters: int,
        widths: Sequence[int],
        context: int = 0,
        order: Sequence[int] | None = None,
        activation: str = "relu",
        direct: bool = False,
        together: int = 1,
    ):
        super().__init__()
        D = dimensions
        given = torch.empty(D, dtype=torch.long)
        given[torch.as_tensor(range(D) if order is None else order)] = torch.arange(1, D + 1)
        self.parameters_per_dimension, self.together = parameters, together
        self.degrees = [given, *(torch.arange(width) % max(1, D - 1) + 1 for width in widths)]
        read = given.repeat_interleave(together)
        seen = [read, *self.degrees[1:]]
        self.hidden = nn.ModuleList(MaskedLinear(after[:, None] >= before[None, :]) for before, after in pairwise(seen))
        last = given.repeat(parameters)[:, None]
        self.output = MaskedLinear(last > seen[-1][None, :])
        self.direct = MaskedLinear(last > read[None, :], bias=False) if direct else None
        self.context = nn.Linear(context, widths[0] if widths else D * parameters, bias=False) if context else None
        # what the context says to the first dimension, which sees no hidden unit
        self.told = nn.Linear(context, D * parameters, bias=False) if context and widths else None
        self.activation = make_activation(activation)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h, shift = x, None if self.context is None or c is None else self.context(c.to(x.dtype))
        for layer in self.hidden:
            h = layer(h)
            h = self.activation(h if shift is None else h + shift)
            shift = None
        y = self.output(h)
        if shift is not None:
            y = y + shift
        if self.told is not None and c is not None:
            y = y + self.told(c.to(x.dtype))
        if self.direct is not None:
            y = y + self.direct(x)
        return y.unflatten(-1, (self.parameters_per_dimension, -1))
