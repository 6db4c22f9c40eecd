"""Does a value of a config fit an annotation read from source? And the annotation in words."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from typing import Any

import griffe

from genlab.signatures import last, literal, meaning, parsed

WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "None": "null"}
SEVERAL = {"a whole number": "whole numbers", "a number": "numbers", "text": "texts"}
LISTS = {"list", "List", "Sequence", "Iterable", "Collection", "set", "frozenset"}
DICTS = {"dict", "Dict", "Mapping", "MutableMapping"}
TUPLES = {"tuple", "Tuple"}
TRANSPARENT = {"Annotated", "Final", "InitVar", "Required"}


def fits(annotation: ast.expr | None, value: Any, module: str) -> bool:
    """Whether ``value`` may be given where ``annotation`` stands in ``module``; True where that cannot be told."""
    match annotation:
        case None:
            return True
        case ast.Constant(value=None):
            return value is None
        case ast.Constant(value=str(text)):
            return fits(ast.parse(text, mode="eval").body, value, module)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return fits(left, value, module) or fits(right, value, module)
        case ast.Subscript(value=generic, slice=inner):
            return fits_generic(last(generic) or "", elements(inner), value, module)
        case ast.Name() | ast.Attribute():
            return fits_name(annotation, value, module)
    return True


def fits_generic(name: str, inner: list[ast.expr], value: Any, module: str) -> bool:
    """``fits`` for a subscripted annotation."""
    if name in ("Optional", "Union"):
        return (name == "Optional" and value is None) or any(fits(item, value, module) for item in inner)
    if name == "Literal":
        return value in choices(inner) or str(value) in choices(inner)
    if name in TRANSPARENT:
        return fits(inner[0], value, module)
    if name in LISTS:
        return isinstance(value, (list, tuple)) and all(fits(inner[0], item, module) for item in value)
    if name in TUPLES:
        if not isinstance(value, (list, tuple)):
            return False
        if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...:
            return all(fits(inner[0], item, module) for item in value)
        return len(value) == len(inner) and all(map(lambda a, v: fits(a, v, module), inner, value))
    if name in DICTS:
        return isinstance(value, Mapping) and all(
            fits(inner[-1], item, module) for key, item in value.items() if key != "_target_"
        )
    return is_node(value) if name in ("Callable", "type", "Type") else True


def is_node(value: Any) -> bool:
    """Is it something to be built?"""
    return isinstance(value, Mapping) and "_target_" in value


def fits_name(annotation: ast.Name | ast.Attribute, value: Any, module: str) -> bool:
    """``fits`` for a bare name: a builtin, an alias of something else, or a class, which takes a nested node."""
    name = last(annotation)
    if name == "bool":
        return isinstance(value, bool)
    if name == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in ("str", "Path", "PathLike"):
        return isinstance(value, str)
    if name in LISTS | TUPLES:
        return isinstance(value, (list, tuple))
    if name in DICTS:
        return isinstance(value, Mapping)
    if name in ("Callable", "Tensor", "Module"):
        return is_node(value)
    found = meaning(annotation.id, module) if isinstance(annotation, ast.Name) else None
    if isinstance(found, griffe.Class):
        return is_node(value)
    return fits(parsed(found.value), value, found.module.path) if isinstance(found, griffe.Attribute) else True


def written_out(annotation: ast.expr | None, module: str) -> ast.expr | None:
    """The annotation with what its aliases stand for, ``Gradient = Literal["reparameterised", "reinforce"]``."""

    class Aliases(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            found = None if node.id in WORDS else meaning(node.id, module)
            value = parsed(found.value) if isinstance(found, griffe.Attribute) else None
            return value if isinstance(value, ast.Subscript) else node

    return None if annotation is None else Aliases().visit(copy.deepcopy(annotation))


def spell(annotation: ast.expr | None) -> str:
    """The annotation in words: ``a number or null``, ``one of 'linear', 'cosine'``."""
    match annotation:
        case ast.Constant(value=str(text)):
            return spell(ast.parse(text, mode="eval").body)
        case ast.Constant(value=None):
            return "null"
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return joined([left, right])
        case ast.Subscript(value=generic, slice=inner):
            name, items = last(generic), elements(inner)
            if name == "Optional":
                return f"{spell(items[0])} or null"
            if name == "Union":
                return joined(items)
            if name == "Literal":
                return "one of " + ", ".join(str(choice) for choice in choices(items))
            if name in LISTS | TUPLES:
                counted = [item for item in items if not (isinstance(item, ast.Constant) and item.value is ...)]
                number = f"{len(counted)} " if name in TUPLES and len(counted) == len(items) else ""
                kinds = list(dict.fromkeys(spell(item) for item in counted))
                several = SEVERAL.get(kinds[0]) if len(kinds) == 1 else None
                return f"a list of {number}{several or '(' + ', '.join(kinds) + ')'}"
            if name in DICTS:
                return "a mapping"
            if name in ("Callable", "type", "Type"):
                return "a node with a _target_"
        case ast.Name() | ast.Attribute():
            name = last(annotation) or ""
            return WORDS.get(name) or ("a node with a _target_" if name[:1].isupper() else name)
    return "" if annotation is None else ast.unparse(annotation)


def joined(items: list[ast.expr]) -> str:
    """Alternatives, each once; a tensor is none that a config could give."""
    return " or ".join(dict.fromkeys(spell(item) for item in items if last(item) != "Tensor"))


def elements(inner: ast.expr) -> list[ast.expr]:
    """What stands between the brackets."""
    return list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]


def choices(inner: list[ast.expr]) -> list[Any]:
    """Values of a ``Literal``."""
    return [literal(item) for item in inner]


def admitted_words(annotation: ast.expr | None) -> list[str]:
    """All words that a ``Literal`` anywhere in the annotation admits, for suggestions."""
    found: list[str] = []
    for node in ast.walk(annotation) if annotation is not None else ():
        if isinstance(node, ast.Subscript) and last(node.value) == "Literal":
            found += [str(choice) for choice in choices(elements(node.slice))]
    return found
