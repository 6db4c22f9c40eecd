"""Sampling from auto-regressive nets by one forward pass over the whole image for each value, as most tutorials do it,
with which genlab's cached sampling is compared. Same net, same noise, so the samples are compared as well."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from plain_games import clock
from torch import Tensor

from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.gated_pixelcnn import gated_pixelcnn
from genlab.models.autoregressive.image_transformer import image_transformer
from genlab.models.autoregressive.pixelcnn import pixelcnn
from genlab.models.autoregressive.pixelcnnpp import pixelcnnpp
from genlab.noise import Noise
from genlab.spec import Spec

NETS: dict[str, tuple[str, Callable[[], AutoRegressive]]] = {
    "pixelcnn": (
        "28 x 28, 15 blocks of 32",
        lambda: pixelcnn(Spec("image", (1, 28, 28), 2), channels=32, blocks=15, head=32),
    ),
    "gated_pixelcnn": (
        "16 x 16, 8 layers of 32",
        lambda: gated_pixelcnn(Spec("image", (1, 16, 16), 2), channels=32, layers=8, kernel=3, head=32),
    ),
    "pixelcnnpp": (
        "16 x 16, 3 scales of 2 blocks of 32",
        lambda: pixelcnnpp(Spec("image", (1, 16, 16), 256), filters=32, blocks=2),
    ),
    "image_transformer": (
        "16 x 16, 4 layers of 64",
        lambda: image_transformer(Spec("image", (1, 16, 16), 2), width=64, layers=4),
    ),
}


@torch.no_grad()
def by_full_passes(model: AutoRegressive, noise: Noise) -> Tensor:
    """Samples of grey images, a pass for each pixel."""
    likelihood: Any = model.likelihood
    _, height, width = model.spec.shape
    u = noise.uniform(likelihood.draws, 1, height, width)
    x = torch.zeros(len(noise), *model.spec.shape, dtype=torch.uint8)
    for i, j in product(range(height), range(width)):
        params = model(x)[:, :, :, i, j]
        x[:, :, i, j] = likelihood.sample(params, u[:, :, :, i, j])
    return x


def compare(name: str, n: int, times: int = 3) -> None:
    """The loop once, genlab ``times`` times; prints a row."""
    size, make = NETS[name]
    torch.manual_seed(0)
    model = make().eval()
    model.sample(Noise([0]))
    start = clock()
    plain = by_full_passes(model, Noise(range(n)))
    loop = clock() - start
    cached = []
    for _ in range(times):
        start = clock()
        ours = model.sample(Noise(range(n)))
        cached.append(clock() - start)
    by_clock, at_work = (statistics.median(each) for each in zip(*cached, strict=True))
    print(
        f"sample {name}, {size}, n = {n:2}: {by_clock:.3f} s, a pass for each pixel {loop[0]:.1f} s, "
        f"ratio {loop[0] / by_clock:.1f}, at work {loop[1] / at_work:.1f}   "
        f"{(ours == plain).float().mean():.2%} of the values equal",
        flush=True,
    )
