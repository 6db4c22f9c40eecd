"""The generative stochastic network: a Markov chain of corruptions and denoisings, in the place of p(x)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from genlab.bijections.actnorm import of_ranks
from genlab.errors import ConfigError
from genlab.likelihoods.bernoulli import Bernoulli
from genlab.nn.mlp import make_activation
from genlab.noise import Noise
from genlab.spec import Spec

STEPS_AT_ONCE = 20  # whose random numbers are drawn together: each draw costs a call for each example


class Chance(NamedTuple):
    """Random numbers of a step: uniform ones for the corruption of x and for its draw, (B, D) each, and normal ones for
    the two noises of the layers above the first, (B, 2 H)."""

    corruption: Tensor
    draw: Tensor
    noise: Tensor


class GSN(nn.Module):
    """x_t -> x~ = corrupted x_t -> h = f(x~, h, noise) -> x_t+1 ~ p(x | h) = Bernoulli(sigma(W_1' h_1 + b_0))

    Trained to give back, at each of k = ``walkback`` steps of its chain from an example x, not the state it came from
    but x:  -(1/k) sum_t log p(x | h_t),  so that it finds back from where it strays. One step is denoising. The
    distribution that the chain comes to estimates that of the data; no value of it can be had, nor a bound.

    h_l = tanh(W_l h_l-1 + W_l+1' h_l+1 + b_l), odd layers first and then the even ones, with the weights of both ways
    tied; layers above the first have Gaussian noise before and after tanh, so that of one layer h is a function of x~:
    the generalised denoising auto-encoder. (Bengio et al. 2014, arXiv 1306.1091, section 3 and figure 2; Bengio, Yao,
    Alain & Vincent 2013, arXiv 1305.6663, algorithm 1.) x~ is x where ``corruption`` has not put 0 or 1, by a coin.

    Protocols: Samples, Walks, Watched. Temperature divides the logits of p(x | h). Chains start from independent
    values with the means of the data, and h = 0; from fair coins, of which twice or more as many are 1 as of a digit's
    pixels, they may never find back. Training begins with a b_0 that gives the means of the first batch. Deviations: a
    mean over steps for a sum; tanh in one layer, too; chains of the paper start from examples.

    Args:
        spec: of the data, of two levels.
        hidden: units H_l of each layer.
        walkback: steps k.
        corruption: share of the values that are set to 0 or 1.
        noise: standard deviation, of both noises.
        activation: one of ``genlab.nn.mlp.ACTIVATIONS``.
        steps: of a chain, to a sample.
    """

    requires: ClassVar = {"data.levels": (2,)}
    mean: Tensor
    seen: Tensor

    def __init__(
        self,
        spec: Spec,
        hidden: Sequence[int] = (1500, 1500),
        walkback: int = 4,
        corruption: float = 0.4,
        noise: float = 2.0,
        activation: str = "tanh",
        steps: int = 200,
    ):
        super().__init__()
        if spec.levels != 2:
            reason = "takes binary data, as images are by data.binarize=static; these are "
            raise ConfigError("model", "gsn", reason + (f"of {spec.levels} levels" if spec.levels else "continuous"))
        if not hidden or min(hidden) < 1:
            raise ConfigError("model.hidden", hidden, "at least one layer, of one unit or more")
        if walkback < (least := len(hidden) // 2 + 1):
            reason = f"of {len(hidden)} layers the upper ones reach x in {least} steps and no sooner"
            raise ConfigError("model.walkback", walkback, reason if least > 1 else "is at least 1", str(least))
        if steps < 1:
            raise ConfigError("model.steps", steps, "is at least 1")
        if not 0 <= corruption <= 1:
            raise ConfigError("model.corruption", corruption, "is a share, from 0 to 1")
        if noise < 0:
            raise ConfigError("model.noise", noise, "must not be negative")
        self.spec, self.hidden = spec, tuple(hidden)
        self.walkback, self.corruption, self.noise, self.steps = walkback, corruption, noise, steps
        self.likelihood, self.activation = Bernoulli(spec.levels), make_activation(activation)
        sizes = [spec.dimensions, *hidden]
        self.weights = nn.ParameterList(nn.Linear(low, high).weight.detach() for low, high in itertools.pairwise(sizes))
        self.biases = nn.ParameterList(torch.zeros(size) for size in sizes)
        self.register_buffer("mean", torch.full((spec.dimensions,), 0.5))  # of the examples trained on
        self.register_buffer("seen", torch.zeros(()))
        self.watch: Callable[[float], None] | None = None

    # A step of the chain

    def corrupt(self, x: Tensor, u: Tensor) -> Tensor:
        """Salt and pepper: values (B, D) where u is at least ``corruption``, else 0 or 1 as u is below half of it."""
        return torch.where(u < self.corruption, (u >= self.corruption / 2).to(x.dtype), x)

    def start(self, count: int) -> list[Tensor]:
        """Layers that know nothing, (B, H_l) each."""
        return [self.biases[0].new_zeros(count, size) for size in self.hidden]

    def step(self, x: Tensor, h: list[Tensor], chance: Chance) -> tuple[Tensor, list[Tensor]]:
        """Logits of p(x | h) after a step from the state x, h: (B, D), and the new layers."""
        layers = [self.corrupt(x, chance.corruption), *h]
        upper = chance.noise.mul(self.noise).split([*self.hidden[1:]] * 2, dim=1)
        for first in (1, 2):  # odd layers see even ones of before, even ones the odd ones of now
            for place in range(first, len(layers), 2):
                a = linear(layers[place - 1], self.weights[place - 1], self.biases[place])
                if place + 1 < len(layers):
                    a = a + layers[place + 1] @ self.weights[place]
                if place == 1:
                    layers[place] = self.activation(a)
                else:
                    layers[place] = self.activation(a + upper[place - 2]) + upper[len(self.hidden) + place - 3]
        return layers[1] @ self.weights[0] + self.biases[0], layers[1:]

    def draw(self, logits: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """x ~ p(x | h) by uniform numbers, (B, D)."""
        return self.likelihood.sample(logits[:, None], u[:, None], temperature).to(logits.dtype)

    # Training

    def reconstruction(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x | h_t), (B,), the mean over the steps of a walk from x."""
        target = x.flatten(1)
        state, h = target.to(self.biases[0].dtype), self.start(len(x))
        if self.training:
            self._see(state)
        total = state.new_zeros(len(x))
        for done in range(1, self.walkback + 1):
            chance = self._chance(len(x))
            logits, h = self.step(state, h, chance)
            total = total + self.likelihood.log_prob(logits[:, None], target)
            if done < self.walkback:
                state = self.draw(logits.detach(), chance.draw)
        return total / self.walkback

    @torch.no_grad()
    def _see(self, x: Tensor) -> None:
        """Take a batch's means into those of the data, and let b_0 start from those of the first, one coin added."""
        self.seen += len(x)
        self.mean.lerp_(of_ranks(x.mean(0)), len(x) / self.seen)
        begun = self.seen > len(x)
        first = torch.logit((self.mean * len(x) + 0.5) / (len(x) + 1))
        self.biases[0].copy_(torch.where(begun, self.biases[0], first))

    def _chance(self, count: int) -> Chance:
        """By the global generator."""
        like = self.biases[0]
        u = torch.rand(2, count, self.spec.dimensions, dtype=like.dtype, device=like.device)
        e = torch.randn(count, 2 * sum(self.hidden[1:]), dtype=like.dtype, device=like.device)
        return Chance(u[0], u[1], e)

    # Chains

    def chain(self, noise: Noise, times: Sequence[int], temperature: float = 1.0) -> Tensor:
        """Examples after each of so many steps, in rising order, of a chain for each stream that starts from
        independent values: (len(times), B, *spec.shape)."""
        x, h = (noise.uniform(self.spec.dimensions) < self.mean).to(self.biases[0].dtype), self.start(len(noise))
        passed = [x] * times.count(0)
        for done, chance in enumerate(self._chances(noise, max(times)), 1):
            logits, h = self.step(x, h, chance)
            x = self.draw(logits, chance.draw, temperature)
            passed += [x] * times.count(done)
            if self.watch is not None and done % STEPS_AT_ONCE == 0:
                self.watch(done / max(times))
        return torch.stack(passed).unflatten(-1, self.spec.shape).to(torch.uint8)

    def _chances(self, noise: Noise, steps: int) -> Iterator[Chance]:
        """Of each step; those of a step do not depend on how many follow it."""
        D, H, dtype = self.spec.dimensions, 2 * sum(self.hidden[1:]), self.biases[0].dtype
        for start in range(0, steps, STEPS_AT_ONCE):
            u = noise.uniform(STEPS_AT_ONCE, 2, D).to(dtype)
            e = noise.normal(STEPS_AT_ONCE, H).to(dtype)
            drawn = (Chance(a[:, 0], a[:, 1], b) for a, b in zip(u.unbind(1), e.unbind(1), strict=True))
            yield from itertools.islice(drawn, steps - start)

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """The last state of ``chain``, drawn and not a mean."""
        return self.chain(noise, (self.steps,), temperature)[0]
