"""What a likelihood objective is. (What the loss of a game is stands beside the games, in ``models/base.py``.)"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn


class Objective(Protocol):
    """A likelihood objective: a scalar to minimise, in nats per example, and named detached parts to be logged.

    One of several importance samples says how many by an attribute ``k``, and validation then takes as many.
    """

    def __call__(
        self, model: nn.Module, batch: Mapping[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]: ...
