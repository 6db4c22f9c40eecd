"""What ``genlab sample`` can make of a model: one task a file, each a function ``make`` of the same arguments.

``make(loaded, seeds, options, device) -> Made``; the file's name is what ``task=`` takes, and ``TAKES`` the options
that not every task takes. A task that a model cannot do, or that its data do not admit, raises ConfigError with the
reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genlab import ranks
from genlab.build import build_part
from genlab.checkpoint import Loaded, said_in
from genlab.data.base import Examples, at_rest
from genlab.errors import ConfigError, nearest
from genlab.images import UNTITLED, Titles
from genlab.models.base import Samples, Watched
from genlab.models.conditions import in_turn
from genlab.noise import Noise
from genlab.progress import bar
from genlab.spec import Spec, number_of

CHUNK = 64
"""Examples computed together: always so many, the last chunk padded, so that no example depends on its neighbours'
number (matrix products of other sizes round differently)."""


class Made(NamedTuple):
    """What a task made.

    Args:
        x: examples in data space.
        labels: theirs; None where there are none.
        draw: writes the picture to a path; None for the usual one of such examples.
        columns: how many examples stand in a row of the usual picture.
        groups: how many neighbours in such a row belong together, in turn.
        titles: beside that picture.
        arrays: for samples.npz, in place of what stands there usually, or beside it.
    """

    x: Tensor
    labels: Tensor | None = None
    draw: Callable[[Path], None] | None = None
    columns: int | None = None
    groups: Sequence[int] = ()
    titles: Titles = UNTITLED
    arrays: Mapping[str, np.ndarray] = {}


def generate(model: nn.Module, seeds: Sequence[int], labels: Tensor | None, temperature: float, device: Any) -> Tensor:
    """One example a seed, this rank's share computed here and the others' gathered; on the CPU."""
    if not isinstance(model, Samples):
        raise ConfigError("task", "grid", f"{type(model).__name__} does not sample")
    made = []
    share = ranks.share(len(seeds), CHUNK)
    with torch.no_grad(), told_of(model, len(share)) as advance:
        for start in range(share.start, share.stop, CHUNK):
            part = list(seeds[start : min(start + CHUNK, share.stop)])
            padded = part + [part[-1]] * (CHUNK - len(part))
            y = None
            if labels is not None:
                y = labels[start : start + len(part)]
                y = torch.cat([y, y[-1:].expand(CHUNK - len(part), *y.shape[1:])]).to(device)
            made.append(model.sample(Noise(padded, device), y, temperature)[: len(part)].cpu())
            advance(1)
    return ranks.gather(torch.cat(made) if made else None)


@contextmanager
def told_of(model: nn.Module, examples: int) -> Iterator[Callable[[float], None]]:
    """A bar of the chunks in which so many examples are made; a model that draws value by value and is ``Watched``
    moves it within a chunk. Hands out what is to be called after each."""
    with bar("chunks sampled", math.ceil(examples / CHUNK)) as advance:
        told = 0.0

        def so_far(share: float) -> None:
            nonlocal told
            advance(share - told)
            told = share

        def ended(chunk: float) -> None:
            nonlocal told
            advance(chunk - told)
            told = 0.0

        if isinstance(model, Watched):
            model.watch = so_far
        try:
            yield ended
        finally:
            if isinstance(model, Watched):
                model.watch = None


def labels_of(spec: Spec, y: Any, count: int) -> Tensor:
    """Labels for ``count`` samples by ``y``: a class by number or name, attributes by name with + between them (none:
    without any), or several of these in turn.

    Raises:
        ConfigError: the data have no such class or attribute.
    """
    names = spec.classes or spec.attributes
    wanted = list(map(str, y if isinstance(y, Sequence) and not isinstance(y, str) else str(y).split(",")))
    found = []
    for name in wanted:
        numbers = []
        for part in [] if name == "none" and spec.attributes else name.split("+") if spec.attributes else [name]:
            number = number_of(part, names)
            if number is None:
                what = "attributes" if spec.attributes else "classes"
                raise ConfigError("y", y, f"the {what} are {', '.join(names) or 'none'}", nearest(part, names))
            numbers.append(number)
        found.append(numbers)
    if spec.classes:
        return torch.tensor([found[index % len(found)][0] for index in range(count)])
    vectors = torch.zeros(len(found), len(names), dtype=torch.uint8)
    for vector, numbers in zip(vectors, found, strict=True):
        vector[numbers] = 1
    return in_turn(spec, count, vectors)


def chosen_labels(loaded: Loaded, options: Mapping[str, Any], count: int, own: Tensor | None = None) -> Tensor | None:
    """Labels for the samples of a conditional model: ``labels_of`` the option ``y``; without it their ``own``, where
    they are made of examples, else all classes in turn, or the attributes of test examples in turn. None for a model
    without conditions.

    Raises:
        ConfigError: a class is asked for, and the model knows none.
    """
    if getattr(loaded.model, "conditional", False):
        if options.get("y") is not None:
            return labels_of(loaded.spec, options["y"], count)
        if own is not None:
            return own
        return in_turn(loaded.spec, count, None if loaded.spec.classes else examples_of(loaded).y)
    if options.get("y") is not None:
        raise ConfigError(
            "y", options["y"], f"this run's model, a {type(loaded.model).__name__}, is not class-conditional"
        )
    return None


def examples_of(loaded: Loaded, split: str = "test") -> Examples:
    """A split of the data that the model was trained on."""
    data: Any = build_part("data", at_rest(loaded.config["data"]), said_in(loaded.path))
    data.prepare()
    return data.split(split)


def the_plane(loaded: Loaded, task: str) -> None:
    """Refuse data that are no points of the plane.

    Raises:
        ConfigError: they are not.
    """
    if loaded.spec.kind != "vector" or loaded.spec.dimensions != 2:
        raise ConfigError(
            "task", task, f"it draws the plane, and these data are {loaded.spec.kind} {loaded.spec.shape}"
        )


def capable(loaded: Loaded, task: str, ability: type, lack: str) -> Any:
    """The model, if it has the ability.

    Raises:
        ConfigError: it lacks it.
    """
    if not isinstance(loaded.model, ability):
        raise ConfigError("task", task, f"{type(loaded.model).__name__} {lack}")
    return loaded.model
