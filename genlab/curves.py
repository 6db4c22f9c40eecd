"""Curves: what training logged, figures over the checkpoints of a run, and figures of a sweep against an option."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import LogLocator

from genlab.evaluation.results import controls
from genlab.metrics.base import Figure
from genlab.plots import COLOURS, save
from genlab.repetitions import average
from genlab.run import Run
from genlab.training.journal import read

LEFT_OUT = ("seconds", "steps_per_second", "learning_rate", "gradient_norm")
PANELS = 4
LEAST = 3  # steps of a course
FEW = 12  # places on an axis that are told one by one
MARKERS = {"<=": "v", ">=": "^"}  # the true figure lies that way
SPLITS = {"train": ":", "val": "-."}  # how lines of real examples are broken, but for those of the test split
ALONG = ("checkpoint", "step")  # entries of a protocol that change along a course
Course = list[tuple[int, Figure]]


def logged(run: Run) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Steps and values by name, by what stands before the slash of a column of metrics.csv."""
    panels: dict[str, dict[str, list[tuple[int, float]]]] = {}
    path = run.path / "metrics.csv"
    if not path.is_file():
        return panels
    for row in read(path)[1]:
        for column, text in row.items():
            panel, _, name = column.rpartition("/")
            if column == "step" or name in LEFT_OUT or not text:
                continue
            value = float(text)
            if math.isfinite(value):
                panels.setdefault(panel or "loss", {}).setdefault(name, []).append((int(row["step"]), value))
    return panels


def logged_at(run: Run, column: str, step: int) -> float | None:
    """What metrics.csv holds of a step: the mean of the steps that were logged together with it; of seconds, those that
    had passed. None where it holds nothing."""
    path = run.path / "metrics.csv"
    if not path.is_file():
        return None
    rows = [(int(row["step"]), float(row[column])) for row in read(path)[1] if row.get(column)]
    before, after = [(0, 0.0), *(row for row in rows if row[0] < step)][-1], [row for row in rows if row[0] >= step]
    if not after:
        return None
    (last, value), (first, elapsed) = after[0], before
    if column != "seconds":
        return value
    return elapsed + (value - elapsed) * (step - first) / (last - first)


def meeting(line: Sequence[tuple[float, int, Figure]], by_step: bool) -> list[tuple[float, Figure]]:
    """Pairs (x, figure) of triples (x, step, figure); ``by_step``: runs stand at one x at each step, their mean."""
    steps: dict[int, list[float]] = {}
    for place, step, _ in line:
        steps.setdefault(step, []).append(place)
    return [(sum(steps[step]) / len(steps[step]) if by_step else place, figure) for place, step, figure in line]


def courses(run: Run) -> dict[str, dict[str, Course]]:
    """Figures over the checkpoints of a run, by name, and by what tells protocols of one name apart: steps ascending.

    What was measured of fewer than ``LEAST`` steps is no course.
    """
    found: dict[str, dict[str, dict[int, Figure]]] = {}
    for entry in run.metrics.get("figures", []):
        protocol = {key: value for key, value in entry["protocol"].items() if key not in ALONG}
        alike = found.setdefault(entry["name"], {}).setdefault(json.dumps(protocol, sort_keys=True), {})
        alike[int(entry["step"])] = Figure(entry["value"], entry["mark"], entry["stderr"], entry["protocol"])
    long = {
        name: {protocol: sorted(steps.items()) for protocol, steps in alike.items() if len(steps) >= LEAST}
        for name, alike in found.items()
    }
    return {name: dict(zip(apart(list(alike)), alike.values(), strict=True)) for name, alike in long.items() if alike}


def apart(protocols: Sequence[str]) -> list[str]:
    """What each of some protocols, as JSON, has that others have not, in words; empty of one alone."""
    entries = [json.loads(protocol) for protocol in protocols]
    keys = sorted({key for one in entries for key in one if any(other.get(key) != one[key] for other in entries)})
    return [", ".join(f"{key} {one.get(key)}" for key in keys) for one in entries]


Panel = Callable[[Any], None]
"""Draws on the axes that it is given."""


def of_training(run: Run) -> list[Panel]:
    """Panels of what training logged."""

    def panel(axes: Any, title: str, series: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        for number, (name, points) in enumerate(series.items()):
            steps, values = zip(*points, strict=True)
            marker = "o" if len(points) == 1 else None
            axes.plot(steps, values, color=COLOURS[number % len(COLOURS)], label=name, linewidth=1.2, marker=marker)
        finish(axes, title, "step")

    return [partial(panel, title=title, series=series) for title, series in logged(run).items()]


def of_checkpoints(run: Run) -> list[Panel]:
    """Panels of figures over checkpoints. Real examples that were measured beside the run are a dashed line."""
    real = {(row.run, name): figure for row, _ in controls(run) for name, figure in row.figures.items()}

    def panel(axes: Any, name: str, alike: Mapping[str, Course]) -> None:
        for number, (label, course) in enumerate(alike.items()):
            steps, figures = zip(*course, strict=True)
            draw(axes, steps, figures, COLOURS[number % len(COLOURS)], label)
        for (title, of), figure in real.items():
            if of == name:
                level(axes, title, figure)
        mark = next(iter(alike.values()))[0][1].mark
        finish(axes, f"{name} {mark}" if mark in MARKERS else name, "step")

    return [partial(panel, name=name, alike=alike) for name, alike in courses(run).items()]


def as_png(panels: Sequence[Panel], path: Path) -> None:
    """One picture of all, four in a row."""
    with styled():
        picture, axes = sheet(len(panels))
        FigureCanvasAgg(picture)
        for panel, each in zip(panels, axes, strict=True):
            panel(each)
        save(picture, path)


def as_svg(panel: Panel) -> str:
    """For a page, whose background and colour of text it takes: dark on paper, light on a dark screen."""
    with styled():
        picture, (axes,) = sheet(1)
        FigureCanvasSVG(picture)
        panel(axes)
        drawn = io.StringIO()
        bare = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        picture.savefig(drawn, format="svg", metadata=bare, transparent=True)
    text = drawn.getvalue()
    text = text[text.index("<svg") :].replace("#000000", "currentColor")
    return re.sub(r'<g id="[^"]*"', "<g", text)  # not unique on a page of many, and never referred to


def against(
    path: Path,
    x: str,
    series: Mapping[str, Mapping[str, Sequence[tuple[float, Figure]]]],
    exact: Mapping[str, Mapping[str, Sequence[Any] | str]],
    real: Mapping[str, Mapping[str, Figure]] | None = None,
    log: Sequence[str] = (),
    joined: bool = True,
) -> None:
    """A PNG of figures against an option, or a course: a panel a figure, a line for each kind of run.

    Runs of one kind at one place are points, through whose mean the line goes; its bars are their standard deviation,
    as in the table. A triangle says on which side of a bound the true figure lies.

    Args:
        path: of the file.
        x: name of the option.
        series: pairs (x, figure) by figure and kind of run.
        exact: true values by figure and name, as ``points_of`` reads them, drawn dashed, in the colour of the kind of
            run that has the name; infinite ones are named only, a point between gaps is a ring, and no line joins what
            was measured beside gaps.
        real: figures of real examples by figure and title, dashed lines.
        log: which axes are logarithmic: ``x``, and names of figures.
        joined: a line goes through the points of a kind.
    """
    with styled():
        picture, axes = sheet(len(series), size=(4.6, 3.6))
        FigureCanvasAgg(picture)
        for each, (name, lines) in zip(axes, series.items(), strict=True):
            places = sorted({place for line in lines.values() for place, _ in line})
            kinds = sorted(lines, key=by_size)
            colours = {kind: COLOURS[number % len(COLOURS)] for number, kind in enumerate(kinds)}
            jumps = any(not isinstance(known, str) and None in known for known in exact.get(name, {}).values())
            for kind in kinds:
                draw_kind(each, kind, lines[kind], colours[kind], joined, "none" if jumps else "-")
            for number, (truth, known) in enumerate(exact.get(name, {}).items()):
                pairs = points_of(known, places)
                if not pairs:
                    continue  # the sweep was narrowed: which of them are meant is not known
                style = {
                    "color": colours.get(truth, "black"),
                    "linestyle": ("--", ":")[number % 2 * (truth not in lines)],
                }
                endless = ", infinite elsewhere" if any(math.isinf(value) for _, value in pairs) else ""
                drawn = [(at, value if math.isfinite(value) else math.nan) for at, value in pairs]
                label = f"{truth}, exact" if truth in lines else truth + endless
                each.plot(*zip(*drawn, strict=True), label=label, **style)
                each.plot(*zip(*(lone(drawn) or [(math.nan, math.nan)]), strict=True), "o", mfc="none", color="black")
            for title, figure in (real or {}).get(name, {}).items():
                level(each, title, figure)
            if "x" in log and min(places) > 0:
                each.set_xscale("log")
                if joined and len(places) <= FEW:
                    each.set_xticks(places, [f"{place:g}" for place in places])
                    each.minorticks_off()
            if name in log and all(figure.value > 0 for line in lines.values() for _, figure in line):
                each.set_yscale("log")
                each.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
                each.yaxis.set_major_formatter("{x:g}")
                each.yaxis.set_minor_formatter("{x:g}")
            finish(each, name, x)
        save(picture, path)


def points_of(known: Sequence[Any] | str, places: Sequence[float]) -> list[tuple[float, float]]:
    """Points of a true curve: numbers, one for each of the places in ascending order, or pairs (x, value) of its own,
    with straight lines between them and a gap at ``None``, which becomes NaN; or ``x``, equal to it. Empty: numbers of
    other places."""
    if isinstance(known, str):
        return [(at, at) for at in places]
    if all(isinstance(value, int | float) for value in known):
        pairs = [(at, float(value)) for at, value in zip(places, known, strict=False)]
        return pairs if len(known) == len(places) else []
    return [(math.nan, math.nan) if pair is None else (float(pair[0]), float(pair[1])) for pair in known]


def lone(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points with a gap on either side, which no line shows."""
    there = [False, *(math.isfinite(value) for _, value in points), False]
    return [pair for at, pair in enumerate(points, 1) if there[at] and not there[at - 1] and not there[at + 1]]


def exactly(points: Sequence[tuple[float, float]], x: float) -> float | None:
    """The value of a true curve at x: a later point of it stands for an earlier line. None where it has none."""
    found = [value for at, value in points if at == x]
    for (low, below), (high, above) in itertools.pairwise(points) if not found else ():
        if low < x < high:
            found.append(below if below == above else below + (above - below) * (x - low) / (high - low))
    return found[-1] if found else None


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Spearman's: the correlation of ranks, those of equals being their mean; 0 where all are equal on a side."""
    ranks = []
    for values in zip(*pairs, strict=True):
        ranks.append(
            [sum(other < value for other in values) + sum(other == value for other in values) / 2 for value in values]
        )
    middle = len(pairs) / 2
    x, y = ([rank - middle for rank in side] for side in ranks)
    spread = math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))
    return sum(a * b for a, b in zip(x, y, strict=True)) / spread if spread else 0.0


def by_size(kind: str) -> tuple[bool, float, str]:
    """For sorting: numbers by size, then words."""
    try:
        return False, float(kind), kind
    except ValueError:
        return True, 0.0, kind


def draw_kind(
    axes: Any,
    kind: str,
    line: Sequence[tuple[float, Figure]],
    colour: str,
    joined: bool = True,
    style: str = "-",
) -> None:
    """Runs of one kind as points, and the line through their means; or as points alone."""
    if not joined:
        pairs = [(at, figure.value) for at, figure in line]
        told = f", rank correlation {rank_correlation(pairs):.2f}" if len(pairs) > 2 else ""
        axes.scatter(*zip(*pairs, strict=True), s=14, color=colour, label=f"{kind}{told}")
        return
    places = sorted({place for place, _ in line})
    repeated = [[figure for at, figure in line if at == place] for place in places]
    runs = max(map(len, repeated))
    if runs > 1:
        axes.scatter(*zip(*((at, figure.value) for at, figure in line), strict=True), s=9, color=colour, alpha=0.5)
    label = f"{kind}, {runs} runs: mean ± deviation" if runs > 1 else kind
    draw(axes, places, [average(figures) for figures in repeated], colour, label, style)


def draw(
    axes: Any, places: Sequence[float], figures: Sequence[Figure], colour: str, label: str, style: str = "-"
) -> None:
    """A line through figures, with bars of their errors and, where one is a bound, a triangle."""
    values, errors = [figure.value for figure in figures], [figure.stderr or 0.0 for figure in figures]
    line: dict[str, Any] = {"color": colour, "linestyle": style, "linewidth": 1.2, "elinewidth": 0.8, "capsize": 2}
    line |= {"marker": "o", "markersize": 3} if style == "none" else {}  # for the legend
    axes.errorbar(places, values, errors, label=label or None, **line)
    for place, figure in zip(places, figures, strict=True):
        axes.plot([place], [figure.value], color=colour, marker=MARKERS.get(figure.mark, "o"), markersize=4)


def level(axes: Any, title: str, figure: Figure) -> None:
    """A broken line at the figure of real examples, which says of how many; other splits are broken otherwise."""
    count = figure.protocol.get("n generated")
    said = f"{title} {figure.mark} {figure.value:.4g}".replace("  ", " ") + (f" (n {count})" if count else "")
    style = next((broken for split, broken in SPLITS.items() if split in title.split()), "--")
    axes.axhline(figure.value, color="#888888", linestyle=style, linewidth=1, label=said)


def finish(axes: Any, title: str, x: str) -> None:
    """Titles, and a legend where something has a name."""
    axes.set_title(title)
    axes.set_xlabel(x)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=7)


def sheet(count: int, size: tuple[float, float] = (3.6, 2.6)) -> tuple[Picture, list[Any]]:
    """A white sheet of so many panels, four in a row."""
    columns, rows = min(count, PANELS), -(-count // PANELS)
    picture = Picture(figsize=(size[0] * columns, size[1] * rows), dpi=110, facecolor="white", layout="constrained")
    axes = list(picture.subplots(rows, columns, squeeze=False).flatten())
    for spare in axes[count:]:
        spare.set_axis_off()
    return picture, axes[:count]


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Small letters, which a browser sets, and names taken as they are: no dollar sign begins a formula."""
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "genlab", "font.size": 9, "text.parse_math": False}):
        yield
