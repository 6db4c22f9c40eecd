"""Pictures of image samples: PNG grids that are legible at any image size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from genlab.errors import GenlabError
from genlab.run import atomic
from genlab.spec import Spec

SMALLEST = 400  # pixels of the shorter side of a grid
PAPER = 160  # brightness of the gutters: seen beside black images and beside white ones


def save_grid(path: str | Path, x: Tensor, spec: Spec, columns: int | None = None, groups: Sequence[int] = ()) -> None:
    """Write ``grid`` as a PNG, whole or not at all.

    Args:
        path: of the file.
        x: integer levels, (N, C, H, W).
        spec: of the images.
        columns: images in a row; the nearest to a square by default.
        groups: how many neighbours belong together, in turn from the left; a wider gutter follows each group.

    Raises:
        GenlabError: the file cannot be written.
    """
    picture = grid(x, spec, columns, groups)
    try:
        with atomic(Path(path)) as partial:
            picture.save(partial, format="PNG")
    except OSError as error:
        raise GenlabError(f"{path}: cannot write the picture: {error.strerror or error}") from None


def grid(x: Tensor, spec: Spec, columns: int | None = None, groups: Sequence[int] = ()) -> Image.Image:
    """Images in rows, read from left to right, with gutters between and around them.

    Levels 0 ... levels - 1 go to 0 ... 255; one channel is grey, three are colour, of any other number the first is
    shown. Small images are enlarged by whole factors, each pixel becoming a square, until the grid has at least
    ``SMALLEST`` pixels a side.
    """
    if spec.kind != "image" or spec.levels is None:
        raise GenlabError(f"a grid is of images with integer levels, not of {spec.kind} data of shape {spec.shape}")
    count, _, height, width = x.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    gutter = 1 if min(height, width) <= 16 else 2
    pixels = (x.detach().cpu().float() * (255 / (spec.levels - 1))).round().clamp(0, 255).to(torch.uint8)
    pixels = pixels if pixels.shape[1] in (1, 3) else pixels[:, :1]
    channels = pixels.shape[1]
    group = [number for number, count in enumerate(groups) for _ in range(count)] or [0]  # of the columns, repeated
    before = [
        3 * gutter * (column // len(group) * len(groups) + group[column % len(group)]) for column in range(columns)
    ]
    breadth = columns * (width + gutter) + gutter + before[-1]
    sheet = torch.full((rows * (height + gutter) + gutter, breadth, channels), PAPER).byte()
    for number, image in enumerate(pixels.permute(0, 2, 3, 1)):
        row, column = divmod(number, columns)
        top, left = gutter + row * (height + gutter), gutter + column * (width + gutter) + before[column]
        sheet[top : top + height, left : left + width] = image
    factor = max(1, math.ceil(SMALLEST / min(sheet.shape[:2])))
    sheet = sheet.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    return Image.fromarray(sheet.squeeze(2).numpy())
