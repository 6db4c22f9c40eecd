"""Exponential moving average of parameters."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class Average:
    """a <- d a + (1 - d) w after every step, d = min(decay, (1 + t) / (10 + t)).

    The ramp lets the average forget the first, random weights (as in TensorFlow's ExponentialMovingAverage with
    ``num_updates``). Buffers are not averaged: the statistics of a batch norm are an average already.

    Args:
        parameters: by name; the average keeps a float32 copy of each.
        decay: between 0 and 1.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float):
        self.decay = decay
        self.names = list(parameters)
        self.parameters: list[Tensor] = list(parameters.values())
        self.values: list[Tensor] = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step ``step`` (from 1)."""
        torch._foreach_lerp_(self.values, self.parameters, 1 - min(self.decay, (1 + step) / (10 + step)))

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the model computes with the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for index, parameter in enumerate(self.parameters):
            parameter.data, self.values[index] = self.values[index], parameter.data

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged parameters by name."""
        return dict(zip(self.names, self.values, strict=True))

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of ``state_dict``."""
        self.values = [state[name].to(value) for name, value in zip(self.names, self.values, strict=True)]
