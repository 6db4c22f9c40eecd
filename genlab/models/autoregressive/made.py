"""MADE: an image, or a point, as a sequence of its values, each conditioned on those before by one masked perceptron.

Germain et al. 2015, MADE: Masked Autoencoder for Distribution Estimation, arXiv 1502.03509.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Draw, Layout
from genlab.models.autoregressive.sequence import length, places, to_maps, to_parts
from genlab.nn.made import MADE
from genlab.nn.made_steps import Steps
from genlab.spec import Spec


class MaskedPerceptron(nn.Module):
    """theta_t = V h_t + b, of the units h_t of a perceptron that see the parts before t alone. (Equations 8 to 13)

    Sampling computes every unit once, so that it costs one forward pass. Deviations: degrees of hidden units go round
    where the paper draws them, and there is one order and one set of masks (the paper's best nets take turns among 32);
    dropout; conditions, of which the paper has none, are read by the first layer and by the outputs.

    Args:
        layout: of images and parameters.
        widths: units of each hidden layer.
        activation: of the hidden layers.
        dropout: probability with which a value that is read is dropped in training.
        direct: whether values reach outputs past the hidden layers, too.
    """

    def __init__(
        self,
        layout: Layout,
        widths: Sequence[int] = (500, 500),
        activation: str = "relu",
        dropout: float = 0.0,
        direct: bool = True,
    ):
        super().__init__()
        self.layout = layout
        self.dropout = nn.Dropout(dropout)
        self.net = MADE(
            length(layout),
            layout.parameters,
            widths,
            layout.conditions,
            activation=activation,
            direct=direct,
            together=layout.shape[0] // layout.groups,
        )

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        parts = self.dropout(to_parts(x, self.layout).flatten(1))
        return to_maps(self.net(parts, c).transpose(1, 2), self.layout)

    def generate(self, draw: Draw, count: int, c: Tensor | None = None) -> None:
        """A part at a time, by ``Steps``."""
        steps = Steps(self.net, count, c)
        for row, column, group in places(self.layout):
            steps.see(draw(steps.parameters()[None], row, column, group)[0])


def made(
    spec: Spec,
    widths: Sequence[int] = (500, 500),
    activation: str = "relu",
    dropout: float = 0.0,
    direct: bool = True,
    likelihood: str | Callable[..., Likelihood] | None = None,
    order: str = "raster",
    conditional: bool = False,
) -> AutoRegressive:
    """An ``AutoRegressive`` model by a ``MaskedPerceptron``; see there for the arguments."""
    net = partial(MaskedPerceptron, widths=widths, activation=activation, dropout=dropout, direct=direct)
    return AutoRegressive(spec, net, likelihood, order, conditional)
