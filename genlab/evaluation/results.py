"""What evaluation found, in a run's metrics.json: figures with their protocols, and which evaluations are done.

    figures    [{name, step, value, mark, stderr, protocol}], one for each name and protocol
    done       {digest: {row, told, controls}}, whole evaluations that need not be run again

It is replaced as a whole, under a lock: two evaluations at once keep the figures of both. Nothing here needs torch, so
that an evaluation that is done costs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import genlab
from genlab import __version__
from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.plugins import packages
from genlab.presets import conf_folder
from genlab.run import Run

REMEMBERED = 100  # evaluations of one run, the latest
NO_MATTER = ("run", "ckpt", "samples", "real", "device", "devices", "plugins", "force")
"""Options that change no figure, or that the digest knows by what they lead to."""


class Row(NamedTuple):
    """What was measured of one checkpoint, or of examples that no model here has made.

    Args:
        run: its folder, or the file or folder of examples where that is all there is.
        model, data: names.
        step: of training.
        figures: by name.
        told: lines about what is missing and why.
    """

    run: str
    model: str
    data: str
    step: int
    figures: dict[str, Figure]
    told: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        plain = self._asdict()
        figures, _ = plain.pop("figures"), plain.pop("told")
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

    @property
    def title(self) -> str:
        """As the user named it."""
        return str(self.run.path if self.run is not None else self.checkpoint)


def short(title: str) -> str:
    """The last part of a path; what is no path is as it is."""
    return Path(title).name


def from_plain(plain: Mapping[str, Any]) -> Row:
    """The row that ``plain`` was made of."""
    figures = {name: Figure(**figure) for name, figure in plain["metrics"].items()}
    return Row(plain["run"], plain["model"], plain["data"], plain["step"], figures)


def digest(run: Run, checkpoint: Path, options: Mapping[str, Any]) -> str:
    """Of everything that the figures of an evaluation depend on: the checkpoint's bytes, the data, the options, the
    presets of metrics and extractors, weights of extractors, code of the user's own, and the version of genlab."""
    found = hashlib.sha256(__version__.encode())
    with open(checkpoint, "rb") as file:
        found.update(hashlib.file_digest(file, "sha256").digest())
    asked = {key: value for key, value in options.items() if key not in NO_MATTER}
    data = options.get("data") or run.config.get("data") or {}
    found.update(json.dumps([asked, run.config.get("data"), listed(data.get("path"))], default=str).encode())
    weights = (options.get("extractor") or {}).get("weights")
    if weights and Path(weights).expanduser().is_file():  # the same place may hold others another day
        found.update(hashlib.sha256(Path(weights).expanduser().read_bytes()).digest())
    for folder in (conf_folder(), *map(Path, options.get("config_dir") or ())):
        for path in sorted([*folder.glob("metric/*.yaml"), *folder.glob("extractor/*.yaml")]):
            found.update(path.read_bytes())
    for path in (*sorted((Path(genlab.__file__).parent / "extractors" / "weights").iterdir()), *sources(options)):
        found.update(path.read_bytes())
    return found.hexdigest()[:20]


def listed(place: Any) -> list[tuple[str, int, int]]:
    """Name, bytes and time of every file below a folder of the user's own data; nothing where there is none."""
    root = Path(str(place)).expanduser()
    if not place or not root.is_dir():
        return []
    files = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    return sorted((str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def sources(options: Mapping[str, Any]) -> list[Path]:
    """The Python files of the packages that ``plugins`` admits, none of them imported."""
    files: list[Path] = []
    for name in packages(options.get("plugins") or ()):
        spec = importlib.util.find_spec(name.partition(".")[0])
        if spec is not None and spec.submodule_search_locations:
            files += [path for place in spec.submodule_search_locations for path in sorted(Path(place).rglob("*.py"))]
        elif spec is not None and spec.origin:
            files.append(Path(spec.origin))
    return files


def ask(run: Run, checkpoint: Path, options: Mapping[str, Any]) -> Asked:
    """A checkpoint of a run, with what is known of it unless ``force`` is given.

    Raises:
        GenlabError: the run's config.yaml or metrics.json is damaged.
    """
    done = stored(run)["done"]
    if not checkpoint.is_file():
        return Asked(run, checkpoint)
    key = digest(run, checkpoint, options)
    known = {} if options["force"] else done.get(key, {})
    if not known:
        return Asked(run, checkpoint, key)
    row = from_plain(known["row"])._replace(run=str(run.path), told=tuple(known.get("told", ())))  # as it is named now
    return Asked(run, checkpoint, key, row, tuple(map(from_plain, known.get("controls", ()))))


def stored(run: Run) -> dict[str, Any]:
    """What the run's metrics.json holds: ``figures`` and ``done``, empty where there is none.

    Raises:
        GenlabError: it is not as evaluation wrote it.
    """
    found: Any = run.metrics
    entries: dict[str, Any] = {"figures": [], "done": {}} | found if isinstance(found, dict) else {}
    whole = isinstance(entries.get("figures"), list) and isinstance(entries.get("done"), dict)
    if whole and all({"name", "value", "mark", "stderr", "protocol"} <= set(entry) for entry in entries["figures"]):
        return entries
    raise GenlabError(f"{run.path / 'metrics.json'}: not as evaluation wrote it; delete it and evaluate again")


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """Within the block nobody else writes the run's metrics.json; the lock goes with the process, however it ends."""
    with open(run.path / ".metrics.lock", "w") as file:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep(run: Run, key: str, row: Row) -> None:
    """Put the figures into the run's metrics.json, in place of those of the same name and protocol only. The checkpoint
    that an earlier figure is of has been overwritten where just its step is another."""

    def identity(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return entry["name"], {name: value for name, value in entry["protocol"].items() if name != "step"}

    new = [{"name": name, "step": row.step, **figure._asdict()} for name, figure in row.figures.items()]
    with locked(run):
        kept = stored(run)
        taken = [identity(entry) for entry in json.loads(json.dumps(new))]
        old = [entry for entry in kept["figures"] if identity(entry) not in taken]
        done = {other: found for other, found in kept["done"].items() if other != key}
        entry = {"row": row.plain(), "told": list(row.told), "controls": kept["done"].get(key, {}).get("controls", [])}
        done = dict(list(done.items())[1 - REMEMBERED :]) | {key: entry}
        run.save_metrics(kept | {"figures": old + new, "done": done})


def keep_controls(run: Run, key: str, controls: Sequence[Row]) -> None:
    """Put rows of real examples beside those of an evaluation that is done."""
    with locked(run):
        kept = stored(run)
        if key in kept["done"]:
            rows = {plain["run"]: plain for plain in kept["done"][key]["controls"]}
            rows |= {row.run: row.plain() for row in controls}
            kept["done"][key]["controls"] = list(rows.values())
            run.save_metrics(kept)


def controls(run: Run) -> list[Row]:
    """All rows of real examples that were measured beside a run."""
    return [from_plain(plain) for found in stored(run)["done"].values() for plain in found["controls"]]


def measured(run: Run) -> list[tuple[str, Figure]]:
    """All figures of a run."""
    entries = stored(run)["figures"]
    return [
        (entry["name"], Figure(entry["value"], entry["mark"], entry["stderr"], entry["protocol"])) for entry in entries
    ]
