"""Several penalties at once."""

from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.penalties.base import Critic, Penalty


class Sum(Penalty):
    """The sum of the terms, every preparation and every projection, in order.

    Args:
        terms: the penalties, under names of one's choice (``penalty.terms.r1.weight=0.1``).

    Raises:
        ConfigError: there is none, or those that have a term are due in different turns.
    """

    def __init__(self, terms: dict[str, Penalty]):
        if not terms:
            raise ConfigError("penalty.terms", terms, "a sum has one penalty at least")
        self.terms = [*terms.values()]
        due = {name: part.every for name, part in terms.items() if type(part).term is not Penalty.term}
        if len({*due.values()}) > 1:
            told = ", ".join(f"{name} {every}" for name, every in due.items())
            raise ConfigError("penalty.terms", told, "terms of a sum are due together: give all of them one 'every'")
        self.every = next(iter(due.values()), 1)
        self.twice = any(part.twice for part in self.terms)

    def prepare(self, critic: nn.Module) -> None:
        """Every part's."""
        for part in self.terms:
            part.prepare(critic)

    def term(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor | None:
        """The sum of the terms that there are."""
        found = [part.term(critic, real, fake) for part in self.terms]
        there = [value for value in found if value is not None]
        return sum(there[1:], start=there[0]) if there else None

    def imitation(self, features: Critic, real: Tensor, fake: Tensor) -> Tensor | None:
        """The sum of what the parts ask of a generator."""
        found = [part.imitation(features, real, fake) for part in self.terms]
        there = [value for value in found if value is not None]
        return sum(there[1:], start=there[0]) if there else None

    def project(self, critic: nn.Module) -> None:
        """Every part's."""
        for part in self.terms:
            part.project(critic)
