"""Holes in test images, filled by whatever a trained generator makes that fits the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, softplus

from genlab.checkpoint import Loaded
from genlab.errors import ConfigError, nearest
from genlab.models.base import Criticises, Generates
from genlab.noise import Noise
from genlab.spec import Spec, from_signed, to_signed
from genlab.tasks.base import Made, capable, chosen_labels, examples_of

TAKES = ("mask", "y")
STEPS, RATE = 500, 0.03
STARTS = 4
PRIOR = 0.003
WINDOW = 7


@runtime_checkable
class Paints(Generates, Criticises, Protocol):
    """What filling a hole takes: a generator with a gradient, and a critic of what it makes."""


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Rows of a test image, with its hole, and filled from four starts, the best of them first. A seed is an index of
    the test split.

    z minimises sum of |W (G(z) - x)| - prior softplus(d(G(z))), W the share of the hole in a window of 7 around each
    known pixel, by 500 steps of Adam; what is known is kept. (Yeh et al. 2017, arXiv 1607.07539, eq. 3 to 5; prior
    0.003, rate 0.03. Deviations: 500 steps for 1500, no Poisson blending, z is normal and not clipped.)

    In samples.npz, ``samples`` (N, 4, C, H, W) are filled, ``originals`` and ``masks`` (1 is known), ``errors`` (N, 4)
    the mean squared error in the hole in data units, ``mean_fill`` (N) that of the mean training image.
    """
    model = capable(loaded, "inpaint", Paints, "has no generator and critic to fill a hole by")
    if loaded.spec.kind != "image":
        raise ConfigError("task", "inpaint", f"it draws images, and these data are {loaded.spec.kind}")
    test = examples_of(loaded)
    rows = torch.as_tensor([seed % len(test) for seed in seeds])
    x = test.x[rows]
    known = mask(options["mask"] or "centre", x.shape, seeds).to(device)
    labels = chosen_labels(loaded, options, len(x), None if test.y is None else test.y[rows])
    real = to_signed(x.to(device), loaded.spec.levels)
    noise = Noise([seed * STARTS + k for seed in seeds for k in range(STARTS)], device)
    made = fill(model, loaded.spec, real, known, labels, noise)
    filled = from_signed(torch.where(known[:, None] > 0, real[:, None], made), loaded.spec.levels).cpu()
    hole = (1 - known.cpu()).expand(x.shape)
    mean = examples_of(loaded, "train").x[:5000].float().mean(0)
    holed = torch.where(hole > 0, torch.full_like(x, int(x.max()) // 2), x)
    arrays = {
        "samples": filled.numpy(),
        "originals": x.numpy(),
        "masks": known.cpu().numpy(),
        "errors": missed(filled, x[:, None], hole[:, None]).numpy(),
        "mean_fill": missed(mean[None], x, hole).numpy(),
    }
    shown = torch.cat([x[:, None], holed[:, None], filled], 1)
    return Made(shown.flatten(0, 1), labels, columns=2 + STARTS, arrays=arrays)


def missed(one: Tensor, two: Tensor, hole: Tensor) -> Tensor:
    """Mean squared difference in the hole, over the last three axes."""
    square = (one.float() - two.float()).square() * hole
    return square.sum((-3, -2, -1)) / hole.sum((-3, -2, -1)).clamp(min=1)


def fill(model: Any, spec: Spec, real: Tensor, known: Tensor, y: Tensor | None, noise: Noise) -> Tensor:
    """The best images of every start, the best first: (N, STARTS, C, H, W), scaled."""
    padding = WINDOW // 2
    weight = avg_pool2d(1 - known, WINDOW, 1, padding) * known  # an edge counts what is outside as known
    real, weight = real.repeat_interleave(STARTS, 0), weight.repeat_interleave(STARTS, 0)
    y = None if y is None else y.to(real.device).repeat_interleave(STARTS, 0)
    z = noise.normal(model.latent).requires_grad_()
    optimizer = torch.optim.Adam([z], RATE)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert spec.levels is not None  # images have levels
    half = (spec.levels - 1) / 2
    with torch.enable_grad():
        for step in range(STEPS + 1):
            made = model.generate(z, y)
            context = ((made - real).abs() * weight).flatten(1).sum(1)
            loss = context - PRIOR * softplus(model.criticise((made + 1) * half, y))
            if step < STEPS:
                optimizer.zero_grad()
                loss.sum().backward()
                optimizer.step()
    order = loss.detach().view(-1, STARTS).argsort(1)
    images = made.detach().unflatten(0, (-1, STARTS))
    return images[torch.arange(len(images), device=order.device)[:, None], order]


def mask(kind: str, shape: torch.Size, seeds: list[int]) -> Tensor:
    """1 where a pixel is known, (N, 1, H, W) float32: ``centre`` (a square of half the side is missing), ``half`` (the
    right half), ``random`` (80 % of the pixels, by seed), or a picture whose dark pixels are missing.

    Raises:
        ConfigError: there is no such mask.
    """
    count, _, height, width = shape
    known = torch.ones(count, 1, height, width)
    if kind == "centre":
        known[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4] = 0
    elif kind == "half":
        known[..., width // 2 :] = 0
    elif kind == "random":
        for row, seed in enumerate(seeds):
            known[row, 0] = torch.from_numpy((np.random.RandomState(seed).rand(height, width) < 0.2).astype(np.float32))
    else:
        try:
            with Image.open(kind) as picture:
                drawn = np.asarray(picture.convert("L").resize((width, height), Image.Resampling.NEAREST))
        except (OSError, ValueError):
            near = nearest(kind, ("centre", "half", "random"))
            raise ConfigError("mask", kind, "is centre, half, random or a picture file", near) from None
        known[:] = torch.from_numpy((drawn >= 128).astype(np.float32))
    return known
