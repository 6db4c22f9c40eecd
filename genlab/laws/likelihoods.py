"""Laws of densities, probabilities and bounds."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor

from genlab.laws.base import BrokenError, UnfitError, reduced
from genlab.laws.trial import BATCH, Trial
from genlab.models.base import Density, Samples

SMALL = {1: (1, 3, 3), 2: (2, 2, 2), 3: (3, 1, 3)}  # by channels: so few binary values that all images can be listed


def examples_alone(trial: Trial) -> str:
    """The density of an example does not depend on its neighbours."""
    model: Any = trial.model
    order = torch.arange(BATCH).flip(0)[: BATCH // 2]
    with torch.no_grad():
        together = model.log_prob(trial.x, trial.y)
        apart = model.log_prob(trial.x[order], None if trial.y is None else trial.y[order])
    if together.shape != (BATCH,):
        raise BrokenError(f"log_prob of {BATCH} examples has shape {tuple(together.shape)}")
    off = (together[order] - apart).abs().max().item()
    if not off <= 1e-4 * max(1.0, together.abs().max().item()):
        raise BrokenError(f"in other company log p differs by {off:.2g} nats")
    return f"to {off:.1g} nats"


def integral(trial: Trial) -> str:
    """By the midpoint rule, over twice the box of samples and data."""
    dimensions = trial.spec.dimensions
    if trial.spec.levels is not None or dimensions > 2:
        raise UnfitError("for continuous data of one or two dimensions")
    points = trial.examples.x[:4096]
    if isinstance(trial.model, Samples):
        points = torch.cat([points, trial.sample(list(range(4096)))])
    low, high = points.flatten(1).amin(0), points.flatten(1).amax(0)
    low, high = low - (high - low) / 2, high + (high - low) / 2
    cells = 500 if dimensions == 2 else 20_000
    axes = [a + (b - a) * (torch.arange(cells) + 0.5) / cells for a, b in zip(low, high, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, *trial.spec.shape)
    total = sum(probabilities(trial, part).sum().item() for part in grid.split(8192))
    return near_one(total * ((high - low).double().prod() / cells**dimensions).item(), 0.01)


def enumeration(trial: Trial) -> str:
    """Over all binary images of nine values, or eight: a net that saw what it predicts would sum to something else."""
    small, images = listing(trial)
    if isinstance(small.model, Density):
        if not small.model.exact:
            raise UnfitError("log_prob is an estimate")
        return near_one(probabilities(small, images).sum().item(), 1e-4) + f", {len(images)} images"
    model: Any = small.model
    with torch.no_grad():
        draws = torch.stack([model.bound(images, small.label(len(images)), 8).double() for _ in range(8)])
    mean, error = draws.mean(0).exp(), draws.std(0) / math.sqrt(len(draws))
    total, bias = mean.sum().item(), (mean * error.square() / 2).sum().item()  # exp of a noisy mean is too large
    spread = (mean * error).square().sum().sqrt().item()
    if not total - bias <= 1 + 3 * spread + 1e-4:
        raise BrokenError(f"exp(bound) sums to {total:.4f} +- {spread:.4f}, more than 1")
    return f"<= {total:.4f} +- {spread:.4f}, {len(images)} images"


def listing(trial: Trial) -> tuple[Trial, Tensor]:
    """The model for the smallest images, and all of them."""
    shape = trial.spec.shape
    if trial.spec.levels is None or trial.spec.kind != "image" or shape[0] not in SMALL:
        raise UnfitError("for images of integer levels")
    small = reduced(trial, SMALL[shape[0]], 2)
    images = torch.tensor(list(product((0, 1), repeat=small.spec.dimensions)), dtype=torch.uint8)
    return small, images.view(-1, *small.spec.shape)


def tighter(trial: Trial) -> str:
    """E[bound(k = 16)] >= E[bound(k = 1)], within three standard errors."""
    model: Any = trial.model
    x = trial.x.repeat(4, *[1] * (trial.x.dim() - 1))
    y = None if trial.y is None else trial.y.repeat(4, *[1] * (trial.y.dim() - 1))
    with torch.no_grad():
        gains = (model.bound(x, y, 16) - model.bound(x, y, 1)).double()
    gain, error = gains.mean().item(), gains.std().item() / math.sqrt(len(gains))
    if not gain >= -3 * error - 1e-6:
        raise BrokenError(f"16 samples give {gain:.3g} +- {error:.2g} nats more than one")
    return f"+{gain:.3g} +- {error:.2g} nats for 16 samples instead of one"


def causality(trial: Trial) -> str:
    """What comes later in the model's order changes no conditional before it.

    Of models that say so: ``conditionals(x)``, else a call, gives parameters (B, P, *spec.shape) of a ``likelihood``;
    ``order``, the flat indices as they are generated, else row by row with the channels of a pixel one by one.
    """
    model: Any = trial.model
    ask = getattr(model, "conditionals", None) or (model if hasattr(model, "likelihood") else None)
    if ask is None or not model.exact:
        raise UnfitError("it has no conditionals to look at")
    size, shape = trial.spec.dimensions, trial.spec.shape
    order = getattr(model, "order", None)
    if order is None:
        order = torch.arange(size).view(shape)
        order = (order.permute(1, 2, 0) if len(shape) == 3 else order).flatten()
    places = torch.arange(size) if size <= 64 else torch.randperm(size)[:64].sort().values
    x = trial.x[:1].flatten(1).repeat(len(places), 1)[:, order]
    fresh = x[torch.randperm(len(x))] if trial.spec.levels is None else torch.randint_like(x, trial.spec.levels)
    later = torch.arange(size) >= places[:, None]
    changed = torch.where(later, fresh if trial.spec.levels is not None else fresh + torch.randn_like(fresh), x)
    back = torch.argsort(order)
    with torch.no_grad():
        one, other = (ask(v[:, back].view(-1, *shape)).flatten(2)[:, :, order] for v in (x, changed))
    off = (one - other).abs().amax(1)
    seen = off.masked_fill(torch.arange(size) > places[:, None], 0)
    if not seen.max().item() <= 1e-5 * max(1.0, one.abs().max().item()):
        first = int(places[seen.amax(1) > 0][0])
        raise BrokenError(
            f"a parameter of one of the first {first + 1} values moves by {seen.max():.2g} with later ones"
        )
    return f"{len(places)} places of {size}, later ones move by {off.max():.2g}"


def entropy(trial: Trial) -> str:
    """E[-log p(x)] >= entropy: who does better counts something twice."""
    known = getattr(trial.data, "entropy", None)
    if known is None:
        raise UnfitError("no entropy is known of these data")
    x = trial.data.split("test").x[:10_000]
    y = trial.data.split("test").y
    with torch.no_grad():
        nats = -trial.model.log_prob(x, None if y is None else y[: len(x)]).double()  # type: ignore[operator]
    mean, error = nats.mean().item(), nats.std().item() / math.sqrt(len(nats))
    if not mean >= known - 3 * error:
        raise BrokenError(f"{mean:.3f} +- {error:.3f} nats, and the entropy is {known:.3f}")
    return f"{mean:.3f} +- {error:.3f} nats against {known:.3f}"


def near_one(total: float, tolerance: float) -> str:
    if not abs(total - 1) <= tolerance:
        raise BrokenError(f"{total:.5f}")
    return f"{total:.5f}"


def probabilities(trial: Trial, x: Tensor) -> Tensor:
    """exp log p of each example in float64, all of one class."""
    with torch.no_grad():
        return trial.model.log_prob(x, trial.label(len(x))).double().exp()  # type: ignore[operator]
