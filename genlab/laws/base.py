"""What a law is: a function of a ``Trial`` that returns the figure it found.

It raises ``BrokenError`` with the figure that breaks it, or ``UnfitError`` with the reason why it says nothing about
such a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from genlab.laws.trial import Trial


class BrokenError(Exception):
    """The law does not hold."""


class UnfitError(Exception):
    """The law says nothing about this model."""


class Law(NamedTuple):
    """What it says, the protocols it speaks of (any one of them will do), and how it is tested."""

    says: str
    needs: tuple[type, ...]
    test: Callable[[Trial], str]


def reduced(trial: Trial, shape: tuple[int, ...], levels: int | None) -> Trial:
    """The model on another shape; ``UnfitError`` where it cannot be built so."""
    try:
        return trial.smaller(shape, levels)
    except Exception as error:
        raise UnfitError(f"not to be had for shape {shape}: {' '.join(str(error).split())}") from None
