"""Tensors by name, as a file holds them, beside those that they are to take the place of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def amiss(found: Any, own: Mapping[str, Tensor], what: str = "", whose: str = "the model") -> str:
    """Why tensors are not such as ``own``: another name, shape or kind, or not finite; empty where they are.

    One fault is told, with the first tensor that has it and how many more have.

    Args:
        found: what a file holds.
        own: tensors of these names, shapes and kinds are wanted.
        what: they are; nothing of the weights themselves, ``its average``, say.
        whose: ``own`` is.
    """
    of, within = (f"{what} ", f"{what}: ") if what else ("", "")
    if not isinstance(found, Mapping):
        return f"{of}holds no tensors by name"
    if plain := [name for name, value in found.items() if not isinstance(value, Tensor)]:
        return f"{of}has {plain[0]}, which is no tensor{more(plain)}"
    if lacking := [name for name in own if name not in found]:
        return f"{of}has no tensor {listed(lacking)}"
    if foreign := [name for name in found if name not in own]:
        return f"{of}has {foreign[0]}, {whose} no such tensor{more(foreign)}"
    for told in (shape, kind):
        if unlike := [name for name in own if told(found[name]) != told(own[name])]:
            name, theirs, ours = unlike[0], told(found[unlike[0]]), told(own[unlike[0]])
            return f"{within}{name} is {theirs}, {whose}'s is {ours}{more(unlike)}"
    if wild := [name for name in own if not finite(found[name])]:
        return f"{within}{wild[0]} holds {'NaN' if found[wild[0]].isnan().any() else 'Inf'}{more(wild)}"
    return ""


def listed(names: Sequence[Any]) -> str:
    """The first, and how many there are beside it."""
    return f"{names[0]}{more(names)}"


def more(names: Sequence[Any]) -> str:
    """How many there are beside the first, if any."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def shape(tensor: Tensor) -> str:
    """``[3, 4]``."""
    return str(list(tensor.shape))


def kind(tensor: Tensor) -> str:
    """``float32``."""
    return str(tensor.dtype).removeprefix("torch.")


def finite(tensor: Tensor) -> bool:
    """Neither NaN nor infinite anywhere; whole numbers are."""
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())
