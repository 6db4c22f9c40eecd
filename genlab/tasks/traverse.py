"""What each code of a model changes, with everything else held."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.models.base import Decodes, Varies
from genlab.noise import Noise
from genlab.pictures import save_strips
from genlab.tasks.base import Made, capable, chosen_labels

TAKES = ("y",)
STEPS = 10
AXES = 8


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """A strip for each code, with a row for each of a few seeds: those that the model has names for (InfoGAN), else the
    first eight numbers of its latent from -3 to 3.

    In samples.npz, ``samples`` are all examples, strip by strip, row by row.
    """
    if loaded.spec.kind != "image":
        raise ConfigError("task", "traverse", f"it draws images, and these data are {loaded.spec.kind}")
    model = capable(loaded, "traverse", Decodes, "has no latent code to vary")
    noise = Noise(seeds[:3], device)
    labels = chosen_labels(loaded, options, len(seeds[:3]))
    with torch.no_grad():
        if isinstance(model, Varies):
            strips = model.variations(noise, STEPS)
        else:
            strips = axes(model, noise, None if labels is None else labels.to(device))
    strips = {name: strip.cpu() for name, strip in strips.items()}
    x = torch.cat([strip.flatten(0, 1) for strip in strips.values()])
    return Made(x, draw=partial(save_strips, strips, loaded.spec))


def axes(model: Any, noise: Noise, y: Tensor | None) -> dict[str, Tensor]:
    """Strips of the first numbers of a latent."""
    codes = noise.normal(model.latent)
    values = torch.linspace(-3, 3, STEPS, device=codes.device)
    strips = {}
    for axis in range(min(AXES, model.latent)):
        varied = codes.repeat_interleave(STEPS, 0)
        varied[:, axis] = values.repeat(len(codes))
        made = model.decode(varied, None if y is None else y.repeat_interleave(STEPS, 0))
        strips[f"z{axis + 1}"] = made.unflatten(0, (len(codes), STEPS))
    return strips
