"""Curves: what training logged, from a run's metrics.csv, and figures of a sweep against an option."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from genlab.plots import COLOURS, save
from genlab.run import Run

LEFT_OUT = ("steps_per_second", "learning_rate", "gradient_norm")
PANELS = 4


def logged(run: Run) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Steps and values by name, by what stands before the slash of a column of metrics.csv."""
    panels: dict[str, dict[str, list[tuple[int, float]]]] = {}
    path = run.path / "metrics.csv"
    if not path.is_file():
        return panels
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for column, text in row.items():
                panel, _, name = column.rpartition("/")
                if column == "step" or name in LEFT_OUT or not text:
                    continue
                value = float(text)
                if math.isfinite(value):
                    panels.setdefault(panel or "loss", {}).setdefault(name, []).append((int(row["step"]), value))
    return panels


def curves(run: Run) -> str:
    """An SVG of the curves; an empty text where nothing was logged. Dark lines on white: for print and for screens."""
    panels = dict(list(logged(run).items())[:PANELS])
    if not panels:
        return ""
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "genlab", "font.size": 9}):
        figure = Figure(figsize=(3.6 * len(panels), 2.6), facecolor="white", layout="constrained")
        FigureCanvasSVG(figure)
        for axes, (title, series) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            for number, (name, points) in enumerate(series.items()):
                steps, values = zip(*points, strict=True)
                marker = "o" if len(points) == 1 else None
                axes.plot(steps, values, color=COLOURS[number % len(COLOURS)], label=name, linewidth=1.2, marker=marker)
            axes.set_title(title)
            axes.set_xlabel("step")
            axes.legend(frameon=False, fontsize=7)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]


def against(
    path: Path,
    x: str,
    series: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    exact: Mapping[str, Mapping[str, Sequence[float]]],
) -> None:
    """A PNG of figures against an option: a panel a figure, a line with points for each kind of run.

    Args:
        path: of the file.
        x: name of the option.
        series: pairs (x, value) by figure and kind of run.
        exact: true values by figure and name, at the values of x in ascending order, drawn dashed; infinite ones are
            left out.
    """
    figure = Figure(figsize=(4.6 * len(series), 3.6), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, lines) in zip(figure.subplots(1, len(series), squeeze=False)[0], series.items(), strict=True):
        places = sorted({place for line in lines.values() for place, _ in line})
        for number, (kind, line) in enumerate(sorted(lines.items())):
            at, values = zip(*sorted(line), strict=True)
            axes.plot(at, values, color=COLOURS[number % len(COLOURS)], marker="o", label=kind, linewidth=1.2)
        for number, (truth, known) in enumerate(exact.get(name, {}).items()):
            if len(known) != len(places):
                continue  # the sweep was narrowed: which of them are meant is not known
            pairs = [pair for pair in zip(places, known, strict=False) if math.isfinite(pair[1])]
            axes.plot(*zip(*pairs, strict=True), color="black", linestyle=("--", ":")[number % 2], label=truth)
        axes.set_title(name)
        axes.set_xlabel(x)
        axes.legend(frameon=False, fontsize=8)
    save(figure, path)
