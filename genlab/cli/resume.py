"""``genlab train run=FOLDER key=value ...``: a run's own config, ``trainer`` changed where asked. Without Hydra."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from genlab import build, plugins
from genlab.errors import ConfigError, nearest
from genlab.files import atomic
from genlab.run import Run, settled
from genlab.validation.mistakes import Problems, mistakes, parse

LIMITS = ("trainer.max_time", "trainer.patience", "trainer.max_steps", "trainer.max_epochs")
"""What ends a training."""
PLUGINS = "GENLAB_PLUGINS"  # packages the user named, for processes that are started from a run folder alone


@dataclass(frozen=True)
class Resumed:
    """A run about to go on.

    Attributes:
        config: with the changes put in.
        plugins: packages and folders that the user named.
    """

    config: dict[str, Any]
    plugins: list[str]


def check(folder: str, words: Sequence[str] = (), *, record: bool = False) -> Resumed:
    """Check a run and the changes to it.

    Args:
        folder: of the run.
        words: changes to ``trainer``, and ``plugins``.
        record: write them into the run.

    Raises:
        ConfigErrors: all mistakes in them.
        ConfigError: there is no run.
        GenlabError: its config.yaml is damaged.
    """
    run, problems = Run(folder), Problems()
    changed = copy.deepcopy(run.trainable())
    named = [name for name in os.environ.get(PLUGINS, "").split(os.pathsep) if name]
    for word in words:
        key, equals, text = word.partition("=")
        key = key.lstrip("+")
        if not equals:
            problems.add(ConfigError(word, "", "write key=value", "", "command line", word))
        elif key == "plugins":
            value = parse(text)
            named += map(str, value if isinstance(value, list) else [value])
        elif key.startswith("trainer.") and key.count(".") == 1:
            changed["trainer"][key.partition(".")[2]] = parse(text)
            changed = settled(changed, words)
        else:
            reason = "a run that exists keeps its config; only trainer.* and plugins can be given with run="
            name = nearest(key.rpartition(".")[2], changed.get("trainer", {}))
            near = f"trainer.{name}" if name and nearest(key.rpartition(".")[0] or "trainer", ["trainer"]) else ""
            problems.add(ConfigError(key, text, reason, near, "command line"))
    build.trust(*plugins.packages(named))
    typed = {word.partition("=")[0].lstrip("+") for word in words}
    for error in mistakes(changed):
        source = "command line" if error.key in typed else f"{folder}/config.yaml"
        problems.add(ConfigError(error.key, error.value, error.reason, error.suggestion, source))
    problems.stop()
    if record and changed != run.config:
        with atomic(run.path / "config.yaml") as partial:
            partial.write_text(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True))
        run.note(changes=[*(run.info.get("changes") or []), *words])
    if record and typed & set(LIMITS) and run.info.get("ended"):
        run.note(ended=None)  # what ended it may end it again, and not at once
    return Resumed(changed, named)
