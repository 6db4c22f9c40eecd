"""Signatures read from source files, so that a config is checked before anything it names is imported."""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EMPTY_BASES = {"Module", "Protocol", "ABC", "Generic", "object", "NamedTuple"}
"""Bases whose own constructor takes nothing that a config would give."""


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
            returns.
        bases: names of the classes it inherits from, itself first.
        module: where it is defined.
    """

    name: str
    arguments: dict[str, Argument]
    takes_any: bool = False
    constants: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    module: str = ""

    def default(self, name: str) -> Any:
        """Literal default of an argument; None where it has none."""
        argument = self.arguments.get(name)
        return literal(argument.default) if argument is not None else None


@dataclass(frozen=True)
class Definition:
    """A class or function, or an assignment, and the module it stands in."""

    module: str
    node: ast.AST


@functools.cache
def locate(module: str) -> Path | None:
    """Source file of a module, found without importing anything; None where there is no Python source."""
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
        for depth in range(2, len(rest) + 2):
            if spec is None or spec.submodule_search_locations is None:
                return None
            name = ".".join(module.split(".")[:depth])
            spec = importlib.machinery.PathFinder.find_spec(name, spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@functools.cache
def parse(module: str) -> ast.Module | None:
    """Syntax tree of a module; None where it has no source.

    Raises:
        SyntaxError: the source is no Python.
    """
    path = locate(module)
    return None if path is None else ast.parse(path.read_text(encoding="utf-8"), str(path))


@functools.cache
def find(module: str, name: str) -> Definition | None:
    """Where ``module.name`` is defined, through imports."""
    tree = parse(module)
    if tree is None:
        return None
    starred = []
    for statement in statements(tree.body):
        match statement:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if statement.name == name:
                return Definition(module, statement)
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                return Definition(module, value)
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                return Definition(module, value)
            case ast.ImportFrom():
                source = absolute(module, statement)
                for alias in statement.names:
                    if (alias.asname or alias.name) == name:
                        return find(source, alias.name)
                    if alias.name == "*":
                        starred.append(source)
    return next((found for source in starred if (found := find(source, name)) is not None), None)


@functools.cache
def signature(path: str) -> Signature | None:
    """What the class or function at a dotted path takes; None where it cannot be found in source."""
    module, _, name = path.rpartition(".")
    definition = find(module, name) if module else None
    if definition is None:
        return None
    node = definition.node
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        arguments, takes_any = of_function(node, definition.module, method=False)
        returned = resolve(node.returns, definition.module) if node.returns is not None else None
        made = of_class(returned) if returned is not None and isinstance(returned.node, ast.ClassDef) else None
        methods, bases = (made.methods, made.bases) if made else ({}, ())
        return Signature(node.name, arguments, takes_any, {}, methods, bases, definition.module)
    return of_class(definition) if isinstance(node, ast.ClassDef) else None


def names(module: str) -> list[str]:
    """Public classes and functions that a module defines or imports by name."""
    tree = parse(module)
    found: list[str] = []
    for statement in statements(tree.body if tree else []):
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
            found.append(statement.name)
        elif isinstance(statement, ast.ImportFrom):
            found += [alias.asname or alias.name for alias in statement.names]
    return [name for name in found if not name.startswith("_")]


def of_function(
    node: ast.FunctionDef | ast.AsyncFunctionDef, module: str, *, method: bool
) -> tuple[dict[str, Argument], bool]:
    """Arguments of a function, and whether it takes any keyword."""
    positional = [*node.args.posonlyargs, *node.args.args][1 if method else 0 :]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
    defaults += node.args.defaults[-len(positional) :]
    pairs = [*zip(positional, defaults, strict=False), *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
    arguments = {item.arg: Argument(item.arg, item.annotation, default, module) for item, default in pairs}
    return arguments, node.args.kwarg is not None


def of_class(definition: Definition) -> Signature:
    """Arguments of the constructor that a class has or inherits, dataclass fields included."""
    lineage = list(ancestors(definition))
    constants: dict[str, Any] = {}
    methods: dict[str, str] = {}
    for ancestor in reversed(lineage):
        assert isinstance(ancestor.node, ast.ClassDef)
        for statement in ancestor.node.body:
            match statement:
                case ast.FunctionDef():
                    methods[statement.name] = ancestor.node.name
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    constants[name] = literal(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    constants[name] = literal(value)
    bases = tuple(ancestor.node.name for ancestor in lineage if isinstance(ancestor.node, ast.ClassDef))
    arguments, takes_any = constructor(lineage)
    return Signature(bases[0], arguments, takes_any, constants, methods, bases, definition.module)


def constructor(lineage: list[Definition]) -> tuple[dict[str, Argument], bool]:
    """Arguments of the first constructor in a line of classes, the class itself first."""
    for position, ancestor in enumerate(lineage):
        assert isinstance(ancestor.node, ast.ClassDef)
        for statement in ancestor.node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                return of_function(statement, ancestor.module, method=True)
        if is_dataclass(ancestor.node):
            arguments: dict[str, Argument] = {}
            for older in reversed(lineage[position:]):
                if isinstance(older.node, ast.ClassDef) and is_dataclass(older.node):
                    arguments |= fields(older.node, older.module)
            return arguments, False
    return {}, False


def fields(node: ast.ClassDef, module: str) -> dict[str, Argument]:
    """Fields of a dataclass that its constructor takes."""
    found = {}
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        annotation, default = statement.annotation, statement.value
        kind = last(annotation.value if isinstance(annotation, ast.Subscript) else annotation)
        if kind in ("ClassVar", "KW_ONLY"):
            continue
        if isinstance(default, ast.Call) and last(default.func) == "field":
            options = {keyword.arg: keyword.value for keyword in default.keywords}
            if literal(options.get("init")) is False:
                continue
            default = options.get("default", options.get("default_factory"))
        found[statement.target.id] = Argument(statement.target.id, annotation, default, module)
    return found


def is_dataclass(node: ast.ClassDef) -> bool:
    """Is the class decorated as one?"""
    return any(
        last(decorator.func if isinstance(decorator, ast.Call) else decorator) == "dataclass"
        for decorator in node.decorator_list
    )


def ancestors(definition: Definition) -> Iterator[Definition]:
    """The class and those it inherits from, depth first; bases without source are left out."""
    yield definition
    assert isinstance(definition.node, ast.ClassDef)
    for base in definition.node.bases:
        name = last(base.value if isinstance(base, ast.Subscript) else base)
        if name is None or name in EMPTY_BASES:
            continue
        found = resolve(base, definition.module)
        if found is not None and isinstance(found.node, ast.ClassDef):
            yield from ancestors(found)


def resolve(expression: ast.expr, module: str) -> Definition | None:
    """What a name or a dotted name in ``module`` stands for."""
    match expression:
        case ast.Name(id=name):
            return find(module, name)
        case ast.Attribute(value=owner, attr=name):
            dotted = imported(ast.unparse(owner), module)
            return find(dotted, name) if dotted else None
    return None


def imported(name: str, module: str) -> str | None:
    """The module that ``name`` stands for within ``module``."""
    tree = parse(module)
    for statement in statements(tree.body if tree else []):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    package = f"{absolute(module, statement)}." if isinstance(statement, ast.ImportFrom) else ""
                    return package + alias.name
    return None


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those under ``if`` and ``try`` included."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If):
            yield from statements([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            yield from statements([*statement.body, *(item for handler in statement.handlers for item in handler.body)])


def absolute(module: str, statement: ast.ImportFrom) -> str:
    """Module an import takes from, dots resolved."""
    if not statement.level:
        return statement.module or ""
    path = locate(module)
    parts = module.split(".")
    if path is not None and path.name == "__init__.py":
        parts.append("")
    return ".".join([*parts[: -statement.level], *([statement.module] if statement.module else [])])


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
