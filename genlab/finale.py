"""What a sweep may end in, as Hydra's callbacks: ``genlab train -m hydra/callbacks=table model=vae,realnvp``."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Table(Callback):
    """Measures every run of the sweep, then prints one table of all.

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
        folder = f"run={config.hydra.sweep.dir}"
        plugins = [f"plugins=[{','.join(config.plugins)}]"] if config.get("plugins") else []
        genlab = [sys.executable, "-m", "genlab"]
        subprocess.run([*genlab, "eval", folder, *self.options, *plugins], stdout=subprocess.DEVNULL, check=False)
        subprocess.run([*genlab, "report", folder, f"format={self.format}"], check=False)


class Curve(Callback):
    """A table, and a picture of figures against an option that the sweep varies: ``curve.png`` in its folder.

    Args:
        x: the option, a dotted key of the config.
        figures: names of the figures, a panel each, and the value of ``by`` that one is drawn for, null for all.
        by: another option, one line for each of its values.
        exact: true values by panel and name, in the order of x: ``{critic_gap: {"W = |theta|": [1, 0, 1]}}``.
        table: options of ``Table``.
    """

    def __init__(
        self,
        x: str,
        figures: Mapping[str, str | None],
        by: str = "choices.model",
        exact: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
        table: Mapping[str, Any] | None = None,
    ):
        self.x, self.by, self.figures, self.exact = x, by, dict(figures), dict(exact or {})
        self.table = Table(**{"metrics": ",".join(self.figures)} | dict(table or {}))

    def on_multirun_end(self, config: DictConfig, **keywords: Any) -> None:
        self.table.on_multirun_end(config)
        from genlab.curves import against
        from genlab.evaluation.results import measured
        from genlab.run import Run, option

        series: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in self.figures}
        for run in Run.find([str(config.hydra.sweep.dir)]):
            for name, figure in measured(run):
                kind = str(option(run.config, self.by))
                if name in series and self.figures[name] in (None, kind):
                    series[name].setdefault(kind, []).append((float(option(run.config, self.x)), figure.value))
        path = Path(config.hydra.sweep.dir) / "curve.png"
        against(path, self.x, {name: lines for name, lines in series.items() if lines}, self.exact)
        print(path)
