"""Variational inference without an encoder's last word: each example's posterior climbs its own bound."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from genlab.errors import ConfigError
from genlab.models.vae.inferred import Inferred

Gradient = Literal["reparameterised", "reinforce"]


class Weighable(Protocol):
    """What a model can say of codes that are drawn of any posterior, as ``VAE`` does."""

    flow: Any
    """What follows the posterior's Gaussian; None for nothing."""

    def draw(self, inferred: Inferred, k: int = 1) -> tuple[Tensor, Tensor]:
        """z_i ~ q(z | x), (k, B, Z), and log q(z_i | x), (k, B)."""
        ...

    def log_likelihoods(self, x: Tensor, z: Tensor, y: Tensor | None) -> Tensor:
        """log p(x | z_i), (k, B)."""
        ...

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z_i), (k, B)."""
        ...


def ascend(
    model: Weighable,
    start: Inferred,
    x: Tensor,
    y: Tensor | None = None,
    steps: int = 200,
    rate: float = 0.03,
    draws: int = 4,
    gradient: Gradient = "reparameterised",
) -> Inferred:
    """The posterior after ``steps`` of Adam on mu and log sigma^2 of each example, the model's weights held.

    max over (mu, sigma) of E_q[log p(x, z) - log q(z | x)], each gradient from ``draws`` of z. The rate falls to zero
    linearly, so that what is left of the noise of gradients averages out. (Hoffman et al. 2013, arXiv 1206.7051, whose
    local step has a closed form; Kim et al. 2018, Semi-Amortized VAE, arXiv 1802.02550, from an encoder's start.)
    Examples do not know of each other: Adam goes by number, and the sum of their bounds is climbed.

    Returns:
        Constants: no gradient of what follows reaches an encoder through them.
    """
    with torch.inference_mode(False), torch.enable_grad():  # of validation, where Lightning has the first
        x = x.clone()
        held = None if start.context is None else start.context.detach().clone()
        free = [part.detach().clone().requires_grad_() for part in start[:2]]
        optimizer = torch.optim.Adam(free, lr=rate)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / steps)
            inferred = Inferred(free[0], free[1].clamp(-10, 10), held)
            risen = rise(model, inferred, x, y, draws, gradient).sum()
            for part, found in zip(free, torch.autograd.grad(-risen, free), strict=True):
                part.grad = found
            optimizer.step()
        return Inferred(free[0].detach(), free[1].detach().clamp(-10, 10), held)


def rise(
    model: Weighable,
    inferred: Inferred,
    x: Tensor,
    y: Tensor | None = None,
    draws: int = 1,
    gradient: Gradient = "reparameterised",
) -> Tensor:
    """A number for each example, (B,), whose gradient by mu and log sigma^2 is an unbiased estimate of the bound's.

    reparameterised:  (1/S) sum_i f(z_i),   f(z) = log p(x, z) - log q(z | x), z_i a function of mu, sigma and noise
    reinforce:        (1/S) sum_i (f(z_i) - b_i) log q(z_i | x) with f and z_i constants, b_i the mean of the other f

    (Kingma & Welling 2014, eq. 7; Williams 1992; Mnih & Rezende 2016, arXiv 1602.06725, for the baseline.)

    Raises:
        ConfigError: the second of a posterior with a flow, or of one draw, which has no others.
    """
    if gradient == "reparameterised":
        z, log_q = model.draw(inferred, draws)
        return (model.log_likelihoods(x, z, y) + model.log_prior(z) - log_q).mean(0)
    if model.flow is not None:
        raise ConfigError(
            "model.gradient", gradient, "it is of a Gaussian posterior, and here is a flow", "reparameterised"
        )
    if draws < 2:
        raise ConfigError("model.draws", draws, "the baseline of a draw is the mean of the others: two are needed")
    with torch.no_grad():
        z, log_q = model.draw(inferred, draws)
        f = model.log_likelihoods(x, z, y) + model.log_prior(z) - log_q
        above = (f - f.mean(0)) * draws / (draws - 1)  # f_i less the mean of the others
    mean, log_variance, _ = inferred
    log_density = -((z - mean).square() * (-log_variance).exp() + log_variance).sum(2) / 2
    return (above * log_density).mean(0)
