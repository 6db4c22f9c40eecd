"""No extractor at all: the examples themselves."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from genlab.extractors.base import WHOLE, Features
from genlab.spec import Spec

MOST = 4096  # dimensions: a covariance of more is a matter of minutes and of gigabytes


class Raw(nn.Module):
    """Examples as they are, flattened to (B, D); integer levels are scaled to [0, 1]. No logits.

    In the plane distances of points mean what they say, so it is taken for vectors where no extractor is named. Those
    of pixels mean little: a picture moved by one pixel is far from itself.

    Args:
        spec: of the examples that it will be shown.
    """

    name: ClassVar[str] = "raw"
    classes: ClassVar[int] = 0
    hash: ClassVar[str] = "raw"
    resize: ClassVar[str] = WHOLE
    rounding: ClassVar[str] = WHOLE

    def __init__(self, spec: Spec):
        super().__init__()
        self.dimensions = spec.dimensions
        self.scale = 1 if spec.levels is None else max(spec.levels - 1, 1)

    @staticmethod
    def refuses(spec: Spec) -> str:
        """Whatever is not a moderate number of numbers."""
        if spec.kind not in ("vector", "image"):
            return f"raw examples are vectors or images, not {spec.kind}"
        if spec.dimensions > MOST:
            return f"raw examples have at most {MOST} dimensions, not {spec.dimensions}; choose an extractor"
        return ""

    @staticmethod
    def suits(spec: Spec) -> bool:
        """Vectors, for which there is nothing better."""
        return spec.kind == "vector" and not Raw.refuses(spec)

    def forward(self, x: Tensor) -> Features:
        """Features (B, D) and logits (B, 0)."""
        features = x.flatten(1)
        if not features.is_floating_point():
            features = features.float()
        features = features / self.scale if self.scale != 1 else features
        return Features(features, features.new_empty(len(x), 0))
