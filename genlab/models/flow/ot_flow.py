"""OT-Flow: a continuous flow along the gradient of a potential, as straight as optimal transport would have it."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from genlab.bijections.base import Bijection, no_change
from genlab.bijections.chain import Chain
from genlab.bijections.ode import ODE
from genlab.bijections.runge_kutta import State, rk4
from genlab.models.flow.assemble import admit, as_vector
from genlab.models.flow.continuous import ContinuousFlow
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.standard_normal import StandardNormal
from genlab.nn.potential import Potential
from genlab.spec import Spec, dequantize


class OTFlow(ContinuousFlow):
    """dx/dt = -grad Phi(x, t),  t from 0 to 1, from data to latent.  (Onken et al. 2021, arXiv 2006.00104)

    Args:
        before: what data go through before it: a logit, a flattening.
        equation: over a ``Potential``, by fixed steps.
        spec: of the data.
    """

    def __init__(self, before: list[Bijection], equation: ODE, spec: Spec):
        super().__init__(Chain([*before, equation]), StandardNormal(spec.dimensions), spec)

    def costs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each example, (B,): log p(x); transport, the integral of |grad Phi|^2 / 2; and how far Phi is from solving
        the Hamilton-Jacobi-Bellman equation of optimal transport, the integral of |-dPhi/dt + |grad Phi|^2 / 2|.

        All four are integrated together, by the steps of training.
        """
        parts: Any = self.bijection.bijections  # type: ignore[union-attr]
        log_det, equation = no_change(x), parts[-1]
        for part in parts[:-1]:
            x, change = part(x)
            log_det = log_det + change
        zero = no_change(x)

        def rate(t: Tensor, state: State) -> State:
            gradient, laplacian = equation.dynamics.derivatives(t, state[0])
            kinetic = gradient[:, :-1].square().sum(1) / 2
            return -gradient[:, :-1], -laplacian, kinetic, (kinetic - gradient[:, -1]).abs()

        z, change, transport, hjb = rk4(rate, (x, zero, zero, zero), 0.0, 1.0, equation.steps)
        equation.evaluations = 4 * equation.steps
        return self.base.log_prob(z) + log_det + change, transport, hjb


class DequantizedOTFlow(Dequantized):
    """OT-Flow of integers."""

    def costs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As of ``OTFlow``, with a bound on log P(x) in the place of log p(x)."""
        flow: Any = self.flow
        u, log_q = self._draw(x)
        log_prob, transport, hjb = flow.costs(dequantize(x, self.levels, u))
        return log_prob - log_q - self.spec.dimensions * math.log(self.levels), transport, hjb


def ot_flow(
    spec: Spec, width: int = 32, depth: int = 1, rank: int = 10, steps: int = 8, finer: int = 2, alpha: float = 0.05
) -> OTFlow | DequantizedOTFlow:
    """An ``OTFlow`` for continuous data, a ``DequantizedOTFlow`` behind a logit for integers.

    Deviation: the paper models images in the code space of an autoencoder.

    Args:
        spec: of the data; image or vector.
        width: features of the potential's net.
        depth: its residual layers after the first.
        rank: of its quadratic part.
        steps: of the Runge-Kutta method in training.
        finer: how many times as many evaluation and sampling take.
        alpha: of the logit of integers.
    """
    admit(spec, "OT-Flow")
    equation = ODE(Potential(spec.dimensions, width, depth, rank), "rk4", steps=steps, finer=finer, name="OT-Flow")
    flow = OTFlow(as_vector(spec, alpha), equation, spec)
    return flow if spec.levels is None else DequantizedOTFlow(flow)
