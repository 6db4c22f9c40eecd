"""Mixtures of distributions of one number: what they share whatever is mixed."""

from torch import Tensor

from genlab.errors import ConfigError
from genlab.spec import from_signed


class Mixture:
    """p(x) = sum_k w_k p(x; m_k, s_k), w = softmax(a): the network gives a, m and log s of each of K components.

    Of integer data, scaled to [-1, 1], p(x; m, s) is the mass of the bin of x, the edge bins with the tails. A sample
    takes two uniform numbers: by the first a component, the one of which the cumulative weight is the first above it;
    by the second that component's quantile.

    Args:
        levels: of the data; None for continuous data.
        components: K.
        floor: smallest log s; without one the density of data that repeat themselves grows without bound.

    Raises:
        ConfigError: there is no component.
    """

    draws = 2

    def __init__(self, levels: int | None, components: int = 10, floor: float = -7.0):
        if components < 1:
            raise ConfigError("model.likelihood.components", components, "a mixture has at least one component")
        self.levels, self.components, self.floor = levels, components, floor
        self.outputs = 3 * components

    def log_component(self, location: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
        """log p(x; m, s) of each number, of the shape that they broadcast to."""
        raise NotImplementedError

    def quantile(self, location: Tensor, log_scale: Tensor, u: Tensor, temperature: float) -> Tensor:
        """Where a component of scale temperature s has mass u in [0, 1) below it; integer data scaled to [-1, 1]."""
        raise NotImplementedError

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Nats, (B,): params (B, 3 K, *S), x (B, *S)."""
        logits, location, log_scale = params.unflatten(1, (3, -1)).unbind(1)
        within = self.log_component(location, log_scale.clamp(min=self.floor), x.unsqueeze(1))
        return (logits.log_softmax(1) + within).logsumexp(1).flatten(1).sum(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """(B, *S): u (B, 2, *S). Temperature divides a and multiplies s, 0 giving the likeliest component's m."""
        logits, *others = params.unflatten(1, (3, -1)).unbind(1)
        component = chosen(logits, u[:, 0], temperature).unsqueeze(1)
        location, log_scale = (values.gather(1, component).squeeze(1) for values in others)
        x = self.quantile(location, log_scale.clamp(min=self.floor), u[:, 1], temperature)
        return from_signed(x, self.levels)

    def mean(self, params: Tensor) -> Tensor:
        """sum_k w_k m_k in data units, (B, *S); of integer data the mean but for the tails in the edge bins."""
        logits, location, _ = params.unflatten(1, (3, -1)).unbind(1)
        if self.levels is not None:
            location = location.clamp(-1, 1).add(1).mul((self.levels - 1) / 2)
        return (logits.softmax(1) * location).sum(1)


def chosen(logits: Tensor, u: Tensor, temperature: float) -> Tensor:
    """The component of which the cumulative weight is the first above u, (B, *S): logits (B, K, *S), u (B, *S)."""
    cdf = (logits / max(temperature, 1e-6)).softmax(1).cumsum(1)
    # a sum of rounded weights is not quite 1, and u above it would be no component at all
    return (cdf <= u.unsqueeze(1) * cdf[:, -1:]).sum(1).clamp_(max=logits.shape[1] - 1)
