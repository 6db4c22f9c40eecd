"""How steep a critic is, and what becomes of its gradient on the way through its layers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from genlab.errors import GenlabError
from genlab.metrics.base import GENERATED, Figure
from genlab.metrics.sums import Sums
from genlab.models.base import Batch, Criticises
from genlab.spec import Spec

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def layer_slopes(model: Any, x: Tensor) -> Tensor:
    """|d f(x) / d h_l| of a critic f at each example, (L, B): h_0 = x as the net sees it, h_l what layer l with weights
    hands on, activation and all.

    Raises:
        GenlabError: no layer of the critic has weights.
    """
    seen: list[Tensor] = []

    def keep(layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        first = arguments[0] if arguments[0].requires_grad else arguments[0].detach().requires_grad_()
        seen.append(first)
        return (first, *arguments[1:])

    hooks = [layer.register_forward_pre_hook(keep) for layer in model.modules() if isinstance(layer, WEIGHTED)]
    try:
        with torch.enable_grad():
            values = model.criticise(x)
            if not seen:
                raise GenlabError("no layer of the critic has weights")
            found = torch.autograd.grad(values.sum(), seen, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    flat = [torch.zeros_like(h) if g is None else g for h, g in zip(seen, found, strict=True)]
    return torch.stack([g.reshape(len(x), -1).double().norm(dim=1) for g in flat])


class CriticSlope(Sums):
    """Of a critic f with layers l = 0 ... L - 1 that have weights, h_l what layer l is given (h_0 = x):

    ``critic_slope`` = root mean square of |df / dx| over generated and real examples: 1 of the best Wasserstein critic.
    ``critic_growth`` = (s_1 / s_(L - 1))^(1 / (L - 2)), s_l the root mean square of |df / dh_l|: by what factor the
    gradient grows from one hidden layer to the one before, above 1 where it explodes, below where it vanishes.

    (Gulrajani et al. 2017, arXiv 1704.00028, figure 1a, draws the norms of the critic's loss, whose gradient is that of
    f at each example up to the sign.) Not among the figures that are measured unasked.

    Args:
        split: of the real examples.
    """

    needs: ClassVar[tuple[type, ...]] = (Criticises,)
    figures: ClassVar[tuple[str, ...]] = ("critic_slope", "critic_growth")
    on_request: ClassVar[bool] = True
    higher_is_better = False

    def __init__(self, split: str = "test"):
        super().__init__()
        self.reads = (GENERATED, split)

    def refuses(self, spec: Spec) -> str:
        """Nothing."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add the gradients at the examples of a batch."""
        assert isinstance(model, Criticises)  # by ``needs``
        slopes = layer_slopes(model, batch["x"])
        self.add(torch.cat([slopes.new_full((1,), slopes.shape[1]), slopes.square().sum(1)]))  # a count, then layers

    def compute(self) -> dict[str, Figure]:
        """The slope, and the growth where there are two hidden layers."""
        if not self.width:
            raise GenlabError("there is no example to see a slope at")
        total = self.total()
        slopes = (total[1:] / total[0]).sqrt().tolist()
        figures = {"critic_slope": Figure(slopes[0])}
        if len(slopes) > 2 and slopes[1] > 0 and slopes[-1] > 0:
            growth = math.exp(math.log(slopes[1] / slopes[-1]) / (len(slopes) - 2))
            figures["critic_growth"] = Figure(growth, protocol={"layers": len(slopes)})
        return figures
