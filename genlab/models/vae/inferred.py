"""What is known of the code of each example."""

from typing import NamedTuple

from torch import Tensor


class Inferred(NamedTuple):
    """N(mean, exp(log_variance)), (B, Z) each, and the features that a flow after it is told, (B, F)."""

    mean: Tensor
    log_variance: Tensor
    context: Tensor | None = None
