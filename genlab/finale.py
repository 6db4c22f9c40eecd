"""What a sweep may end in, as Hydra's callbacks: ``genlab train -m hydra/callbacks=table model=vae,realnvp``."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from genlab import tables
from genlab.config import unfinished
from genlab.metrics.base import Figure

if TYPE_CHECKING:
    from genlab.evaluation.results import Row


class Table(Callback):
    """Measures every run of the sweep, and real examples as a control, then prints one table of all.

    By ``genlab eval`` and ``genlab report`` in processes of their own, as the jobs were trained.

    Args:
        n: generated examples for metrics of samples.
        k: importance samples of a bound; None: as ``genlab eval`` has it.
        metrics: names of metrics, or auto.
        format: of the table: rich, csv, markdown or latex.
    """

    def __init__(self, n: int = 2500, k: int | None = None, metrics: str = "auto", format: str = "rich"):
        self.options = [f"n={n}", f"metrics={metrics}", *([] if k is None else [f"k={k}"])]
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
        if show:
            shown = subprocess.run([*genlab, "report", folder, f"format={self.format}"], check=False)
            codes["report"] = shown.returncode
        for verb, code in codes.items():
            if code:  # Hydra would make a warning of an exception
                unfinished.append(f"genlab {verb} {folder} ended with exit code {code}")
        return [from_plain(row) for row in json.loads(done.stdout or "[]")]


class Curve(Callback):
    """A table, and a picture of figures against an option that the sweep varies: ``curve.png`` in its folder. The table
    has a line for each value of the option and of ``by``, with the true values beside the figures.

    Runs that differ in nothing but their seed are one point: their mean, with a bar of one standard deviation.

    Args:
        x: the option, a dotted key of the config.
        figures: names of the figures, with or without their extractor's, a panel each, and the value of ``by`` that
            one is drawn for, null for all.
        by: another option, one line for each of its values.
        exact: true values by panel and name, in the order of x: ``{critic_gap: {"W = |theta|": [1, 0, 1]}}``, or points
            (x, value) with lines between them and gaps at null: ``{JS: [[-1, 0.7], [1, 0.7], null, [0, 0]]}``.
        log: which axes are logarithmic: ``x``, and names of figures.
        table: options of ``Table``.
    """

    def __init__(
        self,
        x: str,
        figures: Mapping[str, str | None],
        by: str = "choices.model",
        exact: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
        log: Sequence[str] = (),
        table: Mapping[str, Any] | None = None,
    ):
        self.x, self.by, self.figures, self.exact, self.log = x, by, dict(figures), dict(exact or {}), list(log)
        self.table = Table(**{"metrics": ",".join(self.figures)} | dict(table or {}))

    def on_multirun_end(self, config: DictConfig, **keywords: Any) -> None:
        from genlab.curves import against
        from genlab.run import Run, option

        lines: dict[str, dict[str, list[Any]]] = {name: {} for name in self.figures}
        real: dict[str, dict[str, Any]] = {name: {} for name in self.figures}
        rows = self.table.measure(config, show=False)
        for row in rows:
            of = None if row.run.startswith("real ") else Run(row.run).config
            kind = "" if of is None else str(option(of, self.by))
            for name, only in self.figures.items():
                figure = named(name, row.figures)
                if figure is None:
                    continue
                if of is None:
                    real[name][f"{row.run} of {row.data}"] = figure
                elif only in (None, kind):
                    lines[name].setdefault(kind, []).append((float(option(of, self.x)), figure))
        drawn = {name: found for name, found in lines.items() if found}
        if not drawn:
            print("no figures, so no curve", file=sys.stderr)
            return
        tables.show(self.closing(rows), self.table.format)
        path = Path(config.hydra.sweep.dir) / "curve.png"
        against(path, self.x, drawn, self.exact, real, self.log)
        print(path)

    def closing(self, rows: "list[Row]") -> tables.Table:
        """A line for each value of ``by`` and, in order, of ``x``, then those of real examples."""
        from genlab.curves import exactly, points_of
        from genlab.report import average, ordered
        from genlab.run import Run, option

        together: dict[tuple[str, Any], dict[str, list[Any]]] = {}
        for row in rows:
            of = None if row.run.startswith("real ") else Run(row.run).config
            key = (row.run, None) if of is None else (str(option(of, self.by)), option(of, self.x))
            for name, figure in row.figures.items():
                together.setdefault(key, {}).setdefault(name, []).append(figure)
        places = sorted({float(x) for _, x in together if x is not None})
        lines, protocols = [], []
        in_order = sorted(together, key=lambda one: (one[1] is None, one[0], ordered(one[1])))
        for kind, x in in_order:
            cells = {name: average(figures) for name, figures in together[kind, x].items()}
            protocols += [(name, kind, figure.protocol) for name, figure in cells.items()]
            for name, only in self.figures.items() if x is not None else ():
                for truth, known in self.exact.get(name, {}).items() if only in (None, kind) else ():
                    value = exactly(points_of(known, places), float(x))
                    if value is not None and (truth == kind or truth not in {kind for kind, _ in together}):
                        cells[f"{name}, exact" if truth == kind else f"{truth}, exact"] = Figure(value, "=")
            lines.append(([kind, "" if x is None else str(x)], cells))
        titles = list(dict.fromkeys(title for _, cells in lines for title in cells))
        short = [key.rpartition(".")[2] for key in (self.by, self.x)]
        return tables.Table(short, titles, lines, tables.caption(protocols))


def named(name: str, figures: Mapping[str, Any]) -> Any:
    """The figure of a name, or of that name and an extractor's; None where there is none."""
    return next((figure for full, figure in figures.items() if full == name or full.startswith(f"{name}_")), None)
