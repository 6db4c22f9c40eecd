"""Masked and inverse auto-regressive flows: the same layers, in either direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from genlab.bijections.actnorm import ActNorm
from genlab.bijections.base import Bijection
from genlab.bijections.flatten import Flatten
from genlab.bijections.inverse import Inverse
from genlab.bijections.masked_autoregressive import MaskedAutoregressive
from genlab.bijections.shift_and_scale import ShiftAndScale
from genlab.models.flow.assemble import admit, assemble, check_counts
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.spec import Spec


def maf(
    spec: Spec,
    layers: int = 5,
    widths: Sequence[int] = (512, 512),
    activation: str = "relu",
    limit: float = 2.0,
    alpha: float = 0.05,
    conditional: bool = False,
    dequantization: Literal["uniform", "variational"] = "uniform",
) -> Flow | Dequantized:
    """z_i = x_i exp(s_i(x_<i)) + t_i(x_<i), ``layers`` times in an order and its reverse. Papamakarios et al. 2017.

    A density is one pass a layer; a sample takes D steps a layer (of which together the work is that of one pass).
    (arXiv 1705.07057, section 3; it writes z = (x - mu) exp(-alpha), the same map)

    Deviations: actnorm in place of batch norm between the layers, so training, evaluation and every rank see the same
    density; a bound ``limit`` on the log-scale; degrees of hidden units in turn.

    Args:
        spec: of the data; image (flattened, red before green before blue) or vector.
        layers: MADEs, 5 or 10 in the paper.
        widths: hidden layers of each.
        activation: of the hidden layers.
        limit: bound on the log-scale of one layer.
        alpha: of the logit of integers.
        conditional: on the class.
        dequantization: of integers, ``uniform``, or ``variational``, learned with the flow.
    """
    steps = masked_steps("MAF", spec, layers, widths, activation, limit, conditional)
    return assemble(steps, spec, conditional, alpha, dequantization=dequantization)


def iaf(
    spec: Spec,
    layers: int = 5,
    widths: Sequence[int] = (512, 512),
    activation: str = "relu",
    limit: float = 2.0,
    alpha: float = 0.05,
    conditional: bool = False,
    dequantization: Literal["uniform", "variational"] = "uniform",
) -> Flow | Dequantized:
    """x_i = z_i exp(s_i(z_<i)) + t_i(z_<i): the layers of ``maf`` the other way round. Kingma et al. 2016, 1606.04934.

    A sample is one pass a layer. A density, and so training on data, takes D passes a layer: for few dimensions, or as
    the posterior that the paper made it for. Deviations and arguments are those of ``maf``.
    """
    steps = masked_steps("IAF", spec, layers, widths, activation, limit, conditional, inverse=True)
    return assemble(steps, spec, conditional, alpha, dequantization=dequantization)


def masked_steps(
    name: str,
    spec: Spec,
    layers: int,
    widths: Sequence[int],
    activation: str,
    limit: float,
    conditional: bool,
    inverse: bool = False,
) -> list[Bijection]:
    """A flattening, then ``layers`` times a masked auto-regressive bijection, or its inverse, and actnorm."""
    context, D = admit(spec, name, conditional), spec.dimensions
    check_counts(layers=layers, widths=widths)
    steps: list[Bijection] = [Flatten(spec.shape)]
    for layer in range(layers):
        order = range(D)[:: -1 if layer % 2 else 1]
        masked = MaskedAutoregressive(D, ShiftAndScale(limit), widths, context, order, activation)
        steps += [Inverse(masked) if inverse else masked, ActNorm(D)]
    return steps
