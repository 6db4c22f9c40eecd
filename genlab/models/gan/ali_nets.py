"""The convolutional nets of ALI on images of 32 and of 64 pixels a side.

Dumoulin et al. 2017, arXiv 1606.00704, tables of the appendix and released scripts for CIFAR-10 and CelebA. No layer
pads: valid convolutions lead from the image to one pixel, and back. Deviations: tanh and [-1, 1] for sigmoid and
[0, 1]; leaky units have the slope 0.2 of all nets here, not 0.1 (CIFAR-10) or 0.02 (CelebA); the last layers' biases
are one a channel, not one a pixel.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.models.gan.layers import Head, initialise, normalise, pieces
from genlab.models.gan.layers import activation as build_activation
from genlab.spec import Spec

DOWN = {  # kernel, stride, channels, by the side of the image
    32: ((5, 1, 32), (4, 2, 64), (4, 1, 128), (4, 2, 256), (4, 1, 512)),
    64: ((2, 1, 64), (7, 2, 128), (5, 2, 256), (7, 2, 256), (4, 1, 512)),
}
UP = {
    32: ((4, 1, 256), (4, 2, 128), (4, 1, 64), (4, 2, 32), (5, 1, 32), (1, 1, 32)),
    64: ((4, 1, 512), (7, 2, 256), (5, 2, 256), (7, 2, 128), (2, 1, 64)),
}


class Generator(nn.Module):
    """z, one pixel -> transposed convolutions -> 1x1 convolution -> tanh.

    Args:
        spec: of the data, images of 32 x 32 or 64 x 64.
        latent: number of latent dimensions.
        norm: ``batch``, ``layer`` or None; of all layers but the last.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``.
        std: of the initial weights.
        given: number K of conditions, joined to the latent.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        latent: int,
        norm: str | None = "batch",
        activation: str = "leaky_relu",
        std: float = 0.01,
        given: int = 0,
    ):
        super().__init__()
        inputs = latent + given
        layers: list[nn.Module] = []
        for kernel, stride, channels in UP[side(spec)]:
            layers.append(nn.ConvTranspose2d(inputs, channels, kernel, stride, bias=norm is None))
            layers += [*normalise(norm, channels), build_activation(activation)]
            inputs = channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, spec.shape[0], 1), nn.Tanh())
        initialise(self, std)

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, Z) and (B, K) to (B, C, H, W)."""
        return self.layers((z if given is None else torch.cat((z, given), 1))[:, :, None, None])


class Discriminator(nn.Module):
    """x -> convolutions down to one pixel -> linear -> values: the encoder, and the features of x in the critic.

    Args:
        spec: of the data, images of 32 x 32 or 64 x 64.
        norm: ``batch``, ``layer`` or None; of all layers, or all but the first.
        norm_first: whether the first layer has it too, as in the encoder.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``, or ``maxout2``.
        dropout: probability of dropping a hidden unit.
        input_dropout: probability of dropping a value of x.
        point: a 1x1 convolution more at the end, as in the encoder of CIFAR-10.
        std: of the initial weights.
        outputs: number of values.
        given: number K of conditions (see ``layers.Head``).
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(
        self,
        spec: Spec,
        norm: str | None = "batch",
        norm_first: bool = True,
        activation: str = "leaky_relu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        point: bool = False,
        std: float = 0.01,
        outputs: int = 1,
        given: int = 0,
    ):
        super().__init__()
        inputs, many = spec.shape[0], pieces(activation)
        plan = DOWN[side(spec)]
        layers: list[nn.Module] = [nn.Dropout(input_dropout)] if input_dropout else []
        for step, (kernel, stride, channels) in enumerate((*plan, (1, 1, plan[-1][2])) if point else plan):
            used = norm if step or norm_first else None
            layers.append(nn.Conv2d(inputs, many * channels, kernel, stride, bias=used is None))
            layers += [*normalise(used, many * channels), build_activation(activation)]
            if dropout:
                layers.append(nn.Dropout(dropout))
            inputs = channels
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.head = Head(inputs, outputs, given)
        initialise(self, std)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer is given, (B, F)."""
        return self.layers(x)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, C, H, W) and (B, K) to (B,), or (B, outputs)."""
        return self.head(self.features(x), given)


def side(spec: Spec) -> int:
    """Of the images.

    Raises:
        ConfigError: there are no nets for them.
    """
    if spec.kind != "image" or spec.shape[1] != spec.shape[2] or spec.shape[1] not in DOWN:
        raise ConfigError("model.net", "ali_nets", "for images of 32 x 32 or 64 x 64", "dcgan")
    return spec.shape[1]
