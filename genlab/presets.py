"""The configs under ``conf/`` and in the user's own folders: groups, options, files. Read, never composed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from genlab.errors import ConfigError, GenlabError, nearest

GLOBAL = "@package _global_"
"""What Hydra wants at the head of a file that says something of other groups than its own."""
PLURALS = {"loss": "losses", "penalty": "penalties", "data": "data"}


def conf_folder() -> Path:
    """The configs that come with genlab: inside an installed package, beside it in a checkout.

    Raises:
        GenlabError: neither is there.
    """
    here = Path(__file__).absolute().parent
    for folder in (here / "conf", here.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise GenlabError(f"{here / 'conf'}: the configs are missing from this installation; install genlab again")


def groups(folders: Sequence[str] = ()) -> dict[str, list[str]]:
    """Options of each group, by its path: ``{"model": ["vae", ...], ...}``."""
    found: dict[str, set[str]] = {}
    for root in (conf_folder(), *map(Path, folders)):
        for path in root.rglob("*.yaml"):
            parts = path.relative_to(root).with_suffix("").parts
            if len(parts) > 1 and not any(part.startswith(".") for part in parts):
                for depth in range(1, len(parts)):
                    found.setdefault("/".join(parts[:depth]), set()).add("/".join(parts[depth:]))
    return {group: sorted(options) for group, options in sorted(found.items())}


def file_of(group: str, option: str, folders: Sequence[str] = ()) -> Path:
    """The file of one option.

    Raises:
        ConfigError: there is none.
    """
    for root in (conf_folder(), *map(Path, folders)):
        path = root / group / f"{option}.yaml"
        if path.is_file():
            return path
    known = groups(folders).get(group, [])
    raise ConfigError(group, option, f"no such {group}", nearest(option, known), f"genlab list {plural(group)}")


def read(path: Path) -> dict[str, Any]:
    """What a config file says; empty where it says nothing.

    Raises:
        ConfigError: it is no YAML mapping.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(
            "config", path.name, f"not valid YAML: {' '.join(str(error).split())}", "", shown(path)
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError("config", path.name, f"no UTF-8 text: byte {error.start}", "", shown(path)) from None
    if plain is not None and not isinstance(plain, dict):
        raise ConfigError("config", path.name, "not a YAML mapping", "", shown(path))
    return plain or {}


def twice(node: yaml.Node | None, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Keys that a mapping has already, of which Hydra takes neither, at any depth; and the lines where they stand
    again."""
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from twice(part, above)
    seen: set[str] = set()
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        keys = (*above, str(key.value))
        if keys[-1] in seen:
            yield keys, key.start_mark.line + 1
        seen.add(keys[-1])
        yield from twice(value, keys)


def based(group: str, option: str, folders: Sequence[str] = ()) -> list[Path]:
    """The files of the options of its group that an option builds on, then its own."""
    path = file_of(group, option, folders)
    below = [name for name in read(path).get("defaults") or [] if isinstance(name, str) and name != "_self_"]
    return [*(file for name in below for file in based(group, name, folders)), path]


def picks(path: Path, folders: Sequence[str] = ()) -> dict[str, str]:
    """The options that a file takes of other groups, ``{"loss": "hinge", ...}``, and those that these take in turn."""
    taken: dict[str, str] = {}
    for line in read(path).get("defaults") or []:
        for key, option in line.items() if isinstance(line, Mapping) else ():
            words = str(key).split()
            if words[0] == "override" and option is not None:
                group = words[1].lstrip("/").partition("@")[0]
                taken = {group: str(option)} | picks(file_of(group, str(option), folders), folders) | taken
    return taken


def shown(path: Path) -> str:
    """A file as a user would look for it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("../..") else relative


def card(path: Path) -> list[str]:
    """The comment at the head of a config file, line by line."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").strip())
    return lines


def plural(group: str) -> str:
    """``model`` to ``models``."""
    return PLURALS.get(group, f"{group}s")
