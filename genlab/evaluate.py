"""``genlab eval``: the figures of trained models, each with the protocol that it was measured by."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab import captions, tables
from genlab.errors import ConfigError, GenlabError
from genlab.evaluation import results
from genlab.evaluation.results import Asked, Row
from genlab.evaluation.wanted import waiting
from genlab.jobs import held
from genlab.metrics.base import comparable
from genlab.run import Run, rank


def main(options: Mapping[str, Any], as_json: bool = False) -> int:
    """Measure every run, keep its figures in its metrics.json, print a row for each, then the rows of real examples.

    An evaluation that is done is not repeated, unless ``force`` is given.

    Returns:
        The exit code: 1 where nothing could be measured of a run, which is told and does not stop the others.

    Raises:
        GenlabError: an option does not fit; no run is named; the only one cannot be measured.
    """
    asked, wrong = find(options)
    controls = [] if as_json and options["real"] == "auto" else splits(options["real"])
    titles = {f"real {split}" for split in controls}
    rows = [one.row for one in asked if one.row is not None]
    if rows:
        say(f"{len(rows)} of {len(asked)} measured before, so not again; --force does")
        told: Counter[str] = Counter()
        for line in [line for row in rows for line in results.new_lines(told, row.run, row.told)]:
            say(line)
        for line in results.repeated(told):
            say(line)
    rows += {(row.data, row.run, *of(row)): row for one in asked for row in one.controls if row.run in titles}.values()
    known = all(one.row is not None and titles <= {row.run for row in one.controls} for one in asked)
    if not known or options.get("samples") or options["ensemble"]:
        with held():
            from genlab.evaluation.assess import assess
        rows, failed = assess(asked, controls, options)
        wrong += failed
    if asked and (more := waiting(options)):  # all are of models
        say(f"measured only where they are named: metrics={','.join(more)}")
    rows = [row for row in rows if row.figures or not row.run.startswith("real ")]  # a control of nothing is no row
    bare = [row.run for row in rows if not row.figures]
    nothing = bool(bare) and len(bare) == len(rows)  # of models of several families some have no likelihood, say
    for run in bare:
        say(f"{'error: ' * nothing}{run}: it has none of the figures asked for")
    wrong += nothing
    if rank() == 0:
        draw(rows, anew=not known, wanted=options.get("ckpt") == "all")
        if as_json:
            print(json.dumps([row.plain() for row in rows]))
        elif not nothing:
            show(rows, everything=options.get("metrics") in (None, "auto"))
    return 1 if wrong else 0


def say(text: str) -> None:
    """A line on stderr, from the first of several ranks."""
    if rank() == 0:
        print(text, file=sys.stderr)


def find(options: Mapping[str, Any]) -> tuple[list[Asked], int]:
    """What is to be evaluated, and how many of the runs named cannot be.

    Raises:
        ConfigError: nothing is named, or a file for several runs.
        GenlabError: the only run named has no such checkpoint, or its folder is damaged.
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
            asked += [results.ask(run, file, options) for file in files]
            status = run.info.get("status", "done")
        except (GenlabError, OSError) as error:
            if len(runs) == 1 and not options.get("samples"):
                raise
            told = str(error)
            say(f"error: {told}" if str(run.path) in told else f"error: run={run.path}: {told}")
            wrong += 1
            continue
        if status != "done":
            say(f"{run.path.name}: its training has not ended ({status}); its figures are of the steps so far")
    return asked, wrong


def chosen(run: Run, checkpoint: str) -> Path:
    """The file of best, last, or a file."""
    return Path(checkpoint) if checkpoint.endswith(".ckpt") else run.checkpoint(checkpoint)


def draw(rows: list[Row], anew: bool, wanted: bool) -> None:
    """``metrics.png`` in the folder of a run of which three steps or more were measured: figures over its checkpoints.
    One that is there stays where nothing was measured ``anew``. Where it is ``wanted`` and cannot be, a line says so.
    """
    steps = {(row.run, row.step) for row in rows if row.step}
    for folder in dict.fromkeys(row.run for row in rows if row.step):  # a control has none
        path = Path(folder) / "metrics.png"
        count = sum(run == folder for run, _ in steps)
        if count < 3 and wanted:
            told = f"checkpoints of {count} steps, and a curve takes three (trainer.keep_every=N keeps more)"
            say(f"{Path(folder).name}: no metrics.png: it has {told}".replace("of 1 steps", "of one step"))
        if count < 3 or (path.is_file() and not anew):
            continue
        from genlab.curves import as_png, of_checkpoints

        as_png(of_checkpoints(Run(folder)), path)
        print(f"figures over checkpoints: {path}", file=sys.stderr)


def splits(real: Any) -> list[str]:
    """Splits of which real examples are measured as a control; ``auto`` is the training split."""
    if real in (None, "none", ""):
        return []
    return ["train"] if real == "auto" else real.split(",") if isinstance(real, str) else list(map(str, real))


def show(rows: list[Row], everything: bool) -> None:
    """Print a table for each data set."""
    for number, data in enumerate(dict.fromkeys(row.data for row in rows)):
        if number:
            print()
        tables.show(table([row for row in rows if row.data == data], everything))


def table(rows: list[Row], everything: bool = False) -> tables.Table:
    """One row a run and checkpoint; the figures in the order asked for or, of ``everything``, those first that most
    look for."""
    titles = list(dict.fromkeys(name for row in rows for name in row.figures))
    if everything:
        titles = tables.leading(titles)
    names = named(rows)
    protocols = [
        (title, name if row.model == "-" else row.model, figure.protocol)
        for row, name in zip(rows, names, strict=True)
        for title, figure in row.figures.items()
    ]
    lines = []
    for row, name in zip(rows, names, strict=True):
        checkpoint = next((str(figure.protocol.get("checkpoint", "-")) for figure in row.figures.values()), "-")
        step = str(row.step) if checkpoint != "-" else "-"
        samples = next(
            (str(f.protocol["n generated"]) for f in row.figures.values() if "n generated" in f.protocol), "-"
        )
        lines.append(([name, row.model, row.data, checkpoint, step, samples], row.figures))
    texts = ["run", "model", "data", "checkpoint", "step", "samples"]
    unlike = [title for title in titles if unequal(rows, title)]
    warning = [f"not to be compared from row to row, for their protocols differ: {', '.join(unlike)}"] if unlike else []
    numbers = captions.numbers([(name, row.figures) for row, name in zip(rows, names, strict=True)])
    return tables.Table(texts, titles, lines, [*captions.caption(protocols), *warning, *numbers])


def unequal(rows: Sequence[Row], title: str) -> bool:
    """Whether a figure was measured of the same data in ways that cannot be compared; of a control, which may be of
    another number of examples, a line of its own says so."""
    ways: dict[str, set[str]] = {}
    for row in rows:
        if title in row.figures and not row.run.startswith("real "):
            ways.setdefault(row.data, set()).add(comparable(row.figures[title].protocol))
    return any(len(found) > 1 for found in ways.values())


def of(row: Row) -> list[str]:
    """Hashes of the real examples that a control is of, and of those that it was held against."""
    return sorted({str(f.protocol.get(key)) for f in row.figures.values() for key in ("examples hash", "split hash")})


def named(rows: Sequence[Row]) -> list[str]:
    """A name for each row; controls of one name that are of unlike examples are told apart by the runs beside which
    they stand."""
    names = told_apart([row.run for row in rows])
    runs = [Run(path) for path in dict.fromkeys(row.run for row in rows if (Path(row.run) / "config.yaml").is_file())]
    beside = [(row, run) for run in runs for row, _ in results.controls(run)]
    found = []
    for row in rows:
        name = names[row.run]
        if sum((other.data, other.run) == (row.data, row.run) for other in rows) > 1 and row.model == "-":
            mine = {figure.protocol.get("examples hash") for figure in row.figures.values()}
            whose = [run for other, run in beside if other.run == row.run and {*of(other)} & mine]
            name += f" of {', '.join(dict.fromkeys(names[str(run.path)] for run in whose))}" if whose else ""
        found.append(name)
    return found


def told_apart(paths: Sequence[str]) -> dict[str, str]:
    """As many of the last parts of each path as tell it from the others."""
    for depth in range(1, 1 + max((len(Path(path).parts) for path in paths), default=1)):
        names = {path: str(Path(*Path(path).parts[-depth:])) for path in paths}
        if len(set(names.values())) == len(names):
            break
    return names
