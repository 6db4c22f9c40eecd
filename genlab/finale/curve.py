"""Figures of a sweep's runs against an option, or of their checkpoints against steps, at its end."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from genlab import captions, tables
from genlab.finale.table import Table, named
from genlab.metrics.base import Figure
from genlab.run import Run, option

if TYPE_CHECKING:
    from genlab.evaluation.results import Row


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
