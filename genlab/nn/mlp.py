"""A plain multi-layer perceptron, and the activations a config may name."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from torch import nn

from genlab.errors import ConfigError, nearest

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),  # the slope of DCGAN and of everyone after it; torch's default is 0.01
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def make_activation(name: str, among: Mapping[str, Callable[[], nn.Module]] = ACTIVATIONS) -> nn.Module:
    """A fresh activation of this name.

    Raises:
        ConfigError: there is none among those that will do.
    """
    if name not in among:
        reason = f"no such activation; there are {', '.join(among)}"
        raise ConfigError("activation", name, reason, nearest(name, among))
    return among[name]()


class MLP(nn.Sequential):
    """Linear layers with an activation, then dropout, between each two: (..., sizes[0]) to (..., sizes[-1]).

    Nothing follows the last layer. Weights have torch's default initialisation.

    Args:
        sizes: number of features in, of each hidden layer, and out; at least two numbers.
        activation: one of ``ACTIVATIONS``.
        dropout: probability of dropping a hidden feature.
    """

    def __init__(self, sizes: Sequence[int], activation: str = "relu", dropout: float = 0.0):
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), make_activation(activation)]
            if dropout:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers[: -2 if dropout else -1])
