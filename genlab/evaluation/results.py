"""What evaluation found, in a run's metrics.json: figures with their protocols, and which evaluations are done.

    figures    [{name, step, value, mark, stderr, protocol}], one for each name and protocol
    done       {digest: {row, asked, told, controls}}, what need not be measured again: figures of one protocol, and
               which of them were asked for, for some may not be there

It is replaced as a whole, under a lock: two evaluations at once keep the figures of both. Nothing here needs torch, so
that an evaluation that is done costs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import genlab
from genlab import __version__
from genlab.errors import GenlabError
from genlab.evaluation.wanted import Part, belongs, concerns, covered, filtered, literal, wanted
from genlab.metrics.base import Figure
from genlab.plugins import packages, sources
from genlab.presets import conf_folder
from genlab.run import Run

REMEMBERED = 100  # evaluations of one run, the latest
NO_MATTER = (
    "run",
    "ckpt",
    "samples",
    "real",
    "metrics",
    "device",
    "devices",
    "plugins",
    "force",
    "ensemble",
    "choices",
)
"""Options that change no figure, or that the digest knows by what they lead to."""


class Note(NamedTuple):
    """What must be known of some figures.

    Args:
        figures: their names, with or without their extractors'.
        text: in words.
        lacking: they are missing, and ``text`` is why.
        named: told only where they are asked for by just these names.
    """

    figures: tuple[str, ...]
    text: str
    lacking: bool = False
    named: bool = False

    def of(self, parts: Sequence[Part]) -> Note:
        """The note on those of its figures that are of some parts; there may be none of them."""
        asked = [figure for _, figure in parts]
        mine = [name for name in self.figures if (name in asked if self.named else concerns([name], parts))]
        return self._replace(figures=tuple(mine))


class Row(NamedTuple):
    """What was measured of one checkpoint, or of examples that no model here has made.

    Args:
        run: its folder, or the file or folder of examples where that is all there is.
        model, data: names.
        step: of training.
        figures: by name.
        told: what is missing and why, and what the others suffer from.
        final: whether measuring again would find no more; not where weights of an extractor could not be had.
    """

    run: str
    model: str
    data: str
    step: int
    figures: dict[str, Figure]
    told: tuple[Note, ...] = ()
    final: bool = True

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        plain = self._asdict()
        figures, _, _ = plain.pop("figures"), plain.pop("told"), plain.pop("final")
        return plain | {"metrics": {name: figure._asdict() for name, figure in figures.items()}}

    def only(self, parts: Sequence[Part]) -> Row:
        """What is asked for of it."""
        told = tuple(note.of(parts) for note in self.told if note.of(parts).figures)
        return self._replace(figures=filtered(self.figures, parts), told=told)


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


def lines(title: str, notes: Sequence[Note]) -> list[str]:
    """Notes on a row in words; figures that are missing for one reason together."""
    together: dict[tuple[str, bool], list[str]] = {}
    for figures, text, lacking, _ in notes:
        together.setdefault((text, lacking), []).extend(figures)
    return [
        f"{short(title)}: no {', '.join(dict.fromkeys(figures))}: {text}" if lacking else f"{short(title)}: {text}"
        for (text, lacking), figures in together.items()
    ]


def new_lines(told: Counter[str], title: str, notes: Sequence[Note]) -> list[str]:
    """``lines``, but for those whose words were ``told`` of another row: these are only counted there."""
    found = []
    for line in lines(title, notes):
        text = line.removeprefix(f"{short(title)}: ")
        told[text] += 1
        if told[text] == 1:
            found.append(line)
    return found


def repeated(told: Counter[str]) -> list[str]:
    """Of how many rows more than the first the same was said."""
    return [f"the same of {times - 1} more: {text}" for text, times in told.items() if times > 1]


def short(title: str) -> str:
    """The last part of a path; what is no path is as it is."""
    return Path(title).name


def from_plain(plain: Mapping[str, Any]) -> Row:
    """The row that ``plain`` was made of."""
    figures = {name: Figure(**figure) for name, figure in plain["metrics"].items()}
    return Row(plain["run"], plain["model"], plain["data"], plain["step"], figures)


def digest(run: Run, checkpoint: Path, options: Mapping[str, Any]) -> str:
    """Of everything that a figure depends on, whichever are asked for: the checkpoint's bytes, the data, the options,
    the presets of metrics and extractors, weights of extractors, code of the user's own, and the version of genlab."""
    found = hashlib.sha256(__version__.encode())
    with open(checkpoint, "rb") as file:
        found.update(hashlib.file_digest(file, "sha256").digest())
    asked = {key: value for key, value in options.items() if key not in NO_MATTER}
    if not literal(options):
        asked["metrics"] = options.get("metrics")
    data = options.get("data") or run.config.get("data") or {}
    found.update(json.dumps([asked, run.config.get("data"), listed(data.get("path"))], default=str).encode())
    weights = (options.get("extractor") or {}).get("weights")
    if weights and Path(weights).expanduser().is_file():  # the same place may hold others another day
        found.update(hashlib.sha256(Path(weights).expanduser().read_bytes()).digest())
    for folder in (conf_folder(), *map(Path, options.get("config_dir") or ())):
        for path in sorted([*folder.glob("metric/*.yaml"), *folder.glob("extractor/*.yaml")]):
            text = path.read_bytes()
            values = [os.environ.get(name.decode(), "") for name in re.findall(rb"oc\.env:\s*(\w+)", text)]
            found.update(text + repr(values).encode())
    theirs = [path for name in packages(options.get("plugins") or ()) for path in sources(name)]
    for path in (*sorted((Path(genlab.__file__).parent / "extractors" / "weights").iterdir()), *theirs):
        found.update(path.read_bytes())
    return found.hexdigest()[:20]


def listed(place: Any) -> list[tuple[str, int, int]]:
    """Name, bytes and time of every file below a folder of the user's own data; nothing where there is none."""
    root = Path(str(place)).expanduser()
    if not place or not root.is_dir():
        return []
    files = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    return sorted((str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def ask(run: Run, checkpoint: Path, options: Mapping[str, Any]) -> Asked:
    """A checkpoint of a run, with what is known of it unless ``force`` is given.

    Raises:
        GenlabError: the run's config.yaml or metrics.json is damaged.
    """
    done = stored(run)["done"]
    if not checkpoint.is_file():
        return Asked(run, checkpoint)
    key, parts = digest(run, checkpoint, options), wanted(options)
    known = {} if options["force"] else done.get(key, {})
    if not known:
        return Asked(run, checkpoint, key)
    controls = [from_plain(plain) for plain in known.get("controls", ()) if answers(plain, plain, parts)]
    row = None
    if answers(known, known["row"], parts):
        row = from_plain(known["row"])._replace(run=str(run.path), told=notes(known)).only(parts)  # as it is named now
    return Asked(run, checkpoint, key, row, tuple(row.only(parts) for row in controls))


def answers(entry: Mapping[str, Any], row: Mapping[str, Any], parts: Sequence[Part]) -> bool:
    """Whether an entry of what is done, with its row, has all that is asked for."""
    return covered(parts, [(name, figure) for name, figure in entry.get("asked", ())], row["metrics"])


def notes(entry: Mapping[str, Any]) -> tuple[Note, ...]:
    """What is told of an entry of what is done; earlier versions kept text."""
    return tuple(Note(tuple(note[0]), *note[1:]) for note in entry.get("told", ()) if not isinstance(note, str))


def stored(run: Run) -> dict[str, Any]:
    """What the run's metrics.json holds: ``figures`` and ``done``, empty where there is none.

    Raises:
        GenlabError: it is not as evaluation wrote it.
    """
    found: Any = run.metrics
    entries: dict[str, Any] = {"figures": [], "done": {}} | found if isinstance(found, dict) else {}
    figures, done = entries.get("figures"), entries.get("done")
    whole = isinstance(figures, list) and all(is_figure(entry) and "name" in entry for entry in figures)
    if whole and isinstance(done, dict) and all(map(is_done, done.values())) and found.keys() <= {"figures", "done"}:
        return entries
    raise GenlabError(f"{run.path / 'metrics.json'}: not as evaluation wrote it; delete it and evaluate again")


def is_figure(plain: Any) -> bool:
    """Is it a figure as JSON has it? What is not finite is none that evaluation keeps."""
    if not isinstance(plain, dict) or not plain.keys() >= set(Figure._fields):
        return False
    numbers = [plain["value"], *([] if plain["stderr"] is None else [plain["stderr"]])]
    finite = all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    return finite and isinstance(plain["mark"], str) and isinstance(plain["protocol"], dict)


def is_row(plain: Any) -> bool:
    """Is it a row as JSON has it?"""
    if not isinstance(plain, dict) or not plain.keys() >= {"run", "model", "data", "step", "metrics"}:
        return False
    figures = plain["metrics"]
    exact = isinstance(figures, dict) and all(
        is_figure(one) and one.keys() == {*Figure._fields} for one in figures.values()
    )
    return exact and all(isinstance(plain[key], str) for key in ("run", "model", "data"))


def is_done(entry: Any) -> bool:
    """Is it an evaluation that is done, as ``keep`` has it?"""
    if not isinstance(entry, dict) or not is_row(entry.get("row")) or not all(map(is_row, entry.get("controls", ()))):
        return False
    asked, told = entry.get("asked", []), entry.get("told", [])
    pairs = isinstance(asked, list) and all(isinstance(part, list) and len(part) == 2 for part in asked)
    return pairs and isinstance(told, list) and all(isinstance(note, list | str) for note in told)


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """Within the block nobody else writes the run's metrics.json; the lock goes with the process, however it ends."""
    with open(run.path / ".metrics.lock", "w") as file:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep(run: Run, key: str, row: Row, parts: Sequence[Part] = (("", ""),)) -> None:
    """Put the figures that were asked for into the run's metrics.json, in place of those of the same name and protocol
    only. The checkpoint that an earlier figure is of has been overwritten where just its step is another."""

    def identity(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return entry["name"], {name: value for name, value in entry["protocol"].items() if name != "step"}

    new = [{"name": name, "step": row.step, **figure._asdict()} for name, figure in row.figures.items()]
    with locked(run):
        kept = stored(run)
        taken = [identity(entry) for entry in json.loads(json.dumps(new))]
        old = [entry for entry in kept["figures"] if identity(entry) not in taken]
        done = {other: found for other, found in kept["done"].items() if other != key}
        before = kept["done"].get(key, {})
        told = [note for note in notes(before) if not note.of(parts).figures]
        entry = {
            "row": joined(before.get("row"), row, parts),
            "asked": united(before, parts),
            "told": [*told, *row.told],
            "controls": before.get("controls", []),
        }
        done = dict(list(done.items())[1 - REMEMBERED :]) | ({key: entry} if row.final else {})
        run.save_metrics(kept | {"figures": old + new, "done": done})


def keep_controls(run: Run, key: str, controls: Sequence[Row], parts: Sequence[Part]) -> None:
    """Put rows of real examples beside those of an evaluation that is done."""
    with locked(run):
        kept = stored(run)
        if key in kept["done"]:
            rows = {plain["run"]: plain for plain in kept["done"][key]["controls"]}
            for row in controls:
                before = rows.get(row.run, {})
                rows[row.run] = joined(before or None, row, parts) | {"asked": united(before, parts)}
            kept["done"][key]["controls"] = list(rows.values())
            run.save_metrics(kept)


def joined(before: Mapping[str, Any] | None, row: Row, parts: Sequence[Part]) -> dict[str, Any]:
    """The row, for JSON, with the figures of an earlier one that are none of the parts now measured."""
    plain = row.plain()
    old = {name: figure for name, figure in (before or plain)["metrics"].items() if not belongs(name, parts)}
    return plain | {"metrics": old | plain["metrics"]}


def united(before: Mapping[str, Any], parts: Sequence[Part]) -> list[list[str]]:
    """What an entry was asked for, now and before."""
    asked = {(name, figure): None for name, figure in before.get("asked", ())} | dict.fromkeys(parts)
    return [list(part) for part in asked]


def controls(run: Run) -> list[tuple[Row, Row]]:
    """All rows of real examples that were measured beside a run, each with the row that it was measured beside."""
    done = stored(run)["done"].values()
    return [(from_plain(plain), from_plain(found["row"])) for found in done for plain in found["controls"]]


def measured(run: Run) -> list[tuple[str, Figure]]:
    """All figures of a run."""
    entries = stored(run)["figures"]
    return [
        (entry["name"], Figure(entry["value"], entry["mark"], entry["stderr"], entry["protocol"])) for entry in entries
    ]
