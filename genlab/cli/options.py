"""Options of ``genlab sample``, ``eval`` and ``report``: those of their config, with the words typed put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab import config
from genlab.errors import ConfigError, nearest
from genlab.presets import groups
from genlab.validation.mistakes import Problems, check_node, has

KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def options(verb: str, words: Sequence[str], folders: Sequence[str] = ()) -> dict[str, Any]:
    """Options of ``genlab sample``, ``eval`` and ``report``: those of ``conf/<verb>.yaml`` with ``words`` put in.

    Raises:
        ConfigErrors: all mistakes in them.
    """
    problems, given, places = Problems(), [], []
    base = config.compose(verb, [], folders).config
    known = groups(folders)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or Path(word).exists():
            places.append(word)
        elif key.lstrip("+~") in known or has(base, key.lstrip("+~")):
            given.append(f"{key}={quoted(value)}")
        elif (group := key.partition(".")[0]) in known and group in base:  # data.limit=100, with data=mnist
            given.append(f"++{key}={quoted(value)}")
        else:
            near = nearest(key, [*base, *(name for name in known if name in base)])
            problems.add(ConfigError(key, value, f"genlab {verb} has no such option", near, "command line"))
    if places:
        key = "runs" if "runs" in base else "run"
        given.append(f"{key}={quoted(places[0])}" if len(places) == 1 else f"{key}=[{','.join(map(quoted, places))}]")
    problems.stop()
    try:
        composed = config.compose(verb, given, folders).config
    except config.COMPOSE_ERRORS as error:
        raise config.plainly(error) from error
    for key, value in composed.items():
        if not alike(base[key], value):
            problems.add(ConfigError(key, value, f"must be {KINDS[type(base[key])]}", "", "command line"))
        if isinstance(value, dict):
            for mistake in check_node(key, value) if "_target_" in value else [chosen_first(key, value)]:
                problems.add(mistake)
    problems.stop()
    if "config_dir" in composed:  # the page looks for presets there, too
        composed["config_dir"] = [*(composed["config_dir"] or []), *folders]
    return composed


def chosen_first(group: str, node: Mapping[str, Any]) -> ConfigError:
    """Keys of a group of which no option is taken."""
    key, value = next(iter(node.items()))
    return ConfigError(f"{group}.{key}", value, f"choose one first: {group}=...", "", "command line")


def alike(default: Any, value: Any) -> bool:
    """May a value stand where the default does? Judged for numbers and switches only."""
    if type(default) not in KINDS or value is None:
        return True
    if isinstance(default, bool):
        return isinstance(value, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else int) and not isinstance(value, bool)


def quoted(value: str) -> str:
    """A value with characters of Hydra's own in it as a quoted string; lists, mappings and plain words as they are."""
    if value[:1] in "'\"[{" or not any(character in value for character in ",=:()&#!~ {}[]"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
