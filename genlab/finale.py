"""What a sweep may end in, as Hydra's callbacks: ``genlab train -m hydra/callbacks=table model=vae,realnvp``."""

import contextlib
import io
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from genlab import captions, tables
from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.run import Run, option
from genlab.submit import unfinished

if TYPE_CHECKING:
    from genlab.evaluation.results import Row


class Table(Callback):
    """Measures every run of the sweep, and real examples as a control, then prints one table of all.

    By ``genlab eval`` and ``genlab report`` in processes of their own, as the jobs were trained.

    Args:
        n: generated examples for metrics of samples.
        k: importance samples of a bound; None: as ``genlab eval`` has it.
        metrics: names of metrics, or auto.
        format: of the table: rich, csv, markdown or latex; None: not printed.
        ckpt: which checkpoints, as ``genlab eval`` has it; ``all``: every one that ``trainer.keep_every`` kept.
        extractor: of features; None: all that suit the data.
        logged: columns of metrics.csv, ``seconds`` of training say, that stand beside the figures, and with them the
            entropy of the data where it is known; the table is then one of models.
    """

    def __init__(
        self,
        n: int = 2500,
        k: int | None = None,
        metrics: str = "auto",
        format: str | None = "rich",
        ckpt: str | None = None,
        extractor: str | None = None,
        logged: Sequence[str] = (),
    ):
        self.logged = list(logged)
        given = {"k": k, "ckpt": ckpt, "extractor": extractor}
        self.options = [f"n={n}", f"metrics={metrics}", *(f"{key}={value}" for key, value in given.items() if value)]
        self.format = format

    def on_multirun_end(self, config: DictConfig, **keywords: Any) -> None:
        self.measure(config)

    def measure(self, config: DictConfig, show: bool = True) -> "list[Row]":
        """The rows that the table is made of, those of real examples among them; printed as one if ``show``."""
        from genlab.evaluation.results import from_plain

        folder = f"run={config.hydra.sweep.dir}"
        plugins = [f"plugins=[{','.join(config.plugins)}]"] if config.get("plugins") else []
        genlab = [sys.executable, "-m", "genlab"]
        command = [*genlab, "eval", folder, *self.options, *plugins, "real=train", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        codes = {"eval": done.returncode}
        rows = [from_plain(row) for row in json.loads(done.stdout or "[]")]
        if show and self.format is not None and self.logged:
            tables.show(self.beside(rows), self.format)
        elif show and self.format is not None:
            shown = subprocess.run([*genlab, "report", folder, f"format={self.format}"], check=False)
            codes["report"] = shown.returncode
        for verb, code in codes.items():
            if code:  # Hydra would make a warning of an exception
                unfinished.append(f"genlab {verb} {folder} ended with exit code {code}")
        return rows

    def beside(self, rows: "list[Row]") -> tables.Table:
        """Figures of the runs' last rows beside what was logged at that step, a line a run in order of the first."""
        from genlab.build import build
        from genlab.curves import logged_at
        from genlab.data.base import at_rest

        lines, protocols = [], []
        for row in {row.run: row for row in rows if not row.run.startswith("real ")}.values():
            run = Run(row.run)
            protocols += [(name, row.model, figure.protocol) for name, figure in row.figures.items()]
            cells = dict(row.figures)
            entropy = getattr(build(at_rest(run.config["data"])), "entropy", None)
            if entropy is not None:
                cells["entropy"] = Figure(float(entropy), "=")
            for column in self.logged:
                if (value := logged_at(run, column, row.step)) is not None:
                    cells[column] = Figure(value)
            lines.append(([row.model, row.data], cells))
        lines.sort(key=lambda line: next(iter(line[1].values())).value if line[1] else math.inf)
        titles = list(dict.fromkeys(title for _, cells in lines for title in cells))
        return tables.Table(["model", "data"], titles, lines, captions.caption(protocols))


class Curve(Callback):
    """A table, and a picture of figures against something: a PNG in the sweep's folder. Against an option, the table
    has a line for each value of it and of ``by``, with the true values beside the figures.

    Against an option that the sweep varies, runs that differ in nothing but their seed are one point: their mean, with
    a bar of one standard deviation. Else the points are the checkpoints that ``trainer.keep_every`` kept of each run:
    against their ``step``, the ``seconds`` of training up to there, or another of their figures, for which no line
    joins them.

    Args:
        x: an option, a dotted key of the config; or step, seconds, or the name of a figure.
        figures: names of the figures, with or without their extractor's, a panel each, and the value of ``by`` that
            one is drawn for, null for all. A column of metrics.csv, such as ``critic/critic``, is a figure too where
            the points are checkpoints: what was logged at their step.
        by: another option, one line for each of its values.
        exact: true values by panel and name, in the order of x: ``{critic_gap: {"W = |theta|": [1, 0, 1]}}``, or points
            (x, value) with lines between them and gaps at null: ``{JS: [[-1, 0.7], [1, 0.7], null, [0, 0]]}``, or
            ``x``: equal to it.
        log: which axes are logarithmic: ``x``, and names of figures.
        table: options of ``Table``.
        name: of the picture.
        apart: a panel for each value of ``by``.
    """

    def __init__(
        self,
        x: str,
        figures: Mapping[str, str | None],
        by: str = "choices.model",
        exact: Mapping[str, Mapping[str, Sequence[Any] | str]] | None = None,
        log: Sequence[str] = (),
        table: Mapping[str, Any] | None = None,
        name: str = "curve",
        apart: bool = False,
    ):
        self.x, self.by, self.figures, self.exact, self.log = x, by, dict(figures), dict(exact or {}), list(log)
        self.name, self.apart = name, apart
        self.course = x != "seed" and "." not in x  # no option
        measured = [name for name in (*self.figures, x) if is_measured(name)] if self.course else [*self.figures]
        asked = {"metrics": ",".join(dict.fromkeys(measured))} | ({"ckpt": "all"} if self.course else {})
        self.table = Table(**asked | dict(table or {}))

    def on_multirun_end(self, config: DictConfig, **keywords: Any) -> None:
        from genlab.curves import against, meeting

        lines: dict[str, dict[str, list[Any]]] = {name: {} for name in self.figures}
        real: dict[str, dict[str, Any]] = {name: {} for name in self.figures}
        seen: set[tuple[str, int]] = set()
        rows = self.table.measure(config, show=self.course)
        for row in rows:
            if row.run.startswith("real "):
                for name in self.figures if not self.apart else ():
                    if (control := named(name, row.figures)) is not None:
                        real[name][f"{row.run} of {row.data}"] = control
                continue
            if (row.run, row.step) in seen:
                continue  # the last checkpoint is that of a step, too
            seen.add((row.run, row.step))
            run = Run(row.run)
            kind, place = str(option(run.config, self.by)), self.place(run, row)
            for name, only in self.figures.items():
                figure = self.figure(name, run, row)
                if figure is not None and place is not None and only in (None, kind):
                    lines[name].setdefault(kind, []).append((place, row.step, figure))
        drawn = {
            name: {kind: meeting(line, by_step=self.x == "seconds") for kind, line in found.items()}
            for name, found in lines.items()
            if found
        }
        if self.apart:
            drawn = {f"{name}, {kind}": {kind: drawn[name][kind]} for name in drawn for kind in drawn[name]}
        if not drawn:
            print("no figures, so no curve", file=sys.stderr)
            return
        if not self.course and self.table.format is not None:
            tables.show(self.closing(rows), self.table.format)
        path = Path(config.hydra.sweep.dir) / f"{self.name}.png"
        joined = not self.course or self.x in CLOCK
        against(path, self.x, drawn, self.exact, real, self.log, joined)
        print(path)

    def closing(self, rows: "list[Row]") -> tables.Table:
        """A line for each value of ``by`` and, in order, of ``x``, then those of real examples."""
        from genlab.curves import exactly, points_of
        from genlab.repetitions import average, ordered

        together: dict[tuple[str, Any], dict[str, list[Any]]] = {}
        for row in rows:
            of = None if row.run.startswith("real ") else Run(row.run).config
            key = (row.run, None) if of is None else (str(option(of, self.by)), option(of, self.x))
            for name, figure in row.figures.items():
                together.setdefault(key, {}).setdefault(name, []).append(figure)
        places = sorted({float(x) for _, x in together if x is not None})
        kinds = {kind for kind, _ in together}
        lines, protocols = [], []
        for kind, x in sorted(together, key=lambda one: (one[1] is None, one[0], ordered(one[1]))):
            cells = {name: average(figures) for name, figures in together[kind, x].items()}
            protocols += [(name, kind, figure.protocol) for name, figure in cells.items()]
            for name, only in self.figures.items() if x is not None else ():
                for truth, known in self.exact.get(name, {}).items() if only in (None, kind) else ():
                    value = exactly(points_of(known, places), float(x))
                    if value is not None and (truth == kind or truth not in kinds):
                        cells[f"{name}, exact" if truth == kind else f"{truth}, exact"] = Figure(value, "=")
            lines.append(([kind, "" if x is None else str(x)], cells))
        titles = list(dict.fromkeys(title for _, cells in lines for title in cells))
        short = [key.rpartition(".")[2] for key in (self.by, self.x)]
        return tables.Table(short, titles, lines, captions.caption(protocols))

    def place(self, run: Run, row: "Row") -> float | None:
        """Where on the axis a row stands; None where it has no such figure."""
        if not self.course:
            return float(option(run.config, self.x))
        if self.x == "step":
            return float(row.step)
        figure = self.figure(self.x, run, row)
        return None if figure is None else figure.value

    def figure(self, name: str, run: Run, row: "Row") -> Any:
        """What was measured, or logged, of a checkpoint."""
        from genlab.curves import logged_at

        if is_measured(name):
            return named(name, row.figures)
        value = logged_at(run, name, row.step) if self.course else None
        return None if value is None else Figure(value)


CLOCK = ("step", "seconds")


def is_measured(name: str) -> bool:
    """Is it a figure of evaluation, neither the clock's nor one of the log?"""
    return name not in CLOCK and "/" not in name


class Montage(Callback):
    """A table, and one picture of all runs of a sweep, ``montage.png``: rows by one option, columns by another, in the
    order in which the sweep's words have their values.

    A run has failed where its training has (a loss that is not finite, say), where a figure is beyond its limit, or
    where it has no such figure. Its cell is marked and says why; how many failed of each column is printed.

    Args:
        rows: an option, a dotted key of the config.
        columns: another.
        task: of ``genlab sample``, whose picture a cell is.
        n: examples in it; None: as ``genlab sample`` has it.
        failed: limits of figures, ``{fid: {above: 50}, is: {below: 3}}``.
        figures: names of others that are said below a cell.
        names: titles of rows and columns, where the value of the option says too little.
        size: of a cell, inches.
        table: options of ``Table``.
    """

    def __init__(
        self,
        rows: str,
        columns: str,
        task: str = "grid",
        n: int | None = 16,
        failed: Mapping[str, Mapping[str, float]] | None = None,
        figures: Sequence[str] = (),
        names: Mapping[str, str] | None = None,
        size: float = 2.1,
        table: Mapping[str, Any] | None = None,
    ):
        self.rows, self.columns, self.task, self.n = rows, columns, task, n
        self.limits: dict[str, Mapping[str, float]] = dict(failed or {}) | {
            name: {} for name in figures if name not in (failed or {})
        }
        self.names, self.size = dict(names or {}), size
        asked = {"metrics": ",".join(self.limits)} if self.limits else {}
        self.table = Table(**asked | dict(table or {}))

    def on_multirun_end(self, config: DictConfig, **keywords: Any) -> None:
        from genlab.montage import Cell, montage

        folder, plugins = Path(config.hydra.sweep.dir), list(config.get("plugins") or ())
        figures = {row.run: row.figures for row in self.table.measure(config)}
        cells: dict[tuple[str, str], list[Cell]] = {}
        for run in sorted(Run.find([str(folder)]), key=lambda run: str(run.info.get("created"))):
            row, column = (self.title(option(run.config, key)) for key in (self.rows, self.columns))
            failed, said = verdict(run, figures.get(str(run.path), {}), self.limits)
            picture = pictured(run, self.task, self.n, plugins)
            cells.setdefault((row, column), []).append(Cell(picture, said, failed))
        rows, columns = (
            as_worded(dict.fromkeys(place[axis] for place in cells), map(self.title, worded(config, key)))
            for axis, key in enumerate((self.rows, self.columns))
        )
        path = folder / "montage.png"
        title = str(config.hydra.runtime.choices.get("experiment") or self.task)
        montage(path, rows, columns, cells, title, self.size)
        self.tell(rows, columns, cells)
        print(path)

    def title(self, value: Any) -> str:
        """What a row or a column is called."""
        return str(self.names.get(str(value), value))

    def tell(self, rows: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[str, str], Sequence[Any]]) -> None:
        """The cells in words, and how many failed of each column."""
        words: list[tuple[list[str], dict[str, Any]]] = [
            ([row, *("; ".join(cell.words() for cell in cells.get((row, column), ())) for column in columns)], {})
            for row in rows
        ]
        of = {column: [cell.failed for row in rows for cell in cells.get((row, column), ())] for column in columns}
        count = ", ".join(f"{column} {sum(failed)} of {len(failed)}" for column, failed in of.items())
        corner = self.rows.rpartition(".")[2]
        tables.show(tables.Table([corner, *columns], [], words, [f"failed: {count}"]), self.table.format or "rich")


def worded(config: DictConfig, key: str) -> list[Any]:
    """The values of an option in the order of a sweep's words: as typed, else as an experiment lists them."""
    listed = OmegaConf.select(config, "hydra.sweeper.params", default=None) or {}
    typed = OmegaConf.select(config, "hydra.overrides.task", default=[])
    words = OverridesParser.create().parse_overrides([*(f"{name}={values}" for name, values in listed.items()), *typed])
    found: list[Any] = []
    for word in words:
        if word.key_or_group == key.removeprefix("choices.") and word.is_discrete_sweep():
            values = word.sweep_iterator(transformer=lambda value: value)
            found = [value.text if isinstance(value, QuotedString) else value for value in values]
    return found


def as_worded(there: Iterable[str], words: Iterable[str]) -> list[str]:
    """In the order of the words; what is none of them last, as it was."""
    order = list(words)
    return sorted(there, key=lambda name: order.index(name) if name in order else len(order))


def verdict(run: Run, figures: Mapping[str, Any], limits: Mapping[str, Mapping[str, float]]) -> tuple[bool, str]:
    """Whether a run failed, and its figures or the reason in words."""
    status = run.info.get("status")
    if status != "done":
        return True, str(run.info.get("error") or status)
    failed, words = False, []
    for name, limit in limits.items():
        figure = named(name, figures)
        if limit:
            value = math.nan if figure is None else figure.value
            failed |= not limit.get("below", -math.inf) <= value <= limit.get("above", math.inf)
        words.append(f"no {name}" if figure is None else f"{name} {figure.mark} {figure.value:.3g}".replace("  ", " "))
    return failed, ", ".join(words)


def pictured(run: Run, task: str, n: int | None, plugins: Sequence[str]) -> Path | None:
    """The picture that ``genlab sample`` makes of a run, where it can."""
    from genlab import sample
    from genlab.presets import conf_folder, read

    options = read(conf_folder() / "sample.yaml") | {"run": str(run.path), "task": task, "n": n, "plugins": plugins}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            sample.main(options)
    except GenlabError as error:
        print(f"{run.path.name}: no {task}: {error}", file=sys.stderr)
        return None
    return run.samples / f"{task}.png"


def named(name: str, figures: Mapping[str, Any]) -> Any:
    """The figure of a name, or of that name and an extractor's; None where there is none."""
    return next((figure for full, figure in figures.items() if full == name or full.startswith(f"{name}_")), None)
