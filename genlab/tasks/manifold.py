"""The images of a grid of latent codes: what a two-dimensional latent space has become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.images import Titles
from genlab.models.base import Decodes
from genlab.tasks.base import Made, capable, chosen_labels

TAKES = ("y",)
SIDE = 20


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Codes at the quantiles 1/40, 3/40, ..., 39/40 of a normal distribution in both directions, decoded.

    (Kingma and Welling 2014, arXiv 1312.6114, figure 4.) In samples.npz, ``z`` (400, 2) are the codes.
    """
    model = capable(loaded, "manifold", Decodes, "has no latent code to decode")
    if model.latent != 2:
        raise ConfigError(
            "task", "manifold", f"it takes two latent dimensions, model.latent=2, and here are {model.latent}"
        )
    if loaded.spec.kind != "image":
        raise ConfigError("task", "manifold", f"it draws images, and these data are {loaded.spec.kind}", "warp")
    line = torch.special.ndtri((torch.arange(SIDE) + 0.5) / SIDE)
    z = torch.cartesian_prod(line.flip(0), line).flip(1).to(device)  # rows from above, columns from the left
    y = chosen_labels(loaded, options, 1)
    with torch.no_grad():
        x = torch.cat(
            [model.decode(part, None if y is None else y.expand(len(part)).to(device)) for part in z.split(64)]
        )
    labels = None if y is None else y.expand(len(x))
    texts = [f"{value:.2f}" for value in line.tolist()]
    titles = Titles([(text, 1) for text in texts], texts[::-1], "z2 | z1")
    arrays = {"z": z.cpu().numpy(), "seeds": torch.arange(len(z)).numpy()}
    return Made(x.cpu(), labels, columns=SIDE, titles=titles, arrays=arrays)
