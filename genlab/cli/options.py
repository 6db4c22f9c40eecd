"""Options of ``genlab sample``, ``eval`` and ``report``: those of their config, with the words typed put in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab import config
from genlab.cli.launch import admit
from genlab.errors import ConfigError, nearest
from genlab.presets import groups
from genlab.validation.mistakes import Problems, check_node, has
from genlab.validation.requests import listed, wrong, wrong_arguments
from genlab.validation.words import no_option

KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def options(verb: str, words: Sequence[str], folders: Sequence[str] = ()) -> dict[str, Any]:
    """Options of ``genlab sample``, ``eval`` and ``report``: those of ``conf/<verb>.yaml`` with ``words`` put in.

    Packages that ``plugins`` names are trusted from here on.

    Raises:
        ConfigErrors: all mistakes in them, in the runs and in the checkpoints that they name.
    """
    problems = Problems()
    folders = [*folders, *own_folders(words, problems)]
    base = config.compose(verb, [], folders).config
    whole = put_in(verb, sorted_out(verb, words, base, groups(folders), problems), folders, problems)
    composed = whole.config
    if "plugins" in composed:
        composed["plugins"] = listed(composed["plugins"])
        try:
            admit(composed["plugins"])
        except ConfigError as error:
            problems.add(error)
    meant = {problem.suggestion for problem in problems.found.values()}
    typed = {word.partition("=")[0].lstrip("+") for word in words} | {*base}
    for mistake in mistakes(verb, composed, base, folders):
        lacking = mistake.value in (None, "")
        source = mistake.source or ("command line" if mistake.key in typed and not lacking else "")
        if not lacking or mistake.key not in meant:  # of a misspelt run= it is not told that a run is missing, too
            problems.add(ConfigError(mistake.key, mistake.value, mistake.reason, mistake.suggestion, source))
    problems.stop()
    if "config_dir" in composed:  # the page looks for presets there, too
        composed["config_dir"] = [*folders]
    return composed | {"choices": {group: name for group, name in whole.choices.items() if name}}


def own_folders(words: Sequence[str], problems: Problems) -> list[str]:
    """What ``config_dir=`` names, which is ``--config-dir`` as an option; a folder that is not there is a problem."""
    named = [value for word in words if (value := word.removeprefix("config_dir=")) != word]
    folders = [folder for value in named for folder in listed(value.strip("[]")) if folder != "null"]
    for folder in folders:
        if not Path(folder).is_dir():
            problems.add(ConfigError("config_dir", folder, "no such folder", "", "command line"))
    return [folder for folder in folders if Path(folder).is_dir()]


def mistakes(
    verb: str, composed: Mapping[str, Any], base: Mapping[str, Any], folders: Sequence[str]
) -> Iterator[ConfigError]:
    """What is wrong with options: types, keys of groups, and what ``requests`` looks at."""
    for key, value in composed.items():
        if not alike(base[key], value):
            near = str(int(value)) if isinstance(value, float) and value.is_integer() else ""
            yield ConfigError(key, value, f"must be {KINDS[type(base[key])]}", near)
        if key == "metric":
            yield from wrong_arguments(value, folders)
        elif isinstance(value, dict):
            yield from check_node(key, value) if "_target_" in value else [chosen_first(key, value)]
    yield from wrong(verb, composed, folders)


def sorted_out(
    verb: str, words: Sequence[str], base: Mapping[str, Any], known: Mapping[str, Sequence[str]], problems: Problems
) -> list[str]:
    """Words as overrides of Hydra's; what is no option, or no option of a group, is a problem and left out."""
    given, places, lost = [], [], []
    for word in words:
        key, equals, value = word.partition("=")
        bare = key.lstrip("+~")
        group = bare.partition(".")[0]
        if not equals and word in base and not Path(word).exists():
            problems.add(ConfigError(word, "", "write key=value", f"{word}=...", "command line", word))
        elif not equals or Path(word).exists() or os.sep in key:  # folders of a sweep have = in their names
            places.append(word)
        elif not value and bare in base:
            problems.add(ConfigError(key, "", "no value; null is one", "", "command line"))
        elif bare == "metric" and bare in base:
            near = f"metrics={value}"
            problems.add(ConfigError(bare, value, "write metric.NAME.key=value, or ask for it", near, "command line"))
        elif bare in known and bare in base:
            if value in (*known[bare], "null", "") or value[:1] in "'\"[{$":
                given.append(word)
            else:
                problems.add(no_option(bare, value, known[bare]))
                lost.append(bare)
        elif has(base, bare):
            given.append(f"{key}={quoted(value)}")
        elif group in known and group in base:  # data.limit=100, with data=mnist
            given.append(f"++{bare}={quoted(value)}")
        else:
            near = nearest(key, base)
            listing = "" if near else f"; it has {', '.join(base)}"
            problems.add(ConfigError(key, value, f"genlab {verb} has no such option{listing}", near, "command line"))
    if places:
        key = "runs" if "runs" in base else "run"
        given.append(f"{key}={quoted(places[0])}" if len(places) == 1 else f"{key}=[{','.join(map(quoted, places))}]")
    return [word for word in given if word.lstrip("+").partition(".")[0] not in lost]


def put_in(verb: str, given: Sequence[str], folders: Sequence[str], problems: Problems) -> config.Composed:
    """The options with overrides put in; those that Hydra does not take are problems, and left out."""
    try:
        return config.compose(verb, given, folders)
    except config.COMPOSE_ERRORS:
        sound: list[str] = []
        for word in given:
            try:
                config.compose(verb, [*sound, word], folders)
                sound.append(word)
            except config.COMPOSE_ERRORS as error:
                key, _, value = word.partition("=")
                reason = "cannot be read" if value[:1] in "'\"[{" else config.plainly(error).reason
                problems.add(ConfigError(key.lstrip("+"), value, reason, "", "command line"))
        return config.compose(verb, sound, folders)


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
