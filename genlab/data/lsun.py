"""LSUN scenes in the makers' lmdb folders."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from genlab.data.base import Images
from genlab.errors import ConfigError, DataError, nearest

CATEGORIES = (
    "bedroom", "bridge", "church_outdoor", "classroom", "conference_room",
    "dining_room", "kitchen", "living_room", "restaurant", "tower",
)  # fmt: skip


LARGE = 1 << 16  # bytes; images of 256 pixels have fewer
WALK = f"""
import sys, lmdb
with lmdb.open(sys.argv[1], readonly=True, lock=False, readahead=False) as file:
    with file.begin(buffers=True) as reading:
        for key, value in reading.cursor():
            len(value) > {LARGE} and bytes(value[-1:])
"""
"""Reads keys, and of values that are suspiciously large the end."""


def walk(path: Path) -> str:
    """How a process ends that goes through an lmdb, where that is by a signal; empty where it is not.

    The library trusts what the file says of itself: where that is damaged it may read beyond the file's end, which
    ends the process that does so.
    """
    done = subprocess.run([sys.executable, "-c", WALK, str(path)], capture_output=True, check=False)
    return signal.Signals(-done.returncode).name if done.returncode < 0 else ""


class Scenes:
    """The values of one lmdb: encoded images, webp or JPEG, in the order of their keys."""

    def __init__(self, path: Path):
        import lmdb

        self.path = path
        try:
            self._lmdb = lmdb.open(str(path), readonly=True, lock=False, readahead=False, meminit=False)
            self._count = self._lmdb.stat()["entries"]
            pages, page = self._lmdb.info()["last_pgno"] + 1, self._lmdb.stat()["psize"]
        except lmdb.Error as error:
            raise DataError(f"{path}: not a readable lmdb: {error}") from error
        self._file, self._mend = path / "data.mdb", f"unpack {path.name}.zip again"
        written = os.stat(self._file)
        size = written.st_size
        if size < pages * page:  # reading on would end the process with a bus error
            raise DataError(f"{path / 'data.mdb'}: expected {pages * page} bytes, found {size}")
        self.fingerprint = f"{self._count} {pages} {size} {written.st_mtime_ns}"
        self._keys: list[bytes] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def title(self, row: int) -> str:
        return f"{self.path}, key {self._key(row).decode(errors='replace')}"

    def _key(self, row: int) -> bytes:
        with self._lock:  # three million keys: listed once, and only if something is to be decoded
            if self._keys is None:
                if ended := walk(self.path):
                    raise DataError(f"{self._file}: damaged: reading it ends in {ended}; {self._mend}")
                with self._read() as transaction:
                    self._keys = list(transaction.cursor().iternext(values=False))
                if len(self._keys) != self._count:
                    raise DataError(
                        f"{self._file}: expected {self._count} images, found {len(self._keys)}; {self._mend}"
                    )
            return self._keys[row]

    @contextmanager
    def _read(self) -> Iterator[Any]:
        """A transaction; what the library finds damaged is an error that names the file."""
        import lmdb

        try:
            with self._lmdb.begin() as transaction:
                yield transaction
        except lmdb.Error as error:
            raise DataError(f"{self._file}: damaged: {error}; {self._mend}") from error

    def __getitem__(self, row: int) -> Any:
        from PIL import Image

        key = self._key(row)
        with self._read() as transaction:
            value = transaction.get(key)
        image = Image.open(io.BytesIO(value or b""))
        image.load()
        return image


@dataclass(kw_only=True)
class LSUN(Images):
    """One category of scenes, 126 thousand to 3 million images; no labels. (Yu et al. 2015, arXiv 1506.03365)

    The images' shorter sides, 256 pixels, are resized to ``size`` and the longer cropped at the centre. The makers'
    validation part of 300 images is the test split here; the validation split is cut from the training part.

    Under ``<root>/lsun``: ``<category>_train_lmdb`` and ``<category>_val_lmdb``, each with its ``data.mdb``.

    Args:
        category: ``bedroom``, ``church_outdoor``, ``tower``, ...
    """

    name: ClassVar[str] = "lsun"
    decoded: ClassVar[bool] = True

    size: int | None = 64
    category: str = "bedroom"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.category or "/" in self.category:
            raise ConfigError("data.category", self.category, f"is one of {', '.join(CATEGORIES)}")
        if self.classes is not None:
            raise ConfigError("data.classes", self.classes, "lsun has no classes; choose a data.category")
        if self.size is None:
            raise ConfigError("data.size", None, "the images of lsun are of many sizes; give one")

    def read(self, part: str) -> tuple[Scenes, None]:
        path = self.folder / f"{self.category}_{'train' if part == 'train' else 'val'}_lmdb"
        if not (path / "data.mdb").is_file():
            near = "" if self.category in CATEGORIES else nearest(self.category, CATEGORIES)
            raise DataError(
                f"{path / 'data.mdb'}: no such file; get {path.name}.zip from http://dl.yf.io/lsun/scenes/ and unpack "
                f"it into {self.folder}" + (f"; did you mean data.category={near}?" if near else "")
            )
        return Scenes(path), None
