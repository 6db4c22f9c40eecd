"""Where test examples lie in the latent space, coloured by class."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from genlab import plots
from genlab.checkpoint import Loaded
from genlab.models.base import Encodes
from genlab.tasks.base import Made, capable, examples_of

MOST = 5000


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """The codes of up to 5000 test examples: both dimensions of two, else their two principal components.

    In samples.npz, ``samples`` are the codes (N, Z).
    """
    model = capable(loaded, "latents", Encodes, "does not encode")
    test = examples_of(loaded)[:MOST]
    conditional = getattr(model, "conditional", False)
    codes = []
    with torch.no_grad():
        for start in range(0, len(test), 256):
            part = test[start : start + 256]
            y = part.y.to(device) if part.y is not None and conditional else None
            codes.append(model.encode(part.x.to(device), y).flatten(1).cpu())
    z = torch.cat(codes)
    points, title = z, "latent codes"
    if z.shape[1] != 2:
        centred = z - z.mean(0)
        _, _, axes = torch.pca_lowrank(centred, q=2, center=False, niter=8)
        points, title = centred @ axes, f"latent codes, 2 principal components of {z.shape[1]}"
    labels = test.y if test.y is not None and test.y.ndim == 1 else None
    draw = partial(plots.classes, points=points, labels=labels, names=loaded.spec.classes, title=title)
    return Made(z, labels, draw=draw, arrays={"seeds": torch.arange(len(z)).numpy()})
