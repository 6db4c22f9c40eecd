"""MNIST in the makers' idx files, gzipped or unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genlab.data import idx
from genlab.data.base import Images
from genlab.data.files import Download

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
CRC32 = {
    "train-images-idx3-ubyte.gz": 0xE9F4D8B3,
    "train-labels-idx1-ubyte.gz": 0xE0CB4AD2,
    "t10k-images-idx3-ubyte.gz": 0x91373BDF,
    "t10k-labels-idx1-ubyte.gz": 0x4AB9EFF9,
}
"""Of what the makers' files hold, unpacked."""


@dataclass(kw_only=True)
class MNIST(Images):
    """60000 + 10000 handwritten digits, 28 x 28 grey. (LeCun et al. 1998)"""

    name: ClassVar[str] = "mnist"
    channels: ClassVar[int] = 1
    native: ClassVar[tuple[int, int]] = (28, 28)
    class_names: ClassVar[tuple[str, ...]] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(name, f"md5:{md5}", tuple(mirror + name for mirror in MIRRORS)) for name, md5 in MD5.items()
    )

    def missing(self) -> list[Download]:
        return [file for file in self.downloads if idx.present(self.folder, file.name) is None]

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        return idx.read_part(self.folder, part, self.downloads, CRC32)
