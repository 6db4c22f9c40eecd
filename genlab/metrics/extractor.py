"""Feature extractors: frozen classifiers whose features and logits stand for an image in FID and the Inception Score.

A score carries the extractor in its name (``fid_digits``), for scores of two extractors have nothing to do with each
other. ``digits`` is trained by ``scripts/train_extractor`` and ships with the package, so it needs no download.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from genlab.errors import GenlabError
from genlab.spec import Spec


class Features(NamedTuple):
    """What an extractor sees in a batch: ``features`` (B, D) and ``logits`` (B, K)."""

    features: Tensor
    logits: Tensor


class Extractor(Protocol):
    """A frozen classifier; its first constructor argument is the ``Spec`` of the images it is shown."""

    name: str
    """Added to the name of every figure that it takes part in."""

    dimensions: int
    """Number D of features."""

    classes: int
    """Number K of logits."""

    hash: str
    """Of its weights: part of the protocol of such a figure."""

    @staticmethod
    def refuses(spec: Spec) -> str:
        """Why it has nothing to say about such examples; empty where it has."""
        ...

    def __call__(self, x: Tensor) -> Features:
        """Features (B, D) and logits (B, K) of integer levels ``x``, (B, C, H, W)."""
        ...


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

    def __init__(self, spec: Spec, weights: str | None = None):
        super().__init__()
        self.levels = spec.levels
        raw = Path(weights).read_bytes() if weights else bundled(self.name)
        self.hash = hashlib.sha256(raw).hexdigest()[:12]
        self.net = DigitsNet()
        try:
            self.net.load_state_dict(load(raw))
        except Exception as error:  # safetensors raises its own kinds for a damaged file, torch another for a wrong one
            raise GenlabError(f"weights of extractor {self.name} are damaged: {error}") from None
        self.requires_grad_(False).eval()
        self._last: tuple[Tensor, int, Features] | None = None

    @staticmethod
    def refuses(spec: Spec) -> str:
        """It knows the ten digits, in any size, and nothing else."""
        if spec.kind != "image" or spec.levels is None:
            return "the digits net looks at images with integer levels"
        if spec.classes != tuple("0123456789"):
            return "the digits net knows the ten digits only"
        return ""

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
        """Features (B, 64) and logits (B, 10); metrics that share an extractor ask in turn, so the last is kept."""
        if self._last is None or self._last[0] is not x or self._last[1] != x._version:
            with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                features = self.net.features(self.prepare(x))
                self._last = (x, x._version, Features(features, self.net.classify(features)))
        return self._last[2]


def bundled(name: str) -> bytes:
    """The weights file that the package ships for the extractor ``name``."""
    return importlib.resources.files("genlab.metrics").joinpath(f"weights/{name}.safetensors").read_bytes()
