"""Words that choose a module: nets, ``genlab.models.gan.${model.net}.Generator``, likelihoods, tasks, metrics.

Read from source; nothing is imported.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab.errors import ConfigError, nearest
from genlab.presets import based, file_of, groups, picks, read
from genlab.signatures import find, literal, locate, names, parsed, signature

REFERRING = re.compile(r"(?P<package>\w+(?:\.\w+)*)\.\$\{(?P<key>\w+\.\w+)\}\.(?P<name>\w+)")
"""A target whose module's name stands elsewhere in the config."""
POINTS = "points"
"""In the place of a data set's name: a recipe for all data that are points."""
SPLITS = ("train", "val", "test")
"""Of every data set."""


def referring(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Keys of the targets in a config that refer to other values of it, and the targets as written."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from referring(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, (list, tuple)):
        for position, value in enumerate(node):
            yield from referring(value, f"{key}.{position}")
    elif key.rpartition(".")[2] == "_target_" and REFERRING.fullmatch(str(node)):
        yield key, str(node)


def nets(targets: Iterable[str]) -> dict[str, list[str]]:
    """The words for each key that such targets refer to: modules that have the name which every one of them asks for.

    ``{"model.net": ["dcgan", "mlp", "resnet"]}``, the modules of ``genlab.models.gan`` that have both nets of a GAN.
    """
    found: dict[str, set[str]] = {}
    for target in dict.fromkeys(targets):
        parts = REFERRING.fullmatch(target)
        if parts is not None:
            package, key, name = parts.group("package", "key", "name")
            having = {module for module in modules(package) if name in names(f"{package}.{module}")}
            found[key] = found.get(key, having) & having
    return {key: sorted(words) for key, words in found.items()}


def modules(package: str) -> list[str]:
    """Names of the modules in a package, but for those that hold what the others share."""
    path = locate(package)
    files = path.parent.glob("*.py") if path else ()
    return sorted(file.stem for file in files if file.stem not in ("__init__", "base"))


def recipe(model: str, data: str, folders: Sequence[str] = ()) -> str:
    """What a model changes for a data set: ``model/data`` where there is such a file; else, for points of any
    distribution, ``model/points``, where there is that; else the first again, which is then no file."""
    own, common = f"{model}/{data}", f"{model}/{POINTS}"
    known = groups(folders).get("recipe", [])
    if own in known or common not in known or data not in groups(folders).get("data", []):
        return own
    described = signature(str(read(file_of("data", data, folders)).get("_target_", "")))
    return common if described and described.constants.get("kind") == "vector" else own


def of_others(config: Mapping[str, Any], typed: Iterable[str]) -> dict[str, Any]:
    """A config without what its model and recipe say of a loss, penalty or optimizer of their choice, where another is
    chosen that does not take it: ``warmup`` of an ELBO, for ``loss=nll``. What is ``typed`` stays."""
    chosen, whole = config.get("choices") or {}, dict(config)
    files: list[Path] = []
    for group in ("model", "recipe"):
        with contextlib.suppress(ConfigError):
            files += based(group, str(chosen.get(group)))
    for group in ("loss", "penalty", "optimizer"):
        node, said = whole.get(group), {key for path in files for key in read(path).get(group) or ()} - {"_target_"}
        picked = [option for path in files if (option := picks(path).get(group))]
        if not said or not isinstance(node, Mapping) or chosen.get(group) in picked[-1:]:
            continue
        with contextlib.suppress(SyntaxError):  # of a plugin, which is told elsewhere
            known = signature(str(node.get("_target_", "")))
            if known is not None and not known.takes_any:
                gone = {key for key in said if key not in known.arguments and f"{group}.{key}" not in typed}
                whole[group] = {key: value for key, value in node.items() if key not in gone}
    return whole


def likelihoods() -> list[str]:
    """What ``model.likelihood`` may be."""
    return modules("genlab.likelihoods")


def tasks() -> list[str]:
    """What ``genlab sample`` can make: ``task=``."""
    return modules("genlab.tasks")


def takes(task: str) -> tuple[str, ...]:
    """Options of ``genlab sample`` that a task takes and not every one does, as its file says by ``TAKES``."""
    said: Any = find(f"genlab.tasks.{task}.TAKES")
    return tuple(literal(parsed(said.value)) or ()) if said is not None else ()


def metrics(folders: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """The figures of each metric, by its preset's name: what ``genlab eval`` takes as ``metrics=``."""
    known = {}
    for name in groups(folders).get("metric", []):
        found = signature(str(read(file_of("metric", name, folders)).get("_target_", "")))
        known[name] = tuple((found.constants.get("figures") if found else None) or ())
    return known


def wrong_nets(config: Mapping[str, Any], targets: Mapping[str, str]) -> Iterator[tuple[ConfigError, set[str]]]:
    """Words that name no net, and the keys of the targets that lead nowhere for that reason alone.

    Args:
        config: resolved.
        targets: as ``referring`` finds them before.
    """
    for key, words in nets(targets.values()).items():
        group, _, name = key.partition(".")
        value = (config.get(group) or {}).get(name)
        if words and value not in words:
            reason = f"no such {name}; there are {', '.join(words)}"
            hanging = {path for path, target in targets.items() if f"${{{key}}}" in target}
            yield ConfigError(key, value, reason, nearest(str(value), words)), hanging
