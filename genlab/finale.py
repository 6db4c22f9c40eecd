"""What a sweep may end in, as Hydra's callbacks: ``genlab train -m hydra/callbacks=table model=vae,realnvp``."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from genlab.config import unfinished

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

    def measure(self, config: DictConfig) -> "list[Row]":
        """The rows that the table is made of, those of real examples among them."""
        from genlab.evaluation.results import from_plain

        folder = f"run={config.hydra.sweep.dir}"
        plugins = [f"plugins=[{','.join(config.plugins)}]"] if config.get("plugins") else []
        genlab = [sys.executable, "-m", "genlab"]
        command = [*genlab, "eval", folder, *self.options, *plugins, "real=train", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        shown = subprocess.run([*genlab, "report", folder, f"format={self.format}"], check=False)
        for verb, code in (("eval", done.returncode), ("report", shown.returncode)):
            if code:  # Hydra would make a warning of an exception
                unfinished.append(f"genlab {verb} {folder} ended with exit code {code}")
        return [from_plain(row) for row in json.loads(done.stdout or "[]")]


class Curve(Callback):
    """A table, and a picture of figures against an option that the sweep varies: ``curve.png`` in its folder.

    Runs that differ in nothing but their seed are one point: their mean, with a bar of one standard deviation.

    Args:
        x: the option, a dotted key of the config.
        figures: names of the figures, with or without their extractor's, a panel each, and the value of ``by`` that
            one is drawn for, null for all.
        by: another option, one line for each of its values.
        exact: true values by panel and name, in the order of x: ``{critic_gap: {"W = |theta|": [1, 0, 1]}}``.
        log: which axes are logarithmic: ``x``, and names of figures.
        table: options of ``Table``.
    """

    def __init__(
        self,
        x: str,
        figures: Mapping[str, str | None],
        by: str = "choices.model",
        exact: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
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
        for row in self.table.measure(config):
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
        path = Path(config.hydra.sweep.dir) / "curve.png"
        against(path, self.x, drawn, self.exact, real, self.log)
        print(path)


def named(name: str, figures: Mapping[str, Any]) -> Any:
    """The figure of a name, or of that name and an extractor's; None where there is none."""
    return next((figure for full, figure in figures.items() if full == name or full.startswith(f"{name}_")), None)
