"""What Hydra itself makes objects of: its launchers and sweepers, read from the source that registers them, and whether
a file may name them."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genlab import build
from genlab.errors import ConfigError
from genlab.signatures import last, locate, signature
from genlab.validation.mistakes import check_arguments

OWN = "hydra._internal.core_plugins"
PLUGINS = "hydra_plugins"


def installed() -> dict[str, dict[str, str]]:
    """The class of each option's config, ``{"hydra/launcher": {"joblib": "hydra_plugins....JobLibLauncherConf"}}``.

    Hydra and its plugins say so by ``ConfigStore.instance().store(group="hydra/launcher", name="joblib", node=...)``.
    """
    found: dict[str, dict[str, str]] = {}
    for module, path in sources():
        code = path.read_text(encoding="utf-8")
        calls = ast.walk(ast.parse(code)) if '"hydra/' in code else ()
        for call in calls:
            if isinstance(call, ast.Call) and last(call.func) == "store":
                given = {word.arg: word.value for word in call.keywords}
                group, name, node = given.get("group"), given.get("name"), given.get("node")
                made = last(node.func if isinstance(node, ast.Call) else node)
                if isinstance(group, ast.Constant) and isinstance(name, ast.Constant) and made:
                    found.setdefault(str(group.value), {})[str(name.value)] = f"{module}.{made}"
    return found


def foreign(made: Mapping[str, Any]) -> Iterator[ConfigError]:
    """Objects that Hydra would make of its own node, ``made``, and that neither it nor genlab nor the user answers for.

    Hydra itself refuses some that do harm, of whatever else a file may name it knows nothing.
    """
    for group, node in made.items():
        own = ("logging.", "ext://sys.") if group.endswith("_logging") else (f"{OWN}.", f"{PLUGINS}.")
        own = ("genlab.finale.", "hydra.experimental.callbacks.") if group == "callbacks" else own
        for keys, target in named(node):
            if not (str(target).startswith(own) or build.trusted(str(target))):
                yield ConfigError(".".join(("hydra", group, *keys)), target, build.untrusted(str(target)))
    for name, node in (made.get("callbacks") or {}).items():
        if isinstance(node, Mapping) and str(node.get("_target_")).startswith("genlab.finale."):
            settled = {key: value for key, value in node.items() if "${" not in str(value)}
            yield from check_arguments(f"hydra.callbacks.{name}", settled, str(node["_target_"]))


def named(node: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What a node of Hydra's names to be made: by ``_target_``, or as logging has it by ``class`` and ``()``."""
    items = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, Mapping) else ()
    for key, value in items:
        if key in ("_target_", "class", "()") and value is not None:
            yield (*keys, str(key)), value
        yield from named(value, (*keys, str(key)))


def sources() -> list[tuple[str, Path]]:
    """Modules that may register some, and their files: Hydra's own, and those of its plugins."""
    own = [(module, locate(module)) for module in (f"{OWN}.basic_launcher", f"{OWN}.basic_sweeper")]
    spec = importlib.util.find_spec(PLUGINS)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    files = [path for folder in folders for path in sorted(folder.glob("*/*.py"))]
    theirs = [(f"{PLUGINS}.{path.parent.name}.{path.stem}", path) for path in files]
    return [*((module, path) for module, path in own if path is not None), *theirs]


def hydra_keys() -> list[str]:
    """Keys of Hydra's own that one may want to set, those of launchers and sweepers among them."""
    keys = ["hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.verbose"]
    for group, options in installed().items():
        for path in options.values():
            known = signature(path)
            keys += [f"{group.replace('/', '.')}.{name}" for name in (known.arguments if known else ())]
    return list(dict.fromkeys(keys))
