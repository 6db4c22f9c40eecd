"""How a command line becomes a config, by Hydra."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from genlab.choices import recipe, referring
from genlab.errors import ConfigError
from genlab.jobs import held
from genlab.presets import conf_folder

VERSION_BASE = "1.3"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
SEARCHED = "GENLAB_SEARCHED"
"""The variable that holds the folders of the user's own that configs are composed from just now. Hydra does not tell of
them while it composes, and launchers compose again in processes of their own."""
MADE = ("callbacks", "launcher", "sweeper", "hydra_logging", "job_logging")
"""Nodes of Hydra's own of which it makes objects."""
COMPOSE_ERRORS = (HydraException, OmegaConfBaseException)
_above: list[str] = []  # folders that are searched before the user's own


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
        launcher: the option of ``hydra/launcher``.
        targets: by key, those that refer to other values, as written: ``genlab.models.gan.${model.net}.Generator``.
        hydra: of Hydra's own node what makes objects, as written.
    """

    config: dict[str, Any]
    choices: dict[str, Any]
    folder: str
    sweep: str
    varied: dict[str, str]
    referred: frozenset[str]
    launcher: str
    targets: dict[str, str]
    hydra: dict[str, Any]


def compose(name: str, overrides: Sequence[str], folders: Sequence[str] = ()) -> Composed:
    """The config ``conf/<name>.yaml`` under ``overrides``, with the user's own config ``folders`` searched too.

    Raises:
        HydraException, OmegaConfBaseException: as Hydra and OmegaConf say it; ``plainly`` shortens that.
    """
    overrides = [*overrides, *search_path(overrides, [*_above, *folders])]
    with (
        held(),  # broken off, Hydra fails in ways of its own
        _session(),
        searching(overrides),
        hydra.initialize_config_dir(str(conf_folder()), version_base=VERSION_BASE),
    ):
        config = hydra.compose(name, overrides=overrides, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        choices = {key: value for key, value in config.hydra.runtime.choices.items() if not key.startswith("hydra/")}
        launcher = str(config.hydra.runtime.choices.get("hydra/launcher"))
        folder, sweep, sweeper = str(config.hydra.run.dir), str(config.hydra.sweep.dir), config.hydra.sweeper
        params = (sweeper.get("params") or {}) if sweeper.get("_target_") == BASIC_SWEEPER else {}
        varied = {str(key): str(values) for key, values in params.items()}
        made = {name: OmegaConf.to_container(config.hydra[name], resolve=False) for name in MADE if config.hydra[name]}
        with read_write(config), open_dict(config):
            del config["hydra"]
        written = OmegaConf.to_container(config, resolve=False)
        referred = frozenset(re.findall(r"\$\{(\w+)", str(written)))
        targets = dict(referring(written))
        return Composed(plain(config), choices, folder, sweep, varied, referred, launcher, targets, made)


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
    if not lines and cause is not None:  # as Hydra does not repeat what OmegaConf says
        lines = str(cause).splitlines()[:1]
    reason = re.sub(
        r"^In '[^']*': ",
        "",
        re.sub(r" (full_key|reference_type|object_type|value): ?.*", "", lines[0] if lines else ""),
    )
    return ConfigError(str(key), "?", reason or type(error).__name__)


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


@contextlib.contextmanager
def in_place(files: Mapping[str, str]) -> Iterator[None]:
    """Within the block configs are composed of ``files``, texts by path, in the place of the user's own of those paths:
    one that Hydra would not read hides nothing else then."""
    with contextlib.ExitStack() as stack:
        if files:  # for which alone a folder is made
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="genlab-"))
            for name, text in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            _above.append(folder)
            stack.callback(_above.remove, folder)
        yield


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
