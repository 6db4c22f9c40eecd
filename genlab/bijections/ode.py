"""Continuous flows: the solution of a differential equation, and the divergence along it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from genlab.bijections.base import EXACT, Bijection
from genlab.bijections.runge_kutta import State, rk4
from genlab.errors import ConfigError, NumericalError, nearest

SOLVERS = ("dopri5", "rk4")


class Dynamics(Protocol):
    """What moves a point: a module with this call, and ``always_exact`` where its divergence never needs ``e``."""

    def __call__(self, t: Tensor, x: Tensor, e: Tensor | None) -> tuple[Tensor, Tensor]:
        """f(x, t), (B, D), and its divergence in x, (B,): itself, or e^T (df/dx) e for e, (B, D)."""
        ...


class ODE(Bijection):
    """y = x(1),  x(0) = x,  dx/ds = T f(x, T s);   log|det dy/dx| = integral over s of T tr(df/dx).

    (Chen et al. 2018, arXiv 1806.07366, theorem 1; Grathwohl et al. 2019, arXiv 1810.01367, eq. 4 and 7)

    The trace is exact or, in training with ``trace=hutchinson`` and in evaluation beyond 64 dimensions, e^T (df/dx) e
    with one e of random signs for the whole solution, so that what is integrated is smooth.

    Forward takes ``solver``: the adaptive Dormand-Prince pair by torchdiffeq, whose steps follow the whole batch, to
    ``tolerance`` (its square in float64), or ``steps`` Runge-Kutta steps of fixed size. Gradients go through the steps.
    In evaluation, tolerance is divided by ``finer`` squared, and steps are multiplied by it (in float64, eight times
    it).

    The inverse depends on each example alone: fixed steps as of ``rk4``; with ``dopri5`` as many as it takes,
    8, 16, ..., until an example moves by less than ten times ``tolerance`` from one number to the next, of which a
    sixteenth is left. ``evaluations`` counts calls of f in the last solution.

    Args:
        dynamics: f.
        solver: ``dopri5`` or ``rk4``.
        tolerance: absolute and relative, of an adaptive solver.
        steps: of a fixed-step solver.
        finer: what evaluation spends more.
        trace: ``exact`` or ``hutchinson``, in training.
        end: T.
        learn_end: whether T is learned.
        name: how errors call it.
    """

    def __init__(
        self,
        dynamics: nn.Module,
        solver: Literal["dopri5", "rk4"] = "dopri5",
        tolerance: float = 1e-5,
        steps: int = 20,
        finer: int = 2,
        trace: Literal["exact", "hutchinson"] = "exact",
        end: float = 1.0,
        learn_end: bool = False,
        name: str = "ode",
    ):
        super().__init__()
        if solver not in SOLVERS:
            raise ConfigError("model.solver", solver, f"there are {', '.join(SOLVERS)}", nearest(solver, SOLVERS))
        if trace not in ("exact", "hutchinson"):
            raise ConfigError("model.trace", trace, "there are exact, hutchinson")
        self.dynamics, self.solver, self.tolerance, self.steps = dynamics, solver, tolerance, steps
        self.finer, self.trace, self.name = finer, trace, name
        log_end = torch.tensor(end).log()
        self.log_end = nn.Parameter(log_end) if learn_end else log_end.item()
        self.evaluations = 0

    def is_exact(self, dimensions: int) -> bool:
        """Whether evaluation computes the divergence of examples of so many dimensions itself."""
        return getattr(self.dynamics, "always_exact", False) or dimensions <= EXACT

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rate, state, self.evaluations = self.rate(x), (x, x.new_zeros(len(x))), 0
        if self.solver == "rk4":
            y, log_det = rk4(rate, state, 0.0, 1.0, self.fixed_steps(x))
        else:
            y, log_det = self.adaptive(rate, state)
        return y, log_det

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rate, state, self.evaluations = self.rate(y), (y, y.new_zeros(len(y))), 0
        if self.solver == "rk4":
            x, log_det = rk4(rate, state, 1.0, 0.0, self.fixed_steps(y))
            return x, log_det
        tolerance = self.precision(y)
        x, log_det = rk4(rate, state, 1.0, 0.0, 8)
        moving = torch.ones(len(y), dtype=torch.bool, device=y.device)
        for steps in (2**k for k in range(4, 12)):
            after, log_det_after = rk4(rate, state, 1.0, 0.0, steps)
            off = (after - x).abs().amax(1) / after.abs().amax(1).clamp(min=1)
            x = torch.where(moving[:, None], after, x)  # who has arrived stays, whatever its neighbours do
            log_det = torch.where(moving, log_det_after, log_det)
            moving = moving & ~(off < 10 * tolerance)
            if not bool(moving.any()):
                return x, log_det
        raise NumericalError(
            f"{self.name}: its inverse has not settled, from {steps // 2} to {steps} steps x still moves by "
            f"{float(off.max()):.2g}; model.solver=rk4 with a fixed number of steps always ends"
        )

    def fixed_steps(self, x: Tensor) -> int:
        """How many, in this mode and for numbers of x's kind."""
        steps = self.steps if self.training else self.steps * self.finer
        return 8 * steps if x.dtype == torch.float64 and not self.training else steps

    def precision(self, x: Tensor) -> float:
        """Tolerance in this mode and for numbers of x's kind."""
        tolerance = self.tolerance if self.training else self.tolerance / self.finer**2
        return tolerance**2 if x.dtype == torch.float64 else tolerance

    def rate(self, x: Tensor) -> Callable[[Tensor, State], State]:
        """(s, (x, log_det)) to their derivatives; the noise of the trace is drawn here, once."""
        exact = self.trace == "exact" if self.training else self.is_exact(x.shape[1])
        e = None if exact else torch.randint_like(x, 2) * 2 - 1
        end = self.log_end.exp() if isinstance(self.log_end, Tensor) else x.new_tensor(self.log_end).exp()

        def rate(s: Tensor, state: State) -> State:
            self.evaluations += 1
            with torch.autocast(x.device.type, enabled=False):  # errors of 16 bits would add up over all steps
                velocity, divergence = self.dynamics(end * s, state[0], e)
            return end * velocity, end * divergence

        return rate

    def adaptive(self, rate: Callable[[Tensor, State], State], state: State) -> State:
        """From 0 to 1 by the Dormand-Prince pair.

        Raises:
            NumericalError: no step is small enough, or the solution is not finite.
        """
        from torchdiffeq import odeint

        tolerance, times = self.precision(state[0]), state[0].new_tensor([0.0, 1.0])
        last = times[0]

        def watched(s: Tensor, state: State) -> State:
            nonlocal last
            last = s
            return rate(s, state)

        try:
            y, log_det = odeint(watched, state, times, rtol=tolerance, atol=tolerance, method="dopri5")
        except AssertionError as error:  # that is how torchdiffeq says it
            why = "its steps underflow" if "underflow" in str(error) else "its solution is not finite"
            raise NumericalError(
                f"{self.name}: {why} at {float(last):.3g} of the way, after {self.evaluations} evaluations; "
                "model.solver=rk4 takes fixed steps, a larger model.tolerance larger ones"
            ) from None
        return y[-1], log_det[-1]

    @torch.no_grad()
    def path(self, y: Tensor, points: int) -> Tensor:
        """Where each point comes through on its way back from y, (points, B, D), y first."""
        rate, seen = self.rate(y), [y]
        state: State = (y, y.new_zeros(len(y)))
        for k in range(points - 1, 0, -1):
            state = rk4(rate, state, k / (points - 1), (k - 1) / (points - 1), 8)
            seen.append(state[0])
        return torch.stack(seen)
