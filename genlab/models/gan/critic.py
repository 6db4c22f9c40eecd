"""A discriminator at work: what every game does with one, whatever it is shown and by whatever loss it is judged."""

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from genlab.errors import GenlabError
from genlab.models.base import AdversarialLoss
from genlab.penalties.base import Penalty

Seen = Tensor | tuple[Tensor, ...]
"""What a discriminator rates: examples, (B, ...), or things that belong together, such as examples and their codes."""


class Critic(nn.Module):
    """Values of what is seen, and the losses that follow from them.

    * ``pack`` neighbouring examples are rated as one, joined along their first axis, channels or features: all real or
      all generated, so that a generator without variety is seen at a glance. (Lin et al. 2018, arXiv 1712.04086)
    * Real and generated examples go through the net in one call where that is exact: not where it mixes a batch, as
      batch norm and minibatch discrimination do, for a mixed batch would tell more than an example does.
    * A penalty is computed in full precision: under autocast the gradient of a gradient loses its last bits. One on
      things that belong together sees them as one flat vector, so its norms run over all of them.
    * Conditions (``given``) are not examples: no penalty differentiates by them.
    * What a game reads off the features beside the value comes of the same pass through the net: ``see`` and ``view``
      give both, and ``turn`` and ``against`` take values that are known already. A net says what it makes of its
      features by ``values(h)``, where that is more than its ``head``.

    Args:
        net: called with what is seen, packed, and then the conditions, if any; gives values, (B / pack,).
        pack: number of examples that are rated as one.
    """

    def __init__(self, net: nn.Module, pack: int = 1):
        super().__init__()
        self.net: Any = net
        self.pack = pack
        self.compares = any(getattr(part, "mixes", False) for part in net.modules())
        self.mixes = self.compares or any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in net.modules())

    def forward(
        self, seen: Seen, given: Tensor | None = None, featured: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Values, (B / pack,), of what is seen under the conditions ``given``, (B, K); its features, too, if
        ``featured``."""
        parts = (seen,) if isinstance(seen, Tensor) else seen
        if given is not None:
            parts = (*parts, given)
        packs = [packed(part, self.pack) for part in parts]
        features = self.net.features(*packs) if featured else None
        of_features = values_of(self.net) if featured else None
        values = of_features(features) if of_features else self.net(*packs)
        # Losses take differences, exponentials and means of values: 16 bits lose too many of them.
        values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
        return values if features is None else (values, features)

    def see(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values of examples, (B / pack,), and the features they are made of, (B / pack, F)."""
        return self(x, featured=True)

    def rate(self, real: Seen, fake: Seen, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values of what is real and of what is generated, (B / pack,) each; without conditions there may be more of
        one kind."""
        if self.mixes:
            return self(real, given), self(fake, given)
        seen, sizes = self._together(real, fake, given)
        return self(seen).split(sizes)  # type: ignore[return-value]

    def view(self, real: Tensor, fake: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """``see`` of real and of generated examples, of which there may be more of one kind."""
        if self.mixes:
            return self.see(real), self.see(fake)
        seen, sizes = self._together(real, fake, None)
        values, features = self(seen, featured=True)
        (on_real, on_fake), (of_real, of_fake) = values.split(sizes), features.split(sizes)
        return (on_real, of_real), (on_fake, of_fake)

    def turn(
        self,
        real: Seen,
        fake: Seen,
        loss: AdversarialLoss,
        penalty: Penalty | None,
        given: Tensor | None = None,
        rated: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the critic minimises, and parts for the log; ``critic`` among them is the loss without the penalty.
        ``rated`` are the values of both, where they are known."""
        on_real, on_fake = self.rate(real, fake, given) if rated is None else rated
        value = loss.critic(on_real, on_fake, *self._examples(loss, real, fake))
        parts = {
            "critic": value.detach(),
            "critic_real": on_real.detach().mean(),
            "critic_fake": on_fake.detach().mean(),
        }
        term = None if penalty is None else self.penalise(penalty, real, fake, given)
        if term is not None:
            parts["penalty"] = term.detach()
            value = value + term
        return value, parts

    def against(
        self,
        fake: Seen,
        loss: AdversarialLoss,
        real: Seen,
        given: Tensor | None = None,
        penalty: Penalty | None = None,
        rated: Tensor | None = None,
    ) -> Tensor:
        """What a generator of ``fake`` minimises; ``real`` is rated only where the loss asks for it. ``rated`` are the
        values of ``fake``, where they are known."""
        examples = self._examples(loss, real, fake)
        if getattr(loss, "needs_real", False):
            on_real, on_fake = self.rate(real, fake, given) if rated is None else (self(real, given), rated)
            value = loss.generator(on_fake, on_real, *examples)
        else:
            value = loss.generator(self(fake, given) if rated is None else rated, None, *examples)
        alone = isinstance(real, Tensor) and isinstance(fake, Tensor) and given is None
        if penalty is not None and alone and hasattr(self.net, "features"):
            shown = joined(real, self.pack), joined(fake, self.pack)
            term = penalty.imitation(lambda x: self.net.features(x).float(), *shown)
            value = value if term is None else value + term
        return value

    def against_both(self, real: Seen, fake: Seen, loss: AdversarialLoss, given: Tensor | None = None) -> Tensor:
        """What players minimise who make both kinds, as an encoder and a generator do: the critic's loss with its
        labels exchanged, or what the loss has for it in ``both(real, fake)``."""
        on_real, on_fake = self.rate(real, fake, given)
        both = getattr(loss, "both", None)
        return both(on_real, on_fake) if both else loss.critic(on_fake, on_real, *self._examples(loss, fake, real))

    def hidden(self, x: Tensor) -> Tensor:
        """What the hidden layers of the net see in examples, (B, D).

        Raises:
            GenlabError: the net does not say, or rates packs.
        """
        see = getattr(self.net, "hidden", None)
        if see is None or self.pack > 1:
            why = "rates packs of examples" if see else "has no method hidden(x), (B, D)"
            raise GenlabError(f"{type(self.net).__name__} {why}")
        return see(x)

    def penalise(self, penalty: Penalty, real: Seen, fake: Seen, given: Tensor | None = None) -> Tensor | None:
        """The penalty's term."""
        conditions = () if given is None else (packed(given, self.pack),)
        shapes = [packed(part, self.pack).shape[1:] for part in ((real,) if isinstance(real, Tensor) else real)]

        def rated(x: Tensor) -> Tensor:
            many = len(x) // len(conditions[0]) if conditions else 1
            seen = apart(x, shapes) if len(shapes) > 1 else (x,)
            return self.net(*seen, *(part.repeat(many, *[1] * (part.dim() - 1)) for part in conditions))

        real, fake = joined(real, self.pack), joined(fake, self.pack)
        if not torch.is_autocast_enabled(real.device.type):
            return penalty.term(rated, real, fake)
        with torch.autocast(real.device.type, enabled=False):
            return penalty.term(rated, real.float(), fake.float())

    def _together(self, real: Seen, fake: Seen, given: Tensor | None) -> tuple[tuple[Tensor, ...], list[int]]:
        """What is real and what is generated, one after the other, and the number of packs of each."""
        sides = [(side,) if isinstance(side, Tensor) else side for side in (real, fake)]
        sizes = [len(side[0]) // self.pack for side in sides]
        if given is not None:
            sides = [(*side, given) for side in sides]
        whole = [[part[: size * self.pack] for part in side] for side, size in zip(sides, sizes, strict=True)]
        return tuple(map(torch.cat, zip(*whole, strict=True))), sizes

    def _examples(self, loss: AdversarialLoss, real: Seen, fake: Seen) -> tuple[tuple[Tensor, Tensor], ...]:
        """The pair (real, fake), (B / pack, D) each, for a loss that is defined on examples too; else nothing."""
        if not getattr(loss, "needs_examples", False):
            return ()
        return ((joined(real, self.pack).flatten(1), joined(fake, self.pack).flatten(1)),)


def values_of(net: nn.Module) -> Any:
    """That which makes a net's values of its features, (B, F) to (B,) or (B, outputs); None where it is not told."""
    return getattr(net, "values", None) or getattr(net, "head", None)


def asks_for_real(loss: AdversarialLoss) -> bool:
    """Whether a generator's loss looks at what is real, too."""
    return getattr(loss, "needs_real", False) or getattr(loss, "needs_examples", False)


def packed(x: Tensor, pack: int) -> Tensor:
    """``pack`` neighbours joined along their first axis: (B, C, ...) to (B / pack, pack C, ...), without a rest."""
    if pack == 1:
        return x
    count = len(x) // pack
    return x[: count * pack].reshape(count, pack * x.shape[1], *x.shape[2:])


def joined(seen: Seen, pack: int) -> Tensor:
    """What is seen as one tensor: as it is, or flat where there are several."""
    if isinstance(seen, Tensor):
        return packed(seen, pack)
    return torch.cat([packed(part, pack).flatten(1) for part in seen], 1)


def apart(x: Tensor, shapes: list[torch.Size]) -> tuple[Tensor, ...]:
    """Undo ``joined``: a flat tensor into parts of ``shapes``."""
    ends = list(accumulate((shape.numel() for shape in shapes), initial=0))
    return tuple(x[:, start:end].unflatten(1, shape) for start, end, shape in zip(ends, ends[1:], shapes, strict=False))
