"""Likelihood of held-out data: nats an example, and bits/dim where the data are integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.errors import ConfigError, GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Anneals, Batch, Bound, Density, Weighs
from genlab.spec import Spec

MARKS = ("", "=", "~", "<=")
ROWS = ("nats", "negative_elbo", "ess", "distortion", "gap")  # of the sums, before those of bounds
IMPORTANCE_SAMPLES = 500  # 500 to 1000 are usual on small machines; Burda et al. report 5000


class Likelihood(Metric):
    """Mean negative log-likelihood over a split, and its standard error.

    nats = -E_x log p(x),   bpd = nats / (D log 2) for integer data with D dimensions.

    Marked ``=`` where ``log_prob`` is exact, ``~`` where it is an estimate, and ``<=`` where the model gives a lower
    bound on log p(x), so that the figure is at least the true one: the importance-weighted bound of a latent-variable
    model or that of a dequantised density. A bound that a model knows by estimates of its density alone (it says
    ``exact = False``) is none, for the mean of exponentials of estimates is too large: ``~``.

    Of a latent-variable model, in nats: ``negative_elbo``, the bound of one sample; ``distortion``, its first term,
    -E_q[log p(x | z)], of which the rest, the rate, is the KL (``latent_kl`` of metric=latents); ``gap``, by how much
    negative_elbo is above nats; ``nats_5`` and so on of ``bounds``, the bounds of fewer draws. ``ess`` is the mean
    effective sample size of its importance weights, (sum_i w_i)^2 / sum_i w_i^2, from 1 to k: near 1 the bound rests on
    single draws and is far from tight.
    The standard error of a density whose log Z is an estimate holds that of log Z. Sums in float64.

    Args:
        spec: of the data.
        k: importance samples of a bound; None: 500 for a latent-variable model (one with the ``terms`` of an ELBO),
            and one draw of a dequantised density, as papers report it.
        bounds: numbers of draws below k of which the bound is a figure, too, from the same draws.
        split: of the data.
    """

    needs: ClassVar[tuple[type, ...]] = (Density, Bound)
    absent: ClassVar[dict[str, str]] = {"bpd": "bits are of integers, and these data are continuous; there are nats"}
    figures: ClassVar[tuple[str, ...]] = ("nats", "bpd", "negative_elbo", "gap", "distortion", "ess")
    higher_is_better = False
    full_state_update = False
    exactness: Tensor
    draws: Tensor
    spread: Tensor
    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(
        self,
        spec: Spec,
        k: int | None = None,
        split: str = "test",
        bounds: Sequence[int] = (),
    ):
        super().__init__()
        if k is not None and k < 1:
            raise GenlabError(f"k={k}: a bound takes at least one importance sample")
        for draws in bounds:
            if not 1 < draws < (k or IMPORTANCE_SAMPLES):
                reason = f"k={k or IMPORTANCE_SAMPLES} draws have bounds of 2 to {(k or IMPORTANCE_SAMPLES) - 1}"
                raise ConfigError("metric.likelihood.bounds", draws, reason)
        self.spec, self.k, self.reads, self.bounds = spec, k, (split,), list(bounds)
        # How the figures came about: states, for a rank may be shown no example.
        self.add_state("exactness", torch.zeros((), dtype=torch.long), dist_reduce_fx="max")
        self.add_state("draws", torch.zeros((), dtype=torch.long), dist_reduce_fx="max")
        self.add_state("spread", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")  # of an estimate of log Z
        self.annealing: dict[str, int] = {}
        rows = len(ROWS) + len(self.bounds)
        for name in ("count", "total", "squares"):
            self.add_state(name, torch.zeros(rows, dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Nothing: any data have a likelihood."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Add the examples of a batch, with whatever the model can say about them."""
        x, y = batch["x"], batch.get("y")
        if isinstance(model, Density):
            self._is("=" if model.exact else "~")
            if isinstance(model, Anneals) and not model.exact:
                self.spread = torch.full_like(self.spread, model.partition()[1])
                self.annealing = dict(model.annealing)  # the first rank, whose figures are told, is shown an example
            self._add_log_prob(0, model.log_prob(x, y))
        elif isinstance(model, Bound):
            self._add_bounds(model, x, y)

    def _add_bounds(self, model: Bound, x: Tensor, y: Tensor | None) -> None:
        latent = hasattr(model, "terms")
        k = self.k or (IMPORTANCE_SAMPLES if latent else 1)
        self._is("<=" if getattr(model, "exact", True) else "~", k)
        told: Any = model
        inferred = self.infer(model, x, y)
        if isinstance(model, Weighs) and k > 1:
            weights = told.log_weights(x, y, k) if inferred is None else told.log_weights_at(inferred, x, y, k)
            bound = weights.logsumexp(0) - math.log(k)
            self._add_log_prob(0, bound)
            self._add(ROWS.index("ess"), torch.exp(2 * weights.logsumexp(0) - (2 * weights).logsumexp(0)))
            for row, draws in enumerate(self.bounds, len(ROWS)):  # of as many groups of so many draws as there are
                groups = weights[: k // draws * draws].unflatten(0, (-1, draws))
                self._add_log_prob(row, (groups.logsumexp(1) - math.log(draws)).mean(0))
        elif not latent or k > 1:
            bound = model.bound(x, y, k)
            self._add_log_prob(0, bound)
        if latent:
            log_prob, kl = told.terms(x, y) if inferred is None else told.terms_at(inferred, x, y)
            elbo = log_prob - kl.sum(1)
            self._add(ROWS.index("distortion"), -log_prob.double())
            self._add_log_prob(1 if k > 1 else 0, elbo)
            if k > 1:
                self._add(ROWS.index("gap"), bound.double() - elbo.double())

    def infer(self, model: Bound, x: Tensor, y: Tensor | None) -> Any:
        """The posterior that the figures are of; None for the model's own."""
        return None

    def _is(self, mark: str, draws: int = 0) -> None:
        self.exactness = torch.full_like(self.exactness, MARKS.index(mark))
        self.draws = torch.full_like(self.draws, draws)

    def _add_log_prob(self, row: int, log_prob: Tensor) -> None:
        nats = -log_prob.double()
        wrong = int((~nats.isfinite()).sum())
        if wrong:
            example = "NaN" if nats.isnan().any() else "infinite"
            raise GenlabError(f"the log-likelihood of {wrong} of {len(nats)} examples is {example}")
        self._add(row, nats)

    def _add(self, row: int, values: Tensor) -> None:
        self.count[row] += len(values)
        self.total[row] += values.sum()
        self.squares[row] += values.square().sum()

    def compute(self) -> dict[str, Figure]:
        """nats, bpd for integer data, negative_elbo and ess where the first is a tighter bound."""
        if not self.count[0]:
            raise GenlabError(f"the split '{self.reads[0]}' holds no example")
        protocol, mark = {"n": int(self.count[0])}, MARKS[int(self.exactness)]
        how: dict[str, Any] = {"k": int(self.draws)} if self.draws else dict(self.annealing)
        value, stderr = self._mean(0)
        stderr = None if stderr is None else math.hypot(stderr, float(self.spread))
        figures = {"nats": Figure(value, mark, stderr, protocol | how)}
        if self.spec.levels is not None:
            unit = self.spec.dimensions * math.log(2)
            error = None if stderr is None else stderr / unit
            figures["bpd"] = Figure(value / unit, mark, error, protocol | how)
        single = {"k": 1, "drawn after": int(self.draws)}
        if self.count[1]:
            value, stderr = self._mean(1)
            figures["negative_elbo"] = Figure(value, "<=", stderr, protocol | single)
            figures["gap"] = Figure(*self._marked("gap"), protocol | how)
        for row, draws in enumerate(self.bounds, len(ROWS)):
            if self.count[row]:
                value, stderr = self._mean(row)
                figures[f"nats_{draws}"] = Figure(value, "<=", stderr, protocol | how | {"of": draws})
        if self.count[ROWS.index("distortion")]:
            figures["distortion"] = Figure(*self._marked("distortion"), protocol | single)
        if self.count[ROWS.index("ess")]:
            figures["ess"] = Figure(*self._marked("ess"), protocol | how)
        return figures

    def _marked(self, name: str) -> tuple[float, str, float | None]:
        """The mean of a row that is an estimate, its mark and standard error."""
        value, stderr = self._mean(ROWS.index(name))
        return value, "~", stderr

    def _mean(self, row: int) -> tuple[float, float | None]:
        """Mean, and its standard error where there are two examples."""
        count, total, squares = (float(state[row]) for state in (self.count, self.total, self.squares))
        mean = total / count
        if count < 2:
            return mean, None
        return mean, math.sqrt(max(squares - count * mean**2, 0.0) / (count - 1) / count)
