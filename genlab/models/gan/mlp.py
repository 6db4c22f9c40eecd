"""Fully connected nets for GANs, for vectors and for small images."""

from torch import Tensor, nn

from genlab.models.gan.layers import Maxout, activation, handed_on, normalise
from genlab.spec import Spec


def hidden(inputs: int, width: int, depth: int, norm: str | None, name: str, dropout: float) -> list[nn.Module]:
    """``depth`` layers of ``width`` units: linear, normalisation, activation, dropout."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        act = activation(name)
        features = width * act.pieces if isinstance(act, Maxout) else width
        layers += [nn.Linear(inputs, features, bias=norm is None), *normalise(norm, features, flat=True), act]
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
        norm: ``batch``, ``layer`` or None; of hidden layers.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``, or ``maxout`` of five pieces.
    """

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 256,
        depth: int = 3,
        norm: str | None = None,
        activation: str = "relu",
    ):
        super().__init__()
        self.shape = spec.shape
        layers = [*hidden(latent, width, depth, norm, activation, 0.0), nn.Linear(width, spec.dimensions)]
        if spec.levels is not None:
            layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) to (B, *spec.shape)."""
        return self.layers(z).unflatten(1, self.shape)


class Discriminator(nn.Module):
    """x -> ``depth`` hidden layers -> one value.

    Args:
        spec: of the data.
        width: units of a hidden layer.
        depth: number of hidden layers.
        norm: ``batch``, ``layer`` or None; of hidden layers.
        activation: as the generator's.
        dropout: probability of dropping a hidden unit.
        input_dropout: probability of dropping a dimension of x.
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
    ):
        super().__init__()
        first = [nn.Dropout(input_dropout)] if input_dropout else []
        layers = hidden(spec.dimensions, width, depth, norm, activation, dropout)
        self.layers = nn.Sequential(*first, *layers, nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, *spec.shape) to (B,)."""
        return self.layers(x.flatten(1)).squeeze(1)

    def features(self, x: Tensor) -> Tensor:
        """Its hidden units: (B, *spec.shape) to (B, depth * width)."""
        return handed_on(self.layers[:-1], x.flatten(1))
