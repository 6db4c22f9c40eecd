"""The norm of a critic's gradient at each of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from genlab import plots
from genlab.checkpoint import Loaded
from genlab.metrics.critic_slope import layer_slopes
from genlab.models.base import Criticises
from genlab.tasks import grid
from genlab.tasks.base import Made, capable, examples_of

MANY = 500


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Root mean squares over samples and as many test examples; the norms themselves in the file, (N, layers)."""
    model = capable(loaded, "slopes", Criticises, "has no critic")
    made = grid.make(loaded, seeds, options, device)
    real = examples_of(loaded).x[: len(seeds)]
    norms = layer_slopes(model, torch.cat([made.x.to(real.dtype), real]).to(device)).cpu()
    draw = partial(plots.profile, values=norms.square().mean(1).sqrt(), title="gradient of the critic")
    return made._replace(draw=draw, arrays={"slopes": norms[:, : len(seeds)].T.numpy()})
