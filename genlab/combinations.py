"""``genlab list refused``: which models, losses, penalties and precisions do not go together, and why."""

from __future__ import annotations

import functools
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from genlab.catalogue import contents, settled
from genlab.presets import based, groups, picks
from genlab.validation.contradictions import contradictions, of

DEFAULTS = {"data": "digits", "loss": "nll", "penalty": "none"}
PRECISIONS = ("bf16-mixed", "16-mixed")


class Refused(NamedTuple):
    """Two choices that exclude each other.

    Args:
        choice: one of them, as typed.
        other: the other.
        reason: why.
    """

    choice: str
    other: str
    reason: str


def main(folders: Sequence[str] = (), *, as_json: bool = False) -> None:
    """Print all pairs that are refused, those of which the same is to be said together."""
    found = Combinations(folders).refused()
    if as_json:
        print(json.dumps([pair._asdict() for pair in found], indent=1))
        return
    others: dict[tuple[str, str], list[str]] = {}
    for pair in found:
        others.setdefault((pair.reason, pair.choice), []).append(pair.other)
    alike: dict[tuple[str, str], list[str]] = {}
    for (reason, choice), names in others.items():
        alike.setdefault((reason, together(names)), []).append(choice)
    for (reason, against), choices in alike.items():
        print("\n".join([reason, *wrapped(together(choices)), *wrapped(f"with {against}"), ""]))
    print("everything else goes together")


def wrapped(text: str) -> list[str]:
    """Lines of a page, set in."""
    spaced = text.replace(",", ", ")
    return textwrap.wrap(spaced, 116, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False)


def together(words: Sequence[str]) -> str:
    """``model=gan`` and ``model=vae`` as ``model=gan,vae``."""
    values: dict[str, list[str]] = {}
    for word in words:
        key, _, value = word.partition("=")
        values.setdefault(key, []).append(value)
    return "  ".join(f"{key}={','.join(names)}" for key, names in values.items())


class Combinations:
    """What goes together, by the rules of ``genlab train`` and the files under ``conf/`` and ``folders``."""

    def __init__(self, folders: Sequence[str] = ()):
        self.known = groups(folders)
        self.contents = functools.cache(functools.partial(contents, folders=folders))
        self.based = functools.cache(functools.partial(based, folders=folders))
        self.picks = functools.cache(functools.partial(picks, folders=folders))

    def refused(self) -> list[Refused]:
        """Pairs of a loss or a penalty and a model, of a penalty and a loss, of a penalty and a precision.

        Everything else of a pair is as the model or the loss picks it; the model of the last two kinds is ``gan``.
        """
        found: dict[Refused, None] = {}
        models = [model for model in self.known["model"] if self.goes(model)]
        for group in ("loss", "penalty"):
            for option in self.known[group]:
                for model in models:
                    for reason in self.reasons(model, {group: option}):
                        found[Refused(f"{group}={option}", f"model={model}", reason)] = None
        for penalty in self.known["penalty"]:
            for loss in self.known["loss"]:
                if not any(self.reasons("gan", {"loss": loss})):
                    for reason in self.reasons("gan", {"loss": loss, "penalty": penalty}):
                        found[Refused(f"penalty={penalty}", f"loss={loss}", reason)] = None
            for precision in PRECISIONS:
                for reason in self.reasons("gan", {"penalty": penalty}, precision):
                    found[Refused(f"penalty={penalty}", f"trainer.precision={precision}", reason)] = None
        return list(found)

    def goes(self, model: str) -> bool:
        """Is the model right by itself, with data that it takes?"""
        return not any(self.reasons(model, {}))

    def reasons(self, model: str, chosen: Mapping[str, str], precision: str = "32") -> Iterator[str]:
        """Why the options ``chosen`` do not go with a model: reasons in which "the loss" stands for its name."""
        config = self.composed(model, chosen, precision)
        for error in contradictions(config):
            reason = error.reason
            for group in ("model", "loss", "penalty"):
                if named := of(config, group):
                    reason = re.sub(rf"\b{named.name}\b", f"the {group}", reason)
            yield reason

    def composed(self, model: str, chosen: Mapping[str, str], precision: str) -> dict[str, Any]:
        """The parts of a config that contradictions look at, as Hydra would compose them."""
        own = self.picked("model", model)
        if "loss" in chosen and "loss" in own:  # with the model's loss goes the penalty that this one took
            gone = self.picked("loss", own["loss"])
            own = {key: option for key, option in own.items() if gone.get(key) != option}
        taken = DEFAULTS | own
        for group, option in chosen.items():
            taken = taken | self.picked(group, option) | {group: option}
        content = self.contents("model", model)
        whole = {key: settled(node, content) for key, node in content.items()}
        whole |= {group: self.contents(group, taken[group]) for group in DEFAULTS}
        trainer = self.contents("trainer", "default") | (whole.get("trainer") or {}) | {"precision": precision}
        choices = {group: taken[group] for group in DEFAULTS} | {"model": model}  # of which all is known here
        return whole | {"choices": choices, "trainer": trainer}

    def picked(self, group: str, option: str) -> dict[str, str]:
        """What an option takes of other groups."""
        return {key: name for base in self.based(group, option) for key, name in self.picks(base).items()}
