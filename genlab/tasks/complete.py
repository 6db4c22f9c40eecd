"""Test images of which a part is hidden, and several ways in which an auto-regressive model goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genlab import ranks
from genlab.checkpoint import Loaded
from genlab.errors import ConfigError
from genlab.images import Titles
from genlab.models.base import Completes
from genlab.noise import Noise
from genlab.tasks.base import CHUNK, Made, capable, chosen_labels, examples_of, told_of
from genlab.tasks.inpaint import mask

TAKES = ("mask", "y")
MANY = 12
WAYS = 4


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Rows of a test image, what is shown of it, and four completions. A seed is an index of the test split.

    ``mask=half``, the default, hides the half that is generated last, the lower one in raster order: completions are
    then samples of p(hidden | shown), exactly. Under another mask a value takes only what is shown before it into
    account, and a line says so. (van den Oord et al. 2016, arXiv 1601.06759, figure 1)

    In samples.npz, ``samples`` (N, 4, C, H, W) are complete, ``originals`` and ``masks`` (1 is shown).

    Raises:
        ConfigError: the model has no order, the data are no images, or there is no such mask.
    """
    model = capable(loaded, "complete", Completes, "generates all values at once, not one after the other")
    if loaded.spec.kind != "image":
        raise ConfigError("task", "complete", f"it draws images, and these data are {loaded.spec.kind}")
    test = examples_of(loaded)
    rows = torch.as_tensor([seed % len(test) for seed in seeds])
    x = test.x[rows]
    shown = hidden_last(model, x.shape) if options["mask"] in (None, "half") else mask(options["mask"], x.shape, seeds)
    if not before(model, shown):
        print(
            f"mask={options['mask']}: some of what is shown comes after what is hidden in this model's order; "
            "hidden values do not take it into account",
            file=sys.stderr,
        )
    labels = chosen_labels(loaded, options, len(x), None if test.y is None else test.y[rows])
    made = complete(model, x, shown, labels, seeds, options["temperature"], device)
    grey = torch.where(shown.expand(x.shape) > 0, x, torch.full_like(x, int(x.max()) // 2))
    arrays = {"samples": made.numpy(), "originals": x.numpy(), "masks": shown.numpy()}
    side_by_side = torch.cat([x[:, None], grey[:, None], made], 1).flatten(0, 1)
    titles = Titles([("original", 1), ("shown", 1), ("completions", WAYS)])
    return Made(side_by_side, labels, columns=2 + WAYS, titles=titles, arrays=arrays)


def complete(
    model: Any, x: Tensor, shown: Tensor, y: Tensor | None, seeds: list[int], temperature: float, device: Any
) -> Tensor:
    """Every image in ``WAYS`` ways, this rank's share computed here and the others' gathered: (N, WAYS, C, H, W)."""
    streams = [seed * WAYS + way for seed in seeds for way in range(WAYS)]
    index = torch.arange(len(x)).repeat_interleave(WAYS)
    made = []
    share = ranks.share(len(streams), CHUNK)
    with told_of(model, len(share)) as advance:
        for start in range(share.start, share.stop, CHUNK):
            part = index[start : min(start + CHUNK, share.stop)]
            padded = torch.cat([part, part[-1:].expand(CHUNK - len(part))])
            noise = Noise((streams[start : start + len(part)] + [streams[start]] * CHUNK)[:CHUNK], device)
            label = None if y is None else y[padded].to(device)
            known = shown[padded, 0].to(device) > 0
            made.append(model.complete(x[padded].to(device), known, noise, label, temperature)[: len(part)].cpu())
            advance(1)
    return ranks.gather(torch.cat(made) if made else None).unflatten(0, (-1, WAYS))


def hidden_last(model: Completes, shape: torch.Size) -> Tensor:
    """1 for the pixels of which the model generates the first values, a half of them, (N, 1, H, W)."""
    N, _, H, W = shape
    shown = torch.zeros(H * W)
    shown[pixels(model, H * W)[: H * W // 2]] = 1
    return shown.view(1, 1, H, W).expand(N, 1, H, W).clone()


def before(model: Completes, shown: Tensor) -> bool:
    """Whether all that is shown comes before all that is hidden, in every mask of (N, 1, H, W)."""
    masks = shown.flatten(1)
    return bool((masks[:, pixels(model, masks.shape[1])].diff() <= 0).all())


def pixels(model: Completes, count: int) -> Tensor:
    """So many pixels in the order in which the model generates them, (H W,)."""
    return torch.unique_consecutive(model.order.cpu() % count)
