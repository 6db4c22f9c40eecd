"""What one example of a data set looks like, and the scalings between its values and those a network wants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


KINDS = {"image": 3, "vector": 1, "sequence": 2, "text": 1, "audio": 1}
"""How many axes an example of each kind has."""


def number_of(name: Any, names: Sequence[str]) -> int | None:
    """The number of the class or attribute that a word means, by its name; by a number, unless the names are numbers
    themselves, of which another than theirs is none. None where it means none."""
    if str(name) in names:
        return names.index(str(name))
    number = int(str(name)) if str(name).isdecimal() and not all(other.isdecimal() for other in names) else len(names)
    return number if number < len(names) else None


@dataclass(frozen=True)
class Spec:
    """The shape and the values of one example; a model is built from it, and a checkpoint carries it.

    Args:
        kind: one of ``KINDS``.
        shape: of one example, (C, H, W) for an image, (D,) for a vector.
        levels: number of integer values 0 ... levels - 1 of a dimension (256 for 8-bit images, 2 for binary ones);
            None for continuous data.
        classes: names of the classes where an example has one label.
        attributes: names of the attributes where an example has several binary labels, as CelebA's 40.
        domains: names of the domains of translation data.
    """

    kind: str
    shape: tuple[int, ...]
    levels: int | None = None
    classes: tuple[str, ...] = field(default=())
    attributes: tuple[str, ...] = field(default=())
    domains: tuple[str, ...] = field(default=())

    @property
    def dimensions(self) -> int:
        """Number D of dimensions of one example, colour channels included: the D of bits/dim."""
        return math.prod(self.shape)

    def packed(self, pack: int) -> Spec:
        """Of ``pack`` examples joined along their first axis, channels or features."""
        return replace(self, shape=(pack * self.shape[0], *self.shape[1:]))

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for checkpoints."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Spec:
        """The inverse of ``to_dict``.

        Raises:
            ValueError: it is not what ``to_dict`` gives.
        """
        if not isinstance(plain, dict):
            raise ValueError("it is no mapping")
        for key in ("kind", "shape", "levels"):
            if key not in plain:
                raise ValueError(f"it lacks `{key}`")
        if foreign := [key for key in plain if key not in cls.__dataclass_fields__]:
            raise ValueError(f"it has no `{foreign[0]}`")
        kind, shape, levels = plain["kind"], plain["shape"], plain["levels"]
        if kind not in KINDS:
            raise ValueError(f"kind is {kind}, one of {', '.join(KINDS)} is wanted")
        if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
            raise ValueError(f"shape is {shape}, and a list of sizes is wanted")
        if len(shape) != KINDS[kind]:
            raise ValueError(f"shape is {shape}, and kind {kind} has {KINDS[kind]} axes")
        if levels is not None and not (type(levels) is int and levels > 1):
            raise ValueError(f"levels is {levels}, and a whole number above 1 is wanted, or null")
        for key in ("classes", "attributes", "domains"):
            names = plain.get(key, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{key} is no list of names")
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
        }
        return cls(**fields)


def to_signed(x: Tensor, levels: int | None) -> Tensor:
    """Integer levels to [-1, 1], 2x / (levels - 1) - 1, in torch's default precision; continuous data as they are."""
    if levels is None:
        return x
    import torch

    return x.to(torch.get_default_dtype()).mul(2 / (levels - 1)).sub_(1)


def from_signed(x: Tensor, levels: int | None) -> Tensor:
    """[-1, 1] to integer levels (uint8), rounded to the nearest; continuous data as they are."""
    if levels is None:
        return x
    import torch

    return x.float().add(1).mul((levels - 1) / 2).round().clamp(0, levels - 1).to(torch.uint8)


def dequantize(x: Tensor, levels: int, u: Tensor) -> Tensor:
    """(x + u) / levels in [0, 1), for u in [0, 1): a density of the result bounds the probability of the integers.

    log P(x) >= E_u[log p((x + u) / levels)] - D log(levels)   (Theis et al. 2016, arXiv 1511.01844, eq. 3)
    """
    return (x.to(u.dtype) + u) / levels


def quantize(y: Tensor, levels: int) -> Tensor:
    """[0, 1) to integer levels (uint8), rounded down: undoes ``dequantize``; values outside go to the nearest level."""
    import torch

    return (y * levels).floor().clamp(0, levels - 1).to(torch.uint8)
