"""``genlab report``: one table of what evaluation has measured of any set of runs. Reads their folders only."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from genlab import tables
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.evaluation.results import controls, measured
from genlab.evaluation.wanted import belongs, everything, wanted
from genlab.metrics.base import Figure, comparable
from genlab.run import Run, atomic, kept_order

IRRELEVANT = ("seed", "logger", "plugins", "choices", "skip_refused")
"""Entries of a config in which runs may differ and yet be repetitions of one experiment, and those of two groups."""
MANY = 12  # names that a message lists
NAMELESS = ("experiment", "recipe", "logger")
"""Groups of which an option says nothing of a run."""
WITHIN = {
    "data": ("root",),
    "trainer": ("log_every", "checkpoint_every", "keep_every", "sample_every"),
}


class Group(NamedTuple):
    """Runs whose configs differ in the seed only.

    Args:
        model, data, detail: names; ``detail`` tells groups of one model and data set apart.
        runs: their folders.
        figures: what was measured of any of them, by name.
    """

    model: str
    data: str
    detail: str
    runs: list[Run]
    figures: list[tuple[str, Figure]]


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
    runs = [run for run in found if readable(run, alone=len(found) == 1)]
    table = tabulate(runs, options.get("metrics") or "auto")
    bare = [
        os.path.relpath(run.path)
        for run in runs
        if any(run.checkpoints.glob("*.ckpt")) and not (run.path / "metrics.json").is_file()
    ]
    if bare:
        which = ",".join(bare) if len(bare) < 4 or not isinstance(named, str) else named
        told = f"{len(bare)} of {len(runs)} runs not measured yet: genlab eval run={shlex.quote(which)}"
        if not table.figures and not as_json and options.get("format") != "html":
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
    elif options.get("format") == "html":
        from genlab import webpage

        path = Path(options.get("out") or "report.html")
        webpage.write(path, table, runs)
        print(path)
    elif options.get("out"):
        print(filed(table, options.get("format") or "rich", Path(options["out"])))
    else:
        tables.show(table.filled(), options.get("format") or "rich")
    return 0 if len(runs) == len(found) else 1


def readable(run: Run, alone: bool) -> bool:
    """Whether config and figures of a run can be read; if not, that is told, or raised of the only one."""
    try:
        return isinstance(run.config, dict) and isinstance(measured(run), list)
    except GenlabError as error:
        if alone:
            raise
        print(f"error: {error}", file=sys.stderr)
        return False


def filed(table: tables.Table, format: str, path: Path) -> Path:
    """The table as a file, whole or not at all.

    Raises:
        GenlabError: it cannot be written.
    """
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        tables.show(table.filled(), format)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial:
            partial.write_text(shown.getvalue(), encoding="utf-8")
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
    ``fid_digits``, ``fid_digits (b)``; a mean over seeds is of one protocol.
    """
    kinds: dict[tuple[str, str], list[tuple[str, int]]] = {}  # data set and name to what has a column, in order
    rows: list[tuple[list[str], dict[str, Figure]]] = []
    protocols: list[tuple[str, str, Mapping[str, Any]]] = []
    hidden = 0
    for found in [*group(runs), *real_groups(runs)]:
        measured_of = repetitions(found.figures)
        shown_of = ends(measured_of)
        hidden += len(measured_of) - len(shown_of)
        for checkpoint in shown_of:
            repeated = measured_of[checkpoint]
            cells: dict[str, Figure] = {}
            seen: Counter[tuple[str, str]] = Counter()
            for name, figures in repeated:
                same = comparable(figures[0].protocol)
                kind = (same, seen[name, same])  # one model by two numbers of importance samples: two columns
                seen[name, same] += 1
                columns = kinds.setdefault((found.data, name), [])
                if kind not in columns:
                    columns.append(kind)
                title = name + (f" ({letter(columns.index(kind))})" if columns.index(kind) else "")
                cells[title] = average(figures)
                protocols.append((title, found.model, cells[title].protocol))
            count = str(len(found.runs)) if found.runs else ""
            rows.append(([found.model, found.data, found.detail, checkpoint, count], cells))
    shown = _chosen(sorted({title for _, cells in rows for title in cells}), metrics)
    return tables.Table(
        ["model", "data", "config", "checkpoint", "runs"],
        shown,
        [(texts, {title: cells[title] for title in shown if title in cells}) for texts, cells in rows],
        [
            *tables.caption([entry for entry in protocols if entry[0] in shown]),
            "± standard deviation over several runs; of one, ± standard error",
            *([f"{hidden} checkpoints between are in their runs' metrics.png"] if hidden else []),
        ],
    )


def repetitions(figures: list[tuple[str, Figure]]) -> dict[str, list[tuple[str, list[Figure]]]]:
    """Figures of one name and one protocol together, by checkpoint; ``{"": []}`` where there is none."""
    together: dict[tuple[str, str], list[Figure]] = {}
    for name, figure in figures:
        together.setdefault((name, averaged(figure.protocol)), []).append(figure)
    by_checkpoint: dict[str, list[tuple[str, list[Figure]]]] = {}
    for (name, _), repeated in together.items():
        checkpoint = str(repeated[0].protocol.get("checkpoint", ""))
        by_checkpoint.setdefault(checkpoint, []).append((name, repeated))
    return by_checkpoint or {"": []}


def averaged(protocol: Mapping[str, Any]) -> str:
    """What figures share that a mean is taken of: all of their protocols, but for the step that validation found
    best, which is a result and no choice."""
    free = ("step",) if protocol.get("checkpoint") == "best" else ()
    return json.dumps({key: value for key, value in protocol.items() if key not in free}, sort_keys=True)


def ends(checkpoints: Iterable[str]) -> list[str]:
    """Best and last, in whose presence the steps between are no rows: they are a curve. Else all, in their order."""
    names = sorted(checkpoints, key=kept_order)
    return [name for name in names if not name.startswith("step_")] or names


def letter(number: int) -> str:
    """b, c, ..."""
    return chr(ord("a") + number)


def group(runs: Iterable[Run]) -> list[Group]:
    """Runs that repeat one experiment, together; ordered by data set and model."""
    together: dict[str, list[Run]] = {}
    for run in runs:
        together.setdefault(json.dumps(_relevant(run.config), sort_keys=True, default=str), []).append(run)
    named: dict[tuple[str, str], list[list[Run]]] = {}
    for repeated in together.values():
        named.setdefault(_names(repeated[0]), []).append(repeated)
    groups = []
    for (model, data), alternatives in sorted(named.items(), key=lambda item: item[0][::-1]):
        flat = telling([repeated[0].config for repeated in alternatives])
        keys = sorted({key for one in flat for key in one if any(other.get(key) != one[key] for other in flat)})
        both = zip(alternatives, flat, strict=True)
        for repeated, values in sorted(both, key=lambda one: [ordered(one[1].get(key)) for key in keys]):
            detail = ", ".join(f"{key}={values.get(key)}" for key in keys[:4]) + (", ..." if len(keys) > 4 else "")
            groups.append(Group(model, data, detail, repeated, [entry for run in repeated for entry in measured(run)]))
    return groups


def telling(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What tells configs apart, by dotted key: the options taken of groups where these are enough, ``loss=hinge``, else
    all that matters of them."""
    taken = [
        {group: option for group, option in (config.get("choices") or {}).items() if group not in NAMELESS}
        for config in configs
    ]
    if len({json.dumps(one, sort_keys=True, default=str) for one in taken}) == len(configs) > 1:
        return taken
    return [_flatten(_relevant(config)) for config in configs]


def real_groups(runs: Iterable[Run]) -> list[Group]:
    """Rows of real examples that were measured beside the runs: what a perfect model would get."""
    found: dict[tuple[str, str], dict[str, tuple[str, Figure]]] = {}
    for row in (row for run in runs for row in controls(run) if row.figures):
        figures = found.setdefault((row.data, row.run), {})
        for name, figure in row.figures.items():
            figures[json.dumps([name, figure.protocol], sort_keys=True)] = (name, figure)
    return [Group(title, data, "", [], list(figures.values())) for (data, title), figures in sorted(found.items())]


def average(figures: list[Figure]) -> Figure:
    """Mean and standard deviation over runs; one run keeps its standard error."""
    if len(figures) == 1:
        return figures[0]
    mean = sum(figure.value for figure in figures) / len(figures)
    spread = math.sqrt(sum((figure.value - mean) ** 2 for figure in figures) / (len(figures) - 1))
    protocol = dict(figures[0].protocol) | {"runs": len(figures)}
    if "step" in protocol:
        protocol["step"] = ", ".join(map(str, sorted({figure.protocol["step"] for figure in figures})))
    return Figure(mean, common_mark(figures), spread, protocol)


def common_mark(figures: list[Figure]) -> str:
    """The mark of a mean: a bound where one of them is, unless others are bounds of the other side."""
    marks = {figure.mark for figure in figures}
    bounds = marks & {"<=", ">="}
    return next(iter(bounds if len(bounds) == 1 else marks)) if len(bounds or marks) == 1 else "~"


def ordered(value: Any) -> tuple[bool, float, str]:
    """For sorting: numbers by size, then all else by its text."""
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)


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


def _names(run: Run) -> tuple[str, str]:
    """Model and data set of a run, as they were typed."""
    choices = run.config.get("choices") or {}

    def name(key: str) -> str:
        return str(choices.get(key) or run.config.get(key, {}).get("_target_", "?").rpartition(".")[2])

    return name("model"), name("data")


def _relevant(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what does not matter to the experiment."""
    kept = {key: value for key, value in config.items() if key not in IRRELEVANT}
    return kept | {
        group: {key: value for key, value in (kept.get(group) or {}).items() if key not in names}
        for group, names in WITHIN.items()
    }


def _flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys to scalars."""
    if not isinstance(config, Mapping):
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
