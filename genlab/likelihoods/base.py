"""What a likelihood is: a distribution of each dimension of the data, of which a network gives the parameters.

Dimensions are independent given the parameters. ``S`` stands for any shape: a whole example, or the one pixel that an
auto-regressive model has come to.

A likelihood with ``joint = True`` is one of whole pixels instead, for auto-regressive nets: made from (levels,
channels), ``log_prob(params (B, P, *S), x (B, C, *S))``, samples (B, C, *S), S without channels; and
``conditionals(params, x)``, (B, P', C, *S), are parameters of each channel's distribution given those before it.

One with ``whole = True`` is one of whole images, for decoders: made from the data's ``spec``, with S that of an image.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Likelihood(Protocol):
    """An output distribution, made from the data's number of ``levels`` (None for continuous data).

    Attributes:
        outputs: numbers P that the network gives for each dimension.
        draws: uniform numbers that a sample takes for each dimension.
    """

    outputs: int
    draws: int

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x) in nats, (B,), summed over S: params (B, P, *S), x (B, *S) in data space.

        A probability where the data are integers, else a density in data units.
        """
        ...

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """The data-space x, (B, *S), from uniform u, (B, draws, *S) in [0, 1): of one number the inverse of the CDF."""
        ...

    def mean(self, params: Tensor) -> Tensor:
        """The expected x in data units, (B, *S); floats, not rounded to a level."""
        ...
