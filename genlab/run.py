"""A run is a folder: its config, its state, its checkpoints, its figures. Nothing here needs torch or Hydra.

    config.yaml      the resolved config, plain
    run.yaml         version, git commit, command line, status, step
    metrics.csv      what training logged
    metrics.json     what evaluation measured; metrics.png, where it was of several checkpoints
    checkpoints/     last.ckpt, best.ckpt, and step_0001000.ckpt ... where training keeps them
    samples/         grids from training, and what ``genlab sample`` made

Every path is relative to the folder, so a run that was moved still opens. Every file is written under a temporary name
and then renamed, so that none is ever half there.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from genlab import __version__
from genlab.choices import of_others
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.files import atomic

GROUPS = ("trainer", "data", "model", "training", "optimizer")
"""Parts of a config that a training needs."""


class Run:
    """One training run.

    Args:
        path: its folder.

    Raises:
        ConfigError: the folder holds no config.yaml.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).absolute()
        if not (self.path / "config.yaml").is_file():
            raise no_run(path)

    @classmethod
    def create(cls, path: str | Path, config: dict[str, Any], command: list[str]) -> Run:
        """A new run in ``path``."""
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with atomic(path / "config.yaml") as partial:
                partial.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
            run = cls(path)
            run.note(
                version=__version__,
                commit=_commit(),
                command=command,
                created=datetime.now().isoformat(timespec="seconds"),
                status="created",
            )
        except OSError as error:
            raise GenlabError(f"{path}: cannot write the run folder: {error.strerror or error}") from None
        return run

    @staticmethod
    def find(patterns: Iterable[str]) -> list[Run]:
        """All runs at or below the folders that the patterns name; commas and globs are understood.

        Raises:
            ConfigError: a pattern finds no run.
        """
        found: dict[Path, Run] = {}
        for pattern in (part for text in patterns for part in parts(str(text))):
            there = Path(pattern).exists()
            folders = [Path(name) for name in ([pattern] if there else sorted(glob.glob(pattern, recursive=True)))]
            runs = [path for folder in folders for path in below(folder) or itself(folder)]
            if not runs:
                raise no_run(pattern)
            for path in runs:
                found.setdefault(path.resolve(), Run(path))
        return list(found.values())

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config.

        Raises:
            GenlabError: it is damaged.
        """
        try:
            config = self._read("config.yaml")
            for part in GROUPS:
                if not isinstance(config.get(part, {}), dict | None):
                    raise GenlabError(f"{self.path / 'config.yaml'}: its {part} is no mapping")
        except GenlabError as error:
            raise GenlabError(f"{error}{without_it(self.path)}") from None
        return config

    def trainable(self) -> dict[str, Any]:
        """The config, which must have all that a training needs.

        Raises:
            GenlabError: it lacks something.
        """
        for part in GROUPS:
            if not self.config.get(part):
                raise GenlabError(f"{self.path / 'config.yaml'}: it has no {part}, so there is nothing to train")
        return self.config

    @property
    def info(self) -> dict[str, Any]:
        """What ``note`` wrote: version, commit, command, status, step."""
        return self._read("run.yaml") if (self.path / "run.yaml").is_file() else {}

    def intact(self) -> None:
        """Refuse a folder that cannot be read, whether or not a verb has a use for what is in it.

        Raises:
            GenlabError: config.yaml or run.yaml is damaged.
        """
        _ = self.config, self.info

    def note(self, **entries: Any) -> None:
        """Add to run.yaml."""
        info = self.info | entries
        with atomic(self.path / "run.yaml") as partial:
            partial.write_text(yaml.safe_dump(info, sort_keys=False, allow_unicode=True))

    def restore(self, config: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """Write back what config.yaml and run.yaml said before."""
        for name, content in (("config.yaml", config), ("run.yaml", info)):
            with atomic(self.path / name) as partial:
                partial.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True))

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Folder of the pictures and samples."""
        return self.path / "samples"

    def checkpoint(self, name: str = "best") -> Path:
        """The file of checkpoint ``name`` (best, last, or a step); ``best`` falls back to ``last`` where nothing was
        validated, as for a GAN.

        Raises:
            ConfigError: a run never has one of this name.
            GenlabError: there is none yet.
        """
        name = str(name)
        for candidate in [name, "last"] if name == "best" else [stem(int(name)) if name.isdigit() else name]:
            path = self.checkpoints / f"{candidate}.ckpt"
            if path.is_file():
                return path
        if name not in ("best", "last"):
            there = [path.stem for path in sorted(self.checkpoints.glob("*.ckpt"))]
            steps = [str(int(kept.removeprefix("step_"))) for kept in there if kept.startswith("step_")]
            kept = f"a step ({', '.join(steps)})" if steps else "a step that trainer.keep_every kept"
            reason = f"no such checkpoint; write best, last, {kept}, or a file"
            raise ConfigError("ckpt", name, reason, nearest(name, [*steps, *there]))
        reason = f": its training failed: {error}" if (error := self.info.get("error")) else " yet"
        raise GenlabError(f"run={self.path}: it has no checkpoint '{name}'{reason}")

    def all_checkpoints(self) -> list[Path]:
        """Every checkpoint that is kept, in the order of their steps where their names are steps, best and last after.

        Raises:
            GenlabError: there is none yet.
        """
        files = sorted(self.checkpoints.glob("*.ckpt"), key=lambda path: kept_order(path.stem))
        if not files:
            raise GenlabError(f"run={self.path}: it has no checkpoint yet")
        return files

    @property
    def metrics(self) -> dict[str, Any]:
        """What evaluation measured, from metrics.json."""
        path = self.path / "metrics.json"
        try:
            return json.loads(path.read_text()) if path.is_file() else {}
        except ValueError as error:  # of JSON, or of bytes that are no text
            raise GenlabError(f"{path}: not valid JSON ({error}); delete it and evaluate again") from None

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Replace metrics.json."""
        with atomic(self.path / "metrics.json") as partial:
            partial.write_text(json.dumps(metrics, indent=1))

    def _read(self, name: str) -> dict[str, Any]:
        try:
            plain = yaml.safe_load((self.path / name).read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise GenlabError(f"{self.path / name}: not valid YAML{where(error)}") from None
        if not isinstance(plain, dict):
            raise GenlabError(f"{self.path / name}: not a YAML mapping")
        return plain


def without_it(folder: Path) -> str:
    """What can be done with a run of which config.yaml is of no use."""
    lone = next(iter(sorted(folder.glob("checkpoints/*.ckpt"))), None)
    return f"; genlab sample and eval take ckpt={lone} without it" if lone else ""


def where(error: Exception) -> str:
    """The line that YAML cannot be read beyond, and why."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if isinstance(error, UnicodeDecodeError):
        return ": it holds bytes that are no text"
    return f": line {mark.line + 1}: {problem}" if mark else f": {problem or getattr(error, 'reason', error)}"


BUDGETS = ("max_steps", "max_epochs")


def settled(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A config as a run keeps it: of steps and epochs the one that is typed alone, of a loss and the like nothing that
    is meant for another, and no path that only means something in the folder that genlab was called in."""
    keys = {override.partition("=")[0].lstrip("+") for override in overrides}
    config = of_others(config, keys)
    trainer, data = dict(config.get("trainer") or {}), dict(config.get("data") or {})
    typed = [name for name in BUDGETS if f"trainer.{name}" in keys]
    if len(typed) == 1 and trainer.get(typed[0]) is not None:
        trainer |= {name: None for name in BUDGETS if name != typed[0] and name in trainer}
    for name in ("path", "root"):
        given = data.get(name)
        if isinstance(given, str) and Path(given).expanduser().exists():
            data[name] = str(Path(given).expanduser().absolute())
    return config | {"trainer": trainer, "data": data}


def below(folder: Path) -> list[Path]:
    """Folders of runs at or below one, in order; what vanishes meanwhile or cannot be read is none."""
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        if {"config.yaml", "run.yaml"} <= {*files}:
            found.append(Path(place))
    return found


def itself(folder: Path) -> list[Path]:
    """A folder with a config.yaml as the run that its run.yaml would say it is, if that were there."""
    return [folder] if (folder / "config.yaml").is_file() and (folder / "checkpoints").is_dir() else []


def no_run(path: str | Path) -> ConfigError:
    """There is no run, and the folder around, below or beside it that may have been meant."""
    reason = "no run there (a run is a folder with a config.yaml)"
    if Path(path).is_dir() and not os.access(path, os.R_OK | os.X_OK):
        return ConfigError("run", path, "a folder that cannot be read: Permission denied", "", "command line")
    if Path(path).is_file() and (around := next((p for p in Path(path).parents if (p / "run.yaml").is_file()), None)):
        return ConfigError("run", path, "a file of a run", str(around), "command line")
    if without := without_it(Path(path)):
        return ConfigError("run", path, f"its config.yaml is gone{without}", "", "command line")
    below = [file.parent for depth in (1, 2, 3) for file in sorted(Path(path).glob("*/" * depth + "run.yaml"))]
    if below:
        what = "a run is" if len(below) == 1 else f"{len(below)} runs are"
        return ConfigError("run", path, f"{what} below it, and one is wanted here", str(below[0]), "command line")
    parent = Path(path).parent
    there = parent.iterdir() if parent.is_dir() and os.access(parent, os.R_OK | os.X_OK) else ()
    beside = [entry.name for entry in there if entry.is_dir() and entry.name != Path(path).name]
    near = nearest(Path(path).name, beside)
    return ConfigError("run", path, reason, str(parent / near) if near else "", "command line")


def stem(step: int) -> str:
    """Name of what is kept of a step: ``step_0001000``, so that names sort as steps do."""
    return f"step_{step:07d}"


def kept_order(checkpoint: str) -> tuple[bool, int, str]:
    """For sorting names of checkpoints: steps as they follow, best and last after."""
    return checkpoint in ("best", "last"), len(checkpoint), checkpoint


def parts(text: str) -> list[str]:
    """The paths and patterns that a text names with commas between; what is there by the whole text is one path."""
    return [text] if Path(text).exists() and text else [part for part in text.split(",") if part]


def option(config: Mapping[str, Any], key: str) -> Any:
    """What stands at a dotted key; None where there is nothing."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys to scalars."""
    if not isinstance(config, Mapping):
        return {prefix: config}
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def rank() -> int:
    """This process's rank as its launcher tells it, before there is a process group."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", os.environ.get("LOCAL_RANK", "0"))))


@contextlib.contextmanager
def alone(run: Run) -> Iterator[None]:
    """Within the block no other process trains this run; the lock goes with the process, however it ends. Of several
    ranks the first holds it.

    Raises:
        GenlabError: another one does.
    """
    if rank() != 0:
        yield
        return
    try:
        file = open(run.path / ".lock", "w")  # noqa: SIM115
    except OSError as error:
        raise GenlabError(f"run={run.path}: cannot be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GenlabError(f"run={run.path}: another process is training it") from None
        yield


def title(config: Mapping[str, Any]) -> str:
    """``model on data``, as typed."""
    choices = config.get("choices") or {}
    return f"{choices.get('model', 'model')} on {choices.get('data', 'data')}"


def _commit() -> str | None:
    """The commit of the checkout genlab runs from, with a plus where it was changed; None in an installed package."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return None
    try:
        git = functools.partial(subprocess.run, cwd=here, capture_output=True, text=True, timeout=5, check=True)
        head = git(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return head + "+" * bool(changed)
