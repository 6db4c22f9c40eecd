"""From a checkpoint, a folder of examples or a split of real ones to a row of figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from genlab import ranks
from genlab.agreement import agreed
from genlab.checkpoint import load, said_in
from genlab.cli import debugging
from genlab.data.base import Data
from genlab.errors import ConfigError, GenlabError
from genlab.evaluation import results, subject
from genlab.evaluation.measure import measure, say
from genlab.evaluation.results import Asked, Note, Row, new_lines, repeated, short
from genlab.evaluation.subject import Subject
from genlab.evaluation.wanted import Part, wanted
from genlab.metrics.base import GENERATED
from genlab.metrics.choose import Passing, asked_for, choose, named, presets
from genlab.models.ensemble import Ensemble
from genlab.plugins import told
from genlab.run import Run
from genlab.spec import Spec
from genlab.validation.requests import places

Tell = Callable[[str, Sequence[Note]], None]
FEW = 100
"""Generated examples below which every figure of them is far from what thousands would give."""


def assess(asked: Sequence[Asked], controls: Sequence[str], options: Mapping[str, Any]) -> tuple[list[Row], int]:
    """Rows of what is asked, then of examples from elsewhere, then of real ones; and how many could not be measured.

    Raises:
        GenlabError: the only one cannot be measured.
        ConfigError: examples from elsewhere are given, and no data to measure them by.
    """
    if options.get("samples") and not (asked or options.get("data")):
        raise ConfigError("data", None, "samples= are measured by a data set: data=cifar10")
    rows: list[Row] = []
    sets: dict[str, tuple[Data, str]] = {}
    beside: dict[str, list[Asked]] = {}
    lost: set[Run] = set()  # whose figures cannot be kept: told once
    elsewhere = places(options.get("samples"))
    alone = len(asked) + len(elsewhere) == 1
    wrong, parts = 0, wanted(options)
    told: Counter[str] = Counter()
    tell = partial(tell_new, told, parts)
    if len(asked) > 1 and (left := sum(one.row is None for one in asked)):
        say(f"{left} of {len(asked)} checkpoints to be measured")
    with ranks.group(options.get("devices") or 1, options.get("device") or "auto") as device:
        for one in asked:
            try:
                row, data = of_checkpoint(one, options, device, tell)
            except Exception as error:
                complain(error, one.title, alone)
                wrong += 1
                continue
            rows.append(row)
            sets.setdefault(repr(data), (data, row.data))
            beside.setdefault(repr(data), []).append(one)
            if one.run and not one.row and not kept(one.run, partial(results.keep, one.run, one.key, row, parts)):
                lost.add(one.run)
        others: list[tuple[str, bool, Callable[[], Row]]] = []  # title, whether it is the only one, how it is measured
        if options.get("ensemble"):
            others.append(("ensemble=true", len(asked) < 2, partial(of_ensemble, asked, options, device, tell)))
        for place in elsewhere:  # what is left out is the same of all
            quiet = place != elsewhere[0]
            others.append((place, alone, partial(of_samples, place, options, sets, device, tell, quiet)))
        for title, only, row_of_it in others:
            try:
                rows.append(row_of_it())
            except Exception as error:
                complain(error, title, only)
                wrong += 1
        for key, (data, name) in sets.items() if controls else ():
            asked_of = {**options, **as_many(rows, bool(asked))}
            real, failed = all_controls(data, name, controls, asked_of, device, tell)
            rows, wrong = rows + real, wrong + failed
            for one in beside.get(key, ()):
                if one.run is None or not real or one.run in lost:
                    continue
                if not kept(one.run, partial(results.keep_controls, one.run, one.key, real, parts)):
                    lost.add(one.run)
    for line in repeated(told):
        say(line)
    return rows, wrong + len(lost)


def tell_new(told: Counter[str], parts: Sequence[Part], title: str, notes: Sequence[Note]) -> None:
    """Notes on what is asked for of a row, or on no figure, but for those that were told of another."""
    for line in new_lines(told, title, [m for note in notes if (m := note.of(parts)).figures or not note.figures]):
        say(line)


def complain(error: Exception, title: str, alone: bool = False) -> None:
    """Why one of several could not be measured, in a line; of the only one, the error itself goes on."""
    if alone or debugging():
        raise error
    why = told(error)
    say(f"error: {why}" if title in why else f"error: {title}: {why}")


def kept(run: Run, write: Callable[[], None]) -> bool:
    """Whether figures could be written, by the first rank; if not, that is told: they matter more than their file."""
    if ranks.first():
        try:
            write()
        except OSError as error:
            say(f"error: {run.path}/metrics.json: not kept: {error.strerror or error}")
            return False
        except GenlabError as error:  # what is there was damaged in the meantime
            say(f"error: {error}")
            return False
    return True


def of_checkpoint(one: Asked, options: Mapping[str, Any], device: torch.device, tell: Tell) -> tuple[Row, Data]:
    """The figures of the model in one checkpoint, and the data that it was measured by.

    Raises:
        GenlabError: there is no such checkpoint, or the data set given is not of the model's kind.
    """
    if one.row is not None and one.run is not None:
        return one.row, subject.data_of(one.run.config, options, f"{one.run.path}/config.yaml")[0]
    loaded, said = agreed(load(one.checkpoint, device), one.run)
    data, name = subject.data_of(loaded.config, options, said_in(loaded.path))
    title = str(one.run.path if one.run else one.checkpoint)
    tell(title, [Note((), line) for line in said])
    alike(data, name, loaded.spec)
    prepared(data)
    model = str((loaded.config.get("choices") or {}).get("model") or type(loaded.model).__name__.lower())
    made = subject.of_model(title, model, loaded, one.checkpoint, int(options["n"]))
    return row_of(made, data, name, options, device, tell), data


def of_ensemble(asked: Sequence[Asked], options: Mapping[str, Any], device: torch.device, tell: Tell) -> Row:
    """The figures of all models as one classifier, on the data of the first; they have no run folder to be kept in.

    Raises:
        ConfigError: there are no two of them, or they are of unlike data.
        GenlabError: one of them does not classify.
    """
    if len(asked) < 2:
        raise ConfigError("ensemble", True, "takes several runs, run=a,b,c", "false")
    loaded = [agreed(load(one.checkpoint, device), one.run)[0] for one in asked]  # told where alone
    net = Ensemble([member.model for member in loaded]).eval()
    data, name = subject.data_of(loaded[0].config, options, said_in(loaded[0].path))
    for one, member in zip(asked, loaded, strict=True):
        alike(data, name, member.spec)
        if member.spec.classes != data.spec.classes:
            raise ConfigError("ensemble", True, f"{one.title} was trained for other classes than {name} has")
    prepared(data)
    made = subject.of_ensemble(net, [one.checkpoint for one in asked], loaded)
    return row_of(made, data, name, options, device, tell, quiet=True)


def of_samples(
    place: str,
    options: Mapping[str, Any],
    sets: dict[str, tuple[Data, str]],
    device: torch.device,
    tell: Tell,
    quiet: bool,
) -> Row:
    """The figures of examples that genlab did not make, by ``data`` or the data of the runs named beside them."""
    if not sets:
        data, name = subject.data_of({}, options)
        prepared(data)
        sets[repr(data)] = data, name
    if len(sets) > 1:
        names = ", ".join(name for _, name in sets.values())
        raise ConfigError("samples", place, f"stands beside runs of {names}; say data=... for one of them")
    data, name = next(iter(sets.values()))
    made = subject.of_files(place, data.spec, int(options["batch"]))
    if made.n != int(options["n"]) and not quiet:
        say(f"{short(made.title)}: all {made.n} of its examples are measured, for n is of models")
    return row_of(made, data, name, options, device, tell, quiet)


def as_many(rows: Sequence[Row], models: bool) -> dict[str, int]:
    """The number of real examples that stand beside samples alone, if all of these are as many."""
    numbers = {figure.protocol["n generated"] for row in rows for figure in row.figures.values()
               if "n generated" in figure.protocol}  # fmt: skip
    return {"n": numbers.pop()} if len(numbers) == 1 and not models else {}


def all_controls(
    data: Data, name: str, splits: Sequence[str], options: Mapping[str, Any], device: torch.device, tell: Tell
) -> tuple[list[Row], int]:
    """Rows of real examples of some splits, and how many of them could not be measured."""
    rows = []
    for split in splits:
        try:
            rows.append(control(data, name, split, options, device, tell))
        except Exception as error:
            complain(error, f"real {split}")
    return rows, len(splits) - len(rows)


def control(data: Data, name: str, split: str, options: Mapping[str, Any], device: torch.device, tell: Tell) -> Row:
    """The figures of real examples: what a perfect model would get."""
    prepared(data)
    made = subject.of_split(data, split, int(options["n"]), int(options["batch"]))
    return row_of(made, data, name, options, device, tell, quiet=True)


def row_of(
    made: Subject,
    data: Data,
    name: str,
    options: Mapping[str, Any],
    device: torch.device,
    tell: Tell,
    quiet: bool = False,
) -> Row:
    """The row of a subject. What is missing is told and why, unless ``quiet`` where it does not apply."""
    metrics, left_out = choose(options, made.net, data, made.n, made.loss)
    told = [] if quiet else [*missing(left_out), *of_other_extractors(options, metrics)]
    shown: Mapping[str, Any] = metrics
    drawn = tuple(name for metric in shown.values() if GENERATED in metric.reads for name in metric.figures)
    if made.n < FEW and drawn:
        few = f"n = {made.n} is few: figures of samples depend on their number; papers take thousands"
        told.append(Note(drawn, few))
    tell(made.title, told)
    figures, failed, remarks = measure(made, data, metrics, options, device)
    silent = unnamed(options, metrics, [*figures, *failed, *left_out])
    late = [*remarks, *missing(failed), *silent]
    tell(made.title, late)
    figures = {
        key: figure._replace(protocol={"data": name} | dict(figure.protocol))
        for key, figure in figures.items()
        if asked_for(key, options)
    }
    final = not any(isinstance(reason, Passing) for reason in left_out.values())
    return Row(made.title, made.model, name, made.step, figures, (*told, *late), final)


def missing(reasons: Mapping[str, str]) -> list[Note]:
    """Figures that are missing, by names with commas, and why."""
    return [Note(tuple(names.split(", ")), reason, lacking=True) for names, reason in reasons.items()]


def unnamed(options: Mapping[str, Any], metrics: Mapping[str, Any], titles: Sequence[str]) -> list[Note]:
    """Figures that are asked for by name, of metrics that were taken and did not give them; ``titles`` are accounted
    for."""
    known = [name for title in titles for name in title.split(", ")]
    found = []
    for metric in metrics.values():
        for figure in metric.figures:
            if figure in named(options) and not any(name == figure or name.startswith(f"{figure}_") for name in known):
                why = getattr(metric, "absent", {}).get(figure, "there is none of this model and these data")
                found.append(Note((figure,), why, lacking=True))
    return found


def of_other_extractors(options: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Note]:
    """Figures that are asked for by the name of an extractor that is not taken, and why there are none."""
    used = sorted({metric.extractor.name for metric in metrics.values() if getattr(metric, "extractor", None)})
    given = [figure for metric in metrics.values() if getattr(metric, "extractor", None) for figure in metric.figures]
    known = {*given, *(f"{figure}_{extractor}" for figure in given for extractor in used)}
    asked = [name for name in named(options) if name not in known]
    others = tuple(name for name in asked if any(name.startswith(f"{figure}_") for figure in given))
    there = presets("extractor", options)
    meant = {name: next((one for one in there if name.endswith(f"_{one}")), "another") for name in others}
    reason = f"extractor={', '.join(used)} looks at these data; name"
    return [
        Note((name,), f"{reason} {f'extractor={one}' if one in there else one} to have it look at them", True, True)
        for name, one in meant.items()
    ]


def alike(data: Data, name: str, spec: Spec) -> None:
    """The data must be of the kind that the model was trained for.

    Raises:
        ConfigError: they are not.
    """
    for key in ("kind", "shape", "levels"):
        theirs, ours = getattr(data.spec, key), getattr(spec, key)
        if theirs != ours:
            raise ConfigError("data", name, f"its {key} is {theirs}, while the model was trained for {ours}")


def prepared(data: Data) -> None:
    """Prepare the data, once for all ranks."""
    if ranks.first():
        data.prepare()
    if dist.is_initialized():
        dist.barrier()
