"""Pictures of image samples: PNG grids that are legible at any image size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from genlab.errors import GenlabError
from genlab.files import picture
from genlab.spec import Spec

SMALLEST = 400  # pixels of the shorter side of a grid
PAPER = 160  # brightness of the gutters: seen beside black images and beside white ones
LETTERS = ImageFont.load_default(12)
LINE = 18  # pixels that a line of titles is high


class Titles(NamedTuple):
    """What stands beside a grid.

    Args:
        above: titles of columns, each over so many of them, in turn from the left.
        left: one for each row.
        corner: what those are of.
    """

    above: Sequence[tuple[str, int]] = ()
    left: Sequence[str] = ()
    corner: str = ""


UNTITLED = Titles()


def save_grid(
    path: str | Path,
    x: Tensor,
    spec: Spec,
    columns: int | None = None,
    groups: Sequence[int] = (),
    titles: Titles = UNTITLED,
) -> None:
    """Write ``grid`` as a PNG, whole or not at all.

    Args:
        path: of the file.
        x: integer levels, (N, C, H, W).
        spec: of the images.
        columns: images in a row; the nearest to a square by default.
        groups: how many neighbours belong together, in turn from the left; a wider gutter follows each group.
        titles: beside the images.

    Raises:
        PictureError: the file cannot be written.
    """
    drawn = grid(x, spec, columns, groups, titles)
    with picture(path) as partial:
        drawn.save(partial, format="PNG")


def grid(
    x: Tensor, spec: Spec, columns: int | None = None, groups: Sequence[int] = (), titles: Titles = UNTITLED
) -> Image.Image:
    """Images in rows, read from left to right, with gutters between and around them.

    Levels 0 ... levels - 1 go to 0 ... 255; one channel is grey, three are colour, of any other number the first is
    shown. Small images are enlarged by whole factors, each pixel becoming a square, until the grid has at least
    ``SMALLEST`` pixels a side and room for its titles.
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
    lefts = [gutter + column * (width + gutter) + before[column] for column in range(columns)]
    above = [(text, lefts[first], lefts[last] + width) for text, first, last in spanned(titles.above, columns)]
    needed = [LETTERS.getlength(text) / (right - left) for text, left, right in above]
    needed += [LINE / (height + gutter)] if titles.left else []
    factor = max(1, math.ceil(SMALLEST / min(sheet.shape[:2])), *map(math.ceil, needed))
    picture = Image.fromarray(sheet.repeat_interleave(factor, 0).repeat_interleave(factor, 1).squeeze(2).numpy())
    if not above and not titles.left:
        return picture
    margin = math.ceil(max(map(LETTERS.getlength, (*titles.left, titles.corner)))) + 6 if titles.left else 0
    framed = Image.new(picture.mode, (picture.width + margin, picture.height + LINE * bool(above)), "white")
    framed.paste(picture, (margin, framed.height - picture.height))
    pen = ImageDraw.Draw(framed)
    for text, left, right in above:
        pen.text((margin + factor * (left + right) / 2, LINE / 2), text, "black", LETTERS, anchor="mm")
    for row, text in enumerate(titles.left):
        middle = factor * (gutter + row * (height + gutter) + height / 2) + framed.height - picture.height
        pen.text((margin / 2, middle), text, "black", LETTERS, anchor="mm")
    pen.text((margin / 2, LINE / 2), titles.corner, "black", LETTERS, anchor="mm")
    return framed


def spanned(above: Sequence[tuple[str, int]], columns: int) -> Iterator[tuple[str, int, int]]:
    """Titles over so many columns each, over and over, with the first and the last of their columns."""
    first = 0
    for text, count in itertools.cycle(above) if above else ():
        if first >= columns:
            return
        yield text, first, min(first + count, columns) - 1
        first += count
