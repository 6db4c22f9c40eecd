"""One picture of many runs: the picture of each in rows and columns, those that failed crossed out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from genlab.plots import save

FAILED = "#cc3311"


class Cell(NamedTuple):
    """One run in a montage.

    Args:
        picture: its file; None where there is none.
        said: figures, or why it failed.
        failed: whether it did.
    """

    picture: Path | None
    said: str
    failed: bool

    def words(self) -> str:
        """For a table."""
        return f"failed: {self.said}" if self.failed else self.said


def montage(
    path: str | Path,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Sequence[Cell]],
    title: str,
    size: float = 2.1,
) -> None:
    """Pictures in rows and columns, those of failed runs crossed out, with what is said of each below it.

    Args:
        path: of the PNG.
        rows: titles of the rows, from above.
        columns: of the columns, from the left.
        cells: runs by row and column; of several runs in one cell the first is drawn, and the others are counted.
        title: of the whole.
        size: of a cell, inches.
    """
    share = max((shape(cell.picture) for found in cells.values() for cell in found), default=1.0)
    whole = (size * len(columns) + 0.3, (size * share + 0.35) * len(rows) + 0.5)
    figure = Figure(figsize=whole, dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), len(columns), squeeze=False)
    for (i, row), (j, column) in product(enumerate(rows), enumerate(columns)):
        axes = panels[i, j]
        axes.set_xticks([])
        axes.set_yticks([])
        if i == 0:
            axes.set_title(column, fontsize=11)
        if j == 0:
            axes.set_ylabel(textwrap.fill(row, 22), fontsize=10)
        found = cells.get((row, column), ())
        if found:
            _cell(axes, found)
        else:
            axes.text(0.5, 0.5, "left out", transform=axes.transAxes, ha="center", va="center", color="#888888")
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def shape(picture: Path | None) -> float:
    """Height over width."""
    if picture is None or not picture.is_file():
        return 1.0
    with Image.open(picture) as image:
        return image.height / image.width


def _cell(axes: Any, found: Sequence[Cell]) -> None:
    """The first run of a cell, and how many of all failed."""
    first, failed = found[0], sum(cell.failed for cell in found)
    if first.picture is not None and first.picture.is_file():
        with Image.open(first.picture) as picture:
            axes.imshow(picture.convert("RGB"), interpolation="nearest" if picture.width < 200 else "antialiased")
    else:
        axes.text(0.5, 0.5, "no picture", transform=axes.transAxes, ha="center", va="center", color="#888888")
    if first.failed:
        for ends in ((0, 1), (1, 0)):
            axes.plot((0, 1), ends, transform=axes.transAxes, color=FAILED, linewidth=2, alpha=0.8)
    for side in axes.spines.values():
        side.set(color=FAILED if first.failed else "#bbbbbb", linewidth=2.5 if first.failed else 0.8)
    said = textwrap.fill(textwrap.shorten(first.words(), 75, placeholder=" ..."), 40)
    if len(found) > 1:
        said += f"\n{failed} of {len(found)} failed"
    axes.set_xlabel(said, fontsize=8, color=FAILED if first.failed else "black")
