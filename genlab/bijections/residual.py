"""Residual blocks that invert: identity plus a contraction, and how the log-determinant of that is found."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from genlab.bijections.base import EXACT, Bijection, no_change
from genlab.errors import ConfigError, NumericalError, nearest


class Series(Protocol):
    """How many terms of the power series are taken, and with which weights."""

    def weights(self, x: Tensor, training: bool) -> Tensor:
        """(n, 1) or (n, B), on the device of x (B, ...): w_1 ... w_n; a term that is not taken has weight 0."""
        ...


class Truncated:
    """w_k = 1 up to k = n: what is left out biases the sum. (Behrmann et al. 2019, arXiv 1811.00995, section 4)

    The error is at most D (-log(1 - L) - sum_{k <= n} L^k / k) for a net of Lipschitz constant L (theorem 3 there).

    Args:
        terms: n; 5 to 10 in the paper.
    """

    def __init__(self, terms: int = 10):
        if terms < 1:
            raise ConfigError("terms", terms, "the series has one term at least")
        self.terms = terms

    def weights(self, x: Tensor, training: bool) -> Tensor:
        return x.new_ones(self.terms, 1)


class Roulette:
    """w_k = 1 for k <= m, 1 / P(N >= k - m) for m < k <= m + N, N drawn: an unbiased sum of all terms.

    (Chen et al. 2019, arXiv 1906.02735, theorem 1, with m terms that are always there.) N is
    geometric, from 1 on, P(N >= j) = 1 / 2^(j - 1); or Poisson of mean 2, from 0 on, as the released code has it for
    images. In training all examples of a batch share N, which costs least; in evaluation each has its own, so that
    their errors are independent and a standard error over examples is right.

    The variance is that of a sum of a_k^2 / P(N >= k): finite with the geometric tail where terms fall faster than
    1 / sqrt(2) to the k; with the Poisson tail, whose P falls like 2^k / k!, never, though nothing of that is seen
    behind some twenty terms that are sure.

    Args:
        tail: ``geometric`` or ``poisson``.
        sure: m in training.
        surer: m in evaluation.
    """

    MEAN = 2.0  # of both tails

    def __init__(self, tail: Literal["geometric", "poisson"] = "geometric", sure: int = 2, surer: int = 20):
        if tail not in ("geometric", "poisson"):
            raise ConfigError("tail", tail, "there are geometric, poisson", nearest(tail, ("geometric", "poisson")))
        if sure < 1 or surer < 1:
            raise ConfigError("sure", min(sure, surer), "one term at least is always taken")
        self.tail, self.sure, self.surer = tail, sure, surer

    def weights(self, x: Tensor, training: bool) -> Tensor:
        always = self.sure if training else self.surer
        count = 1 if training else len(x)
        if self.tail == "geometric":
            drawn = torch.empty(count).geometric_(1 / self.MEAN)
        else:
            drawn = torch.poisson(torch.full((count,), self.MEAN))
        most = int(drawn.max())  # drawn on the CPU: no device is waited for
        place = torch.arange(1, most + 1)[:, None]
        extra = torch.where(place <= drawn, 1 / self.reached(most)[:, None], 0)
        return torch.cat([torch.ones(always, count), extra]).to(x)

    def reached(self, most: int) -> Tensor:
        """P(N >= j) for j = 1 ... most."""
        j = torch.arange(1, most + 1, dtype=torch.float64)
        if self.tail == "geometric":
            return 0.5 ** (j - 1)
        return torch.special.gammainc(j, torch.full_like(j, self.MEAN))  # P(N >= j) of a Poisson number


class Residual(Bijection):
    """y = x + g(x), Lip(g) < 1;   log|det dy/dx| = sum over k >= 1 of (-1)^(k+1) / k tr(J^k),   J = dg/dx.

    (Behrmann et al. 2019, arXiv 1811.00995, section 4; Chen et al. 2019, arXiv 1906.02735, theorems 1 and 2)

    In training, and beyond 64 dimensions, the log-determinant is an estimate: with weights w of ``series`` and one e of
    random signs (Hutchinson; the released code draws normal numbers), the value is

        sum over k of w_k (-1)^(k+1) / k  e^T J^k e,

    and in training its gradient is that of  (sum over k of w_k (-1)^(k+1) e^T J^(k-1)) J e  with the bracket held
    constant: the Neumann series, which keeps one product with J for backward whatever n. Up to 64 dimensions evaluation
    takes the determinant of I + J.

    Forward costs a pass of the net and n products with J. The inverse iterates x <- y - g(x), for each example until no
    coordinate moves by more than ``tolerance`` (its square in float64), or that share of the largest where it is above
    1; the error is then at most L / (1 - L) times that. No gradient passes through the inverse.

    Args:
        net: g, (B, ...) to the same, contracting.
        series: which terms are taken.
        name: how errors call this block.
        tolerance: of the inverse.
        most: iterations of the inverse.
    """

    def __init__(
        self, net: nn.Module, series: Series, name: str = "residual block", tolerance: float = 1e-5, most: int = 1000
    ):
        super().__init__()
        self.net, self.series, self.name, self.tolerance, self.most = net, series, name, tolerance, most
        self.iterations = 0

    def is_exact(self, dimensions: int) -> bool:
        """Whether evaluation finds the log-determinant of examples of so many dimensions itself."""
        return dimensions <= EXACT

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outside = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if outside and x.requires_grad else x.detach().requires_grad_()
            g = self.net(x)
            if not self.training and self.is_exact(x[0].numel()):
                log_det = exact_log_det(x, g, outside)
            else:
                log_det = self.estimate(x, g, outside)
        y = x + g
        return (y, log_det) if outside else (y.detach(), log_det.detach())

    def estimate(self, x: Tensor, g: Tensor, differentiable: bool) -> Tensor:
        """The series' value, and in training the gradient of Neumann's, (B,)."""
        weights = self.series.weights(x, self.training)
        e = torch.randint_like(x, 2) * 2 - 1
        value, neumann, row = no_change(x), torch.zeros_like(x), e
        for k, weight in enumerate(weights, start=1):
            signed = (1 if k % 2 else -1) * weight
            neumann = neumann + signed.view(-1, *[1] * (x.dim() - 1)) * row
            (row,) = torch.autograd.grad(g, x, row, retain_graph=True)
            value = value + signed / k * (row * e).flatten(1).sum(1)
        if not differentiable:
            return value
        (last,) = torch.autograd.grad(g, x, neumann, create_graph=True)
        surrogate = (last * e).flatten(1).sum(1)
        return value + (surrogate - surrogate.detach())

    @torch.no_grad()
    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        tolerance = self.tolerance**2 if y.dtype == torch.float64 else self.tolerance
        x, moving = y, torch.ones(len(y), *[1] * (y.dim() - 1), dtype=torch.bool, device=y.device)
        for iteration in range(self.most):
            after = torch.where(moving, y - self.net(x), x)  # who has arrived stays, whatever its neighbours do
            off = (after - x).abs().flatten(1).amax(1) / after.abs().flatten(1).amax(1).clamp(min=1)
            x, moving = after, ~(off < tolerance).view_as(moving) & moving
            if not bool(moving.any()):
                self.iterations = iteration + 1
                return x, -self.forward(x, c)[1]
        raise NumericalError(
            f"{self.name}: its inverse has not converged, after {self.most} iterations x still moves by "
            f"{float(off.max()):.2g} ({tolerance:.0e} is asked for)"
        )


def exact_log_det(x: Tensor, g: Tensor, differentiable: bool) -> Tensor:
    """log|det(I + dg/dx)|, (B,), by one product with the Jacobian a dimension."""
    D = x[0].numel()
    flat = g.flatten(1)
    rows = []
    for d in range(D):
        (row,) = torch.autograd.grad(flat[:, d].sum(), x, retain_graph=True, create_graph=differentiable)
        rows.append(row.flatten(1))
    matrix = torch.stack(rows, 1) + torch.eye(D, dtype=x.dtype, device=x.device)
    if D == 2:  # a batched factorisation takes longer than all the rest
        return (matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]).abs().log()
    return torch.linalg.slogdet(matrix).logabsdet
