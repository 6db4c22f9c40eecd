"""Consistency: the critic rates an example and what it is after a harmless change alike."""

import torch
from torch import Tensor

from genlab.penalties.base import Critic, Penalty


class Consistency(Penalty):
    """weight * E[(d(x) - d(T(x)))^2] at real examples x, T a random change that leaves an example what it is.

    Images are mirrored with probability 1/2 and moved by whole pixels along both axes, what enters at the border being
    the reflection of what is there; other examples get Gaussian noise. (Zhang et al. 2020, arXiv 1910.12027, of the
    last layer alone, as in its experiments. How far images move, and what fills the border, are our choice.)

    Args:
        weight: lambda.
        flip: mirror images left to right; digits and letters do not survive it.
        shift: the most pixels that an image is moved; None: an eighth of its shorter side, 4 of 32.
        noise: standard deviation for what is no image, in the units in which the critic sees it.
        every: the term is due in every ``every``-th of the critic's turns, multiplied by ``every``; the paper has 1.
    """

    def __init__(
        self, weight: float = 10.0, flip: bool = True, shift: int | None = None, noise: float = 0.1, every: int = 1
    ):
        self.weight, self.flip, self.shift, self.noise, self.every = weight, flip, shift, noise, every

    def term(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty from real examples, (B, ...)."""
        real = real.detach()
        return (critic(real) - critic(self.change(real))).square().mean() * (self.weight * self.every)

    def change(self, x: Tensor) -> Tensor:
        """T(x), every example changed in a way of its own."""
        if x.dim() != 4:
            return x + self.noise * torch.randn_like(x)
        count, channels, height, width = x.shape
        reach = min(height, width) // 8 if self.shift is None else self.shift
        rows, columns = moved(count, height, reach, x.device), moved(count, width, reach, x.device)
        if self.flip:
            mirrored = torch.rand(count, 1, device=x.device) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        examples = torch.arange(count, device=x.device)[:, None, None, None]
        planes = torch.arange(channels, device=x.device)[:, None, None]
        return x[examples, planes, rows[:, None, :, None], columns[:, None, None, :]]


def moved(count: int, side: int, reach: int, device: torch.device) -> Tensor:
    """Where the pixels of a side come from, (count, side): all moved by the same number from -reach to reach."""
    way = torch.randint(-reach, reach + 1, (count, 1), device=device)
    place = (torch.arange(side, device=device) + way).abs()
    return side - 1 - (side - 1 - place).abs()
