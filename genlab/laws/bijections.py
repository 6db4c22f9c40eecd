"""Laws of bijections, wherever in a model they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from genlab.bijections.base import Bijection
from genlab.laws.base import BrokenError, UnfitError, reduced
from genlab.laws.trial import Trial
from genlab.models.base import Density, Encodes, Posterior

JACOBIAN = 256  # dimensions up to which a Jacobian is computed
EXAMPLES = 3  # of which it is, one after the other: each takes as many copies as it has dimensions


def inverse(trial: Trial) -> str:
    """Data to latent and back, and the log-determinants of the two ways cancel, unless they are estimates; in float64,
    and through the model.
    """
    worst = 0.0
    for bijection, x, c in bijections(trial):
        with torch.no_grad(), double_precision():
            z, there = bijection(x, c)
            back, again = bijection.inverse(z, c)
            again = -there if estimates(bijection, x) else again
        scale = max(1.0, x.abs().max().item())
        worst = max(worst, (back - x).abs().max().item() / scale, (there + again).abs().max().item() / x[0].numel())
    if not worst <= 1e-6:
        raise BrokenError(f"after there and back {worst:.2g} is missing")
    model: Any = trial.model
    if isinstance(model, Encodes) and not isinstance(model, Posterior):  # whose code is drawn, and loses some of x
        with torch.no_grad():
            back = model.decode(model.encode(trial.x, trial.y), trial.y).double()
        off = (back - trial.x.double()).abs().max().item()
        if not off <= 1e-3 * max(1.0, trial.x.double().abs().max().item()):
            raise BrokenError(f"decode(encode(x)) differs from x by {off:.2g}")
    return f"to {worst:.1g}"


def jacobian(trial: Trial) -> str:
    """log_det against log|det| of the Jacobian that autograd finds; on a smaller image where the data are too large."""
    if not holds_bijection(trial.model):
        raise UnfitError("no bijection in it")
    if trial.spec.dimensions > JACOBIAN:
        C, H, W = trial.spec.shape if trial.spec.kind == "image" else (0, 0, 0)
        if not 0 < C <= 4:
            raise UnfitError(f"{trial.spec.dimensions} dimensions are too many for a Jacobian")
        trial = reduced(trial, (C, min(H, 8), min(W, 8)), trial.spec.levels)
    worst = 0.0
    for bijection, xs, cs in bijections(trial):
        if estimates(bijection, xs):
            raise UnfitError("its log-determinants are estimates")
        for i in range(EXAMPLES):
            x, c = xs[i : i + 1], None if cs is None else cs[i : i + 1].expand(xs[0].numel(), *cs.shape[1:])
            with double_precision():
                matrices, log_det = jacobians(partial(bijection, c=c), x)
            exact = torch.linalg.slogdet(matrices).logabsdet
            worst = max(worst, (log_det - exact).abs().max().item())
    if not worst <= 1e-6 * trial.spec.dimensions:
        raise BrokenError(f"log_det is off by {worst:.3g} nats")
    return f"to {worst:.1g} nats, {trial.spec.dimensions} dimensions"


def jacobians(function: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> tuple[Tensor, Tensor]:
    """Of examples x, (B, *S), under a map that returns as many numbers an example, and a figure of each, (B,): the
    Jacobians, (B, D, D), and the figures. Row i of a Jacobian is had from copy i of the example, all by one call."""
    D = x[0].numel()
    copies = x.detach().repeat_interleave(D, 0).requires_grad_()
    y, figures = function(copies)
    rows = y.flatten(1).unflatten(0, (-1, D))
    (matrices,) = torch.autograd.grad(rows.diagonal(dim1=1, dim2=2).sum(), copies)
    return matrices.flatten(1).unflatten(0, (-1, D)), figures[::D].detach()


def holds_bijection(model: nn.Module) -> bool:
    return any(isinstance(module, Bijection) for module in model.modules())


def estimates(bijection: nn.Module, x: Tensor) -> bool:
    """Whether some log-determinant in it is an estimate for examples like x."""
    parts = (part for part in bijection.modules() if isinstance(part, Bijection))
    return not all(part.is_exact(x[0].numel()) for part in parts)


def bijections(trial: Trial) -> Iterator[tuple[Any, Tensor, Tensor | None]]:
    """The bijections in a model that are not part of others, in float64, and what each gets to see of a batch."""
    if not holds_bijection(trial.model):
        raise UnfitError("no bijection in it")
    model: Any = copy.deepcopy(trial.model).double()
    found = {name: module for name, module in model.named_modules() if isinstance(module, Bijection)}
    outer = [
        m
        for name, m in found.items()
        if not any(name.startswith(f"{other}." if other else "") and name != other for other in found)
    ]
    seen: dict[nn.Module, tuple[Any, ...]] = {}
    hooks = [
        m.register_forward_pre_hook(lambda m, a, k: seen.setdefault(m, (*a, *k.values())) and None, with_kwargs=True)
        for m in outer
    ]
    with torch.no_grad(), double_precision():
        x = trial.x if trial.spec.levels is not None else trial.x.double()
        (model.log_prob if isinstance(model, Density) else model.bound)(x, trial.y)
    for hook in hooks:
        hook.remove()
    for module, arguments in seen.items():
        yield module, arguments[0], arguments[1] if len(arguments) > 1 else None


@contextmanager
def double_precision() -> Iterator[None]:
    """New tensors are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
