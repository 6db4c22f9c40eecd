"""What evaluation found, in a run's metrics.json: figures with their protocols, and which evaluations are done.

    figures    [{name, step, value, mark, stderr, protocol}], one for each name and protocol
    done       {digest: {row, controls}}, whole evaluations that need not be run again

Nothing here needs torch, so that an evaluation that is done costs nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genlab import __version__
from genlab.metrics.base import Figure
from genlab.presets import conf_folder
from genlab.run import Run

REMEMBERED = 100  # evaluations of one run, the latest
NO_MATTER = ("run", "ckpt", "device", "devices", "plugins", "force")
"""Options that change no figure, or that the digest knows by what they lead to."""


class Row(NamedTuple):
    """What was measured of one checkpoint, or of examples that no model here has made.

    Args:
        run: its folder, or the file or folder of examples where that is all there is.
        model, data: names.
        step: of training.
        figures: by name.
    """

    run: str
    model: str
    data: str
    step: int
    figures: dict[str, Figure]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        plain = self._asdict()
        figures = plain.pop("figures")
        return plain | {"metrics": {name: figure._asdict() for name, figure in figures.items()}}


class Asked(NamedTuple):
    """One checkpoint to be evaluated.

    Args:
        run: that it belongs to; None for a lone file.
        checkpoint: the file.
        key: of this evaluation, in the run's metrics.json.
        row: what is known already, if this evaluation is done.
        controls: rows of real examples that were measured beside it.
    """

    run: Run | None
    checkpoint: Path
    key: str = ""
    row: Row | None = None
    controls: tuple[Row, ...] = ()


def from_plain(plain: Mapping[str, Any]) -> Row:
    """The row that ``plain`` was made of."""
    figures = {name: Figure(**figure) for name, figure in plain["metrics"].items()}
    return Row(plain["run"], plain["model"], plain["data"], plain["step"], figures)


def digest(run: Run, checkpoint: Path, options: Mapping[str, Any]) -> str:
    """Of everything that the figures of an evaluation depend on: the checkpoint's bytes, the data, the options, the
    presets of metrics and extractors, and the version of genlab."""
    found = hashlib.sha256(__version__.encode())
    with open(checkpoint, "rb") as file:
        found.update(hashlib.file_digest(file, "sha256").digest())
    asked = {key: value for key, value in options.items() if key not in NO_MATTER}
    found.update(json.dumps([asked, run.config.get("data")], sort_keys=True, default=str).encode())
    weights = (options.get("extractor") or {}).get("weights")
    if weights and Path(weights).expanduser().is_file():  # the same place may hold others another day
        found.update(hashlib.sha256(Path(weights).expanduser().read_bytes()).digest())
    for folder in (conf_folder(), *map(Path, options.get("config_dir") or ())):
        for path in sorted([*folder.glob("metric/*.yaml"), *folder.glob("extractor/*.yaml")]):
            found.update(path.read_bytes())
    return found.hexdigest()[:20]


def ask(run: Run, checkpoint: Path, options: Mapping[str, Any]) -> Asked:
    """A checkpoint of a run, with what is known of it unless ``force`` is given."""
    if not checkpoint.is_file():
        return Asked(run, checkpoint)
    key = digest(run, checkpoint, options)
    known = {} if options["force"] else run.metrics.get("done", {}).get(key, {})
    row = from_plain(known["row"])._replace(run=str(run.path)) if known else None  # under the name it has now
    return Asked(run, checkpoint, key, row, tuple(map(from_plain, known.get("controls", ()))))


def keep(run: Run, key: str, row: Row) -> None:
    """Put the figures into the run's metrics.json, in place of those of the same name and protocol only."""
    stored = run.metrics
    new = [{"name": name, "step": row.step, **figure._asdict()} for name, figure in row.figures.items()]
    taken = [(entry["name"], entry["protocol"]) for entry in new]
    old = [entry for entry in stored.get("figures", []) if (entry["name"], entry["protocol"]) not in taken]
    done = {other: found for other, found in stored.get("done", {}).items() if other != key}
    done = dict(list(done.items())[1 - REMEMBERED :]) | {key: {"row": row.plain(), "controls": []}}
    run.save_metrics(stored | {"figures": old + json.loads(json.dumps(new)), "done": done})


def keep_controls(run: Run, key: str, controls: Sequence[Row]) -> None:
    """Put rows of real examples beside those of an evaluation that is done."""
    stored = run.metrics
    if key in stored.get("done", {}):
        stored["done"][key]["controls"] = [row.plain() for row in controls]
        run.save_metrics(stored)


def controls(run: Run) -> list[Row]:
    """All rows of real examples that were measured beside a run."""
    return [from_plain(plain) for found in run.metrics.get("done", {}).values() for plain in found["controls"]]


def measured(run: Run) -> list[tuple[str, Figure]]:
    """All figures of a run."""
    entries = run.metrics.get("figures", [])
    return [
        (entry["name"], Figure(entry["value"], entry["mark"], entry["stderr"], entry["protocol"])) for entry in entries
    ]
