"""Fashion-MNIST: clothing in the layout of MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genlab.data import idx
from genlab.data.base import Images
from genlab.data.files import Download

MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


@dataclass(kw_only=True)
class FashionMNIST(Images):
    """60000 + 10000 articles of clothing, 28 x 28 grey, ten classes. (Xiao et al. 2017, arXiv 1708.07747)

    Counts come from the files' headers, so a subset in the same layout reads as well.
    """

    name: ClassVar[str] = "fashion_mnist"
    channels: ClassVar[int] = 1
    native: ClassVar[tuple[int, int]] = (28, 28)
    class_names: ClassVar[tuple[str, ...]] = (
        "t_shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot",
    )  # fmt: skip
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(name, f"md5:{md5}", tuple(mirror + name for mirror in MIRRORS)) for name, md5 in MD5.items()
    )

    def missing(self) -> list[Download]:
        return [file for file in self.downloads if idx.present(self.folder, file.name) is None]

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        return idx.read_part(self.folder, part, self.downloads)
