"""Stacked MNIST: a thousand modes that can be counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from genlab.data import idx
from genlab.data.base import Images, data_root
from genlab.data.files import Download
from genlab.data.mnist import CRC32, MNIST


@dataclass(kw_only=True)
class StackedMNIST(Images):
    """50000 + 10000 stacks of three random digits of MNIST, one a channel; the class is the number they make.

    (Metz et al. 2017, arXiv 1611.02163; Srivastava et al. 2017, arXiv 1705.07761.) The digits of each part are drawn
    with replacement from the same part of MNIST by a fixed seed. Deviation: the papers draw from all of MNIST, 128000
    stacks or afresh in every step.
    """

    name: ClassVar[str] = "stacked_mnist"
    native: ClassVar[tuple[int, int]] = (28, 28)
    class_names: ClassVar[tuple[str, ...]] = tuple(f"{number:03d}" for number in range(1000))
    downloads: ClassVar[tuple[Download, ...]] = MNIST.downloads
    counts: ClassVar[dict[str, int]] = {"train": 50_000, "test": 10_000}

    @property
    def folder(self) -> Path:
        """MNIST's."""
        return data_root(self.root) / MNIST.name

    def missing(self) -> list[Download]:
        return [file for file in self.downloads if idx.present(self.folder, file.name) is None]

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        images, labels = idx.read_part(self.folder, part, self.downloads, CRC32)
        random = np.random.RandomState(self.parts.index(part))
        rows = random.randint(0, max(1, len(images)), (self.counts[part] if len(images) else 0, 3))
        return images[rows, 0], labels[rows].astype(np.int64) @ (100, 10, 1)
