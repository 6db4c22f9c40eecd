"""Samples with their lowest levels drawn anew: what each level of a code decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from genlab import ranks
from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.images import Titles
from genlab.models.base import Redraws
from genlab.noise import Noise
from genlab.tasks.base import CHUNK, Made, capable, chosen_labels, told_of

TAKES = ("y",)
MANY = 6
DRAWS = 3
"""Of each level."""


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """A row for each seed: its sample, then draws of what is drawn last given its code, the pixels, then with the
    lowest level of the code drawn anew too, and so on but for the highest. (Gulrajani et al. 2017, arXiv 1611.05013,
    figure 5)

    In samples.npz, ``samples`` are the seeds' and ``level_0``, ``level_1`` ... draws of each, (n, draws, *shape).
    """
    if loaded.spec.kind != "image":
        raise ConfigError("task", "redraw", f"it draws rows of images, and these data are {loaded.spec.kind}s")
    model = capable(loaded, "redraw", Redraws, "has no code of which a part could be drawn anew")
    labels = chosen_labels(loaded, options, len(seeds))
    share = ranks.share(len(seeds), CHUNK)
    parts = []
    with torch.no_grad(), told_of(model, len(share)) as advance:
        for start in range(share.start, share.stop, CHUNK):
            part = seeds[start : min(start + CHUNK, share.stop)]
            padded = [*part, *[part[-1]] * (CHUNK - len(part))]
            y = None if labels is None else labels[torch.arange(start, start + CHUNK) % len(labels)].to(device)
            found = [model.sample(Noise(padded, device), y)]
            for level in range(model.levels):
                for draw in range(1, DRAWS + 1):  # other streams than those of any seed at hand
                    anew = Noise([-1 - DRAWS * seed - draw for seed in padded], device)
                    found.append(model.redraw(Noise(padded, device), anew, level, y))
            parts.append(torch.stack(found, 1)[: len(part)].cpu())
            advance(1)
    rows = ranks.gather(torch.cat(parts) if parts else None)
    levels = rows[:, 1:].unflatten(1, (model.levels, DRAWS))
    arrays = {"samples": rows[:, 0].numpy()} | {f"level_{n}": levels[:, n].numpy() for n in range(model.levels)}
    above = [f"and {n} of {model.levels} levels" for n in range(1, model.levels)]
    titles = Titles([("sample", 1), ("pixels", DRAWS), *((text, DRAWS) for text in above)])
    return Made(
        rows.flatten(0, 1),
        None if labels is None else labels.repeat_interleave(rows.shape[1]),
        columns=rows.shape[1],
        groups=(1, *[DRAWS] * model.levels),
        titles=titles,
        arrays=arrays,
    )
