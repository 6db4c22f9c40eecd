"""A checkpoint beside the folder it lies in and the genlab it is read by: where they are not of one kind, that is told.

What a checkpoint holds was trained by the config that it carries, whatever became of config.yaml since: that config
counts where a model samples or is scored, and a training goes on by no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from genlab import __version__
from genlab.build import trusted, untrusted
from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.run import Run, flat

PARTS = ("model", "data", "loss", "penalty", "training", "optimizer", "seed")
"""What decides on a model's weights. The others, ``trainer`` among them, a run may change on its way."""
PLACES = ("root", "path")
"""Where data lie, of which a folder that was moved knows more than a checkpoint."""


def differing(config: Mapping[str, Any], own: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Dotted keys that config.yaml has otherwise than a checkpoint's own config, with both values."""
    there, here = (flat({part: one.get(part) for part in PARTS}) for one in (config, own))
    keys = [key for key in dict.fromkeys([*here, *there]) if key not in [f"data.{place}" for place in PLACES]]
    return [(key, there.get(key), here.get(key)) for key in keys if there.get(key) != here.get(key)]


def agreed(loaded: Loaded, run: Run | None) -> tuple[Loaded, list[str]]:
    """A model with the config that counts, its checkpoint's own, but for the places of data that its run's names; and
    what must be said of the checkpoint."""
    told = written(loaded.version)
    if run is None:
        return loaded, told
    if others := differing(run.config, loaded.config):
        key, value, trained = others[0]
        more = f", and {len(others) - 1} more keys differ" if len(others) > 1 else ""
        counts = f"trained with {key}={in_yaml(trained)}, which counts"
        told.append(f"{counts}; {run.path / 'config.yaml'} has {in_yaml(value)}{more}")
    own, there = loaded.config.get("data"), run.config.get("data") or {}
    places = {place: there[place] for place in PLACES if there.get(place) is not None}
    config = loaded.config | ({"data": own | places} if isinstance(own, dict) else {})
    return replace(loaded, config=config), told


def written(version: str) -> list[str]:
    """What must be said of a checkpoint that another genlab wrote."""
    return [] if version == __version__ else [f"written by genlab {version}, and this is {__version__}"]


def hold(run: Run, path: Path, own: Mapping[str, Any]) -> None:
    """Let a training go on by no other config than its checkpoint's.

    Raises:
        ConfigError: config.yaml has something otherwise, or the checkpoint's names something that is not trusted.
    """
    for key, value, trained in differing(run.config, own):
        if key.endswith("_target_") and isinstance(trained, str) and not trusted(trained):
            raise ConfigError(key, trained, untrusted(trained), "", f"config in {path}")
        advice = f"put that back, or start a new run, which may have init_from={run.path}"
        reason = f"{path.name} was trained with {in_yaml(trained)}; {advice}"
        raise ConfigError(key, value, reason, "", str(run.path / "config.yaml"))


def in_yaml(value: Any) -> str:
    """A value as config.yaml has it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
