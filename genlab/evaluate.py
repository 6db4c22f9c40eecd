"""``genlab eval``: the figures of trained models, each with the protocol that it was measured by."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab import tables
from genlab.errors import ConfigError, GenlabError
from genlab.evaluation import results
from genlab.evaluation.results import Asked, Row
from genlab.run import Run, rank


def main(options: Mapping[str, Any], as_json: bool = False) -> int:
    """Measure every run, keep its figures in its metrics.json, print a row for each, then the rows of real examples.

    An evaluation that is done is not repeated, unless ``force`` is given.

    Returns:
        The exit code: 1 where a run among several could not be measured, which is told and does not stop the others.

    Raises:
        GenlabError: an option does not fit; no run is named; the only one cannot be measured.
    """
    asked, wrong = find(options)
    controls = [] if as_json and options["real"] == "auto" else splits(options["real"])
    titles = {f"real {split}" for split in controls}
    rows = [one.row for one in asked if one.row is not None]
    rows += {(row.data, row.run): row for one in asked for row in one.controls if row.run in titles}.values()
    known = all(one.row is not None and titles <= {row.run for row in one.controls} for one in asked)
    if rows and rank() == 0:
        remembered = [one for one in asked if one.row is not None]
        print(f"{len(remembered)} of {len(asked)} measured before, so not again; --force does", file=sys.stderr)
    if not known or options.get("samples"):
        from genlab.evaluation.assess import assess

        rows, failed = assess(asked, controls, options)
        wrong += failed
    rows = [row for row in rows if row.figures or not row.run.startswith("real ")]  # a control of nothing is no row
    if rank() == 0:
        draw(rows, anew=not known)
        if as_json:
            print(json.dumps([row.plain() for row in rows]))
        else:
            tables.show(table(rows))
    return 1 if wrong else 0


def find(options: Mapping[str, Any]) -> tuple[list[Asked], int]:
    """What is to be evaluated, and how many of the runs named have no such checkpoint.

    Raises:
        ConfigError: nothing is named, or a file for several runs.
        GenlabError: the only run named has no such checkpoint.
    """
    named, checkpoint = options.get("run"), options.get("ckpt")
    if not named and not checkpoint:
        if options.get("samples"):
            return [], 0
        raise ConfigError("run", "", "give run=<folder> or ckpt=<file>, or samples=<folder or .npz> with data=...")
    if not named:
        return [Asked(None, Path(str(checkpoint)))], 0
    runs = Run.find([named] if isinstance(named, str) else list(named))
    if len(runs) > 1 and str(checkpoint).endswith(".ckpt"):
        raise ConfigError("ckpt", checkpoint, f"a file belongs to one run; {len(runs)} are named")
    asked, wrong = [], 0
    for run in runs:
        try:
            files = run.all_checkpoints() if checkpoint == "all" else [chosen(run, str(checkpoint or "best"))]
        except GenlabError as error:
            if len(runs) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            wrong += 1
            continue
        asked += [results.ask(run, file, options) for file in files]
    return asked, wrong


def chosen(run: Run, checkpoint: str) -> Path:
    """The file of best, last, or a file."""
    return Path(checkpoint) if checkpoint.endswith(".ckpt") else run.checkpoint(checkpoint)


def draw(rows: list[Row], anew: bool) -> None:
    """``metrics.png`` in the folder of a run of which three steps or more were measured: figures over its checkpoints.
    One that is there stays where nothing was measured ``anew``."""
    steps = {(row.run, row.step) for row in rows if row.step}
    for folder in dict.fromkeys(row.run for row in rows):
        path = Path(folder) / "metrics.png"
        if sum(run == folder for run, _ in steps) < 3 or (path.is_file() and not anew):
            continue
        from genlab.curves import as_png, of_checkpoints

        as_png(of_checkpoints(Run(folder)), path)
        print(f"figures over checkpoints: {path}", file=sys.stderr)


def splits(real: Any) -> list[str]:
    """Splits of which real examples are measured as a control; ``auto`` is the training split."""
    if real in (None, "none", ""):
        return []
    return ["train"] if real == "auto" else real.split(",") if isinstance(real, str) else list(map(str, real))


def table(rows: list[Row]) -> tables.Table:
    """One row a run."""
    titles = list(dict.fromkeys(name for row in rows for name in row.figures))
    protocols = [(name, row.model, figure.protocol) for row in rows for name, figure in row.figures.items()]
    return tables.Table(
        ["run", "model", "data", "step"],
        titles,
        [([Path(row.run).name, row.model, row.data, str(row.step)], row.figures) for row in rows],
        tables.caption(protocols),
    )
