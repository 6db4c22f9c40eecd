"""The bundled classifier of 8x8 handwritten digits."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from genlab.extractors.base import WHOLE, Features, read_weights
from genlab.spec import Spec


class DigitsNet(nn.Module):
    """Classifier of 8x8 grey digits in [0, 1]: three 3x3 convolutions (16, 24, 32), 64 features, 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.embed = nn.Linear(32 * 4 * 4, 64)
        self.classify = nn.Linear(64, 10)

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer, (B, 64), of images (B, 1, 8, 8)."""
        return self.embed(self.convolutions(x).flatten(1)).relu()

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (B, 10)."""
        return self.classify(functional.dropout(self.features(x), 0.3, self.training))


class Digits(nn.Module):
    """The bundled classifier of handwritten digits, for data sets of the ten digits.

    Images become grey (the mean over channels) in [0, 1]; those larger than 8x8 lose a margin of one seventh on each
    side, as MNIST's digits fill the central 20 of 28 pixels while scikit-learn's fill their frame, and are then
    averaged over areas to 8x8. Accuracy, and the hash of the training data, are in the card of the weights file.

    Args:
        spec: of the images that it will be shown.
        weights: a safetensors file in place of the bundled one.
    """

    name: ClassVar[str] = "digits"
    dimensions: ClassVar[int] = 64
    classes: ClassVar[int] = 10
    rounding: ClassVar[str] = WHOLE

    def __init__(self, spec: Spec, weights: str | None = None):
        super().__init__()
        self.levels = spec.levels
        sides = tuple(spec.shape[-2:])
        margin = "without a margin of 1/7, " if min(sides) >= 14 else ""
        self.resize = WHOLE if sides == (8, 8) else f"{margin}averaged over areas to 8x8"
        self.net = DigitsNet()
        self.hash = read_weights(self.name, weights, self.net)
        self.requires_grad_(False).eval()

    @staticmethod
    def refuses(spec: Spec) -> str:
        """It knows the ten digits, in any size, and nothing else."""
        if spec.kind != "image" or spec.levels is None:
            return "the digits net looks at images with integer levels"
        if spec.classes != tuple("0123456789"):
            return "the digits net knows the ten digits only"
        return ""

    @staticmethod
    def suits(spec: Spec) -> bool:
        """Small pictures of digits; larger ones have the ``mnist`` net."""
        return not Digits.refuses(spec) and max(spec.shape[1:]) < 16

    def prepare(self, x: Tensor) -> Tensor:
        """Integer levels (B, C, H, W) to what the net was trained on, (B, 1, 8, 8) in [0, 1]."""
        assert self.levels is not None  # refused before
        grey = x.float().mean(1, keepdim=True) / (self.levels - 1)
        height, width = grey.shape[-2:]
        if (height, width) == (8, 8):
            return grey
        top, left = (height // 7, width // 7) if min(height, width) >= 14 else (0, 0)
        return functional.adaptive_avg_pool2d(grey[..., top : height - top, left : width - left], 8)

    def forward(self, x: Tensor) -> Features:
        """Features (B, 64) and logits (B, 10)."""
        features = self.net.features(self.prepare(x))
        return Features(features, self.net.classify(features))
