"""What follows the Gaussian of an encoder: nothing, or the steps of a flow, each told by the encoder where it is.

q(z | x) = N(z_0; mu(x), sigma(x)^2) / |det dz/dz_0|,   z = f_K(... f_1(z_0; h(x)) ...; h(x))

with features h(x) that the encoder gives beside mu and sigma. Forward goes from z_0 to z, so that a draw and its
density are one pass. (Rezende & Mohamed 2015, arXiv 1505.05770; Kingma et al. 2016, arXiv 1606.04934)
"""

from __future__ import annotations

from collections.abc import Sequence

from genlab.bijections.affine_coupling import AffineCoupling
from genlab.bijections.base import Bijection
from genlab.bijections.chain import Chain
from genlab.bijections.masked_autoregressive import MaskedAutoregressive
from genlab.bijections.planar import Planar
from genlab.bijections.radial import Radial
from genlab.bijections.shift_and_scale import ShiftAndScale
from genlab.errors import ConfigError
from genlab.models.flow.conditioner import MLPConditioner
from genlab.models.flow.masks import parity


def diagonal(latent: int, context: int) -> None:
    """The Gaussian alone."""


def planar(latent: int, context: int, steps: int = 10) -> Chain:
    """``steps`` planar maps, whose u, w and b are functions of h. (Rezende & Mohamed 2015, eq. 10)"""
    return chain([Planar(latent, f"planar map {step + 1}", context) for step in range(steps)])


def radial(latent: int, context: int, steps: int = 10) -> Chain:
    """``steps`` radial maps, whose centre, a and b are functions of h. (Rezende & Mohamed 2015, eq. 14)"""
    return chain([Radial(latent, context) for _ in range(steps)])


def iaf(latent: int, context: int, steps: int = 2, widths: Sequence[int] = (320, 320), limit: float = 2.0) -> Chain:
    """z_i exp(s_i(z_<i, h)) + t_i(z_<i, h), ``steps`` times in an order and its reverse. (Kingma et al. 2016, eq. 9-14)

    Deviation: the scale is the exponential of a bounded number for a sigmoid that mixes z and t; both start near 1.
    """
    made = [
        MaskedAutoregressive(
            latent, ShiftAndScale(limit), widths, context, range(latent)[:: -1 if step % 2 else 1], "elu"
        )
        for step in range(steps)
    ]
    return chain(made)


def realnvp(latent: int, context: int, steps: int = 4, width: int = 128, limit: float = 2.0) -> Chain:
    """``steps`` affine couplings, of every other dimension in turn. (Dinh et al. 2017, arXiv 1605.08803, eq. 7-8)"""
    if latent < 2:
        raise ConfigError("model.latent", latent, "one dimension decides about another in couplings: two are needed")
    nets = [MLPConditioner((latent,), width, context=context) for _ in range(steps)]
    return chain([AffineCoupling(net, parity((latent,), step % 2), limit) for step, net in enumerate(nets)])


def chain(steps: Sequence[Bijection]) -> Chain:
    """Raises:
    ConfigError: there is no step.
    """
    if not steps:
        raise ConfigError(
            "model.posterior_flow.steps", len(steps), "at least one is needed", "model.posterior=diagonal"
        )
    return Chain(steps)
