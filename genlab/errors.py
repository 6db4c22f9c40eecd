"""Errors a user can mend: one line, the key they typed, its value, the reason, a suggestion. No traceback."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, ClassVar

MANY = 12
"""Names that a message lists."""


class GenlabError(Exception):
    """Something failed while running; printed as ``error: <message>``."""

    exit_code: ClassVar[int] = 1


class DataError(GenlabError):
    """A data file is missing, damaged or of the wrong format; the message names the file."""


class CheckpointError(GenlabError):
    """A checkpoint is missing, damaged or not to be trusted; the message names the file."""


class PictureError(GenlabError):
    """A picture cannot be written; the message names the file."""


class NumericalError(GenlabError):
    """A computation inside a model has failed, a solver or an inverse; the message names the layer."""


class ConfigError(GenlabError):
    """A value on the command line or in a config is wrong.

    Args:
        key: as the user types it, ``optimizer.lr``.
        value: what stands there.
        reason: what is wrong with it.
        suggestion: what would be accepted, if anything comes near.
        source: the file or the command line it came from.
        typed: what the user typed, where it is no ``key=value``.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, key: str, value: Any, reason: str, suggestion: str = "", source: str = "", typed: str = ""):
        hint = f"; did you mean '{suggestion}'?" if suggestion else ""
        origin = f"   ({source})" if source else ""
        written = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
        deletion = key.startswith("~") and value == ""
        self.setting = typed or (key if deletion else f"{key}={written}")
        super().__init__(f"{self.setting}: {reason}{hint}{origin}")
        self.key, self.value, self.reason, self.suggestion, self.source = key, value, reason, suggestion, source


class UsageError(GenlabError):
    """The command line itself is wrong."""

    exit_code: ClassVar[int] = 2


class ConfigErrors(GenlabError):  # noqa: N818
    """Several at once, so that a user mends them in one go."""

    exit_code: ClassVar[int] = 2

    def __init__(self, problems: Sequence[ConfigError | UsageError]):
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def nearest(name: str, names: Any) -> str:
    """The one of ``names`` that ``name`` is most likely a slip of, or an empty string."""
    typed = str(name).lower()
    # of two that differ in capitals, as torch.optim.adamw has AdamW and adamw, the one written as the slip is stays
    by_lower = {str(other).lower(): str(other) for other in sorted(map(str, names), key=partial(in_common, str(name)))}
    matches = get_close_matches(typed, by_lower, n=4, cutoff=0.6)  # the best first
    exchanged = [match for match in matches if sorted(match) == sorted(typed)]  # letters in another order are a slip
    return by_lower[(exchanged or matches)[0]] if matches else ""


def in_common(name: str, other: str) -> int:
    """At how many places from the start on two names have the same letter, capitals told from small ones."""
    return sum(mine == theirs for mine, theirs in zip(name, other, strict=False))


def broken_off(error: BaseException | None) -> bool:
    """Did an error come of a Ctrl-C, as in libraries that fail while they leave what it has broken off?"""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
