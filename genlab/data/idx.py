"""The idx files of MNIST and of the sets that took over its layout."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from genlab.data.files import AGAIN, Download, checksum, ordinary, remark
from genlab.errors import DataError

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def present(folder: Path, name: str) -> Path | None:
    """The file ``name`` or its unpacked form, None where there is neither."""
    return next((path for path in (folder / name, folder / name.removesuffix(".gz")) if path.exists()), None)


def read_idx(path: Path, dimensions: int, checksums: dict[str, str], crc32: int | None = None) -> np.ndarray:
    """A uint8 array of so many dimensions: magic 0x0000 08 dd, then the sizes as big-endian 32-bit, then the bytes.

    Where the ``crc32`` of the unpacked content is given, content that is whole but another one is remarked on.
    """

    def damaged(reason: str) -> DataError:
        expected = checksums.get(path.name)
        note = f" (expected {expected}, found {checksum(path, expected)})" if expected and path.is_file() else ""
        return DataError(f"{path}: {reason}{note}; {AGAIN}")

    try:
        content = ordinary(path).read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    start = 4 + 4 * dimensions
    magic = 0x800 + dimensions
    if len(content) < start:
        raise damaged(f"expected an idx header of {start} bytes, found {len(content)} bytes in all")
    found = struct.unpack(">I", content[:4])[0]
    if found != magic:
        raise damaged(f"expected the idx magic number 0x{magic:08x}, found 0x{found:08x}")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise damaged(f"expected {math.prod(shape)} bytes for {shape}, found {len(content) - start}")
    remark(str(path), zlib.crc32(content), crc32)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_part(
    folder: Path, part: str, downloads: tuple[Download, ...], crc32: Mapping[str, int] = MappingProxyType({})
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 28, 28) and labels (N,) of a part, checked against each other."""
    checksums = {file.name: file.checksum for file in downloads}
    paths = []
    for name in FILES[part]:
        path = present(folder, name)
        if path is None:
            raise DataError(f"{folder / name}: no such file (nor unpacked, without .gz)")
        paths.append(path)
    images, labels = (
        read_idx(path, dimensions, checksums, crc32.get(name))
        for path, name, dimensions in zip(paths, FILES[part], (3, 1), strict=True)
    )
    if images.shape[1:] != (28, 28):
        raise DataError(f"{paths[0]}: expected images of 28 x 28, found {images.shape[1]} x {images.shape[2]}; {AGAIN}")
    if len(images) != len(labels):
        raise DataError(f"{paths[1]}: expected {len(images)} labels, one an image, found {len(labels)}; {AGAIN}")
    if len(labels) and labels.max() > 9:
        raise DataError(f"{paths[1]}: expected labels 0 to 9, found {labels.max()}; {AGAIN}")
    return images[:, None], labels
