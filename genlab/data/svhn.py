"""Street View House Numbers, the cropped digits, in the makers' Matlab files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genlab.data.base import Images
from genlab.data.files import AGAIN, Download, ordinary
from genlab.errors import DataError

MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
}
MIRRORS = ("http://ufldl.stanford.edu/housenumbers/",)


@dataclass(kw_only=True)
class SVHN(Images):
    """73257 + 26032 colour digits cut from photographs, 32 x 32. (Netzer et al. 2011)

    Args:
        extra: train on the 531131 easier images of the makers' third file, too.
    """

    name: ClassVar[str] = "svhn"
    native: ClassVar[tuple[int, int]] = (32, 32)
    class_names: ClassVar[tuple[str, ...]] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(name, f"md5:{md5}", tuple(mirror + name for mirror in MIRRORS)) for name, md5 in MD5.items()
    )

    extra: bool = False

    def missing(self) -> list[Download]:
        return [file for file in super().missing() if self.extra or not file.name.startswith("extra")]

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        names = ["train", "extra"] if part == "train" and self.extra else [part]
        pieces = [self._read_file(f"{name}_32x32.mat") for name in names]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([x for x, _ in pieces]), np.concatenate([y for _, y in pieces])

    def _read_file(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        from scipy.io import loadmat

        path = ordinary(self.folder / name)
        if not path.exists():
            raise DataError(f"{path}: no such file")
        try:
            content = loadmat(path, variable_names=("X", "y"))
        except Exception as error:  # scipy raises whatever a damaged file leads it to
            raise DataError(
                f"{path}: not a readable Matlab file, {path.stat().st_size} bytes: {error}; {AGAIN}"
            ) from error
        x, y = content.get("X"), content.get("y")
        if x is None or y is None:
            raise DataError(f"{path}: expected variables X and y, found {[k for k in content if k[0] != '_']}; {AGAIN}")
        if x.ndim != 4 or x.shape[:3] != (32, 32, 3) or x.dtype != np.uint8:
            raise DataError(f"{path}: expected X uint8 (32, 32, 3, N), found {x.dtype} {x.shape}; {AGAIN}")
        y = y.reshape(-1)
        if len(y) != x.shape[3]:
            raise DataError(f"{path}: expected {x.shape[3]} labels, one an image, found {len(y)}; {AGAIN}")
        if len(y) and (y.min() < 1 or y.max() > 10):
            raise DataError(f"{path}: expected labels 1 to 10, found {y.min()} to {y.max()}; {AGAIN}")
        return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), (y % 10).astype(np.int64)  # the makers write 0 as 10
