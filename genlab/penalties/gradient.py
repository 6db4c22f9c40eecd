"""Gradient penalty: the critic's slope is pulled to one where it matters, between real and generated examples."""

import torch
from torch import Tensor

from genlab.penalties.base import Critic, Penalty, slopes

FEW = 8


class Gradient(Penalty):
    """weight * E[(|grad d(x^)|_2 - target)^2],   x^ = e x + (1 - e) G(z),   e ~ U(0, 1) one for each example.

    The norm runs over all axes of an example. The gradient of one example must not depend on the others, so the critic
    has no batch norm. (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3 and Algorithm 1)

    Two clouds at distance W: a critic of slope L between them gains L W - weight (L - 1)^2, most at
    L = 1 + W / (2 weight). It then shows L W = W + W^2 / (2 weight), and with the penalty taken off, W + W^2 /
    (4 weight); taken off twice, W. The slope says how far a critic is to be believed: L - 1 is its relative error.

    Args:
        weight: lambda; None: 10, or 0.1 for examples of at most 8 numbers, as the paper has it on images and on
            two-dimensional sets.
        target: the slope aimed at.
        one_sided: slopes below the target cost nothing (section 4 of the paper).
        every: the term is due in every ``every``-th of the critic's turns, multiplied by ``every`` (lazy
            regularisation, Karras et al. 2020, arXiv 1912.04958); the paper has 1.
    """

    twice: bool = True

    def __init__(self, weight: float | None = None, target: float = 1.0, one_sided: bool = False, every: int = 1):
        self.weight, self.target, self.one_sided, self.every = weight, target, one_sided, every

    def term(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty from real and generated examples of one shape, (B, ...)."""
        mix = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, dtype=real.dtype)
        between = torch.lerp(fake.detach(), real.detach(), mix)
        excess = torch.linalg.vector_norm(slopes(critic, between), dim=1) - self.target
        if self.one_sided:
            excess = excess.relu()
        weight = self.weight if self.weight is not None else 0.1 if real[0].numel() <= FEW else 10.0
        return excess.square().mean() * (weight * self.every)
