"""From a config node to the object it names: ``{_target_: package.module.Name, argument: value}``.

The one convention: **arguments without a default come from code, those with a default come from YAML**. A nested node
that still lacks an argument is handed over as a ``functools.partial``, for its owner to finish (a GAN gives its
generator the spec and the size of the latent); one that lacks none is built on the spot.

Only names under a trusted prefix are imported. Packages of the user's are trusted by ``trust``, which the command line
calls for ``plugins=[...]`` and nothing that comes from a file ever does.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from genlab.errors import ConfigError

PARTS = (
    "data",
    "models",
    "losses",
    "penalties",
    "training",
    "metrics",
    "extractors",
    "likelihoods",
    "bijections",
    "nn",
)
"""Packages of genlab's own whose classes make up a run. The others do things: a file could have them do anything."""

LIBRARIES = ("torch.nn", "torch.optim", "pytorch_lightning.loggers")
_trusted = tuple(f"{package}." for package in (*(f"genlab.{part}" for part in PARTS), *LIBRARIES))
_admitted: list[str] = []  # by the user


def trusted(path: str) -> bool:
    """Whether a name may be imported where a file says so."""
    return path.startswith((*_trusted, *_admitted))


def refused(path: str) -> bool:
    """Whether a name is of a package that is nobody's plugin, and no trusted part of it: none has it in good faith."""
    roots = {"genlab", *(library.partition(".")[0] for library in LIBRARIES), *sys.stdlib_module_names}
    return not trusted(path) and path.partition(".")[0] in roots


def untrusted(path: str) -> str:
    """Why a name is not imported, and what its user could do about it."""
    root = path.partition(".")[0]
    if root == "genlab":
        return f"no trusted part of a run; these are of genlab's {', '.join(PARTS)}"
    if libraries := [library for library in LIBRARIES if library.partition(".")[0] == root]:
        return f"no trusted part of a run; these are of {', '.join(libraries)}"
    hint = f"if you trust it, add plugins=[{root}], or the folder it lies in"
    if root in sys.stdlib_module_names:  # nobody means to build a model of those
        hint = "it is Python's own, and a module of yours takes another name"
    return f"'{root}' is not a trusted package; {hint}"


def trust(*packages: str) -> None:
    """Admit targets of these packages, from now on and in this process only."""
    _admitted.extend(f"{package}." for package in packages if f"{package}." not in _admitted)


def own(module: str) -> bool:
    """Is a module of the packages that the user has admitted?"""
    return f"{module}.".startswith(tuple(_admitted))


def admitted() -> list[str]:
    """Packages of plugins that the user has named in this process."""
    return [package.removesuffix(".") for package in _admitted]


def build(node: Mapping[str, Any], **given: Any) -> Any:
    """The object that ``node`` describes; of ``given``, it gets the arguments that it names.

    Raises:
        ConfigError: the target is not trusted or not there, or an argument is missing or unknown.
    """
    target = locate(node["_target_"])
    names = inspect.signature(target).parameters
    arguments = {key: _within(key, value) for key, value in node.items() if key != "_target_"}
    arguments |= {key: value for key, value in given.items() if key in names}
    try:
        return target(**arguments)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # the constructor ran and failed within: not a question of its arguments
        raise ConfigError("_target_", node["_target_"], str(error)) from None


def build_part(name: str, node: Mapping[str, Any], source: str, **given: Any) -> Any:
    """``build`` of a part of a run, as ``model`` or ``data``, by a config that was not typed.

    Raises:
        ConfigError: as ``build``, with the whole key and the ``source`` of the config.
    """
    try:
        return build(node, **given)
    except ConfigError as error:
        key = f"{name}.{error.key}" if error.key.endswith("_target_") else error.key
        raise ConfigError(key, error.value, error.reason, error.suggestion, error.source or source) from None


def later(node: Mapping[str, Any]) -> Callable[..., Any]:
    """As a nested node is handed over that lacks an argument: an optimizer waits for its parameters."""
    return functools.partial(locate(node["_target_"]), **{k: _finish(v) for k, v in node.items() if k != "_target_"})


def locate(path: str) -> Callable[..., Any]:
    """The class at a dotted path, or the function of a model's or of the user's, from its own module: no attribute of
    an attribute, no re-export of something untrusted."""
    module, _, name = path.rpartition(".")
    if not trusted(path):
        raise ConfigError("_target_", path, untrusted(path))
    try:
        target = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError("_target_", path, str(error)) from None
    origin = f"{getattr(target, '__module__', '')}."
    functions = ("genlab.models.", *_admitted)  # whose functions are harmless, or the user's own affair
    if not callable(target) or not trusted(origin) or not (inspect.isclass(target) or origin.startswith(functions)):
        raise ConfigError("_target_", path, "neither a class nor a function of a trusted package")
    return target


def _within(key: str, value: Any) -> Any:
    """``_finish`` of the argument ``key``, which an error names with the target."""
    try:
        return _finish(value)
    except ConfigError as error:
        if not error.key.endswith("_target_"):
            raise
        raise ConfigError(f"{key}.{error.key}", error.value, error.reason, error.suggestion) from None


def _finish(value: Any) -> Any:
    """Nested nodes become objects, or partials where they still lack an argument."""
    if isinstance(value, Mapping):
        if "_target_" not in value:
            return {key: _finish(item) for key, item in value.items()}
        target = locate(value["_target_"])
        arguments = {key: _finish(item) for key, item in value.items() if key != "_target_"}
        lacking = [
            name
            for name, parameter in inspect.signature(target).parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            and name not in arguments
        ]
        return functools.partial(target, **arguments) if lacking else build(value)
    if isinstance(value, (list, tuple)):
        return [_finish(item) for item in value]
    return value
