"""One picture of all runs of a sweep at its end, and which of them failed."""

import contextlib
import io
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from genlab import tables
from genlab.errors import GenlabError
from genlab.finale.table import Table, named
from genlab.run import Run, option


class Montage(Callback):
    """A table, and one picture of all runs of a sweep, ``montage.png``: rows by one option, columns by another, in the
    order in which the sweep's words have their values.

    A run has failed where its training has (a loss that is not finite, say), where a figure is beyond its limit, or
    where it has no such figure. Its cell is marked and says why; how many failed of each column is printed.

    Args:
        rows: an option, a dotted key of the config, or ``task``, where several tasks have a row each.
        columns: another.
        task: of ``genlab sample``, whose picture a cell is; several with commas.
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
        self.rows, self.columns, self.tasks, self.n = rows, columns, task.split(","), n
        if (rows == "task") != (len(self.tasks) > 1):
            raise ValueError(f"rows: {rows}, and task: {task}; several tasks have a row each, by rows: task")
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
            column = self.title(option(run.config, self.columns))
            failed, said = verdict(run, figures.get(str(run.path), {}), self.limits)
            for task in self.tasks:
                row = self.title(task if self.rows == "task" else option(run.config, self.rows))
                words = said if task == self.tasks[0] else ""  # once below its pictures
                cells.setdefault((row, column), []).append(Cell(pictured(run, task, self.n, plugins), words, failed))
        rows, columns = (
            as_worded(dict.fromkeys(place[axis] for place in cells), map(self.title, order))
            for axis, order in enumerate(
                (self.tasks if self.rows == "task" else worded(config, self.rows), worded(config, self.columns))
            )
        )
        path = folder / "montage.png"
        title = str(config.hydra.runtime.choices.get("experiment") or self.tasks[0])
        montage(path, rows, columns, cells, title, self.size)
        self.tell(rows[:1] if self.rows == "task" else rows, columns, cells)
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
