"""Any tree of image files, ImageNet's among them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from genlab.data.base import Images, data_root
from genlab.data.store import UNREADABLE, UnreadableError, say, why
from genlab.errors import ConfigError, DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
PARTS = {
    re.compile(r"(train|training)(_\d+x\d+)?", re.IGNORECASE): "train",
    re.compile(r"(val|valid|validation)(_\d+x\d+)?", re.IGNORECASE): "val",
    re.compile(r"(test|testing)(_\d+x\d+)?", re.IGNORECASE): "test",
}


def image_files(folder: Path) -> list[tuple[str, int, int]]:
    """Path relative to ``folder``, bytes and time of each image below it, sorted by path; no hidden files."""
    found, waiting = [], [str(folder)]
    start = len(str(folder)) + 1
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    waiting.append(entry.path)
                elif entry.name.lower().endswith(SUFFIXES):
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):  # a pipe would be waited for
                        found.append((entry.path[start:], status.st_size, status.st_mtime_ns))
    return sorted(found)


class ImageFiles:
    """Image files of one part."""

    def __init__(self, folder: Path, files: list[tuple[str, int, int]]):
        self.folder, self.files = folder, files
        self.fingerprint = hashlib.sha256(repr((str(folder), files)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.files)

    def title(self, row: int) -> str:
        return str(self.folder / self.files[row][0])

    def __getitem__(self, row: int) -> Any:
        from PIL import Image, ImageOps

        with Image.open(self.folder / self.files[row][0]) as image:
            return ImageOps.exif_transpose(image)


LAYOUT = "put a tree of images there: a subfolder a class, or train/ and val/ with these in them"


@dataclass(kw_only=True)
class Folder(Images):
    """A tree of images; its uppermost subfolders, if there are two or more, are the classes.

    Subfolders ``train``, ``val`` (``valid``, ``validation``) and ``test``, also with a size as in ``train_64x64``, are
    the splits, with the classes below them. Without ``test``, ``val`` serves as test split, as is usual for ImageNet;
    what is missing then is cut from the training part by a fixed seed. Where one part has no class subfolders the set
    has no classes.

    Args:
        path: the tree; a relative path starts in the current folder or, if it is not there, in ``<root>``.
    """

    name: ClassVar[str] = "folder"
    decoded: ClassVar[bool] = True

    needed: ClassVar[dict[str, str]] = {"path": "give the folder of the images, data.path=photos"}

    path: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ConfigError("data.path", self.path, self.needed["path"])

    @property
    def folder(self) -> Path:
        path = Path(str(self.path)).expanduser()
        return path if path.is_absolute() or path.exists() else data_root(self.root) / path

    @cached_property
    def _folders(self) -> dict[str, Path]:
        """The folder of each part."""
        if not self.folder.is_dir():
            path = Path(str(self.path)).expanduser()
            tried = str(path) if path.is_absolute() else f"{path.absolute()} nor {self.folder}"
            raise DataError(f"no folder {tried}; give another data.path, or {LAYOUT}")
        named = {}
        for entry in sorted(self.folder.iterdir()):
            for pattern, part in PARTS.items():
                if entry.is_dir() and pattern.fullmatch(entry.name):
                    named[part] = entry
        if "train" not in named:
            return {"train": self.folder}
        if "test" not in named and "val" in named:
            named["test"] = named.pop("val")
        if len(named) == 1:
            say(f"{self.folder}: has {named['train'].name} alone; images to test and to validate with are cut from it")
        return named

    @property
    def parts(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(self._folders)

    @cached_property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        kinds = [
            {entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
            for folder in self._folders.values()
        ]
        return tuple(sorted(kinds[0])) if all(kinds) and len(kinds[0]) > 1 else ()

    @cached_property
    def picture_size(self) -> tuple[int, int]:  # type: ignore[override]
        if self.size is not None:
            return self.size, self.size
        pictures, _ = self.read("train")
        spoilt = {}
        for row in range(len(pictures)):
            try:
                first = pictures[row]
            except UNREADABLE as error:  # told with all others when they are decoded
                spoilt[pictures.title(row)] = why(error)
            else:
                return first.height, first.width
        raise UnreadableError(spoilt)

    def read(self, part: str) -> tuple[ImageFiles, np.ndarray | None]:
        folder = self._folders[part]
        files = image_files(folder)
        if not files:
            raise DataError(f"{folder}: holds no image ({', '.join(SUFFIXES)}); {LAYOUT}")
        if not self.labels:
            return ImageFiles(folder, files), None
        number = {name: i for i, name in enumerate(self.labels)}
        labels = np.array([number.get(Path(file).parts[0], -1) for file, *_ in files])
        if labels.min() < 0:
            raise DataError(f"{folder / files[int(labels.argmin())][0]}: belongs to no class of the training part")
        return ImageFiles(folder, files), labels
