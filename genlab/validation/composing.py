"""From the words of one job to a config: what composes, and which words do not and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from genlab import config
from genlab.config import COMPOSE_ERRORS, Composed
from genlab.errors import ConfigError, nearest
from genlab.presets import groups
from genlab.signatures import Argument, signature
from genlab.validation.fits import fits
from genlab.validation.launchers import hydra_keys, installed
from genlab.validation.mistakes import Problems, free_form, has, not_taken
from genlab.validation.words import Word, overrides


def compose(
    words: Sequence[Word], folders: Sequence[str], problems: Problems, added: dict[str, str], dropped: set[Word]
) -> tuple[Composed | None, list[Word]]:
    """The config, None where nothing composes, and the words that it was composed of. Keys that it does not list but
    its target takes are entered in ``added``, words that nothing composes with in ``dropped``."""
    try:
        return config.compose("train", overrides(words), folders), list(words)
    except COMPOSE_ERRORS:
        fixed = [word for word in words if word.group or word.prefix or word.key.startswith(("hydra.", "hydra/"))]
    base = composition(fixed, folders, problems, dropped)
    if base is None:
        return None, []
    free = [word for word in words if word not in fixed]
    listed = [word for word in free if has(base.config, word.key)]
    base = composition([*fixed, *listed], folders, problems, dropped) or base
    for word in free:
        if word not in listed and (error := unknown(word, base.config, [*groups(folders)])):
            problems.add(error)
        elif word not in listed:
            added[word.key] = "++"
    taken = [replace(word, prefix=added.get(word.key, word.prefix)) for word in words]
    taken = [word for word in taken if word not in free or has(base.config, word.key)]
    return composition(taken, folders, problems, dropped), taken


def composition(
    words: Sequence[Word], folders: Sequence[str], problems: Problems, dropped: set[Word]
) -> Composed | None:
    """Hydra's composition; the words that it fails for are problems and ``dropped``, and the rest is composed without
    them. None where it is not a word that is at fault."""
    words = [word for word in words if word not in dropped]
    try:
        return config.compose("train", overrides(words), folders)
    except COMPOSE_ERRORS as whole:
        groups_alone = [word for word in words if word.group and not word.package]
        sound = list(groups_alone)
        for word in (word for word in words if word not in groups_alone):
            try:
                config.compose("train", overrides([*groups_alone, word]), folders)
                sound.append(word)
            except COMPOSE_ERRORS as single:
                problems.add(refused(word, single))
                dropped.add(word)
        if len(sound) < len(words):
            return composition(sound, folders, problems, dropped)
        problems.add(config.plainly(whole))
        return None


def refused(word: Word, error: Exception) -> ConfigError:
    """Why Hydra does not take a word."""
    value, said = word.values[0] if word.values else "", config.plainly(error).reason
    if word.package and said.startswith("Could not override"):
        reason = f"a run has no {word.key} at '{word.package}'; write {word.key}={value}"
        return ConfigError(word.key, value, reason, "", word.source, f"{word.prefix}{word.rest}")
    if word.prefix == "+" and "already at" in said:
        return ConfigError(f"+{word.key}", value, "the key is there already", f"{word.key}={value}", word.source)
    if word.prefix == "~":
        reason = "the config refers to it" if "nterpolation" in said else "no such key to delete"
        near = "" if "nterpolation" in said else nearest(word.key, groups())
        return ConfigError(f"~{word.key}", value, reason, near and f"~{near}", word.source)
    if word.key.startswith("hydra.") and said.startswith("Could not override"):
        near = nearest(word.key.removeprefix("hydra."), [key.removeprefix("hydra.") for key in hydra_keys()])
        if f"hydra.{near}" == word.key:  # of another launcher than the one chosen, or of another type
            group = "/".join(word.key.split(".")[:2])
            having = [name for name, path in installed().get(group, {}).items() if takes(path, word.key)]
            said, near = f"a key of {group}={'|'.join(having)}; or no value that it takes", ""
            return ConfigError(word.key, value, said, near, word.source)
        said = "Hydra has no such key" + ("" if near else "; see genlab train --cfg hydra")
        return ConfigError(word.key, value, said, near and f"hydra.{near}", word.source)
    return ConfigError(word.key, value, said, "", word.source)


def takes(target: str, key: str) -> bool:
    """Has a launcher or a sweeper a key, ``hydra.launcher.n_jobs``?"""
    known = signature(target)
    return known is not None and key.rpartition(".")[2] in known.arguments


def unknown(word: Word, whole: Mapping[str, Any], known_groups: Sequence[str]) -> ConfigError | None:
    """What is wrong with a key that the config does not list; None where the target beneath it takes it."""
    parts = word.key.split(".")
    node: Any = whole
    for depth, part in enumerate(parts):
        if not isinstance(node, Mapping):
            reason = f"'{'.'.join(parts[:depth])}' is {'null' if node is None else 'a value'} and has no keys"
            return ConfigError(word.key, word.values[0], reason, "", word.source)
        if part not in node:
            break
        node = node[part]
    assert isinstance(node, Mapping)
    owner, value = ".".join(parts[:depth]), word.values[0]
    if "_target_" in node:
        known = signature(str(node["_target_"]))
        inner = known.arguments.get(part) if known else None
        if known is None or known.takes_any or (inner and (depth == len(parts) - 1 or takes_mappings(inner))):
            return None
        return not_taken(f"{owner}.{part}", value, str(node["_target_"]), part, word.source)
    if depth == 0:
        candidates = sorted({*(key for key in whole if key != "choices"), *known_groups} - {"recipe"})
        near = nearest(part, candidates) or within(part, whole)
        return ConfigError(word.key, value, f"no such group or key as '{part}'", near, word.source)
    if free_form(whole, parts[:depth]):
        return None
    near = nearest(part, node)
    there = "" if near or not node else f"; there are {', '.join(map(str, node))}"
    return ConfigError(word.key, value, f"'{owner}' has no '{part}'{there}", near, word.source)


def takes_mappings(argument: Argument) -> bool:
    """May it be given a mapping of mappings, ``training.players.critic.lr``?"""
    return fits(argument.annotation, {"any": {"any": 0}}, argument.module)


def within(name: str, whole: Mapping[str, Any]) -> str:
    """The key with its group, ``optimizer.lr``, where a key of this name belongs to one."""
    for group, node in whole.items():
        known = signature(str(node.get("_target_", ""))) if isinstance(node, Mapping) else None
        if known is not None and name in known.arguments and not known.arguments[name].required:
            return f"{group}.{name}"
    return ""
