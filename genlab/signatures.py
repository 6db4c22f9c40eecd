"""Signatures read from source by griffe, so that a config is checked before anything that it names is imported."""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import griffe

CLOSED = {"torch.nn.Module", "torch.nn.modules.module.Module", "pytorch_lightning.LightningModule"}
"""Bases whose own constructor takes nothing that a config would give, and whose files are long."""

UNRESOLVED = (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError)


class Sources(griffe.ModulesCollection):
    """Modules of all packages but the standard library, each read when something in it is first asked for."""

    def get_member(self, key: str | Sequence[str]) -> Any:
        """A module, or what stands in one, by its dotted path.

        Raises:
            KeyError: there is nothing there.
        """
        parts = key.split(".") if isinstance(key, str) else list(key)
        if ".".join(parts) in CLOSED or parts[0] in sys.stdlib_module_names:
            raise KeyError(key)
        for depth in range(len(parts), 0, -1):
            module = self.module(".".join(parts[:depth]))
            if module is not None:
                return self.within(module, parts[depth:])
        raise KeyError(key)

    def module(self, name: str) -> griffe.Module | None:
        """A module; None where it has no source.

        Raises:
            SyntaxError: the source is no Python.
        """
        if name not in self.members:
            path = locate(name)
            if path is None:
                return None
            code = path.read_text(encoding="utf-8")
            package, _, last = name.rpartition(".")
            self.members[name] = griffe.visit(last, path, code, parent=shell(package), modules_collection=self)
            if "dataclass" in code:
                griffe.DataclassesExtension().on_package(pkg=self.members[name])
        return self.members[name]

    def within(self, module: griffe.Module, parts: Sequence[str], seen: tuple[str, ...] = ()) -> Any:
        """What stands in a module, or in one that it imports everything from; not in those that were ``seen``, for
        two modules may import everything from each other."""
        if not parts or parts[0] in module.members:
            return module.get_member(parts) if parts else module
        for name, item in module.members.items():
            if name.endswith("/*") and isinstance(item, griffe.Alias) and item.target_path not in seen:
                everything = self.module(item.target_path)  # None of what is not written in Python, as torch._C
                try:
                    if everything is not None:
                        return self.within(everything, parts, (*seen, item.target_path))
                except KeyError:
                    continue
        raise KeyError(".".join(parts))


def shell(package: str) -> griffe.Module | None:
    """A package without its content, for the relative imports of a module in it to count from."""
    owner, _, last = package.rpartition(".")
    return griffe.Module(last, parent=shell(owner)) if package else None


SOURCES = Sources()


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor or function; ``module`` is where names in its annotation mean something."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    module: str

    @property
    def required(self) -> bool:
        """No default: it is supplied by code, or must stand in the config."""
        return self.default is None


@dataclass(frozen=True)
class Signature:
    """What a target takes.

    Attributes:
        name: of the class or function.
        arguments: by name, in order.
        takes_any: it has ``**kwargs``.
        constants: class attributes with literal values, inherited ones included.
        methods: the class that defines each of its methods, inherited ones included; of a function, those of what it
            returns, of several classes those that all of them have.
        bases: names of the classes it inherits from, itself first.
    """

    name: str
    arguments: dict[str, Argument]
    takes_any: bool = False
    constants: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = ()

    def default(self, name: str) -> Any:
        """Literal default of an argument; None where it has none."""
        argument = self.arguments.get(name)
        return literal(argument.default) if argument is not None else None


@functools.cache
def locate(module: str) -> Path | None:
    """Source file of a module, found without importing anything; None where there is no Python source."""
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
        for name in rest:
            if spec is None or spec.submodule_search_locations is None:
                return None
            # by its last name: of a package without __init__.py the dotted one asks for its imported parent
            spec = importlib.machinery.PathFinder.find_spec(name, [*spec.submodule_search_locations])
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@functools.cache
def find(path: str) -> griffe.Object | None:
    """What a dotted path leads to, through imports; None where it leads nowhere."""
    try:
        found = SOURCES.get_member(path)
        return found.final_target if found.is_alias else found
    except UNRESOLVED:
        return None


def meaning(name: str, module: str) -> griffe.Object | None:
    """What a name means within a module; libraries other than the module's own are not opened for it."""
    owner = SOURCES.module(module)
    try:
        path = owner.resolve(name) if owner else ""
    except griffe.NameResolutionError:
        return None
    return find(path) if path.partition(".")[0] == module.partition(".")[0] else None


@functools.cache
def signature(path: str) -> Signature | None:
    """What the class or function at a dotted path takes; None where it cannot be found in source."""
    found = find(path)
    if isinstance(found, griffe.Class):
        return of_class(found)
    if not isinstance(found, griffe.Function):
        return None
    made = [of_class(item) for item in returned(found) if isinstance(item, griffe.Class)]
    shared = (
        {name: owner for name, owner in made[0].methods.items() if all(name in one.methods for one in made)}
        if made
        else {}
    )
    return Signature(found.name, *arguments(found), {}, shared, made[0].bases if len(made) == 1 else ())


def returned(function: griffe.Function) -> list[griffe.Object | None]:
    """The classes of which a function returns one."""
    if not isinstance(function.returns, griffe.Expr):
        return []
    parts = [part for part in function.returns.iterate() if isinstance(part, griffe.ExprName)]
    return [find(part.canonical_path) for part in parts]


def of_class(found: griffe.Class) -> Signature:
    """What the constructor takes that a class has or inherits."""
    lineage = [found, *found.mro()]
    constants: dict[str, Any] = {}
    methods: dict[str, str] = {}
    for ancestor in reversed(lineage):
        for name, member in ancestor.members.items():
            if isinstance(member, griffe.Function):
                methods[name] = ancestor.name
            elif isinstance(member, griffe.Attribute) and "class-attribute" in member.labels:
                constants[name] = literal(parsed(member.value))
    made = next((ancestor.members["__init__"] for ancestor in lineage if "__init__" in ancestor.members), None)
    taken, takes_any = arguments(made) if isinstance(made, griffe.Function) else ({}, False)
    taken.pop("self", None)
    return Signature(found.name, taken, takes_any, constants, methods, tuple(base.name for base in lineage))


def keys_of(path: str, method: str) -> list[str]:
    """Keys of the dictionary that a method of a class returns, where it is written out; none where it is not."""
    found = find(path)
    lineage = [found, *found.mro()] if isinstance(found, griffe.Class) else []
    made = next((ancestor.members[method] for ancestor in lineage if method in ancestor.members), None)
    if not isinstance(made, griffe.Function) or made.lineno is None:
        return []
    lines = Path(str(made.filepath)).read_text(encoding="utf-8").splitlines()[made.lineno - 1 : made.endlineno]
    body = ast.walk(ast.parse(textwrap.dedent("\n".join(lines))))
    given = [node.value for node in body if isinstance(node, ast.Return)]
    if len(given) != 1 or not isinstance(given[0], ast.Dict):
        return []
    keys = [literal(key) for key in given[0].keys]
    return keys if all(isinstance(key, str) for key in keys) else []


def arguments(function: griffe.Function) -> tuple[dict[str, Argument], bool]:
    """Arguments of a function, and whether it takes any keyword."""
    taken = {}
    for item in function.parameters:
        annotation = parsed(item.annotation)
        if last(annotation) == "ClassVar":  # which griffe takes for a field where it stands alone
            continue
        if item.kind not in (griffe.ParameterKind.var_positional, griffe.ParameterKind.var_keyword):
            module = scope(item.annotation) or function.module.path
            taken[item.name] = Argument(item.name, annotation, parsed(item.default), module)
    return taken, any(item.kind is griffe.ParameterKind.var_keyword for item in function.parameters)


def scope(annotation: griffe.Expr | str | None) -> str | None:
    """The module in which an annotation was written; a field's may be another than its constructor's."""
    written = annotation.iterate() if isinstance(annotation, griffe.Expr) else ()
    owners = (part.parent for part in written if isinstance(part, griffe.ExprName))
    return next((owner.module.path for owner in owners if isinstance(owner, griffe.Object)), None)


def names(module: str) -> list[str]:
    """Public classes and functions that a module defines or imports by name."""
    found = SOURCES.module(module)
    members = found.members.values() if found else ()
    return [item.name for item in members if item.is_public and (item.is_alias or item.is_class or item.is_function)]


def parsed(expression: griffe.Expr | str | None) -> ast.expr | None:
    """An expression of griffe's as Python's own, whose shapes ``match`` takes apart."""
    return None if expression is None else ast.parse(str(expression), mode="eval").body


def last(expression: ast.expr | None) -> str | None:
    """Last part of a dotted name."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None


def literal(expression: ast.expr | None) -> Any:
    """Value of a literal expression; None where it is none."""
    try:
        return None if expression is None else ast.literal_eval(expression)
    except ValueError:
        return None
