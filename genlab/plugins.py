"""Packages of the user's own: ``plugins=[mine, /path/to/folder]``; and what went wrong in them."""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from genlab.build import own
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.presets import shown


def packages(plugins: Sequence[str]) -> list[str]:
    """Names of the packages that ``plugins`` admits; folders are put on ``sys.path``, and all they hold is admitted,
    as is a folder as a package itself. Nothing is by the name of one of Python's own modules, which would be admitted.

    Raises:
        ConfigError: a folder is not there, or what is no folder is no package name either.
    """
    names: list[str] = []
    for plugin in plugins:
        path = Path(plugin).expanduser()
        if path.is_dir():
            if str(path.absolute()) not in sys.path:
                sys.path.insert(0, str(path.absolute()))
            if str(path.absolute().parent) not in sys.path:
                sys.path.append(str(path.absolute().parent))
            found = {entry.stem for entry in path.iterdir() if entry.suffix == ".py" or is_package(entry)}
            names += sorted(({path.absolute().name} | found) - sys.stdlib_module_names)
        elif all(part.isidentifier() for part in plugin.split(".")):
            names.append(plugin)
            if not there(plugin) and str(Path.cwd()) not in sys.path:
                sys.path.append(str(Path.cwd()))  # a package of the folder genlab was called in
            if not there(plugin):
                raise unfound(plugin)
        else:
            raise unfound(plugin)
    return names


def unfound(plugin: str) -> ConfigError:
    """There is no such plugin; the one beside it that may have been meant."""
    path = Path(plugin).expanduser()
    beside = [entry.name for entry in path.parent.iterdir() if is_package(entry)] if path.parent.is_dir() else []
    near = nearest(path.name, beside)
    near = str(path.with_name(near)) if near else ""
    return ConfigError("plugins", plugin, "neither a folder nor a package that can be found", near, "command line")


def is_package(folder: Path) -> bool:
    """Does a folder hold modules, or folders of some? An ``__init__.py`` it may lack."""
    return any(folder.glob("*.py")) or any(folder.glob("*/*.py"))


def there(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package.partition(".")[0]) is not None


def sources(name: str) -> list[Path]:
    """The Python files of the package that a dotted name begins with, none of them imported."""
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
    except ValueError:  # of what runs as a script
        spec = None
    if spec is not None and spec.submodule_search_locations:
        return [path for place in spec.submodule_search_locations for path in sorted(Path(place).rglob("*.py"))]
    return [Path(spec.origin)] if spec is not None and spec.origin else []


def code(names: Iterable[str]) -> bytes:
    """A hash of the Python files of packages, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted({name.partition(".")[0] for name in names}):
        for path in sources(name):
            found.update(path.read_bytes())
    return found.digest()


def told(error: BaseException) -> str:
    """An error in one line; of one that nobody foresaw, where in the user's own code it came from, if it did, and its
    class, too."""
    if isinstance(error, GenlabError):
        return " ".join(str(error).split())
    said = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return next((f"{place}: {said}" for place in places(error)), said)


def places(error: BaseException) -> Iterator[str]:
    """Lines of the user's packages that an error came from, the last first; else the file of the object it is about."""
    if isinstance(error, SyntaxError) and error.filename:
        yield f"{shown(Path(error.filename))}, line {error.lineno}"
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        if own(str(frame.f_globals.get("__name__"))):
            yield f"{shown(Path(frame.f_code.co_filename))}, line {line}"
    about = type(getattr(error, "obj", None))  # whose attribute was asked for
    if own(about.__module__):
        yield shown(Path(str(sys.modules[about.__module__].__file__)))


def word(names: Sequence[str]) -> str:
    """Plugins as one would type them; nothing of none."""
    return f"plugins=[{','.join(map(str, names))}]" if names else ""
