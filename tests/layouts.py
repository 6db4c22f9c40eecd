"""Generated files in exactly the layouts of CelebA and LSUN: real JPEG, WebP and lmdb, made-up pictures."""

import io
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image

from genlab.data.celeba import ATTRIBUTES


def smooth(random: np.random.RandomState, width: int, height: int) -> Image.Image:
    """A photograph-like image: a few random colours, blown up."""
    return Image.fromarray(random.randint(0, 256, (4, 4, 3)).astype(np.uint8)).resize((width, height))


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, quality=95)
    return file.getvalue()


def make_celeba(root: Path, train: int = 160, val: int = 40, test: int = 40) -> None:
    """CelebA's files below ``root``; parts follow one another as in the official partition."""
    folder, random = root / "celeba", np.random.RandomState(0)
    (folder / "img_align_celeba").mkdir(parents=True)
    lines, parts = [], []
    for i, part in enumerate([0] * train + [1] * val + [2] * test):
        name = f"{i + 1:06d}.jpg"
        smooth(random, 178, 218).save(folder / "img_align_celeba" / name, quality=95)
        values = ["1" if random.rand() < 0.5 else "-1" for _ in ATTRIBUTES]
        lines.append(f"{name} " + " ".join(value.rjust(2) for value in values))
        parts.append(f"{name} {part}")
    (folder / "list_attr_celeba.txt").write_text(f"{len(parts)}\n{' '.join(ATTRIBUTES)}\n" + "\n".join(lines) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")


def make_lsun(root: Path, category: str, train: int = 120, val: int = 30) -> None:
    """The two lmdb folders of a category below ``root``; the shorter side is 64, not 256, to save time."""
    random = np.random.RandomState(1)
    for part, count in (("train", train), ("val", val)):
        path = root / "lsun" / f"{category}_{part}_lmdb"
        path.mkdir(parents=True)
        with lmdb.open(str(path), map_size=1 << 26) as file, file.begin(write=True) as transaction:
            for i in range(count):
                image = smooth(random, 96, 64) if i % 2 else smooth(random, 64, 80)
                transaction.put(random.bytes(20).hex().encode(), encoded(image, "WEBP" if i % 3 else "JPEG"))
