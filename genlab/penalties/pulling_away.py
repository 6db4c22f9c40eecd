"""Pulling away: generated examples look different to the critic."""

from torch import Tensor
from torch.nn.functional import normalize

from genlab.penalties.base import Critic, Penalty


class PullingAway(Penalty):
    """The generator minimises weight * (1 / (N (N - 1))) sum over i != j of cos^2(h_i, h_j) too, h_i what the critic's
    last layer is given, or the code of one that is an auto-encoder, of the i-th generated example.

    (Zhao et al. 2017, arXiv 1609.03126, eq. 4.)

    Args:
        weight: of the term; 0.1 in the paper.
    """

    def __init__(self, weight: float = 0.1):
        self.weight = weight

    def imitation(self, features: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The generator's term."""
        h = normalize(features(fake), dim=1)
        count = len(h)
        return self.weight * ((h @ h.T).square().sum() - count) / max(1, count * (count - 1))
