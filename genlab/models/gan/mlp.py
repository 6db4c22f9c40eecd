"""Fully connected nets for GANs, for vectors and for small images."""

import math

import torch
from torch import Tensor, nn

from genlab.models.gan.layers import Conditioned, Head, activation, handed_on, normalise
from genlab.spec import Spec


def hidden(
    inputs: int, width: int, depth: int, norm: str | None, name: str, dropout: float = 0.0, given: int = 0
) -> list[nn.Module]:
    """``depth`` layers of ``width`` units: linear, normalisation, activation, dropout."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        act = activation(name)
        features = width * getattr(act, "pieces", 1)
        norms = normalise(norm, features, flat=True, given=given)
        layers += [nn.Linear(inputs, features, bias=norm is None), *norms, act]
        if dropout:
            layers.append(nn.Dropout(dropout))
        inputs = width
    return layers


class Generator(nn.Module):
    """z -> ``depth`` hidden layers -> x, with a tanh at the end for integer data and none for continuous data.

    Weights start as ``torch.nn.Linear`` has them, a deviation from the papers, whose scales differ with the width.

    Args:
        spec: of the data.
        latent: number of latent dimensions.
        width: units of a hidden layer.
        depth: number of hidden layers.
        norm: ``batch``, ``layer``, ``conditional`` or None; of hidden layers.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``, ``maxout`` of five pieces, or ``gated``.
        given: number K of conditions, joined to the latent or, under ``norm=conditional``, in every normalisation.
    """

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 256,
        depth: int = 3,
        norm: str | None = None,
        activation: str = "relu",
        given: int = 0,
    ):
        super().__init__()
        self.shape = spec.shape
        self.joins = norm != "conditional"
        inputs = latent + given if self.joins else latent
        layers = [*hidden(inputs, width, depth, norm, activation, given=given), nn.Linear(width, spec.dimensions)]
        if spec.levels is not None:
            layers.append(nn.Tanh())
        self.layers = Conditioned(*layers)

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, Z) and (B, K) to (B, *spec.shape)."""
        z = torch.cat((z, given), 1) if given is not None and self.joins else z
        return self.layers(z, given).unflatten(1, self.shape)


class Discriminator(nn.Module):
    """x -> ``depth`` hidden layers -> one value, or several; conditions are joined to x. (Mirza and Osindero 2014)

    Args:
        spec: of the data.
        width: units of a hidden layer.
        depth: number of hidden layers.
        norm: ``batch``, ``layer`` or None; of hidden layers.
        activation: as the generator's.
        dropout: probability of dropping a hidden unit.
        input_dropout: probability of dropping a dimension of x.
        outputs: number of values.
        given: number K of conditions.
        minibatch: similarities to the rest of the batch among the features (see ``layers.Head``).
    """

    def __init__(
        self,
        spec: Spec,
        width: int = 256,
        depth: int = 3,
        norm: str | None = None,
        activation: str = "leaky_relu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        outputs: int = 1,
        given: int = 0,
        minibatch: int = 0,
    ):
        super().__init__()
        first = [nn.Dropout(input_dropout)] if input_dropout else []
        layers = hidden(spec.dimensions + given, width, depth, norm, activation, dropout)
        self.layers = nn.Sequential(*first, *layers)
        self.head = Head(width, outputs, minibatch=minibatch)

    def features(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """What the last layer is given, (B, width)."""
        x = x.flatten(1)
        return self.layers(x if given is None else torch.cat((x, given), 1))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, *spec.shape) and (B, K) to (B,), or (B, outputs)."""
        return self.head(self.features(x, given))

    def hidden(self, x: Tensor) -> Tensor:
        """Its hidden units: (B, *spec.shape) to (B, depth * width)."""
        return handed_on(self.layers, x.flatten(1))


class Between(nn.Module):
    """From one level of a hierarchy to another, whatever their shapes: ``depth`` hidden layers, and a linear one.

    Args:
        source: shape of what is given.
        target: shape of what is made.
        width: units of a hidden layer.
        depth: number of hidden layers.
        norm: ``batch``, ``layer`` or None; of hidden layers.
        activation: as the generator's.
    """

    def __init__(
        self,
        source: tuple[int, ...],
        target: tuple[int, ...],
        width: int = 256,
        depth: int = 2,
        norm: str | None = None,
        activation: str = "leaky_relu",
    ):
        super().__init__()
        self.shape = tuple(target)
        layers = hidden(math.prod(source), width, depth, norm, activation)
        self.layers = nn.Sequential(*layers, nn.Linear(width if depth else math.prod(source), math.prod(target)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, *source) to (B, *target)."""
        return self.layers(x.flatten(1)).unflatten(1, self.shape)
