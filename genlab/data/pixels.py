"""Operations on 8-bit pixels: size, grey, bit depth, binarisation. Arrays are (N, C, H, W) or (C, H, W) uint8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genlab.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

BLOCK = 4096  # images at a time where an operation needs floats of all its pixels


def luma(x: np.ndarray) -> np.ndarray:
    """One channel from three, (299 R + 587 G + 114 B) / 1000 (ITU-R 601) in Pillow's integer arithmetic."""
    out = np.empty((len(x), 1, *x.shape[2:]), np.uint8)
    for i in range(0, len(x), BLOCK):
        r, g, b = np.moveaxis(x[i : i + BLOCK].astype(np.uint32), 1, 0)
        out[i : i + BLOCK, 0] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16
    return out


def coarsen(x: np.ndarray, levels: int, kept: int) -> np.ndarray:
    """floor(x * kept / levels): fewer levels of equal width."""
    if kept == levels:
        return x
    return (np.arange(256, dtype=np.uint16) * kept // levels).astype(np.uint8)[x]


def binarize(x: np.ndarray, levels: int, generator: np.random.Generator) -> np.ndarray:
    """Each pixel from Bernoulli(x / (levels - 1))."""
    if x.ndim == 3:
        return (generator.random(x.shape, np.float32) * (levels - 1) < x).astype(np.uint8)
    out = np.empty_like(x)
    for i in range(0, len(x), BLOCK):
        block = x[i : i + BLOCK]
        out[i : i + BLOCK] = generator.random(block.shape, np.float32) * (levels - 1) < block
    return out


def fitted(image: Image, size: int) -> Image:
    """The image with its shorter side resized to ``size`` and its longer one cropped at the centre."""
    from PIL import Image as Pillow

    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Pillow.Resampling.LANCZOS)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def resize(x: np.ndarray, height: int, width: int, levels: int = 256) -> np.ndarray:
    """Arrays resized by Pillow, (N, C, H, W) to (N, C, height, width); height equals width unless they are kept."""
    from PIL import Image as Pillow

    out = np.empty((*x.shape[:2], height, width), np.uint8)
    for image, to in zip(x, out, strict=True):
        picture = Pillow.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
        resized = np.asarray(fitted(picture, height))
        to[...] = resized[None] if resized.ndim == 2 else resized.transpose(2, 0, 1)
    return out if levels == 256 else out.clip(0, levels - 1)  # Lanczos overshoots


def eight_bits(image: Image, channels: int) -> Image:
    """A Pillow image with levels 0 ... 255, grey or colour; one of 16 bits is scaled, where Pillow would cut it off.

    Raises:
        DataError: its numbers have no range that is known.
    """
    from PIL import Image as Pillow

    if image.mode.startswith("I"):
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise DataError("has more than 16 bits a pixel")
        image = Pillow.fromarray((wide / 257).round().astype(np.uint8))
    elif image.mode == "F":
        raise DataError("has floating-point pixels, whose range nobody knows")
    if image.mode == "P" and "transparency" in image.info:  # which Pillow warns of, else
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def from_picture(image: Image, channels: int, size: int | None, expected: tuple[int, int]) -> np.ndarray:
    """A Pillow image as (C, H, W) uint8, of ``channels`` and ``size``; transparency goes to black by convention."""
    image = eight_bits(image, channels)
    if size is not None:
        image = fitted(image, size)
    elif image.size[::-1] != expected:
        height, width = expected
        raise DataError(f"is {image.height} x {image.width}, others are {height} x {width}; give data.size")
    x = np.asarray(image)
    return x[None] if x.ndim == 2 else x.transpose(2, 0, 1)
