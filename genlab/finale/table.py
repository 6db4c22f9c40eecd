"""A table of all runs of a sweep at its end."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from genlab import captions, tables
from genlab.metrics.base import Figure
from genlab.plugins import word
from genlab.run import Run
from genlab.submit import unfinished

if TYPE_CHECKING:
    from genlab.evaluation.results import Row


class Table(Callback):
    """Measures every run of the sweep, and real examples as a control, then prints one table of all.

    By ``genlab eval`` and ``genlab report`` in processes of their own, as the jobs were trained.

    Args:
        n: generated examples for metrics of samples.
        k: importance samples of a bound; None: as ``genlab eval`` has it.
        refine: steps by which posteriors climb their bounds, for refined_nats; None: they do not.
        bounds: numbers of draws below k, with commas, of which the bound is a figure, too.
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
        metrics: str | Sequence[str] = "auto",
        format: str | None = "rich",
        ckpt: str | None = None,
        extractor: str | None = None,
        logged: Sequence[str] = (),
        refine: int | None = None,
        bounds: str | None = None,
    ):
        self.logged = list(logged)
        of_fewer = f"[{bounds}]" if bounds else None
        given = {"k": k, "refine": refine, "metric.likelihood.bounds": of_fewer, "ckpt": ckpt, "extractor": extractor}
        self.options = [f"n={n}", f"metrics={metrics}", *(f"{key}={value}" for key, value in given.items() if value)]
        self.format = format

    def on_multirun_end(self, config: DictConfig, **keywords: Any) -> None:
        self.measure(config)

    def measure(self, config: DictConfig, show: bool = True) -> "list[Row]":
        """The rows that the table is made of, those of real examples among them; printed as one if ``show``."""
        from genlab.evaluation.results import from_plain

        folder = f"run={config.hydra.sweep.dir}"
        plugins = [word(config.plugins)] if config.get("plugins") else []
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


def named(name: str, figures: Mapping[str, Any]) -> Any:
    """The figure of a name, or of that name and an extractor's; None where there is none."""
    return next((figure for full, figure in figures.items() if full == name or full.startswith(f"{name}_")), None)
