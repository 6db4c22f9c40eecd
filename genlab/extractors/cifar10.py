"""The bundled classifier of small colour photographs (CIFAR-10)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from genlab.data import cifar10
from genlab.extractors.base import WHOLE, Features, read_weights
from genlab.spec import Spec

SIDE = 32
PART = 64
"""Images at a time on a processor, whose caches hold what its layers make of no more: a quarter faster than 256."""

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of red, green and blue over the training images, in [0, 1]."""


class Stage(nn.Module):
    """z = relu(norm(pool(conv(x)))), half as large; then z + relu(norm(conv(z))), or without ``z +`` where it is last.

    Pooled before it is normalised, as in ResNet-9 for speed: the maximum and the normalisation commute where its gain
    is positive.
    """

    def __init__(self, channels: int, out: int, last: bool = False):
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out)
        self.second = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(out)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out, H / 2, W / 2)."""
        z = self.first_norm(functional.max_pool2d(self.first(x), 2)).relu()
        change = self.second_norm(self.second(z)).relu()
        return change if self.last else z + change


class ColourNet(nn.Module):
    """Classifier of 32x32 colour images: a 3x3 convolution (24), three stages (64, 128, 256), 256 features, 10 logits.

    A narrow relative of ResNet-9 (Page 2018, "How to train your ResNet"): features are the maxima of the last stage's
    4x4 positions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(24)
        self.stages = nn.Sequential(Stage(24, 64), Stage(64, 128), Stage(128, 256, last=True))
        self.classify = nn.Linear(256, 10)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # several times as fast on processors

    def features(self, x: Tensor) -> Tensor:
        """The pooled last stage, (B, 256), of normalised images (B, 3, 32, 32)."""
        return self.stages(self.stem_norm(self.stem(x)).relu()).amax((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (B, 10)."""
        return self.classify(self.features(x))


def normalised(x: Tensor) -> Tensor:
    """Colours in [0, 1], (B, 3, H, W), to mean 0 and deviation 1 over CIFAR-10's training images."""
    mean, deviation = (torch.tensor(value, device=x.device)[:, None, None] for value in (MEAN, DEVIATION))
    return ((x - mean) / deviation).contiguous(memory_format=torch.channels_last)


class CIFAR10(nn.Module):
    """The bundled classifier of CIFAR-10's ten classes, for colour images.

    Images are brought to [0, 1] and normalised; a grey channel stands for all three; those of another size are resized
    to 32x32 by bilinear interpolation, its triangle as wide as a pixel of the coarser of the two grids, so that
    shrinking averages over areas. Named, it looks at any images: then its features tell them apart less well than
    those of its own subject. Accuracy is in the card of the weights file.

    Args:
        spec: of the images that it will be shown.
        weights: a safetensors file in place of the bundled one.
    """

    name: ClassVar[str] = "cifar10"
    dimensions: ClassVar[int] = 256
    classes: ClassVar[int] = 10
    rounding: ClassVar[str] = WHOLE

    def __init__(self, spec: Spec, weights: str | None = None):
        super().__init__()
        self.levels = spec.levels
        self.resize = WHOLE if tuple(spec.shape[-2:]) == (SIDE, SIDE) else f"antialiased bilinear to {SIDE}x{SIDE}"
        self.net = ColourNet()
        self.hash = read_weights(self.name, weights, self.net)
        self.requires_grad_(False).eval()

    @staticmethod
    def refuses(spec: Spec) -> str:
        """Nothing that is an image in grey or in colour, with integer levels."""
        if spec.kind != "image" or spec.levels is None:
            return "the cifar10 net looks at images with integer levels"
        if spec.shape[0] not in (1, 3):
            return f"the cifar10 net looks at images of one channel or of three, and these have {spec.shape[0]}"
        return ""

    @staticmethod
    def suits(spec: Spec) -> bool:
        """CIFAR-10's own kind of picture."""
        like = tuple(spec.shape) == (3, SIDE, SIDE) and spec.classes == cifar10.CIFAR10.class_names
        return like and not CIFAR10.refuses(spec)

    def prepare(self, x: Tensor) -> Tensor:
        """Integer levels (B, 1 or 3, H, W) to normalised colours (B, 3, 32, 32)."""
        assert self.levels is not None  # refused before
        x = x.float() / (self.levels - 1)
        if x.shape[-2:] != (SIDE, SIDE):
            x = functional.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        return normalised(x.expand(-1, 3, -1, -1))

    def forward(self, x: Tensor) -> Features:
        """Features (B, 256) and logits (B, 10)."""
        parts = x.split(PART) if x.device.type == "cpu" else [x]
        features = torch.cat([self.net.features(self.prepare(part)) for part in parts])
        return Features(features, self.net.classify(features))
