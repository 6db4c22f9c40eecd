"""Tables of figures: rich in a terminal, CSV, Markdown or LaTeX elsewhere, all with their marks and their protocol."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from genlab.errors import ConfigError, nearest
from genlab.metrics.base import Figure

FORMATS = ("rich", "csv", "markdown", "latex", "html")
NOTHING = "-"
VARIED = ("checkpoint", "step")  # told together in a caption: the lines of a table have them
HUGE = 1e12  # figures from here on are written with an exponent
WIDE = 8  # figures that a terminal shows side by side


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


def written(figure: Figure) -> str:
    """``<= 1.912 ± 0.013``: decimals as many as the error's two leading digits, or three."""
    spread = figure.stderr
    if abs(figure.value) >= HUGE:
        return f"{figure.mark} {figure.value:.3e}".lstrip()
    decimals = 3 if not spread else min(6, max(0, 1 - math.floor(math.log10(spread))))
    value = f"{figure.value:.{decimals}f}" + ("" if spread is None else f" ± {spread:.{decimals}f}")
    return f"{figure.mark} {value}".lstrip()


def caption(figures: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[str]:
    """Protocols in words, one line for each, after the figures and the models that share it; those of the same figures
    that differ in the checkpoint or its step alone are one line, with all of them.

    Args:
        figures: title of the figure, name of the model, protocol.
    """
    sharing: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for title, model, protocol in figures:
        titles, models = sharing.setdefault(json.dumps(protocol), ({}, {}))
        titles[title], models[model] = None, None
    lines: dict[tuple[str, str], tuple[dict[str, None], dict[str, dict[str, None]]]] = {}
    for text, (titles, models) in sharing.items():
        protocol = json.loads(text)
        rest = json.dumps({key: "" if key in VARIED else value for key, value in protocol.items()})
        together, varied = lines.setdefault((", ".join(titles), rest), ({}, {key: {} for key in VARIED}))
        together |= models
        for key in VARIED:
            varied[key][str(protocol.get(key))] = None
    return [
        f"{titles} of {', '.join(models)}: "
        + ", ".join(f"{key} {', '.join(varied.get(key, [str(value)]))}" for key, value in json.loads(rest).items())
        for (titles, rest), (models, varied) in lines.items()
    ]


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
    titles, rows, left = [*table.texts, *table.figures], table.cells(), len(table.texts)
    if len(table.figures) > WIDE:  # more figures than fit side by side: each on a line of its own
        titles, *rows = [list(line) for line in zip(titles, *rows, strict=True)]
        left = 1
    drawn = Rich()
    for number, title in enumerate(titles):
        drawn.add_column(Text(title), justify="left" if number < left else "right", overflow="fold")
    for number, row in enumerate(rows, 1):
        drawn.add_row(*map(Text, row), end_section=left == 1 and number == len(table.texts) - 1)
    console.print(drawn)
    for line in table.caption:
        console.print(Text(line, style="dim"), soft_wrap=True)


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
