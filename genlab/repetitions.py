"""Runs that repeat one experiment under several seeds, and means over them. Reads their folders only."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from genlab.evaluation.results import controls, measured
from genlab.metrics.base import Figure, comparable
from genlab.run import Run, flat

IRRELEVANT = ("seed", "logger", "plugins", "choices", "skip_refused")
"""Entries of a config in which runs may differ and yet be repetitions of one experiment, and those of two groups."""
NAMELESS = ("experiment", "recipe", "logger")
"""Groups of which an option says nothing of a run."""
WITHIN = {
    "data": ("root",),
    "trainer": ("log_every", "checkpoint_every", "keep_every", "sample_every"),
}


class Group(NamedTuple):
    """Runs whose configs differ in the seed only.

    Args:
        model, data, detail: names; ``detail`` tells groups of one model and data set apart.
        runs: their folders.
        figures: what was measured of any of them, by name.
    """

    model: str
    data: str
    detail: str
    runs: list[Run]
    figures: list[tuple[str, Figure]]


def originals(runs: Iterable[Run]) -> list[Run]:
    """Without copies of a run, which are no repetitions: they were made at one time by one config."""
    found: dict[str, Run] = {}
    for run in runs:
        about = [run.config, run.info.get("created"), run.info.get("step")]
        found.setdefault(json.dumps(about, sort_keys=True, default=str) if about[1] else str(run.path), run)
    return list(found.values())


def group(runs: Iterable[Run]) -> list[Group]:
    """Runs that repeat one experiment, together; ordered by data set and model."""
    together: dict[str, list[Run]] = {}
    for run in runs:
        together.setdefault(json.dumps(_relevant(run.config), sort_keys=True, default=str), []).append(run)
    named: dict[tuple[str, str], list[list[Run]]] = {}
    for repeated in together.values():
        named.setdefault(_names(repeated[0]), []).append(repeated)
    groups = []
    for (model, data), alternatives in sorted(named.items(), key=lambda item: item[0][::-1]):
        told = telling([repeated[0].config for repeated in alternatives])
        keys = sorted({key for one in told for key in one if any(other.get(key) != one[key] for other in told)})
        both = zip(alternatives, told, strict=True)
        for repeated, values in sorted(both, key=lambda one: [ordered(one[1].get(key)) for key in keys]):
            detail = ", ".join(f"{key}={values.get(key)}" for key in keys[:4]) + (", ..." if len(keys) > 4 else "")
            groups.append(Group(model, data, detail, repeated, [entry for run in repeated for entry in measured(run)]))
    return groups


def twins(runs: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Runs of one config and one seed, each with an earlier one that it repeats."""
    found = []
    for together in group(runs):
        first: dict[str, Run] = {}
        for run in together.runs:
            other = first.setdefault(str(run.config.get("seed")), run)
            found += [(run, other)] if other is not run else []
    return found


def by_data(groups: Iterable[Group]) -> list[Group]:
    """Groups, each as often as there are data sets that its figures were measured by, with those of that one; ordered
    by data set. ``data`` then need not be what the runs were trained on."""
    found: dict[tuple[int, str], Group] = {}
    for number, one in enumerate(groups):
        for name, figure in one.figures:
            data = str(figure.protocol.get("data", one.data))
            part = found.setdefault((number, data), one._replace(data=data, figures=[]))
            part.figures.append((name, figure))
        if not one.figures:
            found[number, one.data] = one
    return sorted(found.values(), key=lambda part: part.data)


def telling(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What tells configs apart, by dotted key: the options taken of groups where these are enough, ``loss=hinge``, else
    all that matters of them."""
    taken = [
        {group: option for group, option in (config.get("choices") or {}).items() if group not in NAMELESS}
        for config in configs
    ]
    if len({json.dumps(one, sort_keys=True, default=str) for one in taken}) == len(configs) > 1:
        return taken
    return [flat(_relevant(config)) for config in configs]


def ordered(value: Any) -> tuple[bool, float, str]:
    """For sorting: numbers by size, then all else by its text."""
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)


BESIDE = "beside"
"""Entry of a real figure's protocol, as long as it stands in a group: what is comparable of the one it controls."""


def real_groups(runs: Iterable[Run]) -> list[Group]:
    """Rows of real examples that were measured beside the runs: what a perfect model would get."""
    found: dict[tuple[str, str], dict[str, dict[str, tuple[str, Figure]]]] = {}
    for row, beside in (both for run in runs for both in controls(run) if both[0].figures):
        figures = found.setdefault((row.data, row.run), {})
        for name, figure in row.figures.items():
            of = {BESIDE: comparable(beside.figures[name].protocol)} if name in beside.figures else {}
            same = figures.setdefault(json.dumps([name, figure.protocol], sort_keys=True), {})
            same[str(of)] = (name, figure._replace(protocol=dict(figure.protocol) | of))
            if len(same) > 1:
                same.pop(str({}), None)  # it controls something
    return [
        Group(title, data, "", [], [entry for same in figures.values() for entry in same.values()])
        for (data, title), figures in sorted(found.items())
    ]


def repetitions(figures: list[tuple[str, Figure]]) -> dict[str, list[tuple[str, list[Figure]]]]:
    """Figures of one name and one protocol together, by checkpoint; ``{"": []}`` where there is none."""
    together: dict[tuple[str, str], list[Figure]] = {}
    for name, figure in figures:
        together.setdefault((name, averaged(figure.protocol)), []).append(figure)
    by_checkpoint: dict[str, list[tuple[str, list[Figure]]]] = {}
    for (name, _), repeated in together.items():
        checkpoint = str(repeated[0].protocol.get("checkpoint", ""))
        by_checkpoint.setdefault(checkpoint, []).append((name, repeated))
    return by_checkpoint or {"": []}


def by_number(repeated: list[tuple[str, list[Figure]]], runs: int) -> dict[int, list[tuple[str, list[Figure]]]]:
    """Figures of one name and protocol by how many runs have them, most first; those of real examples, which are of no
    run, together."""
    found: dict[int, list[tuple[str, list[Figure]]]] = {}
    for name, figures in sorted(repeated, key=lambda entry: -len(entry[1])):
        found.setdefault(min(len(figures), runs), []).append((name, figures))
    return found or {runs: []}


def averaged(protocol: Mapping[str, Any]) -> str:
    """What figures share that a mean is taken of: all of their protocols, but for the step that validation found
    best, which is a result and no choice."""
    free = ("step",) if protocol.get("checkpoint") == "best" else ()
    return json.dumps({key: value for key, value in protocol.items() if key not in free}, sort_keys=True)


def average(figures: list[Figure]) -> Figure:
    """Mean and standard deviation over runs; one run keeps its standard error."""
    if len(figures) == 1:
        return figures[0]
    mean = sum(figure.value for figure in figures) / len(figures)
    spread = math.sqrt(sum((figure.value - mean) ** 2 for figure in figures) / (len(figures) - 1))
    protocol = dict(figures[0].protocol) | {"runs": len(figures)}
    if "step" in protocol:
        protocol["step"] = ", ".join(map(str, sorted({figure.protocol["step"] for figure in figures})))
    return Figure(mean, common_mark(figures), spread, protocol)


def common_mark(figures: list[Figure]) -> str:
    """The mark of a mean: a bound where one of them is, unless others are bounds of the other side."""
    marks = {figure.mark for figure in figures}
    bounds = marks & {"<=", ">="}
    return next(iter(bounds if len(bounds) == 1 else marks)) if len(bounds or marks) == 1 else "~"


def _names(run: Run) -> tuple[str, str]:
    """Model and data set of a run, as they were typed."""
    choices = run.config.get("choices") or {}

    def name(key: str) -> str:
        return str(choices.get(key) or run.config.get(key, {}).get("_target_", "?").rpartition(".")[2])

    return name("model"), name("data")


def _relevant(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what does not matter to the experiment."""
    kept = {key: value for key, value in config.items() if key not in IRRELEVANT}
    return kept | {
        group: {key: value for key, value in (kept.get(group) or {}).items() if key not in names}
        for group, names in WITHIN.items()
    }
