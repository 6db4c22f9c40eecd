"""Ways from one latent code to another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab import plots
from genlab.checkpoint import Loaded
from genlab.errors import ConfigError, nearest
from genlab.images import Titles
from genlab.models.base import Decodes, Encodes
from genlab.noise import Noise
from genlab.tasks.base import Made, capable, chosen_labels, examples_of

TAKES = ("path", "ends", "y")
STEPS = 10
POINTS = 100  # of a path of vectors: a curve
MANY = 32
"""Ends of paths, two each: sixteen rows."""
MOST = 6  # paths in one picture of vectors


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Rows of ten, from the code of one seed to that of the next, by ``path=spherical`` or ``linear``; of vectors,
    paths of a hundred points, the first of them drawn over the test data.

    With ``ends=test`` the codes are those of test examples, a seed being an index of the test split.

    In samples.npz, ``seeds`` (N, 2) are the two ends of each sample's row and ``t`` (N) how far along it is.
    """
    model = capable(loaded, "interpolate", Decodes, "has no latent code to decode")
    if len(seeds) < 2:
        raise ConfigError("seeds", len(seeds), "interpolation takes at least two")
    if options["path"] not in PATHS:
        raise ConfigError("path", options["path"], f"is one of {', '.join(PATHS)}", nearest(options["path"], PATHS))
    between, pairs = PATHS[options["path"]], len(seeds) // 2
    labels = chosen_labels(loaded, options, pairs)
    drawn = options["ends"] == "samples"
    codes = Noise(seeds, device).normal(model.latent) if drawn else encoded(loaded, seeds, device)
    steps = POINTS if loaded.spec.kind == "vector" else STEPS
    t = torch.linspace(0, 1, steps, device=codes.device)[:, None]
    y = None if labels is None else labels.repeat_interleave(steps)
    rows = []
    with torch.no_grad():
        for pair in range(pairs):
            part = None if labels is None else labels[pair].expand(steps).to(device)
            rows.append(model.decode(between(codes[2 * pair], codes[2 * pair + 1], t), part).cpu())
    ends = np.asarray(seeds[: 2 * pairs]).reshape(-1, 2).repeat(steps, 0)
    arrays = {"seeds": ends, "t": np.tile(np.linspace(0, 1, steps), pairs)}
    draw = None
    if loaded.spec.kind == "vector":
        curves = torch.stack(rows)[:MOST, None, :, :2]
        title = f"{options['path']} paths between latent codes, in data space"
        draw = partial(plots.lines, curves=curves, data=examples_of(loaded).x[:, :2], title=title, ends=True)
    titles = Titles([(f"{options['path']} path", steps)])
    return Made(torch.cat(rows), y, draw=draw, columns=steps, titles=titles, arrays=arrays)


def encoded(loaded: Loaded, seeds: list[int], device: Any) -> Tensor:
    """Codes of test examples, (N, Z)."""
    model = capable(loaded, "interpolate", Encodes, "does not encode, so ends=test has no codes")
    test = examples_of(loaded)
    rows = torch.as_tensor([seed % len(test) for seed in seeds])
    y = test.y[rows].to(device) if test.y is not None and getattr(model, "conditional", False) else None
    with torch.no_grad():
        return model.encode(test.x[rows].to(device), y)


def spherical(one: Tensor, two: Tensor, t: Tensor) -> Tensor:
    """sin((1 - t) w) / sin(w) z1 + sin(t w) / sin(w) z2, w the angle between them.  (White 2016, arXiv 1609.04468)

    The straight line between Gaussian codes passes where the model has never been trained.
    """
    cosine = torch.nn.functional.cosine_similarity(one, two, 0).clamp(-0.9999, 0.9999)
    angle = torch.arccos(cosine)
    return (torch.sin((1 - t) * angle) * one + torch.sin(t * angle) * two) / torch.sin(angle)


def linear(one: Tensor, two: Tensor, t: Tensor) -> Tensor:
    """(1 - t) z1 + t z2."""
    return (1 - t) * one + t * two


PATHS = {"spherical": spherical, "linear": linear}
