"""The classical Runge-Kutta method."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

State = tuple[Tensor, ...]


def rk4(rate: Callable[[Tensor, State], State], state: State, start: float, end: float, steps: int) -> State:
    """The solution at ``end`` of d state / ds = rate(s, state), by so many steps of one size, of the fourth order."""
    h = (end - start) / steps
    for k in range(steps):
        s = state[0].new_tensor(start + k * h)
        k1 = rate(s, state)
        k2 = rate(s + h / 2, moved(state, k1, h / 2))
        k3 = rate(s + h / 2, moved(state, k2, h / 2))
        k4 = rate(s + h, moved(state, k3, h))
        state = tuple(x + h / 6 * (a + 2 * (b + c) + d) for x, a, b, c, d in zip(state, k1, k2, k3, k4, strict=True))
    return state


def moved(state: State, along: State, by: float) -> State:
    """state + by * along."""
    return tuple(x + by * v for x, v in zip(state, along, strict=True))
