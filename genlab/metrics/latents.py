"""What the latent variables of an encoder with a Gaussian posterior are used for."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Batch, Diverges, Posterior
from genlab.spec import Spec


def merged(parts: Tensor) -> Tensor:
    """Moments (3, D) of several sets together, from those of each, (S, 3, D): count, mean, sum of squared deviations.

    From the deviations of means, not from sums of squares, so that no digits are lost where the mean is far from 0.
    (Chan, Golub & LeVeque 1983, doi 10.1080/00031305.1983.10483115)
    """
    count, mean, squares = parts.unbind(1)
    total = count.sum(0)
    centre = (count * mean).sum(0) / total
    return torch.stack([total, centre, squares.sum(0) + (count * (mean - centre).square()).sum(0)])


class Latents(Metric):
    """Statistics of q(z | x) = N(mu(x), sigma(x)^2), of Z independent dimensions, against the prior N(0, I).

    active_units: number of dimensions with Var_x(mu_j(x)) > 0.01. (Burda et al. 2016, arXiv 1509.00519, section 5.2)

    latent_kl = E_x KL(q(z | x) || p(z)), nats: what the code tells about x, and what it costs. p(z) is N(0, I)
    unless a model has a prior of its own; with that, or with a posterior that is no Gaussian, one draw of each example.

    latent_mismatch = sum_j KL(N(m_j, v_j) || N(0, 1)), nats, with m_j = E mu_j, v_j = Var mu_j + E sigma_j^2: each
    dimension of the aggregate posterior q(z) = E_x q(z | x), as a Gaussian of equal moments. It is at most
    KL(q(z) || N(0, I)), for it sees neither dependence between dimensions nor another form, and that is at most
    latent_kl (Hoffman & Johnson 2016). Large where samples from the prior decode from codes that no example has.

    One pass; float64; expectations and variances over the examples of the split, ddof 0.

    Args:
        split: of the data.
        threshold: of the variance of an active unit.
    """

    needs: ClassVar[tuple[type, ...]] = (Posterior,)
    figures: ClassVar[tuple[str, ...]] = ("active_units", "latent_mismatch", "latent_kl")
    higher_is_better = False
    full_state_update = False
    moments: list[Tensor]
    width: Tensor

    def __init__(self, split: str = "test", threshold: float = 0.01):
        super().__init__()
        self.reads, self.threshold = (split,), threshold
        # Moments of (mu, sigma^2, KL), one flat vector from each rank; their width 2 Z + 1 shows in the first batch.
        self.add_state("moments", [], dist_reduce_fx="cat")
        self.add_state("width", torch.zeros((), dtype=torch.long), dist_reduce_fx="max")

    @property
    def dtype(self) -> torch.dtype:
        """Of the empty vector that torchmetrics lets a rank hand over that was shown nothing."""
        return torch.float64

    def refuses(self, spec: Spec) -> str:
        """Nothing: it looks at codes."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Add the posteriors of real examples."""
        assert isinstance(model, Posterior)  # it is what the metric needs
        mean, log_variance = (part.flatten(1).double() for part in model.posterior(batch["x"]))
        variance = log_variance.exp()
        if isinstance(model, Diverges):
            kl = model.divergence(batch["x"], batch.get("y")).sum(1, keepdim=True).double()
        else:
            kl = (mean.square() + variance - 1 - log_variance).sum(1, keepdim=True) / 2
        seen = torch.cat([mean, variance, kl], 1)
        wrong = int((~seen.isfinite()).any(1).sum())
        if wrong:
            raise GenlabError(f"the posterior of {wrong} of {len(seen)} examples is not finite")
        centre = seen.mean(0)
        new = torch.stack([torch.full_like(centre, len(seen)), centre, (seen - centre).square().sum(0)])
        self.width = torch.full_like(self.width, len(centre))
        self.moments = [self._merged([*self.moments, new.flatten()]).flatten()]

    def _merged(self, parts: list[Tensor] | Tensor) -> Tensor:
        """Count, mean and squared deviations of all that has been seen, (3, 2 Z + 1)."""
        return merged(dim_zero_cat(parts).view(-1, 3, int(self.width)))

    def compute(self) -> dict[str, Figure]:
        """All three."""
        if not self.width:
            raise GenlabError(f"the split '{self.reads[0]}' holds no example")
        count, mean, squares = self._merged(self.moments)
        n, latent = int(count[0]), len(mean) // 2
        if n < 2:
            raise GenlabError("the variance of a code takes two examples; here is one")
        spread = squares[:latent] / n  # of mu
        m, v = mean[:latent], spread + mean[latent : 2 * latent]
        mismatch = (m.square() + v - 1 - v.log()).sum() / 2
        protocol = {"n": n}
        return {
            "active_units": Figure(
                int((spread > self.threshold).sum()), protocol=protocol | {"threshold": self.threshold}
            ),
            "latent_mismatch": Figure(max(float(mismatch), 0.0), protocol=protocol),
            "latent_kl": Figure(float(mean[-1]), "", float((squares[-1] / (n - 1) / n).sqrt()), protocol),
        }
