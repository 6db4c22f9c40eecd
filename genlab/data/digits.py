"""The 8 x 8 digits that come with scikit-learn: no download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genlab.data.base import Images


@dataclass(kw_only=True)
class Digits(Images):
    """1797 handwritten digits, 8 x 8, 17 levels. (Alpaydin and Kaynak 1998, UCI repository, its test part)

    Split: numpy's RandomState(0).permutation, the first 1437 for training and validation, the last 360 for testing.
    """

    name: ClassVar[str] = "digits"
    channels: ClassVar[int] = 1
    native: ClassVar[tuple[int, int]] = (8, 8)
    native_levels: ClassVar[int] = 17
    class_names: ClassVar[tuple[str, ...]] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        order = np.random.RandomState(0).permutation(len(images))
        rows = order[:1437] if part == "train" else order[1437:]
        return images[rows].astype(np.uint8).reshape(-1, 1, 8, 8), labels[rows]
