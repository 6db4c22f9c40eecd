"""Mixture of logistics of whole pixels, whose channels depend linearly on one another: PixelCNN++'s."""

from typing import ClassVar

import torch
from torch import Tensor

from genlab.likelihoods.logistic_mixture import LogisticMixture
from genlab.likelihoods.mixture import chosen
from genlab.spec import from_signed


class CoupledLogisticMixture:
    """p(r, g, b) = sum_k w_k p(r; m_kr, s_kr) p(g; m_kg(r), s_kg) p(b; m_kb(r, g), s_kb)

    m_kg(r) = m_kg + alpha_k r,   m_kb(r, g) = m_kb + beta_k r + gamma_k g

    with r, g scaled to [-1, 1] where the data are integers, and coefficients tanh of what the network gives; of
    C channels in general. A whole pixel has one component, so the distribution of a channel given those before it is
    again a mixture,

    p(x_c | x_<c) = sum_k w_kc p(x_c; m_kc(x_<c), s_kc),   w_kc ~ w_k prod over d < c of p(x_d; m_kd(x_<d), s_kd),

    by which the whole is computed. (Salimans et al. 2017, arXiv 1701.05517, eq. 2 and 3.) Deviations: bins are exact,
    and a channel is drawn given the levels of those before it, where the released code has them not rounded.

    The network gives for each pixel, component by component within each kind: K logits, C K means, C K log-scales and
    C (C - 1) / 2 K coefficients, of (1, 0), (2, 0), (2, 1), ...: channels before a channel in their order.

    A sample takes 1 + C uniform numbers: one for the component, then one for the quantile of each channel.

    Args:
        levels: of the data; None for continuous data.
        channels: C of a pixel.
        components: K.
        floor: smallest log s.
    """

    joint: ClassVar[bool] = True

    def __init__(self, levels: int | None, channels: int, components: int = 10, floor: float = -7.0):
        self.levels, self.channels, self.components, self.floor = levels, channels, components, floor
        self.outputs = components * (1 + 2 * channels + channels * (channels - 1) // 2)
        self.draws = 1 + channels
        self.conditional = LogisticMixture(levels, components, floor)

    def parts(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (B, K, *S), means and log-scales (B, C, K, *S), coefficients (B, C (C - 1) / 2, K, *S)."""
        C = self.channels
        logits, means, log_scales, coefficients = params.unflatten(1, (-1, self.components)).split(
            [1, C, C, C * (C - 1) // 2], dim=1
        )
        return logits[:, 0], means, log_scales.clamp(min=self.floor), coefficients.tanh()

    def scaled(self, x: Tensor, like: Tensor) -> Tensor:
        """Integer levels to [-1, 1], in the precision of the parameters; continuous data as they are."""
        return x if self.levels is None else x.to(like.dtype) * (2 / (self.levels - 1)) - 1

    def conditionals(self, params: Tensor, x: Tensor) -> Tensor:
        """Parameters of a ``LogisticMixture`` of each channel given those before it, (B, 3 K, C, *S): params
        (B, P, *S), x (B, C, *S)."""
        logits, means, log_scales, coefficients = self.parts(params)
        scaled = self.scaled(x, params)
        of_channels = []
        for channel in range(self.channels):
            location = shifted(means[:, channel], coefficients, scaled, channel)
            log_scale = log_scales[:, channel]
            of_channels.append(torch.cat([logits, location, log_scale], 1))
            if channel + 1 < self.channels:
                logits = logits + self.conditional.log_component(location, log_scale, x[:, channel].unsqueeze(1))
                logits = logits.log_softmax(1)  # so that they stay near 0, whatever the bins' masses
        return torch.stack(of_channels, 2)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Nats, (B,), the sum over channels of log p(x_c | x_<c): params (B, P, *S), x (B, C, *S)."""
        return self.conditional.log_prob(self.conditionals(params, x), x)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """(B, C, *S), channel by channel: u (B, 1 + C, *S). Temperature divides logits and multiplies scales."""
        logits, *others = self.parts(params)
        component = chosen(logits, u[:, 0], temperature)[:, None, None]
        means, log_scales, coefficients = (
            values.gather(2, component.expand(-1, values.shape[1], *component.shape[2:])) for values in others
        )
        drawn: list[Tensor] = []
        scaled = means.new_empty(len(means), 0, *means.shape[3:])
        for channel in range(self.channels):
            location = shifted(means[:, channel], coefficients, scaled, channel).squeeze(1)
            log_scale = log_scales[:, channel].squeeze(1)
            value = self.conditional.quantile(location, log_scale, u[:, 1 + channel], temperature)
            drawn.append(from_signed(value, self.levels))
            scaled = torch.cat([scaled, self.scaled(drawn[-1], means).unsqueeze(1)], 1)
        return torch.stack(drawn, 1)

    def mean(self, params: Tensor) -> Tensor:
        """The expected pixel in data units, (B, C, *S), but for the tails folded into the edge bins of integer data."""
        logits, means, _, coefficients = self.parts(params)
        weights, bounded = logits.softmax(1), self.levels is not None
        of_channels: list[Tensor] = []
        for channel in range(self.channels):
            location = means[:, channel]
            for before, coefficient in enumerate(coefficients[:, first(channel) : first(channel + 1)].unbind(1)):
                location = location + coefficient * of_channels[before]
            of_channels.append(location.clamp(-1, 1) if bounded else location)
        mean = torch.stack([(weights * location).sum(1) for location in of_channels], 1)
        return mean if self.levels is None else mean.add(1).mul((self.levels - 1) / 2)


def first(channel: int) -> int:
    """The place of a channel's first coefficient."""
    return channel * (channel - 1) // 2


def shifted(mean: Tensor, coefficients: Tensor, scaled: Tensor, channel: int) -> Tensor:
    """A channel's means (B, K, *S) and what the scaled channels before it, (B, >= channel, *S), add to them."""
    for before, coefficient in enumerate(coefficients[:, first(channel) : first(channel + 1)].unbind(1)):
        mean = mean + coefficient * scaled[:, before].unsqueeze(1)
    return mean
