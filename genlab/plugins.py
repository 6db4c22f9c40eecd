"""Packages of the user's own: ``plugins=[mine, /path/to/folder]``."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from genlab.errors import ConfigError


def packages(plugins: Sequence[str]) -> list[str]:
    """Names of the packages that ``plugins`` admits; folders are put on ``sys.path``, and all they hold is admitted.

    Raises:
        ConfigError: a folder is not there, or what is no folder is no package name either.
    """
    names: list[str] = []
    for plugin in plugins:
        path = Path(plugin).expanduser()
        if path.is_dir():
            if str(path.absolute()) not in sys.path:
                sys.path.insert(0, str(path.absolute()))
            found = (entry for entry in path.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file())
            names += sorted(entry.stem for entry in found)
        elif all(part.isidentifier() for part in plugin.split(".")):
            names.append(plugin)
            if not there(plugin) and str(Path.cwd()) not in sys.path:
                sys.path.append(str(Path.cwd()))  # a package of the folder genlab was called in
            if not there(plugin):
                raise ConfigError("plugins", plugin, "neither a folder nor a package that can be found")
        else:
            raise ConfigError("plugins", plugin, "neither a folder nor a package that can be found")
    return names


def there(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package.partition(".")[0]) is not None
