"""Radial flow as a density model."""

from __future__ import annotations

from genlab.bijections.flatten import Flatten
from genlab.bijections.radial import Radial
from genlab.models.flow.assemble import admit, assemble, check_counts
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.spec import Spec


def radial_flow(spec: Spec, layers: int = 32, alpha: float = 0.05) -> Flow | Dequantized:
    """``layers`` radial maps from data to latent, closed in both directions. (Rezende and Mohamed 2015, 1505.05770)

    Args:
        spec: of the data; image or vector.
        layers: the paper's K.
        alpha: of the logit of integers.
    """
    admit(spec, "a radial flow")
    check_counts(layers=layers)
    return assemble([Flatten(spec.shape), *(Radial(spec.dimensions) for _ in range(layers))], spec, alpha=alpha)
