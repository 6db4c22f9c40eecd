"""A checked command line in Hydra's hands: the run folder that it makes, the jobs of a sweep, and how they ended."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from genlab.config import COMPOSE_ERRORS, VERSION_BASE, folder_name, plain, plainly, searching
from genlab.errors import MANY, ConfigError, GenlabError
from genlab.presets import conf_folder
from genlab.run import Run, alone, flat, settled

SEARCH_PATH = "hydra.searchpath in command-line"  # Hydra's name for where a folder of the user's comes from

unfinished: list[str] = []
"""What went wrong after the jobs of a sweep, in what it ends in."""

busy: dict[Path, str] = {}
"""Jobs of a sweep in this process that were left alone, since another process trains them or another run has their
folder, and what is to say of it."""

stopped: list[Path] = []
"""The job during which Ctrl-C came to this process, one of several that share a sweep: it begins no other."""

made: list[Path | GenlabError] = []
"""What ``task`` made in this process for a single run: its folder, or why there is none."""


def submit(overrides: Sequence[str], flags: Sequence[str]) -> Path | None:
    """Hand a checked command line to Hydra, whose ``task`` makes the run folder, or trains each job of a sweep.

    Args:
        overrides: as Hydra shall see them.
        flags: of Hydra's own, ``--multirun`` among them.

    Returns:
        The folder of a single run; None where there is none to train.

    Raises:
        GenlabError: the folder cannot be made, or a job of the sweep failed.
    """
    made.clear()
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [before[0], *flags, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and leaving
    try:
        with searching(overrides), contextlib.redirect_stderr(Unannounced(sys.stderr)):  # type: ignore[type-var]
            hydra.main(config_path=str(conf_folder()), config_name="train", version_base=VERSION_BASE)(task)()
    except COMPOSE_ERRORS as error:
        raise plainly(error) from error
    except OSError as error:
        if made or not error.filename or "-m" in flags or "--multirun" in flags:
            raise
        raise GenlabError(f"hydra.run.dir: no folder can be made at {error.filename}: {error.strerror}") from None
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR")
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full
        GlobalHydra.instance().clear()
    result = made[-1] if made else None
    if isinstance(result, GenlabError):
        raise result
    return result


class Unannounced:
    """A stream without the line by which Hydra announces the error that it then raises, and that is told by us."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Error executing job with overrides") else self.stream.write(text)


def task(config: DictConfig) -> float | None:
    """What Hydra runs: make the run folder; in a sweep also train it, in a process of its own.

    Returns:
        Of a sweep's job, its objective. One that failed is noted in its run.yaml and is infinitely bad, so that a
        sweeper, which minimises, goes on with the others. (Optuna's ends at a nan.)
    """
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    if settings.mode == RunMode.RUN:
        try:
            create(folder, config)
            made.append(folder)
        except GenlabError as error:  # Hydra would print words of its own about it
            made.append(error)
        return None
    from genlab.jobs import a_worker, listening, run_job

    if stopped:
        return math.inf
    if config.get("skip_refused") and (reasons := refused(config)):
        print(f"job {settings.job.num} left out: {'; '.join(reasons)}", file=sys.stderr, flush=True)
        return math.inf
    number = settings.job.num
    try:
        create(folder, config)
        run = Run(folder)
        with alone(run):
            pass
    except GenlabError as error:  # nothing of it is touched
        busy[folder] = str(error).partition(": ")[2]
        print(f"job {number} failed: {error}", file=sys.stderr, flush=True)
        return math.inf
    if run.info.get("status") == "failed":  # in an earlier sweep
        run.note(status="created", error=None)
    print(f"job {number}: {folder}", file=sys.stderr, flush=True)
    try:
        with listening(a_worker()):
            return run_job(folder)
    except KeyboardInterrupt:
        if not a_worker():
            raise
        stopped.append(folder)
        return math.inf
    except Exception as error:
        if run.info.get("status") == "failed":  # the job has said why
            reason = ""
        else:
            reason = ": " + " ".join(str(error).split()).removeprefix(f"{folder}: ")
            run.note(status="failed", error=reason[2:])
        print(f"job {number} failed{reason}", file=sys.stderr, flush=True)
        return math.inf


def refused(config: DictConfig) -> list[str]:
    """Why a job of a sweep cannot work."""
    from genlab.validation.contradictions import contradictions

    choices = {str(key): value for key, value in HydraConfig.get().runtime.choices.items()}
    return [str(error) for error in contradictions(plain(config) | {"choices": choices})]


def create(folder: Path, config: DictConfig) -> None:
    """The run in ``folder``; one with the same config that is there already is gone on with.

    Raises:
        ConfigError: another one is there.
    """
    settings = HydraConfig.get()
    choices = {str(key): value for key, value in settings.runtime.choices.items() if not str(key).startswith("hydra/")}
    resolved = settled(plain(config) | {"choices": choices}, settings.overrides.task)
    if not (folder / "config.yaml").exists():
        Run.create(folder, resolved, ["genlab", "train", *settings.overrides.task, *own_folders(settings)])
    elif Run(folder).config != resolved:
        reason = f"another run is there; genlab train run={os.path.relpath(folder)} goes on with that one"
        raise ConfigError("hydra.run.dir", os.path.relpath(folder), reason)


def unlike(sweep: Path, jobs: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a sweep into a folder where runs of other settings have the names of its jobs, before the first begins.

    Args:
        sweep: its folder.
        jobs: the configs of those that are known, by the words that tell them apart.

    Raises:
        ConfigError: there is such a run.
    """
    found = []
    for name, config in jobs.items():
        folder = sweep / folder_name("__".join(sorted(name.split())))
        if not (folder / "config.yaml").is_file():
            continue
        here, there = flat(config), flat(Run(folder).config)
        for key in [key for key in {**here, **there} if here.get(key) != there.get(key)][:1]:
            found.append(f"{folder.name} has {key}={there.get(key)} and not {here.get(key)}")
    if found:
        more = f" ({len(found) - 1} more differ{'s' * (len(found) == 2)})" if len(found) > 1 else ""
        reason = f"holds runs of other settings: {found[0]}{more}; give a folder of its own"
        raise ConfigError("hydra.sweep.dir", os.path.relpath(sweep), reason)


def own_folders(settings: Any) -> list[str]:
    """``--config-dir`` words for the user's own folders that a config was composed from."""
    sources = [str(source.path) for source in settings.runtime.config_sources if source.provider == SEARCH_PATH]
    return [word for path in sources for word in ("--config-dir", path)]


def states(sweep: Path) -> dict[Path, int]:
    """When each run of a sweep was last noted, by its run.yaml."""
    return {path: path.stat().st_mtime_ns for path in sorted(sweep.rglob("run.yaml"))}


def failures(sweep: Path, before: Mapping[Path, int]) -> dict[str, str]:
    """Why jobs of a sweep failed, by name of their folder; runs that are as they were ``before`` are none of them."""
    found = {str(folder.relative_to(sweep.absolute())): reason for folder, reason in busy.items()}
    for path, noted in states(sweep).items():
        info = Run(path.parent).info
        if info.get("status") == "failed" and before.get(path) != noted:
            found[str(path.parent.relative_to(sweep))] = str(info.get("error", "see its log"))
    return found


def standing(sweep: Path, jobs: Mapping[str, Mapping[str, Any]], beyond: int = 0) -> list[str]:
    """How far a sweep has come, in lines.

    Args:
        sweep: its folder.
        jobs: the configs of those that are known, by name.
        beyond: how many others there are.
    """
    runs = [Run(path.parent) for path in states(sweep)]
    known = {name: next((run for run in runs if run.config == config), None) for name, config in jobs.items()}
    others = [run for run in runs if run not in known.values()][:beyond]
    all_of_it = [*known.items(), *((run.path.name, run) for run in others), *[("...", None)] * (beyond - len(others))]
    by_status: dict[str, list[str]] = {"done": []}
    for name, run in all_of_it:
        by_status.setdefault("not begun" if run is None else str(run.info.get("status")), []).append(name)
    lines = [f"{len(by_status.pop('done'))} of {len(all_of_it)} jobs done"]
    for status, names in by_status.items():
        shown = dict.fromkeys([*names[:MANY], *["..."] * (len(names) > MANY)])
        lines.append(f"{status} {len(names)}: {'; '.join(shown)}")
    return lines


def claim(folder: str, name: str = "hydra.run.dir") -> str:
    """The folder itself, or one numbered after it where another run started in the same second took that name."""
    path, number = Path(folder), 1
    while True:
        try:
            path.mkdir(parents=True)
            return str(path)
        except FileExistsError:
            path, number = Path(f"{folder}-{number}"), number + 1
        except OSError as error:
            reason = f"cannot make the run folder: {error.strerror}; {name}=... puts it elsewhere"
            raise GenlabError(f"{path}: {reason}") from None
