"""Output distributions, and the choice among them."""

from collections.abc import Callable

from genlab.errors import ConfigError, nearest
from genlab.likelihoods.base import Likelihood
from genlab.likelihoods.bernoulli import Bernoulli
from genlab.likelihoods.categorical import Categorical
from genlab.likelihoods.discretised_logistic import DiscretisedLogistic
from genlab.likelihoods.gaussian import Gaussian

BY_NAME: dict[str, Callable[..., Likelihood]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "discretised_logistic": DiscretisedLogistic,
    "gaussian": Gaussian,
}


def default_likelihood(levels: int | None) -> Likelihood:
    """The usual choice for such data: Bernoulli, categorical up to 32 levels, discretised logistic, or Gaussian."""
    if levels is None:
        return Gaussian(levels)
    if levels == 2:
        return Bernoulli(levels)
    return Categorical(levels) if levels <= 32 else DiscretisedLogistic(levels)


def make_likelihood(
    choice: str | Callable[..., Likelihood] | None, levels: int | None, channels: int | None = None
) -> Likelihood:
    """What ``model.likelihood`` says: a name, a class (from a node with ``_target_``), or null for the default.

    Args:
        choice: of the user.
        levels: of the data.
        channels: of a pixel, where the model admits a distribution of whole pixels.
    """
    if choice is None:
        return default_likelihood(levels)
    if callable(choice):
        return choice(levels)
    if choice not in BY_NAME:
        reason = f"no such output distribution; there are {', '.join(BY_NAME)}"
        raise ConfigError("model.likelihood", choice, reason, nearest(choice, BY_NAME))
    return BY_NAME[choice](levels)
