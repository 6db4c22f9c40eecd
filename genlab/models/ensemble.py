"""Several classifiers as one."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.errors import GenlabError
from genlab.models.base import Classifies


class Ensemble(nn.Module):
    """p(y | x) = (1/M) sum over m of p_m(y | x): the mean of the members' probabilities, not of their logits.

    (Salimans et al. 2016, arXiv 1606.03498, tables 1 and 2: "ensemble of 10 of our models".) Protocols: Classifies.

    Args:
        members: models that classify, told the classes.

    Raises:
        GenlabError: one of them does not, or its categories are its own, in no known order.
    """

    supervised = True

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        for member in members:
            if not isinstance(member, Classifies):
                raise GenlabError(f"{type(member).__name__} does not classify")
            if not member.supervised:
                raise GenlabError(
                    f"the categories of {type(member).__name__} are its own, in no order that others share"
                )
        self.members = nn.ModuleList(members)

    def classify(self, x: Tensor) -> Tensor:
        """log p(y | x) of data-space examples, (B, K)."""
        members: Any = self.members
        each = torch.stack([member.classify(x).double().log_softmax(1) for member in members])
        return each.logsumexp(0) - math.log(len(members))
