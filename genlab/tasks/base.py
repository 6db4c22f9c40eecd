"""What ``genlab sample`` can make of a model: one task a file, each a function ``make`` of the same arguments.

``make(loaded, seeds, options, device) -> Made``; the file's name is what ``task=`` takes. A task that a model cannot
do, or that its data do not admit, raises ConfigError with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genlab import ranks
from genlab.build import build
from genlab.checkpoint import Loaded
from genlab.data.base import Examples, at_rest
from genlab.errors import ConfigError, nearest
from genlab.images import UNTITLED, Titles
from genlab.models.base import Samples
from genlab.noise import Noise
from genlab.spec import Spec

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
    with torch.no_grad():
        for start in range(share.start, share.stop, CHUNK):
            part = list(seeds[start : min(start + CHUNK, share.stop)])
            padded = part + [part[-1]] * (CHUNK - len(part))
            y = None
            if labels is not None:
                y = labels[start : start + len(part)]
                y = torch.cat([y, y[-1:].expand(CHUNK - len(part))]).to(device)
            made.append(model.sample(Noise(padded, device), y, temperature)[: len(part)].cpu())
    return ranks.gather(torch.cat(made) if made else None)


def class_labels(spec: Spec, y: Any, count: int) -> Tensor | None:
    """Labels for ``count`` samples: the class ``y`` (a number or a name), several in turn, or all in turn.

    Raises:
        ConfigError: the data have no such class.
    """
    if y is None:
        return torch.arange(count) % len(spec.classes) if spec.classes else None
    wanted = y if isinstance(y, Sequence) and not isinstance(y, str) else str(y).split(",")
    numbers = []
    for name in map(str, wanted):
        if name in spec.classes:
            numbers.append(spec.classes.index(name))
        elif name.isdigit() and int(name) < len(spec.classes):
            numbers.append(int(name))
        else:
            reason = f"the classes are {', '.join(spec.classes) or 'none'}"
            raise ConfigError("y", y, reason, nearest(name, spec.classes))
    return torch.tensor([numbers[index % len(numbers)] for index in range(count)])


def chosen_labels(loaded: Loaded, options: Mapping[str, Any], count: int) -> Tensor | None:
    """``class_labels`` of a conditional model by the option ``y``, else None.

    Raises:
        ConfigError: a class is asked for, and the model knows none.
    """
    if getattr(loaded.model, "conditional", False):
        return class_labels(loaded.spec, options.get("y"), count)
    if options.get("y") is not None:
        raise ConfigError(
            "y", options["y"], f"this run's model, a {type(loaded.model).__name__}, is not class-conditional"
        )
    return None


def examples_of(loaded: Loaded, split: str = "test") -> Examples:
    """A split of the data that the model was trained on."""
    data: Any = build(at_rest(loaded.config["data"]))
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
