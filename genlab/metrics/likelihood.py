"""Likelihood of held-out data: nats an example, and bits/dim where the data are integers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Anneals, Batch, Bound, Density, Refines, Weighs
from genlab.spec import Spec

MARKS = ("", "=", "~", "<=")
IMPORTANCE_SAMPLES = 500  # 500 to 1000 are usual on small machines; Burda et al. report 5000


class Likelihood(Metric):
    """Mean negative log-likelihood over a split, and its standard error.

    nats = -E_x log p(x),   bpd = nats / (D log 2) for integer data with D dimensions.

    Marked ``=`` where ``log_prob`` is exact, ``~`` where it is an estimate, and ``<=`` where the model gives a lower
    bound on log p(x), so that the figure is at least the true one: the importance-weighted bound of a latent-variable
    model or that of a dequantised density. A bound that a model knows by estimates of its density alone (it says
    ``exact = False``) is none, for the mean of exponentials of estimates is too large: ``~``. ``negative_elbo`` is the
    bound of one sample of a latent-variable model, in nats. ``ess`` is the mean effective sample size of its importance
    weights, (sum_i w_i)^2 / sum_i w_i^2, from 1 to k: near 1 the bound rests on single draws and is far from tight.
    The standard error of a density whose log Z is an estimate holds that of log Z. Sums in float64.

    Args:
        spec: of the data.
        k: importance samples of a bound; None: 500 for a latent-variable model (one with the ``terms`` of an ELBO),
            and one draw of a dequantised density, as papers report it.
        split: of the data.
        refine: steps of gradient ascent by which each example's posterior climbs the bound of one draw, from where the
            encoder has it, before the figures are taken: semi-amortised inference. (Kim et al. 2018, arXiv 1802.02550)
    """

    needs: ClassVar[tuple[type, ...]] = (Density, Bound)
    absent: ClassVar[dict[str, str]] = {"bpd": "bits are of integers, and these data are continuous; there are nats"}
    figures: ClassVar[tuple[str, ...]] = ("nats", "bpd", "negative_elbo", "ess")
    higher_is_better = False
    full_state_update = False
    exactness: Tensor
    draws: Tensor
    spread: Tensor
    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, spec: Spec, k: int | None = None, split: str = "test", refine: int | None = None):
        super().__init__()
        if k is not None and k < 1:
            raise GenlabError(f"k={k}: a bound takes at least one importance sample")
        if refine is not None and refine < 0:
            raise GenlabError(f"refine={refine}: there are no fewer steps than none")
        self.spec, self.k, self.reads, self.refine = spec, k, (split,), refine or 0
        # How the figures came about: states, for a rank may be shown no example.
        self.add_state("exactness", torch.zeros((), dtype=torch.long), dist_reduce_fx="max")
        self.add_state("draws", torch.zeros((), dtype=torch.long), dist_reduce_fx="max")
        self.add_state("spread", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")  # of an estimate of log Z
        self.annealing: dict[str, int] = {}
        for name in ("count", "total", "squares"):  # of the likelihood, the bound of one sample, the effective size
            self.add_state(name, torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Nothing: any data have a likelihood."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Add the examples of a batch, with whatever the model can say about them."""
        x, y = batch["x"], batch.get("y")
        if self.refine and not isinstance(model, Refines):
            raise GenlabError(f"refine={self.refine}: {type(model).__name__} has no posterior to refine")
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
        inferred = model.refine(x, y, self.refine) if self.refine and isinstance(model, Refines) else None
        if isinstance(model, Weighs) and k > 1:
            if inferred is not None and isinstance(model, Refines):
                weights = model.log_weights_at(inferred, x, y, k)
            else:
                weights = model.log_weights(x, y, k)
            self._add_log_prob(0, weights.logsumexp(0) - math.log(k))
            self._add(2, torch.exp(2 * weights.logsumexp(0) - (2 * weights).logsumexp(0)))
        else:
            self._add_log_prob(0, self._bound(model, inferred, x, y, k))
        if latent and k > 1:
            self._add_log_prob(1, self._bound(model, inferred, x, y, 1))

    def _bound(self, model: Bound, inferred: Any, x: Tensor, y: Tensor | None, k: int) -> Tensor:
        if inferred is None or not isinstance(model, Refines):
            return model.bound(x, y, k)
        log_prob, kl = model.terms_at(inferred, x, y)
        return log_prob - kl.sum(1)

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
        refined = {"refine": self.refine} if self.refine else {}
        how: dict[str, Any] = ({"k": int(self.draws)} if self.draws else dict(self.annealing)) | refined
        value, stderr = self._mean(0)
        stderr = None if stderr is None else math.hypot(stderr, float(self.spread))
        figures = {"nats": Figure(value, mark, stderr, protocol | how)}
        if self.spec.levels is not None:
            unit = self.spec.dimensions * math.log(2)
            error = None if stderr is None else stderr / unit
            figures["bpd"] = Figure(value / unit, mark, error, protocol | how)
        if self.count[1]:
            value, stderr = self._mean(1)
            figures["negative_elbo"] = Figure(
                value, "<=", stderr, protocol | {"k": 1, "drawn after": int(self.draws)} | refined
            )
        if self.count[2]:
            value, stderr = self._mean(2)
            figures["ess"] = Figure(value, "~", stderr, protocol | how)
        return figures

    def _mean(self, row: int) -> tuple[float, float | None]:
        """Mean, and its standard error where there are two examples."""
        count, total, squares = (float(state[row]) for state in (self.count, self.total, self.squares))
        mean = total / count
        if count < 2:
            return mean, None
        return mean, math.sqrt(max(squares - count * mean**2, 0.0) / (count - 1) / count)
