"""Nets that contract: restrained layers, and between them activations that stretch by one at most.

Behrmann et al. 2019, arXiv 1811.00995, section 2; Chen et al. 2019, arXiv 1906.02735, section 3.3 and appendix.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from genlab.nn.lipschitz import RestrainedConv2d, RestrainedLinear
from genlab.nn.lipswish import ConcatenatedLipSwish, LipSwish
from genlab.nn.mlp import ACTIVATIONS, make_activation

CONTRACTING = {"clipswish": ConcatenatedLipSwish, "lipswish": LipSwish} | {
    name: ACTIVATIONS[name] for name in ("elu", "softplus", "tanh")
}
"""Activations of Lipschitz constant 1 at most."""


def copies_of(name: str) -> int:
    """How many features an activation makes of one."""
    return 2 if name == "clipswish" else 1


class RestrainedMLP(nn.Sequential):
    """(B, ...) flattened through restrained linear layers and back to its shape; Lipschitz constant c^layers at most.

    Args:
        sizes: number of features in, of each hidden layer, and out, as many as in.
        activation: one of ``CONTRACTING``.
        bound: c of each layer.
        first: whether an activation comes first, as in all blocks of a flow but the first.
    """

    def __init__(self, sizes: Sequence[int], activation: str = "lipswish", bound: float = 0.9, first: bool = False):
        layers: list[nn.Module] = [make_activation(activation, CONTRACTING)] if first else []
        for inputs, outputs in pairwise(sizes):
            seen = inputs * copies_of(activation) if layers else inputs
            layers += [RestrainedLinear(seen, outputs, bound), make_activation(activation, CONTRACTING)]
        super().__init__(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)).view_as(x)


class RestrainedConvNet(nn.Sequential):
    """3 x 3, 1 x 1 and 3 x 3 restrained convolutions with activations between: (B, C, H, W) to the same.

    Lipschitz constant c^3 at most. (Chen et al. 2019, arXiv 1906.02735, appendix)

    Args:
        shape: (C, H, W) of one image.
        maps: feature maps between.
        activation: one of ``CONTRACTING``.
        bound: c of each layer.
        first: whether an activation comes first.
    """

    def __init__(
        self, shape: Sequence[int], maps: int, activation: str = "lipswish", bound: float = 0.98, first: bool = False
    ):
        C, *size = shape
        layers: list[nn.Module] = [make_activation(activation, CONTRACTING)] if first else []
        for inputs, outputs, kernel in ((C, maps, 3), (maps, maps, 1), (maps, C, 3)):
            seen = inputs * copies_of(activation) if layers else inputs
            layers += [RestrainedConv2d(seen, outputs, kernel, size, bound), make_activation(activation, CONTRACTING)]
        super().__init__(*layers[:-1])
