"""Flows in continuous time: cnf and ffjord, which differ in their dynamics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.bijections.chain import Chain
from genlab.bijections.ode import ODE
from genlab.models.flow.assemble import admit, as_vector
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.models.flow.standard_normal import StandardNormal
from genlab.spec import Spec


class ContinuousFlow(Flow):
    """A flow that has solutions of differential equations in it: it can show their paths and count their cost."""

    def solvers(self) -> list[ODE]:
        """From data to latent."""
        return [module for module in self.bijection.modules() if isinstance(module, ODE)]

    def evaluations(self) -> int:
        """How often its dynamics were evaluated in the last pass, all equations together."""
        return sum(solver.evaluations for solver in self.solvers())

    def trajectories(self, z: Tensor, points: int) -> Tensor:
        """Where latents come through on their way to data, (points, B, D), z first."""
        seen = [z[None]]
        for solver in reversed(self.solvers()):
            seen.append(solver.path(seen[-1][-1], points)[1:])
        return torch.cat(seen)


def continuous_flow(
    spec: Spec,
    dynamics: Callable[..., nn.Module],
    equations: int = 1,
    solver: Literal["dopri5", "rk4"] = "dopri5",
    tolerance: float = 1e-5,
    steps: int = 20,
    finer: int = 2,
    trace: Literal["exact", "hutchinson"] = "exact",
    end: float = 1.0,
    learn_end: bool = False,
    alpha: float = 1e-6,
) -> ContinuousFlow | Dequantized:
    """A ``ContinuousFlow`` for continuous data, a ``Dequantized`` one behind a logit for integers.

    Images are flattened: the multi-scale convolutional dynamics with which the FFJORD paper has its image figures are
    not here. Gradients go through the solver's steps; the adjoint method, which needs no memory for them, is not used.

    Args:
        spec: of the data; image or vector.
        dynamics: called with the number of dimensions; a module as ``genlab.bijections.ode.Dynamics`` says.
        equations: one after the other, each with dynamics of its own.
        solver, tolerance, steps, finer, trace, end, learn_end: as of ``genlab.bijections.ode.ODE``.
        alpha: of the logit.
    """
    admit(spec, "a continuous flow")
    made = as_vector(spec, alpha)
    for number in range(equations):
        net = dynamics(spec.dimensions)
        made.append(ODE(net, solver, tolerance, steps, finer, trace, end, learn_end, f"equation {number}"))
    flow = ContinuousFlow(Chain(made), StandardNormal(spec.dimensions), spec)
    return flow if spec.levels is None else Dequantized(flow)
