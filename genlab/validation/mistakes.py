"""What is wrong with a config, found from the source of what it names: targets, keys, types and contradictions.

Neither torch nor Hydra is imported, nor anything that the config names.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from genlab import build
from genlab.errors import ConfigError, ConfigErrors, nearest
from genlab.signatures import Argument, locate, names, parsed, signature
from genlab.validation.contradictions import contradictions, nodes
from genlab.validation.fits import admitted_words, fits, spell, written_out


@dataclass
class Problems:
    """Mistakes found so far, each once."""

    found: dict[str, ConfigError] = field(default_factory=dict)

    def add(self, error: ConfigError) -> None:
        """Note one; of two about the same key and value, the first."""
        self.found.setdefault(error.setting, error)

    def stop(self) -> None:
        """Raise what there is.

        Raises:
            ConfigErrors: there is something.
        """
        if self.found:
            raise ConfigErrors(list(self.found.values()))


BARE = {"seed": "int", "compile": "bool", "plugins": "list[str]", "init_from": "str | None", "skip_refused": "bool"}
"""Types of the keys that belong to no group."""
SUPPLIED = {"model": ("spec",), "data": (), "loss": (), "penalty": (), "optimizer": ("params",)}
"""Arguments without a default that code gives to what a group names; all others stand in the config."""
PICKED = ("loss", "penalty", "optimizer")
"""Groups of which a model's preset has a choice of its own. It counts for contradictions where a typed one is a slip,
for the option that is spelt most alike need not go with the model."""


def mistakes(
    whole: Mapping[str, Any], sound: Mapping[str, Any] | None = None, *, known: bool = True
) -> Iterator[ConfigError]:
    """Contradictions (of ``sound`` in its place, if given; not where what there is is not ``known``), targets, keys and
    types of a composed config."""
    named = [*nodes({name: value for name, value in whole.items() if name != "choices"})]
    broken = {key: error for key, node in named if (error := no_python(f"{key}._target_", node["_target_"]))}
    yield from broken.values()
    if known and not broken:  # beyond whose own keys nothing is known
        parts = whole if sound is None else sound
        likely = {group: part if group in PICKED else meant(part) for group, part in parts.items()}
        yield from contradictions(likely)  # these know better than types what to write
    for key, takes in BARE.items():
        argument = Argument(key, parsed(takes), None, "")
        if key in whole and not may_be(argument, whole[key]):
            yield wrong_type(key, whole[key], argument)
    for key, node in [*named, *by_player(whole)]:
        yield from check_node(key, node) if key not in broken else ()


def by_player(whole: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The optimizer of each player that has options of its own."""
    optimizer, training = whole.get("optimizer"), whole.get("training")
    players = training.get("players") if isinstance(training, Mapping) else None
    target = optimizer.get("_target_") if isinstance(optimizer, Mapping) else None
    if isinstance(players, Mapping) and isinstance(target, str) and check_target("", target) is None:
        for player, given in players.items():
            if isinstance(given, Mapping) and "_target_" not in given:
                yield f"training.players.{player}", {"_target_": target, **given}


def meant(node: Any) -> Any:
    """A config with the targets that slips in it are most likely slips of."""
    if isinstance(node, list):
        return [meant(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    inner = {key: meant(value) for key, value in node.items()}
    error = check_target("", node["_target_"]) if "_target_" in node else None
    return inner | ({"_target_": error.suggestion} if error and error.suggestion else {})


def no_python(key: str, target: Any) -> ConfigError | None:
    """What is wrong with the source of a target that is none of Python's."""
    try:
        if isinstance(target, str) and build.trusted(target):
            signature(target)
    except SyntaxError as error:
        return ConfigError(key, target, f"{error.filename}, line {error.lineno}: {error.msg}")
    return None


def check_node(key: str, node: Mapping[str, Any]) -> Iterator[ConfigError]:
    """What is wrong with one node, its nested nodes apart."""
    target = node["_target_"]
    error = check_target(f"{key}._target_", target)
    if error is not None:
        yield error
        if not error.suggestion or signature(error.suggestion) is None:
            return
        target = error.suggestion  # what was meant, most likely
    yield from check_arguments(key, node, target)


def check_arguments(key: str, node: Mapping[str, Any], target: str) -> Iterator[ConfigError]:
    """What is wrong with the arguments that a node has for a target."""
    known = signature(target)
    if known is None:
        return
    for needed in known.arguments.values() if key in SUPPLIED else ():
        if needed.required and needed.name not in (*SUPPLIED[key], *node):
            place, wanted = f"{key}.{needed.name}", spell(needed.annotation)
            yield ConfigError(place, None, f"{known.name} needs it" + (f", {wanted}" if wanted else ""), "", "", place)
    for name, value in node.items():
        if name == "_target_":
            continue
        argument = known.arguments.get(name)
        if argument is not None:
            if not may_be(argument, value):
                yield wrong_type(f"{key}.{name}", value, argument)
        elif not known.takes_any:
            yield not_taken(f"{key}.{name}", value, target, name)


def check_target(key: str, target: Any) -> ConfigError | None:
    """Is the target of a trusted package, and there?"""
    if not isinstance(target, str) or "." not in target:
        return ConfigError(key, target, "write package.module.Name")
    module, _, name = target.rpartition(".")
    if not build.trusted(target):
        near = near_module(module, name) or near_package(module, name)
        return ConfigError(key, target, build.untrusted(target), near if build.trusted(near) else "")
    if (error := no_python(key, target)) or signature(target) is not None:
        return error
    if locate(module) is None:
        return ConfigError(
            key, target, f"there is no module '{module}'{beside(module, name)}", near_module(module, name)
        )
    for known in (
        {last: module for last in names(module)},
        {last: one for one in modules(module) for last in names(one)},
    ):
        if near := nearest(name, known):
            return ConfigError(key, target, f"'{module}' has no '{name}'", f"{known[near]}.{near}")
    return ConfigError(key, target, f"'{module}' has no '{name}'")


def modules(package: str) -> list[str]:
    """Those within a package; none within a plain module."""
    path = locate(package)
    if path is None or path.stem != "__init__":
        return []
    return [f"{package}.{file.stem}" for file in sorted(path.parent.glob("*.py")) if file.stem != "__init__"]


def beside(module: str, name: str) -> str:
    """The modules beside a missing one that have something of that name."""
    there = [] if near_module(module, name) else modules(module.rpartition(".")[0])
    have = [other.rpartition(".")[2] for other in there if name in names(other)]
    return f"; {name} is in {', '.join(have)}" if have else ""


def near_module(module: str, name: str) -> str:
    """The target with the misspelt part of its module's name put right, where that gives something."""
    parts = module.split(".")
    for depth in range(1, len(parts)):
        package = locate(".".join(parts[:depth]))
        if package is None:
            return ""
        if locate(".".join(parts[: depth + 1])) is None:
            there = [path.stem for path in package.parent.iterdir() if path.suffix == ".py" or path.is_dir()]
            near = nearest(parts[depth], there)
            return ".".join([*parts[:depth], near, *parts[depth + 1 :], name]) if near else ""
    return ""


def near_package(module: str, name: str) -> str:
    """The target with its package's name put right, where it is a slip of one that is trusted."""
    root, dot, rest = module.partition(".")
    near = nearest(root, ["genlab", "torch", *build.admitted()]) if locate(root) is None else ""
    return f"{near}{dot}{rest}.{name}" if near else ""


def may_be(argument: Argument, value: Any) -> bool:
    """Does a value fit an argument? Null always fits where it is the default."""
    if value is None and isinstance(argument.default, ast.Constant) and argument.default.value is None:
        return True
    return fits(argument.annotation, value, argument.module)


def parse(text: str) -> Any:
    """A value as typed; unlike plain YAML, 1e-3 is a number."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def wrong_type(key: str, value: Any, argument: Argument) -> ConfigError:
    """A value that does not fit the annotation, and what may have been meant."""
    simple = isinstance(value, (str, int)) and not isinstance(value, bool)
    wanted = written_out(argument.annotation, argument.module)
    suggestion = nearest(value, admitted_words(wanted)) if simple else ""
    if isinstance(value, float) and value.is_integer() and may_be(argument, int(value)):
        suggestion = str(int(value))
    if simple and may_be(argument, [value]):
        suggestion = f"[{value}]"
    if isinstance(value, str) and value.lower() in ("yes", "on", "no", "off") and may_be(argument, True):
        suggestion = "true" if value.lower() in ("yes", "on") else "false"
    reason = f"must be {spell(wanted)}"
    if isinstance(value, str) and not suggestion and may_be(argument, plain := parse(value)):
        reason, suggestion = f"{reason}, and here it is text: leave out the quotes", str(plain).lower()
    shown = str(value).lower() if isinstance(value, bool) else "null" if value is None else value
    return ConfigError(key, shown, reason, suggestion)


def not_taken(key: str, value: Any, target: str, name: str, source: str = "") -> ConfigError:
    """A key that the target does not have."""
    known = signature(target)
    options = [item.name for item in known.arguments.values() if not item.required] if known else []
    near = nearest(name, options)
    there = "" if near else f"; it takes {', '.join(options) or 'no options'}"
    return ConfigError(key, value, f"{known.name if known else target} takes no '{name}'{there}", near, source)


def free_form(whole: Mapping[str, Any], path: Sequence[str]) -> bool:
    """Does the mapping at ``path`` go to an argument that takes any mapping?"""
    parent: Any = whole
    for part in path[:-1]:
        parent = parent[part]
    known = signature(str(parent.get("_target_", ""))) if isinstance(parent, Mapping) else None
    argument = known.arguments.get(path[-1]) if known else None
    return argument is not None and fits(argument.annotation, {"any": {}}, argument.module)


def has(node: Any, key: str) -> bool:
    """Is there anything at a dotted key?"""
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True
