"""The pairs of samples that are most alike: what a birthday test would call duplicates, to be judged by eye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.extractors.base import Shared
from genlab.images import Titles
from genlab.metrics.choose import extractors
from genlab.metrics.features import squared_distances
from genlab.tasks import grid
from genlab.tasks.base import CHUNK, Made, examples_of
from genlab.tasks.neighbours import nearest

PAIRS = 20  # that Arora and Zhang look at

TITLES = Titles([("alike samples", 2), ("nearest training", 1)])


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Triples of two samples and the training example nearest to the first: the 20 closest pairs, closest first.

    Pairs are close in the features that suit the data, as metric=birthday has it, the example in the data themselves.
    Of n samples there are n (n - 1) / 2 pairs: n=1000 tells more than 64. (Arora and Zhang 2017, arXiv 1706.08224: the
    20 closest pairs, and the nearest training example, by eye; they find pairs of faces by distance of the pixels.)
    In duplicates.npz, ``samples`` are both of each pair (P, 2, *shape), ``seeds`` (P, 2) theirs, ``distances`` (P) and
    ``neighbours`` (P) rows of the training split.
    """
    if loaded.spec.kind != "image":
        raise ConfigError("task", "duplicates", f"it draws images, and these data are {loaded.spec.kind}")
    if len(seeds) < 2:
        raise ConfigError("seeds", len(seeds), "a pair takes at least two")
    made = grid.make(loaded, seeds, options, device)
    train = examples_of(loaded, "train")
    found, _ = extractors({}, loaded.spec)
    distances, pairs = closest(features(found[0] if found else None, made.x), PAIRS)
    both = made.x[pairs]
    _, near = nearest(both[:, 0], train.x, 1)
    shown = torch.cat([both, train.x[near]], 1)
    arrays = {
        "samples": both.numpy(),
        "seeds": torch.as_tensor(seeds)[pairs].numpy(),
        "distances": distances.numpy(),
        "neighbours": near[:, 0].numpy(),
    }
    columns = 3 * min(4, len(pairs))
    return Made(shown.flatten(0, 1), None, None, columns, (3,), TITLES, arrays)


def features(extractor: Shared | None, x: Tensor) -> Tensor:
    """Of all examples, (N, D); the examples themselves where nothing looks at them."""
    if extractor is None:
        return x.flatten(1).float()
    with torch.no_grad():
        return torch.cat([extractor(part).features.float() for part in x.split(CHUNK)])


def closest(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances (P) and rows (P, 2) of the ``count`` closest pairs, ascending."""
    distances, pairs = torch.full((0,), 0.0).double(), torch.zeros((0, 2), dtype=torch.long)
    for rows, found in squared_distances(x, x):
        start = rows.start or 0
        later = torch.arange(len(x)) > torch.arange(start, start + len(found))[:, None]  # each pair once
        i, j = later.nonzero(as_tuple=True)
        distances = torch.cat([distances, found[i, j].clamp(min=0).sqrt()])
        pairs = torch.cat([pairs, torch.stack([i + start, j], 1)])
        distances, order = distances.topk(min(count, len(distances)), largest=False)
        pairs = pairs[order]
    return distances, pairs
