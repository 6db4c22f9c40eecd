"""Roots of increasing functions of one number, many at once: Newton's method that a shrinking bracket keeps safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from genlab.errors import GenlabError


class NotConvergedError(GenlabError):
    """An inverse was not found within its number of iterations."""


class Root(NamedTuple):
    """Where the functions are zero, and after how many iterations the last one was found."""

    at: Tensor
    iterations: int


@torch.no_grad()
def root(
    function: Callable[[Tensor], tuple[Tensor, Tensor]],
    low: Tensor,
    high: Tensor,
    most: int = 100,
    name: str = "root",
) -> Root:
    """The zero of each of B increasing functions between ``low`` and ``high``, (B,).

    Newton's step, but the middle of the bracket where that step would leave it or is no shorter than half of the one
    before. A number that has been found stays as it is, so that it does not depend on how long its neighbours take.

    Args:
        function: values and slopes, (B,) each, at points (B,).
        low: where the values are not positive.
        high: where they are not negative.
        most: iterations.
        name: of the layer, for the error.

    Raises:
        NotConvergedError: it was not enough, or a value is not finite.
    """
    eps = 4 * torch.finfo(low.dtype).eps
    rounding = eps * torch.maximum(low.abs(), high.abs()).clamp(min=1)  # of values, which are of the ends' size
    low, high, moved = low.clone(), high.clone(), high - low
    at, done = (low + high) / 2, torch.zeros_like(low, dtype=torch.bool)
    for iteration in range(1, most + 1):
        value, slope = function(at)
        done = done | (value.abs() <= rounding) | (moved <= eps * at.abs().clamp(min=1))
        if bool(done.all()):
            return Root(at, iteration)
        low, high = torch.where(value <= 0, at, low), torch.where(value >= 0, at, high)
        step = at - value / slope
        good = (step >= low) & (step <= high) & ((step - at).abs() <= moved / 2)
        next = torch.where(done, at, torch.where(good, step, (low + high) / 2))
        moved, at = (next - at).abs(), next
    raise NotConvergedError(f"{name}: {int((~done).sum())} of {len(at)} roots not found in {most} iterations")
