"""``genlab report``: one table of what evaluation has measured of any set of runs. Reads their folders only."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genlab import captions, tables
from genlab.errors import MANY, ConfigError, GenlabError, nearest
from genlab.evaluation.results import measured, stored
from genlab.evaluation.wanted import belongs, everything, wanted
from genlab.files import atomic
from genlab.metrics.base import Figure, comparable
from genlab.repetitions import (
    Measured,
    average,
    by_data,
    by_runs,
    group,
    originals,
    own,
    real_groups,
    repetitions,
    twins,
    variants,
)
from genlab.run import Run, kept_order
from genlab.training.journal import read

Kinds = dict[tuple[str, str], list[tuple[str, int]]]
"""Data set and name of a figure to what has a column of its own, in order."""


def main(options: Mapping[str, Any], as_json: bool = False) -> int:
    """Print the table.

    Returns:
        The exit code: 1 where one run of several is damaged, which is told and does not stop the others.

    Raises:
        ConfigError: a metric is named that no run has.
        GenlabError: nothing has been measured, the only run is damaged, or the file cannot be written.
    """
    named = options["run"]
    found = Run.find([named] if isinstance(named, str) else list(named))
    page = options.get("format") == "html"
    runs = [run for run in found if readable(run, len(found) == 1, page)]
    if not runs:
        if as_json:
            print("[]")
        return 1
    there = begun(runs)
    once = originals(there)
    for copy in [run for run in there if run not in once]:
        print(f"{os.path.relpath(copy.path)}: a copy of another of these runs, so left out", file=sys.stderr)
    for run, other in twins(once):
        told = f"{os.path.relpath(run.path)}: of one config and seed with {os.path.relpath(other.path)}"
        print(f"{told}, so their spread is not that over seeds", file=sys.stderr)
    table = tabulate(once, options.get("metrics") or "auto")
    without = [run for run in runs if any(run.checkpoints.glob("*.ckpt")) and not measured(run)]
    if empty := [os.path.relpath(run.path) for run in without if stored(run)["done"]]:
        print(f"{len(empty)} of {len(runs)} runs evaluated without a figure: {', '.join(empty)}", file=sys.stderr)
    bare = [os.path.relpath(run.path) for run in without if not stored(run)["done"]]
    if bare:
        which = ",".join(bare) if len(bare) < 4 or not isinstance(named, str) else named
        told = f"{len(bare)} of {len(runs)} runs not measured yet: genlab eval run={shlex.quote(which)}"
        if not table.figures and not as_json and not page:
            raise GenlabError(told)
        print(told, file=sys.stderr)
    if as_json:
        rows = [
            dict(zip(table.texts, texts, strict=True))
            | {"runs": int(texts[-1] or 0)}
            | {"metrics": {name: plain(figure) for name, figure in cells.items()}}
            for texts, cells in table.rows
        ]
        print(json.dumps(rows))
    elif page:
        from genlab import webpage

        path = Path(options.get("out") or "report.html")
        print(filed(path, webpage.page(table, runs)))
    elif options.get("out"):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            show(table, options.get("format") or "rich")
        print(filed(Path(options["out"]), shown.getvalue()))
    else:
        show(table, options.get("format") or "rich")
    return 0 if len(runs) == len(found) else 1


def show(table: tables.Table, format: str) -> None:
    """Print the table; for reading, one for each data set."""
    for number, part in enumerate([table] if format == "csv" else apart(table)):
        if number:
            print()
        tables.show(part.filled(), format)


def apart(table: tables.Table) -> list[tables.Table]:
    """A table for each data set, and below it how its own figures were measured; below the last what is said of all."""
    parts = [part._replace(caption=protocols(part)) for part in table.parts("data").values()]
    if not parts:
        return [table]
    return [*parts[:-1], parts[-1]._replace(caption=[*parts[-1].caption, *table.caption[len(protocols(table)) :]])]


def protocols(table: tables.Table) -> list[str]:
    """How the figures of a table were measured, in lines; of how many runs, a column says."""
    cells = [(title, texts[0], figure) for texts, found in table.rows for title, figure in found.items()]
    numbers = [
        line
        for part in table.parts("data").values()
        for line in captions.numbers([(texts[0], found) for texts, found in part.rows])
    ]
    known = [(title, model, without(figure.protocol, "runs")) for title, model, figure in cells]
    return [*captions.caption(known), *numbers]


def begun(runs: list[Run]) -> list[Run]:
    """Runs that have a checkpoint or figures; the others have no row, and that is told, with the reason.

    Raises:
        GenlabError: there are none.
    """
    found = [run for run in runs if any(run.checkpoints.glob("*.ckpt")) or (run.path / "metrics.json").is_file()]
    without = [run for run in runs if run not in found]
    told = []
    for run in without[:MANY]:
        reason = run.info.get("error")
        told.append(f"{os.path.relpath(run.path)} ({run.info.get('status')}{f': {reason}' if reason else ''})")
    if without:
        told += ["..."] * (len(without) > MANY)
        message = f"{len(without)} of {len(runs)} runs have no checkpoint:"
        if not found:
            raise GenlabError(f"{message} {'; '.join(told)}")
        print(message, *told, sep="\n  ", file=sys.stderr)
    return found


def readable(run: Run, alone: bool, page: bool) -> bool:
    """Whether config, state and figures of a run can be read, and for a ``page`` its log; if not, that is told, or
    raised of the only one."""
    log = run.path / "metrics.csv"
    try:
        run.intact()
        measured(run)
        if page and log.is_file():
            read(log)
        return True
    except GenlabError as error:
        if alone:
            raise
        print(f"error: {error}", file=sys.stderr)
        return False


def filed(path: Path, text: str) -> Path:
    """The text as a file, whole or not at all.

    Raises:
        GenlabError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GenlabError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def plain(figure: Figure) -> dict[str, Any]:
    """For JSON: what ``stderr`` is of one run is ``spread``, a standard deviation, over several."""
    entries = figure._asdict()
    return entries | ({"stderr": None, "spread": figure.stderr} if "runs" in figure.protocol else {})


def tabulate(runs: list[Run], metrics: Any = "auto") -> tables.Table:
    """Rows are groups of runs and checkpoints of them (best, last), columns are figures.

    Within a data set, figures of one name under protocols that cannot be compared stand in columns of their own,
    ``fid_digits``, ``fid_digits (b)``; a mean over seeds is of one protocol, and figures that fewer seeds have are a
    row of their own. Real examples stand in the column of what they control, whatever their number, which is told.
    """
    kinds: Kinds = {}
    rows: list[tuple[list[str], set[str], dict[str, Figure]]] = []  # words, runs, figures
    hidden = 0
    groups = group(runs)
    models = by_data(groups)
    ways = {
        (one.model, one.data): variants(
            entry for other in models if (other.model, other.data) == (one.model, one.data) for entry in other.figures
        )
        for one in models
    }
    for found in [*models, *real_groups(groups)]:
        measured_of = repetitions(found.figures)
        shown_of = ends(measured_of)
        hidden += len(measured_of) - len(shown_of)
        for checkpoint in shown_of:
            for those, repeated in by_runs(measured_of[checkpoint], found.runs).items():
                known = ways[found.model, found.data] if found.runs else variants(found.figures)
                cells = placed(repeated, found.data, known, kinds)
                texts = [found.model, found.data, found.detail, checkpoint, str(len(those) or "")]
                rows.append((texts, {*those}, cells))
    shown = _chosen(tables.leading(sorted({title for *_, cells in rows for title in cells})), metrics)
    told = {run for _, those, cells in rows if not cells.keys().isdisjoint(shown) for run in those}
    kept = [
        (texts, {title: cells[title] for title in shown if title in cells})
        for texts, those, cells in rows
        if those - told or not cells.keys().isdisjoint(shown)  # what shows nothing is a row of runs that have no other
    ]
    table = tables.Table(["model", "data", "config", "checkpoint", "runs"], shown, kept, [])
    of_all = [
        "± standard deviation over several runs; of one, ± standard error",
        *([f"{hidden} checkpoints between are in their runs' metrics.png"] if hidden else []),
    ]
    return table._replace(caption=[*protocols(table), *of_all])


def placed(
    repeated: Iterable[list[Measured]], data: str, ways: Mapping[tuple[str, str], list[str]], kinds: Kinds
) -> dict[str, Figure]:
    """Means of figures, each under the title of its column; columns that there are not yet are added to ``kinds``. A
    control stands in the column of what it was measured beside, figures of one model by ``ways`` that differ, as by two
    numbers of importance samples, in two."""
    cells: dict[str, Figure] = {}
    for entries in repeated:
        name, figure, _, beside = entries[0]
        same = comparable(figure.protocol)
        way = ways[name, same].index(own(figure.protocol))
        columns = kinds.setdefault((data, name), [])
        if (kind := (beside or same, way)) not in columns:
            columns.append(kind)
        title = name + (f" ({letter(columns.index(kind))})" if columns.index(kind) else "")
        cells[title] = average([entry.figure for entry in entries])
    return cells


def ends(checkpoints: Iterable[str]) -> list[str]:
    """Best and last, in whose presence the steps between are no rows: they are a curve. Else all, in their order."""
    names = sorted(checkpoints, key=kept_order)
    return [name for name in names if not name.startswith("step_")] or names


def without(protocol: Mapping[str, Any], key: str) -> dict[str, Any]:
    """All other entries."""
    return {name: value for name, value in protocol.items() if name != key}


def letter(number: int) -> str:
    """b, c, ..."""
    return chr(ord("a") + number)


def _chosen(titles: list[str], metrics: Any) -> list[str]:
    """The columns asked for, in the order asked for: a metric's, or a figure's with or without its extractor."""
    if metrics == "auto":
        return titles
    chosen: list[str] = []
    for name in metrics.split(",") if isinstance(metrics, str) else metrics:
        parts = wanted({"metrics": name})
        found = [title for title in titles if belongs(title.partition(" (")[0], parts)]
        if not found:
            names = list(dict.fromkeys(plain_name(title.partition(" (")[0]) for title in titles))
            known = any(name in part for part in everything())  # no slip
            near = "" if known else nearest(name, [*names, *titles])
            listing = "" if near else f"; they have {', '.join(names[:MANY])}" + ", ..." * (len(names) > MANY)
            raise ConfigError("metrics", name, f"no run has it{listing}", near)
        chosen += found
    return list(dict.fromkeys(chosen))


def plain_name(title: str) -> str:
    """A figure's name without its extractor's."""
    known = [figure for _, figure in everything() if belongs(title, [("", figure)])]
    return max(known, key=len, default=title)
