"""Test examples that are given a class or an attribute, more and more of it, at each level of their codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.checkpoint import Loaded
from genlab.errors import ConfigError, nearest
from genlab.images import Titles
from genlab.models.base import Encodes, Hierarchical
from genlab.spec import Spec, number_of
from genlab.tasks.arithmetic import belongs, levelled
from genlab.tasks.base import CHUNK, Made, capable, examples_of
from genlab.tasks.reconstruct import down, levels, up

TAKES = ("attribute", "strength", "level")
MANY = 8
"""Test examples: eight rows a level."""
STEPS = 6
EXAMPLES = 10_000  # training examples that a direction is of, at most


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Each test example, what is left of it from its code c, and what c + s v decodes to for s up to ``strength``;

    v = mean of c(x) over training examples with ``attribute`` - mean of c(x) over those without.

    A hierarchical model has codes, and a direction, at every level, or at ``level`` alone: rows go on from one level to
    the next. (Belghazi et al. 2018, arXiv 1802.01071, section 4, of the attributes of CelebA; Larsen et al. 2016, arXiv
    1512.09300, section 4.1, at one level.) Deviations: the first 10 000 training examples make a direction; those whose
    label is not known are left out.

    A seed is an index of the test split. In manipulate.npz, ``samples`` are strips of seven from s = 0, which is the
    reconstruction, example by example, level by level; ``seeds``, ``levels`` and ``strengths`` (s) say which is which.
    ``originals`` are the examples, ``direction_1`` ... v of each level.

    Raises:
        ConfigError: the model does not encode, or has no such level; no such class or attribute is there; data are no
            images.
    """
    model = capable(loaded, "manipulate", Encodes, "does not encode, so examples have no codes to be moved")
    if loaded.spec.kind != "image":
        raise ConfigError("task", "manipulate", f"it draws images, and these data are {loaded.spec.kind}")
    if getattr(model, "conditional", False):
        raise ConfigError("task", "manipulate", "a conditional model is told the label; sample with y=")
    name = found(options.get("attribute"), loaded.spec)
    shown = levels(model, options.get("level"))
    towards = directions(loaded, model, name, shown, device)
    test = examples_of(loaded)
    x = test.x[torch.as_tensor([seed % len(test) for seed in seeds])]
    strengths = torch.linspace(0, options["strength"], STEPS + 1)
    moved = [along(model, x, level, towards[level], strengths, loaded.spec, device) for level in shown]
    rows = torch.cat([torch.cat([x[:, None], strips], 1) for strips in moved])
    level, seed, strength = np.meshgrid(shown, seeds, strengths, indexing="ij")
    arrays = {
        "samples": torch.cat(moved).flatten(0, 1).numpy(),
        "levels": level.flatten(),
        "seeds": seed.flatten(),
        "strengths": strength.flatten(),
        "originals": x.numpy(),
        **{f"direction_{level}": vector.cpu().numpy() for level, vector in towards.items()},
    }
    above = ["original", "reconstructed", *(f"{strength:+.3g}" for strength in strengths[1:].tolist())]
    left = [f"level {level}" if isinstance(model, Hierarchical) else "" for level in shown for _ in seeds]
    titles = Titles([(text, 1) for text in above], left, f"towards {name}")
    return Made(rows.flatten(0, 1), columns=STEPS + 2, groups=(1, 1, STEPS), titles=titles, arrays=arrays)


def found(wanted: Any, spec: Spec) -> str:
    """The class or attribute that is meant, by name or by number.

    Raises:
        ConfigError: none is named, or the data have no such one.
    """
    names, what = spec.classes or spec.attributes, "attributes" if spec.attributes else "classes"
    if not names:
        raise ConfigError("task", "manipulate", "these data have neither classes nor attributes")
    if wanted is None:
        raise ConfigError("attribute", None, f"say which of the {what}, as in attribute={names[-1]}")
    if (number := number_of(wanted, names)) is not None:
        return names[number]
    raise ConfigError("attribute", wanted, f"the {what} are {', '.join(names)}", nearest(str(wanted), names))


@torch.no_grad()
def directions(loaded: Loaded, model: Any, name: str, shown: list[int], device: Any) -> dict[int, Tensor]:
    """v of each level, of the shape of a code there.

    Raises:
        ConfigError: the training examples have no labels, or all or none of them have the attribute.
    """
    train = examples_of(loaded, "train")
    if train.y is None:
        raise ConfigError("task", "manipulate", "these data have no labels")
    x, y = train.x[:EXAMPLES], train.y[:EXAMPLES]
    known = (y >= 0) if loaded.spec.classes else torch.ones(len(y), dtype=torch.bool)
    having = belongs(y, name, loaded.spec)[known]
    for many, which in ((int(having.sum()), "has"), (int((~having).sum()), "lacks")):
        if not many:
            raise ConfigError("attribute", name, f"none of the first {len(having)} training examples {which} it")
    weights = having / having.sum() - (~having) / (~having).sum()
    towards: dict[int, Tensor] = {}
    for part, weight in zip(x[known].split(CHUNK), weights.split(CHUNK), strict=True):
        for level in shown:
            codes = up(model, part.to(device), level)
            step = torch.tensordot(weight.to(codes), codes, 1)
            towards[level] = towards.get(level, torch.zeros_like(step)) + step
    return towards


@torch.no_grad()
def along(model: Any, x: Tensor, level: int, direction: Tensor, strengths: Tensor, spec: Spec, device: Any) -> Tensor:
    """What codes of examples at a level decode to on their way along a direction, (N, steps, C, H, W), on the CPU."""
    made = []
    for part in x.split(CHUNK):
        codes = up(model, part.to(device), level)
        made.append(
            torch.stack([levelled(down(model, codes + s * direction, level), spec) for s in strengths.tolist()], 1)
        )
    return torch.cat(made).cpu()
