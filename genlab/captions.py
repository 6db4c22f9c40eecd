"""Protocols of a table's figures in words, each entry once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genlab.metrics.base import Figure

OF_MODELS = ("members", "weights", "n generated", "seeds", "examples", "examples hash", "samples", "checkpoint", "step")
"""Entries of a protocol that are a model's affair: told of it once, where all its figures agree."""

FOLLOWING = {
    ("extractor",): ("resize", "rounding"),
    ("data", "split"): ("split hash",),
    ("n generated",): ("seeds",),
}
"""Entries that follow from others: told with their values once, where they do."""

Entry = tuple[str, str, dict[str, str]]  # title of a figure, name of a model, protocol


def caption(figures: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[str]:
    """First what all figures have in common, then what those of a model have, of an extractor and of a split, and then
    what is left, a line for each protocol. Values of a model's own entries that differ from run to run stand together.

    Args:
        figures: title of the figure, name of the model, protocol.
    """
    entries = merged(figures)
    told = []
    shared = set.intersection(*(set(protocol.items()) for *_, protocol in entries)) if len(entries) > 1 else set()
    if shared:
        told.append("all figures: " + in_words({k: v for k, v in entries[0][2].items() if (k, v) in shared}))
        take(entries, {key for key, _ in shared})
    return told + of_models(entries) + of_values(entries) + of_figures(entries)


def numbers(rows: Iterable[tuple[str, Mapping[str, Figure]]]) -> list[str]:
    """What figures of real examples are not to be compared with those of samples, for they are of another number.

    Args:
        rows: of one data set, name and figures; those of real examples are named ``real train``, say.
    """
    real: dict[tuple[str, str], set[int]] = {}  # row and title to numbers of examples
    made: dict[str, set[int]] = {}
    for name, figures in rows:
        for title, figure in figures.items():
            if n := figure.protocol.get("n generated"):
                control = name.startswith("real ")
                (real.setdefault((name, title), set()) if control else made.setdefault(title, set())).add(n)
    together: dict[str, list[str]] = {}
    for (name, title), of_real in real.items():
        if made.get(title, of_real) != of_real:
            few, many = (", ".join(map(str, sorted(found))) for found in (of_real, made[title]))
            together.setdefault(f"{name} has {few} examples where models have {many}", []).append(title)
    return [f"{text}, so not to be compared with theirs: {', '.join(titles)}" for text, titles in together.items()]


def merged(figures: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[Entry]:
    """Entries that differ in what is a model's own affair, as one: ``step 1, 2``."""
    together: dict[tuple[Any, ...], tuple[Mapping[str, Any], dict[str, dict[str, None]]]] = {}
    for title, model, protocol in figures:
        rest = tuple((key, str(value)) for key, value in protocol.items() if key not in OF_MODELS)
        _, own = together.setdefault((title, model, rest), (protocol, {}))
        for key in OF_MODELS:
            if key in protocol:
                own.setdefault(key, {})[str(protocol[key])] = None
    return [
        (title, model, {key: ", ".join(own[key]) if key in own else str(value) for key, value in first.items()})
        for (title, model, _), (first, own) in together.items()
    ]


def of_models(entries: Sequence[Entry]) -> list[str]:
    """A line for the models that have the same own entries, which are taken out of ``entries``."""
    lines: dict[str, list[str]] = {}
    for model in dict.fromkeys(model for _, model, _ in entries):
        mine = [entry for entry in entries if entry[1] == model]
        own = {key: values.pop() for key in OF_MODELS if len(values := values_of(mine, key)) == 1}
        take(mine, own)
        if own:
            lines.setdefault(in_words(own), []).append(model)
    return [f"{', '.join(models)}: {line}" for line, models in lines.items()]


def of_values(entries: Sequence[Entry]) -> list[str]:
    """A line for each value, or pair of them, that others follow from; these are taken out of ``entries``."""
    lines = []
    for keys, following in FOLLOWING.items():
        together: dict[str, list[Entry]] = {}
        for entry in entries:
            if keys[-1] in entry[2]:
                together.setdefault(in_words({key: entry[2][key] for key in keys if key in entry[2]}), []).append(entry)
        for value, those in together.items():
            known = {name: found.pop() for name in following if len(found := values_of(those, name)) == 1}
            take(those, known)
            if known:
                lines.append(f"{value}: {in_words(known)}")
    return lines


def of_figures(entries: Sequence[Entry]) -> list[str]:
    """A line for each protocol; figures that have it of some models alone are told with these."""
    protocols: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    groups: dict[tuple[tuple[str, str], ...], dict[str, list[str]]] = {}
    for title, model, protocol in entries:
        key = tuple(protocol.items())
        protocols.setdefault(title, set()).add(key)
        groups.setdefault(key, {}).setdefault(title, []).append(model)
    lines = []
    for key, titles in groups.items():
        together: dict[str, list[str]] = {}
        for title, models in titles.items():
            where = f" of {', '.join(models)}" if len(protocols[title]) > 1 else ""
            together.setdefault(where, []).append(title)
        about = "; ".join(f"{', '.join(names)}{where}" for where, names in together.items())
        if key:
            lines.append(f"{about}: {in_words(dict(key))}")
    return lines


def values_of(entries: Sequence[Entry], key: str) -> set[str]:
    """The values that an entry of these protocols has."""
    return {protocol[key] for *_, protocol in entries if key in protocol}


def take(entries: Sequence[Entry], keys: Any) -> None:
    """Protocols without these entries."""
    for *_, protocol in entries:
        for key in keys:
            protocol.pop(key, None)


def in_words(protocol: Mapping[str, Any]) -> str:
    """``n 360, k 500``."""
    return ", ".join(f"{key} {value}" for key, value in protocol.items())
