"""From a checkpoint, a folder of examples or a split of real ones to a row of figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from genlab import ranks
from genlab.checkpoint import load
from genlab.data.base import Data
from genlab.errors import ConfigError, GenlabError
from genlab.evaluation import results, subject
from genlab.evaluation.measure import measure, say
from genlab.evaluation.results import Asked, Row
from genlab.evaluation.subject import Subject
from genlab.metrics.choose import asked_for, choose
from genlab.run import Run
from genlab.spec import Spec


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
    wrong = 0
    with ranks.group(options.get("devices") or 1, options.get("device") or "auto") as device:
        for one in asked:
            try:
                row, data = of_checkpoint(one, options, device)
            except GenlabError as error:
                if len(asked) == 1:
                    raise
                say(f"error: {error}")
                wrong += 1
                continue
            rows.append(row)
            sets.setdefault(repr(data), (data, row.data))
            beside.setdefault(repr(data), []).append(one)
            if one.run is not None and one.row is None:
                wrong += not kept(one.run, partial(results.keep, one.run, one.key, row))
        places = subject.places(options.get("samples"))
        for place in places:
            try:
                told = "samples" if place == places[0] else ""  # what is left out is the same of all
                rows.append(of_samples(place, options, sets, device, told))
            except GenlabError as error:
                if len(asked) + len(places) == 1:
                    raise
                say(f"error: {error}")
                wrong += 1
        for key, (data, name) in sets.items() if controls else ():
            real = [control(data, name, split, options, device) for split in controls]
            rows += real
            for one in beside.get(key, ()):
                if one.run is not None:
                    wrong += not kept(one.run, partial(results.keep_controls, one.run, one.key, real))
    return rows, wrong


def kept(run: Run, write: Callable[[], None]) -> bool:
    """Whether figures could be written, by the first rank; if not, that is told: they matter more than their file."""
    if ranks.first():
        try:
            write()
        except OSError as error:
            say(f"error: {run.path}/metrics.json: not kept: {error.strerror}")
            return False
    return True


def of_checkpoint(one: Asked, options: Mapping[str, Any], device: torch.device) -> tuple[Row, Data]:
    """The figures of the model in one checkpoint, and the data that it was measured by.

    Raises:
        GenlabError: there is no such checkpoint, or the data set given is not of the model's kind.
    """
    if one.row is not None and one.run is not None:
        return one.row, subject.data_of(one.run.config, options)[0]
    loaded = load(one.checkpoint, device)
    config = loaded.config if one.run is None else one.run.config
    data, name = subject.data_of(config, options)
    alike(data, name, loaded.spec)
    prepared(data)
    title = str(one.run.path if one.run else one.checkpoint)
    model = str((config.get("choices") or {}).get("model") or type(loaded.model).__name__.lower())
    made = subject.of_model(title, model, loaded, one.checkpoint, int(options["n"]))
    return row_of(made, data, name, options, device, told=one.run.path.name if one.run else title), data


def of_samples(
    place: str, options: Mapping[str, Any], sets: dict[str, tuple[Data, str]], device: torch.device, told: str
) -> Row:
    """The figures of examples that genlab did not make, by ``data`` or the data of the runs named beside them."""
    if not sets:
        data, name = subject.data_of({}, options)
        prepared(data)
        sets[repr(data)] = data, name
    data, name = next(iter(sets.values()))
    return row_of(subject.of_files(place, data.spec, int(options["batch"])), data, name, options, device, told)


def control(data: Data, name: str, split: str, options: Mapping[str, Any], device: torch.device) -> Row:
    """The figures of real examples: what a perfect model would get."""
    prepared(data)
    return row_of(subject.of_split(data, split, int(options["n"]), int(options["batch"])), data, name, options, device)


def row_of(
    made: Subject, data: Data, name: str, options: Mapping[str, Any], device: torch.device, told: str = ""
) -> Row:
    """The row of a subject; why metrics are left out is told where ``told`` names it."""
    metrics, left_out = choose(options, made.net, data, made.n)
    for title, reason in left_out.items() if told else ():
        say(f"{told}: no {title}: {reason}")
    figures = measure(made, data, metrics, options, device)
    figures = {
        key: figure._replace(protocol={"data": name} | dict(figure.protocol))
        for key, figure in figures.items()
        if asked_for(key, options)
    }
    return Row(made.title, made.model, name, made.step, figures)


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
