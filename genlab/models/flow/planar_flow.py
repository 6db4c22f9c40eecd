"""Planar flow as a density model."""

from __future__ import annotations

from genlab.bijections.flatten import Flatten
from genlab.bijections.planar import Planar
from genlab.models.flow.assemble import admit, assemble, check_counts
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.spec import Spec


def planar_flow(spec: Spec, layers: int = 32, alpha: float = 0.05) -> Flow | Dequantized:
    """``layers`` planar maps from data to latent. (Rezende and Mohamed 2015, arXiv 1505.05770, section 4.1)

    Densities are closed; samples look for a root in each layer. The paper uses the maps the other way round, as a
    posterior's, and fits densities that are known up to a constant.

    Args:
        spec: of the data; image or vector.
        layers: the paper's K.
        alpha: of the logit of integers.
    """
    admit(spec, "a planar flow")
    check_counts(layers=layers)
    maps = [Planar(spec.dimensions, f"planar map {number + 1}") for number in range(layers)]
    return assemble([Flatten(spec.shape), *maps], spec, alpha=alpha)
