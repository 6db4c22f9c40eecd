"""Launchers and sweepers of Hydra's that are installed, read from the source that registers them."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from genlab.signatures import last, locate, signature

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
