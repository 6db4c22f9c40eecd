"""Which figures ``metrics`` asks for, and whether what was measured before answers that. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genlab.choices import metrics
from genlab.metrics.base import Figure
from genlab.presets import file_of, read
from genlab.signatures import signature
from genlab.validation.requests import listed

Part = tuple[str, str]
"""A metric, and a figure of it, with or without its extractor's name; both empty: whatever there is."""


def literal(options: Mapping[str, Any]) -> bool:
    """Whether the figures of every metric are known from source; where one's are not, requests cannot be compared."""
    return all(metrics(options.get("config_dir") or ()).values())


def everything(folders: Sequence[str] = ()) -> list[Part]:
    """The figures of all metrics."""
    return [(name, figure) for name, figures in metrics(folders).items() for figure in figures]


def on_request(metric: str, options: Mapping[str, Any]) -> bool:
    """Whether a metric is computed only where it is named."""
    node = read(file_of("metric", metric, options.get("config_dir") or ()))
    known = signature(str(node.get("_target_", "")))
    return bool(known and known.constants.get("on_request"))


def waiting(options: Mapping[str, Any]) -> list[str]:
    """Metrics that ``auto`` leaves out whatever the model and the data, for each answers a question of its own."""
    if options.get("metrics") not in (None, "auto"):
        return []
    return [name for name in metrics(options.get("config_dir") or ()) if on_request(name, options)]


def wanted(options: Mapping[str, Any]) -> list[Part]:
    """What ``metrics`` asks for, in that order, as ``genlab.metrics.choose`` understands it."""
    asked, whole = options.get("metrics"), everything(options.get("config_dir") or ())
    if not literal(options):
        return [("", "")]
    if asked in (None, "auto"):
        return [part for part in whole if not on_request(part[0], options)]
    found: list[Part] = []
    for word in listed(asked):
        named = [part for part in whole if word in part]
        found += named or [(name, word) for name, figure in whole if word.startswith(f"{figure}_")] or [("", word)]
    return list(dict.fromkeys(found))


def covered(parts: Iterable[Part], done: Sequence[Part], figures: Mapping[str, Figure]) -> bool:
    """Whether ``done`` has all ``parts``. A figure by the name of its extractor, which may have been none that was
    taken, is one of them where it is there."""
    return all(part in done or (part[1] in figures and belongs(part[1], done)) for part in parts)


def belongs(title: str, parts: Iterable[Part]) -> bool:
    """Whether a figure, by its full name, is of one of the parts."""
    return any(not figure or title == figure or title.startswith(f"{figure}_") for _, figure in parts)


def concerns(names: Iterable[str], parts: Sequence[Part]) -> bool:
    """Whether any of some figures, with or without their extractors' names, is one of the parts."""
    return any(belongs(name, parts) or any(figure.startswith(f"{name}_") for _, figure in parts) for name in names)


def filtered(figures: Mapping[str, Figure], parts: Sequence[Part]) -> dict[str, Figure]:
    """Those of the parts, in the order of their metrics."""
    order = list(dict.fromkeys(name for name, _ in parts))
    places = {
        title: next(order.index(part[0]) for part in parts if belongs(title, [part]))
        for title in figures
        if belongs(title, parts)
    }
    return {title: figures[title] for title in sorted(places, key=places.__getitem__)}
