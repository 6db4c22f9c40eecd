"""The fully connected nets of semi-supervised MNIST: Salimans et al. 2016, arXiv 1606.03498, released code.

The critic is 1000-500-250-250-250 with weight norm and noise on everything that a layer is given. Deviations: gains
start so that weights have torch's initial scale, where the code sets them by a first batch; the generator's last layer
ends in tanh and [-1, 1], where the code has a sigmoid and [0, 1], so the noise on the input is twice as large.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from genlab.models.gan.layers import Head
from genlab.spec import Spec


class Disturbed(nn.Module):
    """x + deviation e, e ~ N(0, I), in training alone.

    Args:
        deviation: sigma.
    """

    def __init__(self, deviation: float):
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.deviation * torch.randn_like(x) if self.training and self.deviation else x


class Generator(nn.Module):
    """z -> two layers of softplus and batch norm -> weight-normed linear, tanh (none for continuous data).

    Args:
        spec: of the data.
        latent: number of latent dimensions.
        width: units of a hidden layer.
    """

    def __init__(self, spec: Spec, latent: int, width: int = 500):
        super().__init__()
        self.shape = spec.shape
        layers: list[nn.Module] = []
        for inputs in (latent, width):
            layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.Softplus()]
        layers.append(weight_norm(nn.Linear(width, spec.dimensions)))
        self.layers = nn.Sequential(*layers, *([nn.Tanh()] if spec.levels is not None else []))

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) to (B, *spec.shape)."""
        return self.layers(z).unflatten(1, self.shape)


class Discriminator(nn.Module):
    """x -> noise -> weight-normed linear, ReLU, noise, five times -> weight-normed linear.

    Args:
        spec: of the data.
        widths: units of the hidden layers.
        input_noise: standard deviation of what is added to x.
        noise: standard deviation of what is added to every hidden layer.
        outputs: number of values.
    """

    def __init__(
        self,
        spec: Spec,
        widths: tuple[int, ...] = (1000, 500, 250, 250, 250),
        input_noise: float = 0.6,
        noise: float = 0.5,
        outputs: int = 1,
    ):
        super().__init__()
        layers: list[nn.Module] = [Disturbed(input_noise)]
        for number, (inputs, units) in enumerate(pairwise((spec.dimensions, *widths))):
            layers += [Disturbed(noise if number else 0.0), weight_norm(nn.Linear(inputs, units)), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.disturbed = Disturbed(noise)
        self.head: Any = Head(widths[-1], outputs)
        weight_norm(self.head.linear)

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer, (B, F), without its noise."""
        return self.layers(x.flatten(1))

    def values(self, h: Tensor) -> Tensor:
        """Of features, (B, F), to (B,), or (B, outputs)."""
        return self.head(self.disturbed(h))

    def forward(self, x: Tensor) -> Tensor:
        """(B, *spec.shape) to (B,), or (B, outputs)."""
        return self.values(self.features(x))
