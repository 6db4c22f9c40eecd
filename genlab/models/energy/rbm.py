"""The restricted Boltzmann machine, of binary values or of real ones: Gibbs chains, and its constant log Z.

Smolensky 1986, Information processing in dynamical systems; Hinton 2002, Neural Computation 14(8); log Z by annealed
importance sampling as Salakhutdinov and Murray 2008, On the quantitative analysis of deep belief networks, ICML.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlab.bijections.actnorm import of_ranks
from genlab.errors import ConfigError
from genlab.noise import Noise
from genlab.spec import Spec

ENUMERABLE = 20
"""Units of the smaller layer of which all states are listed."""
AT_ONCE = 2**22  # numbers in one piece of such a list
SWEEPS_AT_ONCE = 50  # whose random numbers are drawn together: each draw costs a call for each example
ANNEALING = ((0.0, 0.5, 0.9, 1.0), (0.0, 500 / 14_500, 4500 / 14_500, 1.0))
"""Inverse temperatures, and the share of the steps by which each is reached: 500, 4000 and 10 000 between them."""


class Partition(NamedTuple):
    """log Z, and the standard error of an estimate of it; 0 of an exact one."""

    log_z: float
    spread: float


class Natural(NamedTuple):
    """Of independent visible units, the coefficients of v and of -v^2 / 2 in log p(v), (D,) each; the second is None
    of binary ones."""

    linear: Tensor
    precision: Tensor | None

    def mix(self, other: Natural, own: float, others: float) -> Natural:
        """A weighted sum of the two."""
        if self.precision is None or other.precision is None:
            return Natural(own * self.linear + others * other.linear, None)
        return Natural(own * self.linear + others * other.linear, own * self.precision + others * other.precision)

    def weigh(self, v: Tensor) -> Tensor:
        """linear v - precision v^2 / 2, summed over the units, (B,)."""
        return v @ self.linear - (0.0 if self.precision is None else v.square() @ self.precision / 2)

    def log_z(self) -> Tensor:
        """The log of the sum, or integral, over v of the exponential of that."""
        if self.precision is None:
            return softplus(self.linear).sum(-1)
        return (math.log(2 * math.pi) - self.precision.log() + self.linear.square() / self.precision).sum(-1) / 2

    def mean(self) -> Tensor:
        """The mean of v; of binary units the logit of it, which is their bias."""
        return self.linear if self.precision is None else self.linear / self.precision

    def draw(self, e: Tensor) -> Tensor:
        """v by uniform numbers of binary units, by normal ones of others."""
        if self.precision is None:
            return (e < self.linear.sigmoid()).to(e.dtype)
        return self.mean() + e * self.precision.rsqrt()


class RBM(nn.Module):
    """p(v) = exp(-F(v)) / Z,   F(v) = -b.v - sum_j softplus(c_j + W_j.v),   F = -log sum_h exp(b.v + c.h + v.W h)

    of binary v and h. Of real v it is Gaussian-Bernoulli: v^2 / 2 is added to the energy, in units of sigma, so that
    v_i | h ~ N(b_i + sigma_i (W h)_i, sigma_i^2) and h_j | v ~ Bernoulli of logit c_j + sum_i W_ij v_i / sigma_i.

    ``log_prob`` is exact where the smaller layer has at most 20 units, of real data the hidden layer: log Z is then the
    sum over its states. Else log Z is an estimate by annealed importance sampling, a function of weights and ``seed``
    alone, made once for these weights. Its expectation is of Z, so log Z tends to be too small and log p too large.
    The path begins at independent units with the means (and variances) of the training data.

    Training begins with visible biases that give the means of the first batch, sigma with its standard deviations.
    Persistent chains are a buffer, kept by checkpoints.

    Protocols: Samples, Density, Anneals, Walks, Watched. Temperature divides the energy. Deviation: sigma is learnt.

    Args:
        spec: of the data, of two levels or continuous.
        hidden: number H of hidden units.
        sweeps: of block Gibbs sampling, from independent units to a sample.
        chains: persistent ones, and those of annealed importance sampling.
        temperatures: of annealed importance sampling; papers take 14 500.
        seed: of annealed importance sampling.
    """

    requires: ClassVar = {"data.levels": (2,)}
    mean: Tensor
    variance: Tensor
    seen: Tensor
    particles: Tensor

    def __init__(
        self,
        spec: Spec,
        hidden: int = 500,
        sweeps: int = 1000,
        chains: int = 100,
        temperatures: int = 1000,
        seed: int = 0,
    ):
        super().__init__()
        if spec.levels not in (2, None):
            reason = f"an RBM takes two levels, and these data have {spec.levels}; data.binarize=static makes them two"
            raise ConfigError("model", "rbm", reason)
        for key, value in {"hidden": hidden, "sweeps": sweeps, "chains": chains, "temperatures": temperatures}.items():
            if value < 1:
                raise ConfigError(f"model.{key}", value, "is at least 1")
        D = spec.dimensions
        self.spec, self.hidden, self.binary = spec, hidden, spec.levels is not None
        self.sweeps, self.chains, self.temperatures, self.seed = sweeps, chains, temperatures, seed
        self.exact = min(hidden, D if self.binary else hidden) <= ENUMERABLE
        self.weight = nn.Parameter(0.01 * torch.randn(D, hidden))
        self.visible_bias = nn.Parameter(torch.zeros(D))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.log_scale = None if self.binary else nn.Parameter(torch.zeros(D))
        self.register_buffer("mean", torch.full((D,), 0.5 if self.binary else 0.0))  # of the examples trained on
        self.register_buffer("variance", torch.ones(D))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("particles", torch.zeros(chains, D))
        self.watch: Callable[[float], None] | None = None
        self._started = False  # a look at the buffer makes the device wait
        self._found: tuple[list[Tensor], Partition] | None = None
        self.register_load_state_dict_post_hook(forget)

    # The energy, and what follows from it

    def units(self, x: Tensor) -> Tensor:
        """Examples as values of visible units, (B, D)."""
        return x.flatten(1).to(self.weight.dtype)

    def visible(self) -> Natural:
        """The visible units, were W = 0."""
        if self.log_scale is None:
            return Natural(self.visible_bias, None)
        precision = torch.exp(-2 * self.log_scale)
        return Natural(self.visible_bias * precision, precision)

    def coupling(self) -> Tensor:
        """W in units of the data: of v_i h_j in minus the energy, (D, H)."""
        return self.weight if self.log_scale is None else self.weight * torch.exp(-self.log_scale)[:, None]

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h), (B,), of units (B, D) and (B, H)."""
        return -self.visible().weigh(v) - h @ self.hidden_bias - (v @ self.coupling() * h).sum(1)

    def free_energy(self, x: Tensor) -> Tensor:
        """F(v) = -log sum_h exp(-E(v, h)), (B,)."""
        v = self.units(x)
        return -self.visible().weigh(v) - softplus(self.hidden_bias + v @ self.coupling()).sum(1)

    def hidden_given(self, v: Tensor) -> Tensor:
        """Logits of p(h_j = 1 | v), (B, H)."""
        return self.hidden_bias + v @ self.coupling()

    def visible_given(self, h: Tensor) -> Natural:
        """p(v | h), of (B, D) units."""
        linear, precision = self.visible()
        return Natural(linear + h @ self.coupling().T, precision)

    # Gibbs chains

    def base(self) -> Natural:
        """Independent units with the means and variances of the data, one example of spread-out data added to them."""
        weight = self.seen / (self.seen + 1)
        if self.binary:
            return Natural(torch.logit(weight * self.mean + (1 - weight) / 2), None)
        precision = 1 / (weight * self.variance + (1 - weight))
        return Natural(self.mean * precision, precision)

    def sweep(self, v: Tensor, u: Tensor, e: Tensor, own: float = 1.0, based: float = 0.0) -> Tensor:
        """The visible units after a sweep, by all hidden ones, of p(v, h) ~ exp(-own E(v, h)) base(v)^based.

        Args:
            v: (B, D).
            u: uniform numbers, (B, H).
            e: uniform numbers for binary visible units, normal ones for others, (B, D).
            own: weight of the energy.
            based: weight of ``base``.
        """
        h = (u < torch.sigmoid(own * self.hidden_given(v))).to(v.dtype)
        given = self.visible_given(h)
        return given.mix(self.base() if based else given, own, based).draw(e)

    def chance(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """``u`` and ``e`` of a sweep, by the global generator unless another is given."""
        like: dict[str, Any] = {"dtype": self.weight.dtype, "device": self.weight.device, "generator": generator}
        D, H = self.weight.shape
        return torch.rand(count, H, **like), (torch.rand if self.binary else torch.randn)(count, D, **like)

    @torch.no_grad()
    def negatives(self, x: Tensor, steps: int, persistent: bool = False) -> Tensor:
        """Units after so many sweeps, from examples x, or onward from where the last call left the persistent chains;
        of the latter those as many as there are chains. (N, D)"""
        v = self.units(x)
        if self.training:
            self._see(v)
        v = self.particles if persistent else v
        for _ in range(steps):
            v = self.sweep(v, *self.chance(len(v)))
        if persistent and self.training:
            self.particles.copy_(v)
        return v

    def _see(self, v: Tensor) -> None:
        """Take a batch's means and variances into those of the data, and start from those of the first."""
        mean = of_ranks(v.mean(0))
        variance = of_ranks((v - mean).square().mean(0))
        self.seen += len(v)
        share = len(v) / self.seen
        self.variance.lerp_(variance, share).add_((self.mean - mean).square() * share * (1 - share))
        self.mean.lerp_(mean, share)
        if not self._started and share == 1:
            given = self.base()
            self.visible_bias.copy_(given.mean())
            if self.log_scale is not None and given.precision is not None:
                self.log_scale.copy_(-given.precision.log() / 2)
            self.particles.copy_(v.repeat(math.ceil(self.chains / len(v)), 1)[: self.chains])
        self._started = True

    def chain(self, noise: Noise, times: Sequence[int], temperature: float = 1.0) -> Tensor:
        """Examples after each of so many sweeps, in rising order, of a chain for each stream that starts from
        independent units: (len(times), B, *spec.shape)."""
        draw = noise.uniform if self.binary else noise.normal
        v = self.base().draw(draw(self.spec.dimensions).to(self.weight.dtype))
        passed = [v] * times.count(0)
        for done, (u, e) in enumerate(self._chances(noise, max(times)), 1):
            v = self.sweep(v, u, e, own=1 / temperature)
            passed += [v] * times.count(done)
            if self.watch is not None and done % SWEEPS_AT_ONCE == 0:
                self.watch(done / max(times))
        x = torch.stack(passed).unflatten(-1, self.spec.shape)
        return x.to(torch.uint8) if self.binary else x

    def _chances(self, noise: Noise, sweeps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """``u`` and ``e`` of each sweep; those of a sweep do not depend on how many follow it."""
        D, H = self.weight.shape
        for start in range(0, sweeps, SWEEPS_AT_ONCE):
            u = noise.uniform(SWEEPS_AT_ONCE, H).to(self.weight.dtype)
            e = (noise.uniform if self.binary else noise.normal)(SWEEPS_AT_ONCE, D).to(self.weight.dtype)
            yield from itertools.islice(zip(u.unbind(1), e.unbind(1), strict=True), sweeps - start)

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """The last state of ``chain``, drawn and not a mean."""
        return self.chain(noise, (self.sweeps,), temperature)[0]

    # log Z

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """-F(x) - log Z in nats, (B,). Its gradient is that of the likelihood where log Z is a sum.

        Raises:
            ConfigError: that gradient is wanted in training, and log Z is an estimate.
        """
        follow = torch.is_grad_enabled() and self.training
        if follow and not self.exact:
            reason = f"log Z of {self.hidden} hidden units is an estimate, which has no gradient"
            raise ConfigError("loss", "nll", reason, "contrastive_divergence")
        log_z = self.enumerate() if follow else self.partition().log_z
        return (-self.free_energy(x).double() - log_z).to(self.weight.dtype)

    @torch.no_grad()
    def partition(self) -> Partition:
        """log Z for these weights, the same one until they change."""
        weights = [parameter.detach() for parameter in self.parameters()]
        if self._found is None or not all(map(torch.equal, self._found[0], weights)):
            found = Partition(self.enumerate().item(), 0.0) if self.exact else self.anneal()
            self._found = [weight.clone() for weight in weights], found
        return self._found[1]

    @property
    def annealing(self) -> dict[str, int]:
        """How ``anneal`` goes about it."""
        return {"chains": self.chains, "temperatures": self.temperatures, "AIS seed": self.seed}

    def enumerate(self) -> Tensor:
        """log Z, the logarithm of a sum over all states of the smaller layer, float64."""
        D, H = self.weight.shape
        if self.binary and D < H:
            visible, coupling, bias = (
                self.visible().linear.double(),
                self.coupling().double(),
                self.hidden_bias.double(),
            )
            terms = [v @ visible + softplus(bias + v @ coupling).sum(1) for v in states(D, H, self.weight.device)]
        else:
            (linear, precision), coupling = self.visible(), self.coupling().double()
            precision = None if precision is None else precision.double()
            terms = [
                h @ self.hidden_bias.double() + Natural(linear.double() + h @ coupling.T, precision).log_z()
                for h in states(H, D, self.weight.device)
            ]
        return torch.cat(terms).logsumexp(0)

    @torch.no_grad()
    def anneal(self) -> Partition:
        """log Z by annealed importance sampling, and its standard error, by the spread of the weights.

        log w = sum over t of log f_t+1(v_t) - log f_t(v_t),   f = base(v)^(1 - beta) sum_h exp(-beta E(v, h)),
        v_t from a sweep that leaves f_t as it is;   log Z = log Z_0 + log of the mean of w.   (Neal 2001)
        """
        generator = torch.Generator(self.weight.device).manual_seed(self.seed)
        base, own = self.base(), self.visible()
        v = base.draw(self.chance(self.chains, generator)[1])
        log_weight = torch.zeros(self.chains, dtype=torch.float64, device=v.device)
        for low, high in itertools.pairwise(schedule(self.temperatures)):
            logits = self.hidden_given(v)
            change = (high - low) * (own.weigh(v) - base.weigh(v))
            log_weight += change + (softplus(high * logits) - softplus(low * logits)).sum(1)
            v = self.sweep(v, *self.chance(self.chains, generator), own=high, based=1 - high)
        log_z = base.log_z().double() + self.hidden * math.log(2) + log_weight.logsumexp(0) - math.log(self.chains)
        weight = torch.exp(log_weight - log_weight.max())
        spread = weight.std() / weight.mean() / math.sqrt(self.chains)
        return Partition(log_z.item(), spread.item())


def schedule(steps: int) -> list[float]:
    """Inverse temperatures from 0 to 1, most of them near 1. (Salakhutdinov and Murray 2008, section 6)"""
    betas, shares = ANNEALING
    return np.interp(np.linspace(0, 1, steps + 1), shares, betas).tolist()


def states(units: int, others: int, device: torch.device) -> Iterator[Tensor]:
    """All states of so many binary units, a piece at a time, (N, units); a piece makes N x others numbers."""
    bits = torch.arange(units, device=device)
    for numbers in torch.arange(2**units, device=device).split(max(1, AT_ONCE // max(units, others))):
        yield (numbers[:, None] >> bits & 1).double()


def forget(module: Any, keys: Any) -> None:
    """Loaded buffers may say that training has started, or not."""
    module._started = False
