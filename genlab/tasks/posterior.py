"""The true posterior of a few test examples on a grid, against the ellipse of q."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from genlab import plots
from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.models.base import Joint
from genlab.tasks.base import Made, capable, examples_of

MOST = 8
CELLS = 80


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """p(z | x) proportional to p(x, z) for up to eight test examples, two latent dimensions, a panel each.

    A seed is an index of the test split. In samples.npz, ``mean`` and ``log_variance`` are those of q.
    """
    model = capable(loaded, "posterior", Joint, "has no joint density p(x, z) with a posterior q(z | x)")
    if model.latent != 2:
        raise ConfigError(
            "task", "posterior", f"it takes two latent dimensions, model.latent=2, and here are {model.latent}"
        )
    test = examples_of(loaded)
    rows = torch.as_tensor([seed % len(test) for seed in seeds[:MOST]])
    x = test.x[rows]
    with torch.no_grad():
        mean, log_variance = (part.cpu() for part in model.posterior(x.to(device)))

        def log_joint(row: int, points: torch.Tensor) -> torch.Tensor:
            repeated = x[row].expand(len(points), *x.shape[1:]).to(device)
            with torch.no_grad():
                return model.log_joint(repeated, points.to(device)).cpu()

        draw = partial(plots.posteriors, log_joint=log_joint, mean=mean, log_variance=log_variance, cells=CELLS)
        arrays = {"mean": mean.numpy(), "log_variance": log_variance.numpy(), "seeds": rows.numpy()}
        return Made(x, test.y[rows] if test.y is not None else None, draw=draw, arrays=arrays)
