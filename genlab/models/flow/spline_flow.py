"""Neural spline flow: couplings by monotone rational-quadratic splines."""

from __future__ import annotations

from typing import Literal

from genlab.bijections.actnorm import ActNorm
from genlab.bijections.base import Bijection
from genlab.bijections.coupling import Coupling, halve
from genlab.bijections.flatten import Flatten
from genlab.bijections.invertible_linear import InvertibleLinear
from genlab.bijections.permute import Permute
from genlab.bijections.rational_quadratic import RationalQuadratic
from genlab.models.flow.assemble import admit, assemble, check_counts
from genlab.models.flow.conditioner import MLPConditioner
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.models.flow.masks import parity
from genlab.spec import Spec


def spline_flow(
    spec: Spec,
    layers: int = 8,
    bins: int = 8,
    bound: float = 4.0,
    width: int = 128,
    depth: int = 2,
    dropout: float = 0.0,
    linear: bool = False,
    alpha: float = 0.05,
    conditional: bool = False,
    dequantization: Literal["uniform", "variational"] = "uniform",
) -> Flow | Dequantized:
    """Spline couplings of two halves in turn, of images the colours of a checkerboard. Durkan et al. 2019, 1906.04032.

    An actnorm first, so that the data lie where the splines bend.

    Deviations: perceptrons for residual nets; without ``linear`` the halves take turns and nothing mixes them.

    Args:
        spec: of the data; image (flattened) or vector.
        layers: couplings, 10 in the paper's tables.
        bins: of each spline, 8 there.
        bound: the splines' end, 3 there; the identity outside.
        width: hidden features of a conditioner.
        depth: its hidden layers.
        dropout: inside the conditioners.
        linear: whether a learned linear map (PLU) stands before each coupling, as there.
        alpha: of the logit of integers.
        conditional: on the class.
        dequantization: of integers, ``uniform``, or ``variational``, learned with the flow.
    """
    context, D = admit(spec, "a spline flow", conditional, least=2), spec.dimensions
    check_counts(layers=layers, bins=bins, width=width, depth=depth)
    colours = parity(spec.shape, 0).expand(spec.shape).flatten()
    steps: list[Bijection] = [Flatten(spec.shape), Permute(colours.argsort(descending=True, stable=True).tolist())]
    steps.append(ActNorm(D))
    for layer in range(layers):
        if linear:
            steps.append(InvertibleLinear(D, f"linear map {layer + 1}"))
        kept, changed = halve(D, swapped := bool(layer % 2))
        spline = RationalQuadratic(bins, bound)
        net = MLPConditioner((kept,), width, depth, context, dropout, outputs=spline.parameters * changed)
        steps.append(Coupling(net, spline, swapped))
    return assemble(steps, spec, conditional, alpha, dequantization=dequantization)
