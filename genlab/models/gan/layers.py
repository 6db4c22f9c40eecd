"""What the nets of the GANs share: heads, sizes from a spec, maxout, normalisations, the papers' first weights."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from genlab.errors import ConfigError, nearest
from genlab.models.gan.minibatch import MinibatchDiscrimination
from genlab.nn.attention import SelfAttention
from genlab.nn.mlp import make_activation
from genlab.spec import Spec


class Head(nn.Module):
    """What a discriminator makes of its features h: W h + b, one value or several.

    Under conditions y a value is W h + b + <V y, h>: the projection discriminator, whose form follows from log-linear
    p(y | x). (Miyato and Koyama 2018, arXiv 1802.05637, eq. 3.) Several values, such as a code, are W h + V y + b:
    conditions joined to the features. (Dumoulin et al. 2017, arXiv 1606.00704, released code for CelebA)

    Args:
        features: number F of features.
        outputs: number of values.
        given: number K of conditions, 0 where there are none.
        minibatch: number of similarities to the rest of the batch that are added to the features; 0: none.
        bias: whether there is a b.
    """

    def __init__(self, features: int, outputs: int = 1, given: int = 0, minibatch: int = 0, bias: bool = True):
        super().__init__()
        self.minibatch = MinibatchDiscrimination(features, minibatch) if minibatch else None
        self.linear = nn.Linear(features + minibatch, outputs, bias=bias)
        self.embed = nn.Linear(given, features if outputs == 1 else outputs, bias=False) if given else None

    def forward(self, h: Tensor, given: Tensor | None = None) -> Tensor:
        """(B, F) and (B, K) to (B,), or to (B, outputs) where there are several."""
        values = self.linear(h if self.minibatch is None else self.minibatch(h))
        if self.embed is not None and given is not None:
            shift = self.embed(given)
            values = values + (shift if values.shape[1] > 1 else (shift * h).sum(1, keepdim=True))
        return values.squeeze(1) if values.shape[1] == 1 else values


class Maxout(nn.Module):
    """The largest of ``pieces`` neighbouring features.  (Goodfellow et al. 2013, arXiv 1302.4389, eq. 1)"""

    def __init__(self, pieces: int = 5):
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.pieces)).amax(2)


class Gated(nn.Module):
    """sigmoid(a) tanh(b), a and b the two halves of the features.

    (Gulrajani et al. 2017, arXiv 1704.00028, section 5.1: "gated multiplicative nonlinearities everywhere".)
    """

    pieces = 2

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return a.sigmoid() * b.tanh()


def activation(name: str) -> nn.Module:
    """The activation of that name: ``maxout`` of five pieces, ``maxout2`` of two, ``gated``, or one of
    ``genlab.nn.mlp.ACTIVATIONS``.

    One that makes fewer features than it is given says how many of them make one by ``pieces``.
    """
    own: dict[str, Callable[[], nn.Module]] = {"maxout": Maxout, "maxout2": lambda: Maxout(2), "gated": Gated}
    return own[name]() if name in own else make_activation(name)


def pieces(name: str) -> int:
    """Number of features of which the activation of that name makes one."""
    return getattr(activation(name), "pieces", 1)


class ConditionalNorm(nn.Module):
    """Batch norm whose gains and shifts are those of the conditions: (y G) (x - mean) / deviation + y S.

    (Dumoulin et al. 2017, arXiv 1610.07629, eq. 5, there of instances; in generators since Miyato and Koyama 2018.)

    Args:
        features: number of channels.
        given: number K of conditions.
        flat: of (B, D) instead of (B, D, H, W).
    """

    conditioned = True  # wants the conditions

    def __init__(self, features: int, given: int, flat: bool = False):
        super().__init__()
        self.norm = nn.BatchNorm1d(features, affine=False) if flat else nn.BatchNorm2d(features, affine=False)
        self.gain = nn.Parameter(torch.ones(given, features))
        self.shift = nn.Parameter(torch.zeros(given, features))

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        shape = (len(x), -1, *[1] * (x.dim() - 2))
        return self.norm(x) * (given @ self.gain).view(shape) + (given @ self.shift).view(shape)


class Conditioned(nn.Sequential):
    """Layers of which some see the conditions: those that say ``conditioned = True``."""

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, given) if getattr(layer, "conditioned", False) else layer(x)
        return x


def normalise(norm: str | None, features: int, *, flat: bool = False, given: int = 0) -> list[nn.Module]:
    """A list of one normalisation of ``features`` channels, or of none; ``flat`` for (B, D) instead of (B, D, H, W).

    ``conditional`` is a batch norm that K = ``given`` conditions steer.
    """
    if norm is None:
        return []
    if norm == "batch":
        return [nn.BatchNorm1d(features) if flat else nn.BatchNorm2d(features)]
    if norm == "conditional":
        if not given:
            raise ConfigError("norm", norm, "there are no conditions; model.conditional=true has some", "batch")
        return [ConditionalNorm(features, given, flat)]
    if norm == "layer":
        return [nn.GroupNorm(1, features)]  # over all axes of an example, one gain a channel
    raise ConfigError(
        "norm",
        norm,
        "no such normalisation; there are batch, layer, conditional, null",
        nearest(norm, ("batch", "layer", "conditional")),
    )


def handed_on(layers: nn.Module, x: Tensor) -> Tensor:
    """What each layer with weights in a sequence hands on to the next, activation and all, side by side: (B, D)."""
    seen: list[Tensor] = []
    for layer in layers.children():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            seen.append(x)
        x = layer(x)
    return side_by_side([*seen[1:], x])  # the first layer is handed the example itself


def side_by_side(maps: Iterable[Tensor]) -> Tensor:
    """Maps (B, C, H, W) max-pooled to 4x4 where they are larger, then all flattened and joined, (B, D).

    (Radford et al. 2016, arXiv 1511.06434, section 5.1)
    """
    return torch.cat([coarse(found).flatten(1) for found in maps], 1)


def coarse(found: Tensor, side: int = 4) -> Tensor:
    """A map max-pooled to at most ``side`` positions a side; vectors as they are."""
    if found.ndim < 4:
        return found
    return adaptive_max_pool2d(found, (min(side, found.shape[2]), min(side, found.shape[3])))


def halvings(spec: Spec, net: str) -> int:
    """How often both sides of an image halve: down to 4 or just above, 64 -> 4, 32 -> 4, 28 -> 7, and twice at least
    where they can, 8 -> 2, for a critic of one layer sees no shapes.

    Refuses what a convolutional net cannot draw; ``net`` is its name as the user types it.
    """
    if spec.kind != "image":
        raise ConfigError("model.net", net, f"draws images, and these data are of kind {spec.kind}", "mlp")
    sides = spec.shape[1:]
    count = 0
    while all(side % 2 ** (count + 1) == 0 and side >> (count + 1) >= (4 if count > 1 else 2) for side in sides):
        count += 1
    if count == 0:
        height, width = sides
        raise ConfigError("model.net", net, f"needs sides that are even, not {height}x{width}", "mlp")
    return count


def attended(net: nn.Module, side: int | None) -> None:
    """Refuse an attention that no map of the net has the size for."""
    if side is not None and not any(isinstance(layer, SelfAttention) for layer in net.modules()):
        raise ConfigError("attention", side, "no map of this net has that side; they halve from the image's")


def fans(layer: nn.Module) -> tuple[float, float]:
    """Inputs that reach one output, and outputs that one input reaches, a stride counted."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    area, skipped = math.prod(layer.kernel_size), math.prod(layer.stride)
    fan_in, fan_out = layer.in_channels * area, layer.out_channels * area
    if isinstance(layer, nn.ConvTranspose2d):
        return fan_in / skipped, fan_out
    return fan_in, fan_out / skipped


def initialise(net: nn.Module, std: float | None) -> None:
    """Weights of all layers of ``net``; biases are zero.

    Args:
        net: changed in place.
        std: N(0, std^2), and N(1, std^2) for gains of batch norms, as in DCGAN (0.02; Radford et al. 2016, section 4);
            None for the released WGAN-GP script's scale: uniform of variance 4 / (fan in + fan out) for convolutions
            and 2 / (fan in + fan out) for linear layers.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if std is None:
                scaled_uniform(layer, gain=1 if isinstance(layer, nn.Linear) else 2)
            else:
                nn.init.normal_(layer.weight, 0.0, std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif std is not None and isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, std)


def scaled_uniform(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, gain: float) -> None:
    """Uniform weights of variance 2 gain / (fan in + fan out): Glorot's for gain 1, the one before a ReLU for 2."""
    limit = math.sqrt(3 * 2 * gain / sum(fans(layer)))
    nn.init.uniform_(layer.weight, -limit, limit)
