"""Configs: where they lie, how a command line becomes one, and Hydra's side of training."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from genlab.errors import ConfigError, GenlabError
from genlab.presets import conf_folder
from genlab.run import Run, alone, settled
from genlab.validation.choices import recipe, referring

VERSION_BASE = "1.3"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
SEARCHED = "GENLAB_SEARCHED"
"""The variable that holds the folders of the user's own that configs are composed from just now. Hydra does not tell of
them while it composes, and launchers compose again in processes of their own."""
SEARCH_PATH = "hydra.searchpath in command-line"  # Hydra's name for where a folder of the user's comes from
COMPOSE_ERRORS = (HydraException, OmegaConfBaseException)

unfinished: list[str] = []
"""What went wrong after the jobs of a sweep, in what it ends in."""

busy: dict[Path, str] = {}
"""Jobs of a sweep in this process that were left alone, since another process trains them, and what it said."""

made: list[Path | GenlabError] = []
"""What ``task`` made in this process for a single run: its folder, or why there is none."""


@dataclass(frozen=True)
class Composed:
    """A config as Hydra composed it.

    Attributes:
        config: resolved, plain containers.
        choices: option taken of each group, ``{"model": "wgan_gp", ...}``.
        folder: where Hydra would put the run.
        sweep: where Hydra would put a sweep.
        varied: values by key that the config itself has Hydra's basic sweeper combine, ``hydra.sweeper.params``.
        referred: the first part of every key that a value refers to, ``${model}`` or ``${model.latent}``.
        targets: by key, those that refer to other values, as written: ``genlab.models.gan.${model.net}.Generator``.
    """

    config: dict[str, Any]
    choices: dict[str, Any]
    folder: str
    sweep: str
    varied: dict[str, str]
    referred: frozenset[str]
    targets: dict[str, str]


def compose(name: str, overrides: Sequence[str], folders: Sequence[str] = ()) -> Composed:
    """The config ``conf/<name>.yaml`` under ``overrides``, with the user's own config ``folders`` searched too.

    Raises:
        HydraException, OmegaConfBaseException: as Hydra and OmegaConf say it; ``plainly`` shortens that.
    """
    with (
        _session(),
        searching([*overrides, *search_path(overrides, folders)]),
        hydra.initialize_config_dir(str(conf_folder()), version_base=VERSION_BASE),
    ):
        config = hydra.compose(name, overrides=[*overrides, *search_path(overrides, folders)], return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        choices = {key: value for key, value in config.hydra.runtime.choices.items() if not key.startswith("hydra/")}
        folder, sweep, sweeper = str(config.hydra.run.dir), str(config.hydra.sweep.dir), config.hydra.sweeper
        params = (sweeper.get("params") or {}) if sweeper.get("_target_") == BASIC_SWEEPER else {}
        varied = {str(key): str(values) for key, values in params.items()}
        with read_write(config), open_dict(config):
            del config["hydra"]
        written = OmegaConf.to_container(config, resolve=False)
        referred = frozenset(re.findall(r"\$\{(\w+)", str(written)))
        return Composed(plain(config), choices, folder, sweep, varied, referred, dict(referring(written)))


def options(group: str) -> list[str]:
    """Options of a group of Hydra's own, ``hydra/launcher``: those that are installed."""
    with _session(), hydra.initialize_config_dir(str(conf_folder()), version_base=VERSION_BASE):
        return list(GlobalHydra.instance().config_loader().get_group_options(group))


def search_path(overrides: Sequence[str], folders: Sequence[str]) -> list[str]:
    """The override that makes Hydra search ``folders``, unless the user has set the search path."""
    if not folders or any(override.lstrip("+").startswith("hydra.searchpath=") for override in overrides):
        return []
    return ["hydra.searchpath=[" + ",".join(f"'file://{Path(folder).absolute()}'" for folder in folders) + "]"]


def plain(config: DictConfig) -> dict[str, Any]:
    """Plain containers, interpolations resolved."""
    container = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def plainly(error: Exception) -> ConfigError:
    """Hydra's or OmegaConf's message in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    key = getattr(error, "full_key", None) or "config"
    cause = error.__cause__ or error.__context__
    if (
        lines and lines[0].endswith(":") and cause is not None
    ):  # "In 'x': ConfigTypeError raised while composing config:"
        lines = [f"{lines[0].partition(':')[0]}: {' '.join(str(cause).split())}", *lines[1:]]
    return ConfigError(str(key), "?", lines[0] if lines else type(error).__name__)


def train(overrides: Sequence[str], flags: Sequence[str]) -> Path | None:
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
    from genlab.jobs import run_job

    if config.get("skip_refused") and (reasons := refused(config)):
        print(f"job {settings.job.num} left out: {'; '.join(reasons)}", file=sys.stderr, flush=True)
        return math.inf
    create(folder, config)
    run, number = Run(folder), settings.job.num
    try:
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
        return run_job(folder)
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


def folder_name(text: str) -> str:
    """Overrides as the name of one folder: without what a shell, a glob or a list of runs would take for its own, and
    at most 200 characters, with a digest of what was cut."""
    bare = re.sub(r"(^|__)\++", r"\1", text)  # whether a key had to be added is no matter of names
    name = re.sub(r"[^\w=.+@-]+", "-", bare).strip("-") or "job"
    return name if len(name) <= 200 else f"{name[:190]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@contextlib.contextmanager
def searching(overrides: Sequence[str]) -> Iterator[None]:
    """Within the block recipes are found in the folders of ``hydra.searchpath`` too."""
    before = os.environ.get(SEARCHED)
    given = [override for override in overrides if override.lstrip("+").startswith("hydra.searchpath=")]
    found = re.findall(r"'file://([^']+)'|file://([^'\",\]]+)", " ".join(given))
    os.environ[SEARCHED] = os.pathsep.join(quoted or bare for quoted, bare in found)
    try:
        yield
    finally:
        os.environ.pop(SEARCHED)
        if before is not None:
            os.environ[SEARCHED] = before


def chosen_recipe(model: str, data: str) -> str:
    """The recipe of a model for a data set, in genlab's folder and those that are searched."""
    return recipe(model, data, list(filter(None, os.environ.get(SEARCHED, "").split(os.pathsep))))


@contextlib.contextmanager
def _session() -> Iterator[None]:
    """Leave no trace of a composition in Hydra's global state."""
    GlobalHydra.instance().clear()
    state = HydraConfig.instance().cfg
    try:
        yield
    finally:
        HydraConfig.instance().cfg = state
        GlobalHydra.instance().clear()


OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
OmegaConf.register_new_resolver("recipe", chosen_recipe, replace=True)
