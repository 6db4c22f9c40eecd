"""Weight clipping: a critic whose weights lie in a box is Lipschitz, with a constant nobody chose."""

import torch
from torch import nn

from genlab.penalties.base import Penalty


class Clip(Penalty):
    """w <- clip(w, -value, value) after each of the critic's steps.  (Arjovsky et al. 2017, arXiv 1701.07875, Alg. 1)

    Biases and the gains of normalisations are clipped too, as in the released code.

    Args:
        value: half the width c of the box.
    """

    restrains: bool = True

    def __init__(self, value: float = 0.01):
        self.value = value

    @torch.no_grad()
    def project(self, critic: nn.Module) -> None:
        """Clip all parameters, in two calls however many there are."""
        parameters: list[torch.Tensor] = list(critic.parameters())
        torch._foreach_clamp_max_(parameters, self.value)
        torch._foreach_clamp_min_(parameters, -self.value)
