"""CelebA, aligned and cropped, with its 40 attributes and the official partition, in the makers' layout."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from genlab.data.base import Images
from genlab.data.files import ordinary
from genlab.errors import ConfigError, DataError

ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
ZIP = "the makers' img_align_celeba.zip has 1443490838, md5:00d2c5bc6d35e252742224ab0c1e8fcb"


def written(path: str | Path) -> tuple[int, int] | None:
    """Bytes and time of a file; None where there is none, which is told when it is decoded."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


class Portraits:
    """The images of one part, from the folder of JPEG files or the makers' zip, cropped at the centre."""

    def __init__(self, source: Path, names: list[str], crop: int, partition: bytes):
        self.source, self.names, self.crop = source, names, crop
        self._zip = zipfile.ZipFile(source) if source.suffix == ".zip" else None
        files = [source] if self._zip else [f"{source}/{name}" for name in names]
        found = hashlib.sha256(partition)
        found.update(repr([written(file) for file in files]).encode())
        self.fingerprint = f"{found.hexdigest()} {crop}"
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def title(self, row: int) -> str:
        return str(self.source / self.names[row])

    def __getitem__(self, row: int) -> Any:
        from PIL import Image

        if self._zip is None:
            file: Any = ordinary(self.source / self.names[row])
        else:
            try:
                with self._lock:
                    file = io.BytesIO(self._zip.read(f"img_align_celeba/{self.names[row]}"))
            except (KeyError, zipfile.BadZipFile) as error:
                raise DataError(f"cannot be read from the zip: {error}") from error
        with Image.open(file) as image:
            if image.size != (178, 218):
                raise DataError(f"expected 178 x 218 pixels, found {image.width} x {image.height}")
            left, top = (178 - self.crop) // 2, (218 - self.crop) // 2
            return image.crop((left, top, left + self.crop, top + self.crop))


@dataclass(kw_only=True)
class CelebA(Images):
    """202599 faces of celebrities with 40 binary attributes. (Liu et al. 2015, arXiv 1411.7766)

    The images are cropped at the centre to ``crop`` x ``crop`` and resized to ``size``. 148 is the crop of RealNVP
    (arXiv 1605.08803, section 4.1) and ALI; DCGAN and its descendants take 108, which cuts off hair and chin: figures
    of different crops do not compare. ``y`` is (N, 40) of zeros and ones.

    Under ``<root>/celeba``: ``img_align_celeba/*.jpg`` (or ``img_align_celeba.zip``), ``list_attr_celeba.txt`` and
    ``list_eval_partition.txt``, there or in the makers' subfolders ``Img``, ``Anno`` and ``Eval``. Their terms forbid
    automatic download.

    Args:
        crop: side of the central square that is kept, of 178 x 218 pixels.
    """

    name: ClassVar[str] = "celeba"
    attribute_names: ClassVar[tuple[str, ...]] = ATTRIBUTES
    parts: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    decoded: ClassVar[bool] = True

    size: int | None = 64
    crop: int = 148

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.crop <= 178:
            raise ConfigError("data.crop", self.crop, "is 1 to 178")
        if self.classes is not None:
            raise ConfigError("data.classes", self.classes, "celeba has attributes, no classes")

    @property
    def picture_size(self) -> tuple[int, int]:
        return (self.size or self.crop,) * 2

    def read(self, part: str) -> tuple[Portraits, np.ndarray]:
        attributes, partition, images = self._files()
        names, values = self._attributes(attributes)
        content = partition.read_bytes()
        chosen = self._partition(partition, content, names) == ("train", "val", "test").index(part)
        try:
            portraits = Portraits(images, [names[row] for row in np.flatnonzero(chosen)], self.crop, content)
        except (OSError, zipfile.BadZipFile) as error:
            told = "damaged, or not downloaded to its end" if isinstance(error, zipfile.BadZipFile) else error
            raise DataError(f"{images}: {told}, {images.stat().st_size} bytes; {ZIP}") from error
        return portraits, values[chosen]

    def _files(self) -> tuple[Path, Path, Path]:
        """The lists of attributes and of parts, and the images; all that are missing are told at once."""
        folders = (self.folder, *(self.folder / name for name in ("Img", "Anno", "Eval")))
        wanted = (
            ("list_attr_celeba.txt",),
            ("list_eval_partition.txt",),
            ("img_align_celeba", "img_align_celeba.zip"),
        )
        found = [
            next((path for name in names for folder in folders if (path := folder / name).exists()), None)
            for names in wanted
        ]
        missing = [names[-1] for names, path in zip(wanted, found, strict=True) if path is None]
        if missing:
            raise DataError(
                f"{self.folder / missing[0]}: no such file; CelebA's terms forbid automatic download: get "
                f"{', '.join(missing)} from {PAGE} and put {'them' if missing[1:] else 'it'} into {self.folder}"
            )
        attributes, partition, images = (path for path in found if path is not None)
        return ordinary(attributes), ordinary(partition), images if images.is_dir() else ordinary(images)

    @staticmethod
    def _attributes(path: Path) -> tuple[list[str], np.ndarray]:
        """File names, and attributes (N, 40) as 0 and 1 where the file has -1 and 1."""
        lines = path.read_text(errors="replace").splitlines()
        if len(lines) < 2 or not lines[0].strip().isdigit() or tuple(lines[1].split()) != ATTRIBUTES:
            raise DataError(f"{path}: expected a count and the names of the 40 attributes on the first two lines")
        rows = [line.split() for line in lines[2:] if line.strip()]
        if len(rows) != int(lines[0]):
            raise DataError(f"{path}: expected {lines[0].strip()} images by its first line, found {len(rows)}")
        for number, row in enumerate(rows, 3):
            if len(row) != 41 or not {"-1", "1"}.issuperset(row[1:]):
                raise DataError(f"{path}, line {number}: expected a file name and 40 values -1 or 1")
        return [row[0] for row in rows], np.array([row[1:] for row in rows]).astype(np.int8).clip(0).astype(np.uint8)

    @staticmethod
    def _partition(path: Path, content: bytes, names: list[str]) -> np.ndarray:
        """0, 1 or 2 for each of the images."""
        rows = [line.split() for line in content.decode(errors="replace").splitlines() if line.strip()]
        if any(len(row) != 2 or row[1] not in ("0", "1", "2") for row in rows):
            raise DataError(f"{path}: expected lines of a file name and 0, 1 or 2")
        part = {name: int(number) for name, number in rows}
        absent = next((name for name in names if name not in part), None)
        if absent is not None:
            raise DataError(f"{path}: expected a line for {absent}, found {len(part)} others")
        return np.array([part[name] for name in names])
