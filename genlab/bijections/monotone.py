"""What a monotone map is: an increasing function of each number by itself, whose parameters somebody else gives.

Couplings and auto-regressive bijections differ in who decides about whom, monotone maps in what is decided; any one
goes with any other. ``S`` stands for any shape of an example, or a part of one.
"""

from typing import Protocol

from torch import Tensor


class Monotone(Protocol):
    """An increasing map of every number of x, (B, *S), by parameters (B, P, *S).

    Attributes:
        parameters: P, how many it takes for each number. All of them zero are the identity.
    """

    parameters: int

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """(y, log|det dy/dx|): (B, *S) and, summed over S, (B,)."""
        ...

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """(x, log|det dx/dy|)."""
        ...
