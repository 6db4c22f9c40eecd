"""Discriminators of things that belong together: an example and its code, or its codes at two levels."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.models.gan.layers import Head, initialise
from genlab.models.gan.layers import activation as build_activation
from genlab.models.gan.mlp import hidden
from genlab.spec import Spec


class Discriminator(nn.Module):
    """x -> features of a net, or x itself; codes -> hidden layers of their own, or none; both -> hidden layers -> d.

    The nets of BiGAN on MNIST and of ALI and VEEGAN on the plane join x and z at once; those of ALI on images let
    features of x meet features of z. Conditions are joined where x and z meet. (Donahue et al. 2017, arXiv 1605.09782;
    Dumoulin et al. 2017, arXiv 1606.00704, appendix; Srivastava et al. 2017, arXiv 1705.07761)

    Weights start as ``torch.nn.Linear`` has them unless ``std`` is given; a net of x starts as it does elsewhere.

    Args:
        spec: of x, packed.
        codes: shapes of the codes, packed.
        image: called with ``(spec)``; a discriminator of x that has ``features`` and, to be taken off, a ``head``;
            None: x itself, flat.
        width: units of a hidden layer of what is joined.
        depth: number of those layers.
        code_width: units of a hidden layer of the codes alone.
        code_depth: number of those layers.
        norm: ``batch``, ``layer`` or None; of hidden layers.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``, ``maxout`` of five pieces or ``maxout2`` of two.
        dropout: probability of dropping a hidden unit.
        input_dropout: probability of dropping a dimension of the codes, and of x where there is no net of x.
        std: of the initial weights.
        given: number K of conditions.
        minibatch: similarities to the rest of the batch among the features (see ``layers.Head``).
        outputs: number of values.
    """

    def __init__(
        self,
        spec: Spec,
        codes: Sequence[tuple[int, ...]],
        image: Callable[..., nn.Module] | None = None,
        width: int = 256,
        depth: int = 2,
        code_width: int = 256,
        code_depth: int = 0,
        norm: str | None = None,
        activation: str = "leaky_relu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        std: float | None = None,
        given: int = 0,
        minibatch: int = 0,
        outputs: int = 1,
    ):
        super().__init__()
        self.count, total = len(codes), sum(math.prod(shape) for shape in codes)
        first = [nn.Dropout(input_dropout)] if input_dropout else []
        self.image: Any = image(spec) if image else None
        features = spec.dimensions if self.image is None else behead(self.image)
        self.flat = nn.Sequential(*first)
        self.code = nn.Sequential(*first, *hidden(total, code_width, code_depth, norm, activation, dropout))
        joined = features + (code_width if code_depth else total) + given
        self.joint = nn.Sequential(*hidden(joined, width, depth, norm, activation, dropout))
        self.head = Head(width if depth else joined, outputs, minibatch=minibatch)
        for own in (self.code, self.joint, self.head) if std is not None else ():
            initialise(own, std)

    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        """(B, *spec.shape), the codes, (B, *shape) each, and conditions, (B, K), where there are any, to (B,), or
        to (B, outputs)."""
        h = self.flat(x.flatten(1)) if self.image is None else self.image.features(x)
        code = self.code(torch.cat([part.flatten(1) for part in rest[: self.count]], 1))
        return self.head(self.joint(torch.cat((h, code, *rest[self.count :]), 1)))


class Levels(nn.Module):
    """x -> a map of z1's size; that beside z1 -> a vector; that beside z2 -> hidden layers -> d.

    Each code meets x where their sizes agree, so that a place of z1 is compared with the part of x that it is of.
    (Belghazi et al. 2018, arXiv 1802.01071, section 3, says that the three streams merge; no nets are released.)

    Args:
        spec: of x, packed.
        codes: shapes of z1, (C, H, W), and z2, (Z,), packed.
        between: called with the shapes ``(source, target)``; a module from one to the other.
        features: channels of the map, and units of the vector.
        width, depth, activation, dropout, minibatch: of the layers at the end, as of ``Discriminator``.
    """

    def __init__(
        self,
        spec: Spec,
        codes: Sequence[tuple[int, ...]],
        between: Callable[..., nn.Module],
        features: int = 64,
        width: int = 256,
        depth: int = 1,
        activation: str = "leaky_relu",
        dropout: float = 0.0,
        minibatch: int = 0,
    ):
        super().__init__()
        (channels, *sides), (latent,) = codes
        act = build_activation(activation)
        self.low = nn.Sequential(between(spec.shape, (features, *sides)), act)
        self.high = nn.Sequential(between((features + channels, *sides), (features,)), act)
        self.joint = nn.Sequential(*hidden(features + latent, width, depth, None, activation, dropout))
        self.head = Head(width if depth else features + latent, minibatch=minibatch)

    def forward(self, x: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        """(B, *spec.shape), (B, C, H, W) and (B, Z) to (B,)."""
        h = self.high(torch.cat((self.low(x), z1), 1))
        return self.head(self.joint(torch.cat((h, z2), 1)))


def behead(net: Any) -> int:
    """Take the last layer off a discriminator, for no gradient would reach it; the number of its features.

    Raises:
        ConfigError: similarities in the batch would be lost with it.
    """
    head = net.head
    if head.minibatch is not None:
        raise ConfigError(
            "model.discriminator.image.minibatch", head.minibatch.kernels, "belongs to both together", "0"
        )
    del net.head
    return head.linear.in_features
