"""What a sweep may end in, as Hydra's callbacks: ``genlab train -m hydra/callbacks=table model=vae,realnvp``."""

import subprocess
import sys
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
