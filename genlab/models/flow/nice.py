"""NICE: additive couplings and one learned scale."""

from __future__ import annotations

from typing import Literal

from genlab.bijections.base import Bijection
from genlab.bijections.coupling import Coupling, halve
from genlab.bijections.flatten import Flatten
from genlab.bijections.permute import Permute
from genlab.bijections.scale import Scale
from genlab.bijections.shift import Shift
from genlab.models.flow.assemble import admit, assemble, check_counts
from genlab.models.flow.conditioner import MLPConditioner
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.models.flow.standard_logistic import StandardLogistic
from genlab.spec import Spec


def nice(
    spec: Spec,
    layers: int = 4,
    width: int = 1000,
    depth: int = 5,
    dropout: float = 0.0,
    conditional: bool = False,
    dequantization: Literal["uniform", "variational"] = "uniform",
) -> Flow | Dequantized:
    """Additive couplings of the odd and the even dimensions in turn, then a scale of every dimension; a logistic base.

    log|det| is the same everywhere, the sum of the log-scales. Integers are dequantised to [0, 1) without a logit, as
    the paper has it for MNIST. (Dinh, Krueger and Bengio 2015, arXiv 1410.8516, sections 3 and 5.1)

    Deviations: leaky ReLUs; images are flattened, never whitened.

    Args:
        spec: of the data; image or vector.
        layers: couplings, 4 in the paper.
        width: hidden features, 1000 there on MNIST.
        depth: hidden layers, 5 there.
        dropout: of hidden features.
        conditional: on the class.
        dequantization: of integers, ``uniform``, or ``variational``, learned with the flow.
    """
    context, D = admit(spec, "NICE", conditional, least=2), spec.dimensions
    check_counts(layers=layers, width=width, depth=depth)
    steps: list[Bijection] = [Flatten(spec.shape), Permute([*range(0, D, 2), *range(1, D, 2)])]
    for layer in range(layers):
        kept, changed = halve(D, swapped := bool(layer % 2))
        net = MLPConditioner((kept,), width, depth, context, dropout, outputs=changed)
        steps.append(Coupling(net, Shift(), swapped))
    steps.append(Scale((D,)))
    return assemble(steps, spec, conditional, base=StandardLogistic(D), dequantization=dequantization)
