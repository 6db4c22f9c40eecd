"""Runs that repeat one experiment under several seeds, and means over them. Reads their folders only."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from genlab.evaluation.results import controls, measured
from genlab.metrics.base import OWN, Figure, comparable
from genlab.run import Run, flat

IRRELEVANT = ("seed", "logger", "plugins", "choices", "skip_refused")
"""Entries of a config in which runs may differ and yet be repetitions of one experiment, and those of two groups."""
NAMELESS = ("experiment", "recipe", "logger")
"""Groups of which an option says nothing of a run."""
WITHIN = {
    "data": ("root",),
    "trainer": ("log_every", "checkpoint_every", "keep_every", "sample_every"),
}


class Measured(NamedTuple):
    """A figure, and whose it is.

    Args:
        name: of the figure.
        figure: itself.
        run: the folder of its run; empty of real examples.
        beside: of real examples, what is comparable of the protocol of the figure that they control, if any.
    """

    name: str
    figure: Figure
    run: str = ""
    beside: str = ""


class Group(NamedTuple):
    """Runs whose configs differ in the seed only.

    Args:
        model, data, detail: names; ``detail`` tells groups of one model and data set apart.
        runs: their folders.
        figures: what was measured of any of them.
    """

    model: str
    data: str
    detail: str
    runs: list[Run]
    figures: list[Measured]


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
            figures = [Measured(name, figure, str(run.path)) for run in repeated for name, figure in measured(run)]
            groups.append(Group(model, data, detail, repeated, figures))
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
        for entry in one.figures:
            data = str(entry.figure.protocol.get("data", one.data))
            part = found.setdefault((number, data), one._replace(data=data, figures=[]))
            part.figures.append(entry)
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


def real_groups(groups: Iterable[Group]) -> list[Group]:
    """Rows of real examples that were measured beside the runs of groups: what a perfect model would get. Where unlike
    examples have one name, as training splits of unlike sizes have, ``detail`` says whose they are."""
    found: dict[tuple[str, str, str], dict[str, dict[str, Measured]]] = {}
    whose: dict[tuple[str, str, str], dict[str, None]] = {}
    for run, detail in [(run, one.detail or one.model) for one in groups for run in one.runs]:
        for row, beside in controls(run):
            for name, figure in row.figures.items():
                kind = row.data, row.run, str(figure.protocol.get("examples hash", ""))
                whose.setdefault(kind, {})[detail] = None
                of = comparable(beside.figures[name].protocol) if name in beside.figures else ""
                figures = found.setdefault(kind, {})
                same = figures.setdefault(json.dumps([name, figure.protocol], sort_keys=True), {})
                same[of] = Measured(name, figure, "", of)
                if len(same) > 1:
                    same.pop("", None)  # it controls something
    names = Counter((data, title) for data, title, _ in found)
    made = []
    for kind, figures in sorted(found.items()):
        data, title, _ = kind
        detail = f"of {'; '.join(whose[kind])}" if names[data, title] > 1 else ""
        made.append(Group(title, data, detail, [], [entry for same in figures.values() for entry in same.values()]))
    return made


def repetitions(figures: Iterable[Measured]) -> dict[str, list[list[Measured]]]:
    """Figures of one name and one protocol together, by checkpoint; ``{"": []}`` where there is none."""
    together: dict[tuple[str, str, str], list[Measured]] = {}
    for entry in figures:
        together.setdefault((entry.name, averaged(entry.figure.protocol), entry.beside), []).append(entry)
    by_checkpoint: dict[str, list[list[Measured]]] = {}
    for repeated in together.values():
        checkpoint = str(repeated[0].figure.protocol.get("checkpoint", ""))
        by_checkpoint.setdefault(checkpoint, []).append(repeated)
    return by_checkpoint or {"": []}


def by_runs(repeated: Iterable[list[Measured]], runs: Sequence[Run]) -> dict[tuple[str, ...], list[list[Measured]]]:
    """Repeated figures by the runs that have them, those that most have first; of none, by all ``runs``."""
    found: dict[tuple[str, ...], list[list[Measured]]] = {}
    for entries in repeated:
        found.setdefault(tuple(sorted({entry.run for entry in entries} - {""})), []).append(entries)
    most = sorted(found.items(), key=lambda item: -len(item[0]))
    return dict(most) or {tuple(str(run.path) for run in runs): []}


def variants(figures: Iterable[Measured]) -> dict[tuple[str, str], list[str]]:
    """By name and by what is comparable: the ways in which a model's own figures were come by, besides the checkpoint;
    most importance samples first."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for entry in figures:
        protocol = entry.figure.protocol
        found.setdefault((entry.name, comparable(protocol)), {})[own(protocol)] = int(protocol.get("k") or 0)
    return {key: sorted(ways, key=lambda way: -ways[way]) for key, ways in found.items()}


def own(protocol: Mapping[str, Any]) -> str:
    """What is not comparable of a protocol, besides the checkpoint."""
    return json.dumps({key: protocol[key] for key in OWN if key in protocol and key not in ("checkpoint", "step")})


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
