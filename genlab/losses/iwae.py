"""The importance-weighted bound, as importance-weighted auto-encoders maximise it."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol, cast

from torch import Tensor, nn

from genlab.errors import ConfigError


class Draws(Protocol):
    """What the loss asks of a model."""

    def draws(
        self, x: Tensor, y: Tensor | None = None, k: int = 1, held: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """z_i ~ q(z | x) as functions of noise, (k, B, ...), log p(x | z_i) and log p(z_i) - log q(z_i | x), (k, B)
        each; ``held``: the parameters of q are constants in log q, and have a gradient through z_i alone."""
        ...


class IWAE:
    """-E_x[log (1/k) sum_i w_i],   w_i = p(x, z_i) / q(z_i | x),   z_i ~ q(z | x), nats per example.

    reparameterised:  sum_i v_i grad log w_i,   v_i = w_i / sum_j w_j,   which is autograd's own
    dreg:             sum_i v_i^2 (d log w_i / d z_i) (d z_i / d phi) for the parameters phi of q; others as above

    k is in the mean inside the logarithm, examples outside. (Burda et al. 2016, arXiv 1509.00519, eq. 8.) Both
    gradients have one expectation; as k grows the signal of the first drowns in its noise for phi, that of the second
    does not. (Tucker et al. 2019, arXiv 1810.04152.) With k = 1 this is the ELBO without its KL in closed form,
    and ``dreg`` sticks the landing: no variance where q is the true posterior. (Roeder et al. 2017, arXiv 1703.09194)

    In eval mode, too, the scalar is the negative bound of k draws.

    Args:
        k: importance samples of each example.
        gradient: which estimate of it.
    """

    asks: ClassVar[tuple[str, ...]] = ("draws",)

    def __init__(self, k: int = 5, gradient: Literal["reparameterised", "dreg"] = "reparameterised"):
        if k < 1:
            raise ConfigError("loss.k", k, "must be at least 1")
        self.k, self.gradient = k, gradient

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise; ``elbo``, ``reconstruction`` and ``kl``, all by Monte Carlo, and of more than one
        draw ``iwae``, the bound, to be logged."""
        held = self.gradient == "dreg"
        z, log_prob, log_ratio = cast(Draws, model).draws(batch["x"], batch.get("y"), self.k, held)
        log_weights = log_prob + log_ratio
        if held and z.requires_grad:
            # what comes to z_i has one factor v_i from the logarithm of the sum; the other is put in on its way to phi
            shares = log_weights.detach().softmax(0).view(*log_weights.shape, *[1] * (z.dim() - 2))
            z.register_hook(lambda gradient: shares * gradient)
        bound = (log_weights.logsumexp(0) - math.log(self.k)).mean()
        reconstruction, kl = log_prob.detach().mean(), -log_ratio.detach().mean()
        parts = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        return -bound, parts | ({"iwae": bound.detach()} if self.k > 1 else {})
