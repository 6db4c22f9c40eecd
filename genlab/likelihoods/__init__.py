"""Output distributions, and the choice among them."""

from collections.abc import Callable
from functools import partial

from genlab.errors import ConfigError, nearest
from genlab.likelihoods.base import Likelihood
from genlab.likelihoods.bernoulli import Bernoulli
from genlab.likelihoods.categorical import Categorical
from genlab.likelihoods.coupled_logistic_mixture import CoupledLogisticMixture
from genlab.likelihoods.discretised_logistic import DiscretisedLogistic
from genlab.likelihoods.gaussian import Gaussian
from genlab.likelihoods.gaussian_mixture import GaussianMixture
from genlab.likelihoods.logistic_mixture import LogisticMixture
from genlab.spec import Spec

BY_NAME: dict[str, Callable[..., Likelihood]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "coupled_logistic_mixture": CoupledLogisticMixture,
    "discretised_logistic": DiscretisedLogistic,
    "gaussian": Gaussian,
    "gaussian_mixture": GaussianMixture,
    "logistic_mixture": LogisticMixture,
}


def default_likelihood(levels: int | None) -> Likelihood:
    """The usual choice for such data: Bernoulli, categorical up to 32 levels, discretised logistic, or Gaussian."""
    if levels is None:
        return Gaussian(levels)
    if levels == 2:
        return Bernoulli(levels)
    return Categorical(levels) if levels <= 32 else DiscretisedLogistic(levels)


def make_likelihood(
    choice: str | Callable[..., Likelihood] | None, spec: Spec, channels: int | None = None
) -> Likelihood:
    """What ``model.likelihood`` says: a name, a class (from a node with ``_target_``), or null for the default.

    Args:
        choice: of the user.
        spec: of the data.
        channels: of a pixel, where the model admits a distribution of whole pixels; None where it does not.

    Raises:
        ConfigError: there is no such choice, or not for these data or this model.
    """
    if choice is None:
        return default_likelihood(spec.levels)
    made = choice if callable(choice) else BY_NAME.get(choice)
    if made is None:
        reason = f"no such output distribution; there are {', '.join(BY_NAME)}"
        raise ConfigError("model.likelihood", choice, reason, nearest(str(choice), BY_NAME))
    made_by = made.func if isinstance(made, partial) else made
    word = choice if isinstance(choice, str) else getattr(made_by, "__name__", "another")
    joint, whole = getattr(made_by, "joint", False), getattr(made_by, "whole", False)
    if whole and channels is not None:
        reason = "a distribution of whole images, which is what this model is itself: it is for decoders"
        raise ConfigError("model.likelihood", word, reason, "null")
    if joint and channels is None:
        reason = "a distribution of whole pixels, which auto-regressive nets of images alone give one after the other"
        raise ConfigError("model.likelihood", word, reason, "logistic_mixture")
    return made(spec) if whole else made(spec.levels, channels) if joint else made(spec.levels)
