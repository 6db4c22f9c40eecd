"""The same samples at rising temperatures: what a model holds most likely, and how far it strays from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.images import Titles
from genlab.tasks.base import Made, chosen_labels, generate

TAKES = ("y",)
TEMPERATURES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MANY = 8


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """A row for each seed, its sample at temperatures from 0 to 1. (Kingma and Dhariwal 2018, 1807.03039, figure 8)

    0 stands for a hundredth, by which auto-regressive models can divide their logits.

    In samples.npz, ``temperatures`` (N) are those of the samples.
    """
    if loaded.spec.kind != "image":
        raise ConfigError("task", "temperature", f"it draws rows of images, and these data are {loaded.spec.kind}s")
    labels = chosen_labels(loaded, options, len(seeds))
    columns = [generate(loaded.model, seeds, labels, temperature or 1e-2, device) for temperature in TEMPERATURES]
    count = len(TEMPERATURES)
    arrays = {"seeds": np.asarray(seeds).repeat(count), "temperatures": np.tile(TEMPERATURES, len(seeds))}
    return Made(
        torch.stack(columns, 1).flatten(0, 1),
        None if labels is None else labels.repeat_interleave(count),
        columns=count,
        titles=Titles([(f"{temperature:g}", 1) for temperature in TEMPERATURES]),
        arrays=arrays,
    )
