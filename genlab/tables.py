"""Tables of figures: rich in a terminal, CSV, Markdown or LaTeX elsewhere, all with their marks and their protocol."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from genlab.errors import ConfigError, nearest
from genlab.metrics.base import Figure

FORMATS = ("rich", "csv", "markdown", "latex", "html")
NOTHING = "-"
HUGE = 1e12  # figures from here on are written with an exponent
SMALL = 1e-3  # and those below
SMALLEST = 1e-6  # with an error of less than this, if they have one
MARKS = "= exact; <= and >= a bound on the true figure; ~ a stochastic estimate; no mark: a score"
PAGE = 160  # columns of a pipe that one reads; a table that is turned over is not wider
WIDE = 8  # figures that a terminal or a page shows side by side

FIRST = ("bpd", "nats", "negative_elbo", "fid", "is", "kid", "precision_3", "recall_3", "modes", "high_quality")
"""Figures that a table of all begins with, with or without an extractor's name."""


class Table(NamedTuple):
    """Columns of text, then columns of figures.

    Args:
        texts: titles of the columns of text.
        figures: titles of the columns of figures.
        rows: the texts and, by title, the figures of each row; a figure that is missing becomes a dash.
        caption: lines below the table.
    """

    texts: Sequence[str]
    figures: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Mapping[str, Figure]]]
    caption: Sequence[str]

    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [
            [*texts, *(written(found[title]) if title in found else NOTHING for title in self.figures)]
            for texts, found in self.rows
        ]

    def filled(self) -> Table:
        """Without columns of text in which no row has one."""
        kept = [at for at in range(len(self.texts)) if not self.rows or any(texts[at] for texts, _ in self.rows)]
        rows = [([texts[at] for at in kept], found) for texts, found in self.rows]
        return self._replace(texts=[self.texts[at] for at in kept], rows=rows)

    def parts(self, text: str) -> dict[str, Table]:
        """A table for each value of a column of text, without the figures that none of its rows has."""
        at = list(self.texts).index(text)
        parts = {}
        for value in dict.fromkeys(texts[at] for texts, _ in self.rows):
            rows = [(texts, found) for texts, found in self.rows if texts[at] == value]
            figures = [title for title in self.figures if any(title in found for _, found in rows)]
            parts[value] = self._replace(figures=figures, rows=rows)
        return parts

    def fitted(self) -> tuple[list[str], list[list[str]], int]:
        """Titles, rows, and how many columns from the left are text: turned over, so that each figure has a line of
        its own, where there are more of them than fit side by side."""
        titles, rows = [*self.texts, *self.figures], self.cells()
        if len(self.figures) <= WIDE:
            return titles, rows, len(self.texts)
        titles, *rows = [list(line) for line in zip(titles, *rows, strict=True)]
        return titles, rows, 1


def leading(titles: Sequence[str]) -> list[str]:
    """Titles of figures, those of ``FIRST`` first and in that order, the others as they stand."""

    def place(title: str) -> int:
        found = (at for at, name in enumerate(FIRST) if title == name or title.startswith((f"{name}_", f"{name} (")))
        return next(found, len(FIRST))

    return sorted(titles, key=place)


def written(figure: Figure) -> str:
    """``<= 1.912 ± 0.013``: decimals as many as the error's two leading digits.

    Without an error there are five digits and at most three decimals, or an exponent. A count has no decimals, and no
    zero a sign."""
    value, spread = figure.value, figure.stderr
    if isinstance(value, int) and not spread:
        return f"{figure.mark} {value}".lstrip()
    if abs(value) >= HUGE:
        return f"{figure.mark} {value:.3e}".lstrip() + (f" ± {spread:.1e}" if spread else "")
    digits = max(1, math.floor(math.log10(abs(value)))) if math.isfinite(value) and value else 1
    decimals = max(0, 4 - digits) if not spread else min(6, max(0, 1 - math.floor(math.log10(spread))))
    if 0 < abs(value) < SMALL and (not spread or spread < SMALLEST):
        return f"{figure.mark} {value:.1e}".lstrip() + (f" ± {spread:.1e}" if spread else "")
    text = f"{round(value, decimals) + 0.0:.{decimals}f}" + ("" if spread is None else f" ± {spread:.{decimals}f}")
    return f"{figure.mark} {text}".lstrip()


def show(table: Table, format: str = "rich") -> None:
    """Print on stdout; the caption of a CSV table goes to stderr, where no program reads it as a row.

    Raises:
        ConfigError: no such format.
    """
    printers = {"rich": _rich, "csv": _csv, "markdown": _markdown, "latex": _latex}
    if format not in printers:
        raise ConfigError("format", format, f"is one of {', '.join(FORMATS)}", nearest(format, FORMATS))
    printers[format](table)


def _rich(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as Rich
    from rich.text import Text

    console = Console() if sys.stdout.isatty() else Console(width=1000)  # never cut in a pipe
    titles, rows, left = table.fitted()
    for columns in blocks(titles, rows, left, min(console.width, PAGE) if left == 1 else console.width):
        drawn = Rich()
        for number in columns:
            drawn.add_column(Text(titles[number]), justify="left" if number < left else "right", overflow="fold")
        for number, row in enumerate(rows, 1):
            cells = (Text(row[column]) for column in columns)
            drawn.add_row(*cells, end_section=left == 1 and number == len(table.texts) - 1)
        console.print(drawn)
    for line in table.caption:
        console.print(Text(line, style="dim"), soft_wrap=True)


def blocks(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int, width: int) -> list[list[int]]:
    """Which columns stand in each of the tables, one below the other, that a wide one becomes on so many characters:
    the ``left`` ones in all of them, and of the others as many as fit, one at least."""
    sizes = [3 + max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    found: list[list[int]] = []
    room = 0
    for column in range(left, len(titles)):
        if not found or sizes[column] > room:
            found.append(list(range(left)))
            room = width - 1 - sum(sizes[:left])
        found[-1].append(column)
        room -= sizes[column]
    return found or [list(range(len(titles)))]


def _csv(table: Table) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    titles = [title + part for title in table.figures for part in ("", " mark", " error")]
    writer.writerow([*table.texts, *titles])
    for texts, found in table.rows:
        cells: list[Any] = list(texts)
        for title in table.figures:
            figure = found.get(title)
            cells += ["", "", ""] if figure is None else [figure.value, figure.mark, figure.stderr]
        writer.writerow(cells)
    for line in table.caption:
        print(line, file=sys.stderr)


def _markdown(table: Table) -> None:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    print(line([*table.texts, *table.figures]))
    print(line(["---"] * len(table.texts) + ["---:"] * len(table.figures)))
    for row in table.cells():
        print(line(row))
    print()
    for text in table.caption:
        print(f"* {text}")


def _latex(table: Table) -> None:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_tex, cells)) + r" \\"

    print(r"\begin{tabular}{" + "l" * len(table.texts) + "r" * len(table.figures) + "}")
    print(r"\toprule", line([*table.texts, *table.figures]), r"\midrule", sep="\n")
    for row in table.cells():
        print(line(row))
    print(r"\bottomrule", r"\end{tabular}", sep="\n")
    for text in table.caption:
        print(f"% {text}")


def _tex(text: str) -> str:
    text = text.replace("\\", r"\textbackslash ")
    for special in "_%&#$":
        text = text.replace(special, "\\" + special)
    for plain, escaped in (("<=", r"$\le$"), (">=", r"$\ge$"), ("~", r"$\sim$"), ("±", r"$\pm$")):
        text = text.replace(plain, escaped)
    return "--" if text == NOTHING else text
