"""The bundled classifiers of 28x28 grey images: handwritten digits (MNIST) and clothing (Fashion-MNIST)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from genlab.data import fashion_mnist, mnist
from genlab.extractors.base import WHOLE, Features, read_weights
from genlab.spec import Spec

SIDE = 28
LEAST = 16
"""Sides of smaller images are too short to be enlarged to what the nets know."""


class GreyNet(nn.Module):
    """Classifier of 28x28 grey images in [0, 1]: a 5x5 convolution (32) and three of 3x3 (64, 64, 96), each with batch
    normalisation, three of them pooled to half the size; 96 features, 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 96, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(96), nn.ReLU(),
        )  # fmt: skip
        self.embed = nn.Linear(96 * 3 * 3, 96)
        self.classify = nn.Linear(96, 10)
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on processors

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer, (B, 96), of images (B, 1, 28, 28)."""
        return self.embed(self.convolutions(x).flatten(1)).relu()

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (B, 10)."""
        return self.classify(functional.dropout(self.features(x), 0.3, self.training))


class MNIST(nn.Module):
    """The bundled classifier of handwritten digits that was trained on MNIST.

    Images become grey (the mean over the channels they have) in [0, 1]; those of another size are resized to 28x28
    by bilinear interpolation, its triangle as wide as a pixel of the coarser of the two grids, so that shrinking
    averages over areas. Named, it looks at any 28x28 images: stacked MNIST's channels one by one, or clothing in the
    eyes of digits. Accuracy is in the card of the weights file.

    Args:
        spec: of the images that it will be shown.
        weights: a safetensors file in place of the bundled one.
    """

    name: ClassVar[str] = "mnist"
    dimensions: ClassVar[int] = 96
    classes: ClassVar[int] = 10
    rounding: ClassVar[str] = WHOLE
    subject: ClassVar[str] = "the ten digits"
    labels: ClassVar[tuple[str, ...]] = mnist.MNIST.class_names

    def __init__(self, spec: Spec, weights: str | None = None):
        super().__init__()
        self.levels = spec.levels
        self.resize = WHOLE if tuple(spec.shape[-2:]) == (SIDE, SIDE) else f"antialiased bilinear to {SIDE}x{SIDE}"
        self.net = GreyNet()
        self.hash = read_weights(self.name, weights, self.net)
        self.requires_grad_(False).eval()

    @classmethod
    def refuses(cls, spec: Spec) -> str:
        """It knows its ten classes at 16x16 or more, and looks at other images where they are 28x28."""
        if spec.kind != "image" or spec.levels is None:
            return f"the {cls.name} net looks at images with integer levels"
        sides = tuple(spec.shape[1:])
        if sides == (SIDE, SIDE):
            return ""
        if spec.classes != cls.labels:
            return f"the {cls.name} net knows {cls.subject}, or looks at any images of 28x28"
        if min(sides) < LEAST:
            return f"the {cls.name} net looks at images of 16x16 or more, and these are {sides[0]}x{sides[1]}"
        return ""

    @classmethod
    def suits(cls, spec: Spec) -> bool:
        """Grey pictures of its ten classes."""
        return not cls.refuses(spec) and spec.classes == cls.labels and spec.shape[0] == 1

    def prepare(self, x: Tensor) -> Tensor:
        """Integer levels (B, C, H, W), of any number of channels, to (B, 1, 28, 28) in [0, 1]."""
        assert self.levels is not None  # refused before
        grey = x.float().mean(1, keepdim=True) / (self.levels - 1)
        if grey.shape[-2:] == (SIDE, SIDE):
            return grey
        return functional.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)

    def forward(self, x: Tensor) -> Features:
        """Features (B, 96) and logits (B, 10)."""
        features = self.net.features(self.prepare(x))
        return Features(features, self.net.classify(features))


class FashionMNIST(MNIST):
    """The bundled classifier of clothing: ``MNIST``'s net and ways with weights of its own.

    Its card says which part of Fashion-MNIST it was trained on.

    Args:
        spec: of the images that it will be shown.
        weights: a safetensors file in place of the bundled one.
    """

    name: ClassVar[str] = "fashion_mnist"
    subject: ClassVar[str] = "Fashion-MNIST's ten kinds of clothing"
    labels: ClassVar[tuple[str, ...]] = fashion_mnist.FashionMNIST.class_names
