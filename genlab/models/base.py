"""What a model can do: small protocols that training, sampling and evaluation ask for; no model inherits from them.

A model is a plain ``torch.nn.Module`` whose first constructor argument is ``spec: Spec``. It knows no trainer,
optimizer, logger or config. **Everything meets in data space**: ``x`` holds what the data set holds (uint8 levels for
images, floats for vectors), a model scales for itself, and samples are data-space values again.

Letters in shapes: B batch, C H W image channels, height, width, D features, T time, Z latent, K classes, P parameters
of an output distribution for one dimension. ``x`` is (B, *spec.shape), ``y`` is (B,) int64 class labels or None.
A model that cannot do without ``y`` says so by an attribute ``conditional = True``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from genlab.noise import Noise
from genlab.penalties.base import Penalty

Batch = Mapping[str, Tensor]
"""``{"x": (B, *spec.shape), "y": (B,)}``; ``y`` only where the data have labels."""


@runtime_checkable
class Samples(Protocol):
    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """One data-space example for each stream of ``noise``, (B, *spec.shape); a function of its arguments alone.

        Temperature multiplies standard deviations (flows, VAEs, the latent of a GAN) and divides logits
        (auto-regressive models).
        """
        ...


@runtime_checkable
class Watched(Protocol):
    watch: Callable[[float], None] | None
    """Told the share of the values that are drawn, while the model samples; None: nobody wants to know."""


@runtime_checkable
class Walks(Samples, Protocol):
    def chain(self, noise: Noise, times: Sequence[int], temperature: float = 1.0) -> Tensor:
        """Examples where a Markov chain for each stream is after so many steps, (len(times), B, *spec.shape)."""
        ...


@runtime_checkable
class Redraws(Samples, Protocol):
    levels: int
    """Number of levels of its latent code: the lowest, nearest to the example, is the last that is drawn."""

    def redraw(self, noise: Noise, anew: Noise, level: int, y: Tensor | None = None) -> Tensor:
        """The samples of ``noise`` with their ``level`` lowest levels drawn by ``anew``, and so what is drawn given the
        code, (B, *spec.shape)."""
        ...


@runtime_checkable
class Completes(Samples, Protocol):
    order: Tensor
    """Flat indices into an example, in the order in which its values are generated, (D,)."""

    def complete(
        self, x: Tensor, known: Tensor, noise: Noise, y: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        """Examples with their values drawn anew where ``known``, (B, H, W), is False; one stream for each example."""
        ...


@runtime_checkable
class Density(Protocol):
    exact: bool
    """True: ``log_prob`` is exact (printed ``=``); False: a stochastic estimate (printed ``~``)."""

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x) in nats, (B,): of the integers where the data are integers, else a density in data units."""
        ...


@runtime_checkable
class Anneals(Density, Protocol):
    annealing: Mapping[str, int]
    """The protocol of an estimate of log Z: chains, temperatures, AIS seed."""

    def partition(self) -> tuple[float, float]:
        """log Z by which ``log_prob`` goes, the same for the same weights, and its standard error: 0 where exact."""
        ...

    def anneal(self) -> tuple[float, float]:
        """An estimate of log Z by annealed importance sampling, exact or not, and its standard error."""
        ...


@runtime_checkable
class Bound(Protocol):
    def bound(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """A lower bound on log p(x) in nats, (B,), from k importance samples; non-decreasing in k in expectation."""
        ...


@runtime_checkable
class Decodes(Protocol):
    latent: int
    """Number Z of dimensions of a code, N(0, I) a priori."""

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data-space example of each code, (B, *spec.shape); the mean or mode where there is a distribution."""
        ...


@runtime_checkable
class Generates(Decodes, Protocol):
    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """What ``decode`` rounds, differentiable by z: examples scaled to [-1, 1] where data are integers, (B, ...)."""
        ...


@runtime_checkable
class Encodes(Decodes, Protocol):
    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The latent code of each example, (B, Z); the posterior mean where there is a posterior."""
        ...


@runtime_checkable
class Integrates(Encodes, Protocol):
    def evaluations(self) -> int:
        """How often the right-hand side of its differential equations was evaluated in the last pass."""
        ...

    def trajectories(self, z: Tensor, points: int) -> Tensor:
        """Where codes come through on their way to data space, (points or more, B, D), z first."""
        ...


@runtime_checkable
class Hierarchical(Encodes, Protocol):
    levels: int
    """Number of levels of the latent code: 1 the nearest to the example, the last that of ``encode``."""

    def ascend(self, x: Tensor, level: int, y: Tensor | None = None) -> Tensor:
        """The code of each example at a level, (B, ...)."""
        ...

    def descend(self, code: Tensor, level: int, y: Tensor | None = None) -> Tensor:
        """The data-space example of each code at a level, (B, *spec.shape)."""
        ...


@runtime_checkable
class Quantises(Encodes, Protocol):
    size: int
    """Number of codes in the codebook."""

    def codes(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The numbers of the codes of each example, (B, ...)."""
        ...


@runtime_checkable
class Posterior(Protocol):
    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of each dimension of q(z | x), (B, Z) each: a Gaussian with independent dimensions, but
        for a model that ``Diverges``."""
        ...


@runtime_checkable
class Diverges(Posterior, Protocol):
    def divergence(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """KL(q(z | x) || p(z)) in nats, whatever both are, (B, G), in parts: exact, or estimates of one draw."""
        ...


@runtime_checkable
class Weighs(Protocol):
    def log_weights(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log p(x, z_i) - log q(z_i | x) at k draws z_i ~ q(z | x) of the global generator, (k, B), float64."""
        ...


@runtime_checkable
class Refines(Weighs, Protocol):
    def refine(self, x: Tensor, y: Tensor | None = None, steps: int = 200) -> Any:
        """A posterior of each example that has climbed its bound for so many steps, for the two methods below."""
        ...

    def terms_at(self, inferred: Any, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log p(x | z) at one z of that posterior, (B,), and its KL in parts, (B, G)."""
        ...

    def log_weights_at(self, inferred: Any, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """``log_weights`` at draws of that posterior."""
        ...


@runtime_checkable
class Joint(Posterior, Protocol):
    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x, z) of pairs, (B,)."""
        ...


@runtime_checkable
class Varies(Protocol):
    def variations(self, noise: Noise, steps: int) -> dict[str, Tensor]:
        """By name of a code, data-space examples in which it alone changes: (len(noise), columns, *spec.shape)."""
        ...


@runtime_checkable
class Criticises(Protocol):
    def criticise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """A critic's values of data-space examples, (B,)."""
        ...


@runtime_checkable
class Classifies(Protocol):
    supervised: bool
    """True: class k is the data's class k; False: the model's categories are its own, in no known order."""

    def classify(self, x: Tensor) -> Tensor:
        """Logits of the classes of data-space examples, (B, K)."""
        ...


@runtime_checkable
class Featurises(Protocol):
    def features(self, x: Tensor) -> Tensor:
        """What a critic's hidden layers see in data-space examples, (B, D), D as the critic has it.

        Raises:
            GenlabError: its net does not say what its layers see.
        """
        ...


@runtime_checkable
class Translates(Protocol):
    def translate(self, x: Tensor, to: str) -> Tensor:
        """Each example carried over to the domain ``to``, (B, *spec.shape)."""
        ...


class AdversarialLoss(Protocol):
    """Two pure functions of critic values; both are minimised, and neither knows a network or a step.

    A loss whose generator is judged beside real examples says ``needs_real: ClassVar[bool] = True``: others are given
    None for them. One that is defined on the examples too says ``needs_examples: ClassVar[bool] = True`` and is called
    with one more argument, the pair (real, generated), (B, D) each. Where players make both kinds, as an encoder and a
    generator do, they minimise ``both(real, fake)`` where the loss has it, else the critic's loss with its labels
    exchanged.
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss from its values on real and generated examples, (B,) each."""
        ...

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss from the critic's values on its examples, (B,)."""
        ...


@runtime_checkable
class Game(Protocol):
    def players(self) -> dict[str, list[nn.Module]]:
        """Who plays, in the order of play, and the modules each one trains; the last player's turn closes a step.

        Averaged are the weights of the last player, or of all players that a game names by ``averaged``, a tuple.
        """
        ...

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar that ``player`` minimises on ``batch``, and detached parts of it to be logged.

        ``penalty`` is None in turns without one (a lazy penalty); the last player may have a term of it, too.
        """
        ...


def averaged(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by name that training may keep an average of, which then samples: those of a game's last player, or of
    the players that it names by ``averaged``; all of any other model. One of several names is the first."""
    named = dict(model.named_parameters())
    if not isinstance(model, Game):
        return named
    players = model.players()
    those = getattr(model, "averaged", (list(players)[-1],))
    own = {id(p) for name in those for module in players[name] for p in module.parameters()}
    return {name: parameter for name, parameter in named.items() if id(parameter) in own}
