"""The convolutional nets of semi-supervised CIFAR-10 and SVHN: Salimans et al. 2016, arXiv 1606.03498, released code.

In the critic every unit has a weight vector of fixed length, whose direction alone is learnt; the last layers of both
nets learn a length, too. (Weight norm: Salimans and Kingma 2016, arXiv 1602.07868.) Deviation: lengths are such that
sums start with variance 1 if those of the layer before do; the code measures them on a first batch, and centres sums.
"""

import math
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization

from genlab.models.gan.layers import Head, halvings
from genlab.spec import Spec

SLOPE = 0.2  # of leaky units
STD = 0.05  # of the initial weights, before they are given their length
LAST = 0.1  # deviation that the sums of a last layer start with


class Length(nn.Module):
    """Weights v, (outputs, ...), to gain v / |v|, each output's on its own.

    Args:
        gain: their length, fixed.
    """

    def __init__(self, gain: float):
        super().__init__()
        self.gain = gain

    def forward(self, v: Tensor) -> Tensor:
        return v * (self.gain / (v.square().sum((1, 2, 3), keepdim=True) + 1e-6).sqrt())


class Generator(nn.Module):
    """z -> linear to a small map -> 5x5 transposed convolutions, doubling -> the last, weight-normed -> tanh.

    Batch norm without gain and ReLU follow all layers but the last; the channels halve up to ``width``, 4x4 x 512,
    256, 128 for 32 pixels.

    Args:
        spec: of the data, images.
        latent: number of latent dimensions.
        width: channels of the last hidden layer.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(self, spec: Spec, latent: int, width: int = 128):
        super().__init__()
        doublings = halvings(spec, "improved_conv")
        channels, height, breadth = spec.shape
        self.shape = (width << (doublings - 1), height >> doublings, breadth >> doublings)
        flat = math.prod(self.shape)
        self.start = nn.Sequential(nn.Linear(latent, flat, bias=False), ungained(nn.BatchNorm1d(flat)), nn.ReLU())
        layers: list[nn.Module] = []
        inputs = self.shape[0]
        for _ in range(doublings - 1):
            outputs = inputs // 2
            layers += [doubling(inputs, outputs, bias=False), ungained(nn.BatchNorm2d(outputs)), nn.ReLU()]
            inputs = outputs
        last: Any = weight_norm(doubling(inputs, channels), dim=1)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.ConvTranspose2d) and layer is not last:
                nn.init.normal_(layer.weight, 0.0, STD)
        nn.init.normal_(last.parametrizations.weight.original1, 0.0, STD)
        # a quarter of the taps lies on an input, and of the square of a standard normal one half passes ReLU
        nn.init.constant_(last.parametrizations.weight.original0, LAST / math.sqrt(1 / 4 * 1 / 2))
        nn.init.zeros_(last.bias)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) to (B, C, H, W)."""
        return self.layers(self.start(z).unflatten(1, self.shape))


class Discriminator(nn.Module):
    """x -> twice three 3x3 convolutions, the third one halving -> one without padding -> two 1x1 -> mean -> linear.

    Leaky units throughout; dropout of 0.2 on x and of 0.5 after each halving. Where fewer than 3x3 places are left, the
    one without padding has it. 96 and 192 channels on CIFAR-10, 64 and 128 on SVHN.

    Args:
        spec: of the data, images.
        width: channels of the first three layers, half as many as those of the others.
        dropout: probability of dropping a hidden number after a halving.
        input_dropout: of dropping one of x.
        outputs: number of values.
    """

    requires: ClassVar = {"data.kind": ("image",)}

    def __init__(self, spec: Spec, width: int = 96, dropout: float = 0.5, input_dropout: float = 0.2, outputs: int = 1):
        super().__init__()
        channels, *sides = spec.shape
        wide = 2 * width
        power = 1 / 4 / (1 - input_dropout)  # mean square of what the next layer is given: pixels of [-1, 1], dropped
        after, dropped = (1 + SLOPE**2) / 2, (1 + SLOPE**2) / 2 / (1 - dropout)
        layers: list[nn.Module] = [nn.Dropout(input_dropout)]
        for inputs, outs in ((channels, width), (width, wide)):
            for stride in (1, 1, 2):
                layers += [sized(nn.Conv2d(inputs, outs, 3, stride, 1), power), nn.LeakyReLU(SLOPE)]
                inputs, power = outs, after
            layers.append(nn.Dropout(dropout))
            power = dropped
        pad = int(any(math.ceil(side / 4) < 3 for side in sides))
        layers += [sized(nn.Conv2d(wide, wide, 3, padding=pad), power), nn.LeakyReLU(SLOPE)]
        for _ in range(2):
            layers += [sized(nn.Conv2d(wide, wide, 1), after), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers)
        self.head: Any = Head(wide, outputs)
        linear = weight_norm(self.head.linear)
        nn.init.normal_(linear.parametrizations.weight.original1, 0.0, STD)
        # a mean over places has nearly their mean square: deep units differ less by place than from one another
        nn.init.constant_(linear.parametrizations.weight.original0, LAST / math.sqrt(after))
        nn.init.zeros_(linear.bias)

    def features(self, x: Tensor) -> Tensor:
        """Means over all places of the last map, (B, F): what a generator matches."""
        return self.layers(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B,), or (B, outputs)."""
        return self.head(self.features(x))


def doubling(inputs: int, outputs: int, bias: bool = True) -> nn.ConvTranspose2d:
    """A 5x5 transposed convolution that doubles the sides."""
    return nn.ConvTranspose2d(inputs, outputs, 5, 2, padding=2, output_padding=1, bias=bias)


def ungained(norm: Any) -> nn.Module:
    """A batch norm without its gain: the next layer's weights can be as large."""
    norm.weight = None
    return norm


def sized(layer: nn.Conv2d, power: float) -> nn.Module:
    """The layer with weights of fixed length, such that inputs of that mean square become sums of variance 1."""
    nn.init.normal_(layer.weight, 0.0, STD)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    register_parametrization(layer, "weight", Length(1 / math.sqrt(power)))
    return layer
