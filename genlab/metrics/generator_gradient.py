"""How much a game's critic leaves its generator to learn from."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn

from genlab.errors import GenlabError
from genlab.losses.minimax import Minimax
from genlab.losses.non_saturating import NonSaturating
from genlab.metrics.base import Figure
from genlab.metrics.sums import Sums
from genlab.models.base import Batch, Game
from genlab.spec import Spec

LOSSES = (Minimax, NonSaturating)


class GeneratorGradient(Sums):
    """|grad_theta E log(1 - D(G(z)))| and |grad_theta E[-log D(G(z))]|, D = sigmoid(d), of the game's last player.

    As D tends to the best critic of distributions that do not overlap, the first tends to 0, and the second does not.
    (Arjovsky and Bottou 2017, arXiv 1701.04862, theorems 2.4 and 2.6, figures 2 and 3.) Whatever loss the game is
    played by; it means something of critics that are logits.

    The norm is of the mean gradient over as many latents as the split has examples, at most ``limit``, in evaluation
    mode: without dropout, batch norms by their running statistics. A deviation: the paper measures in training mode.
    Not among the figures that are measured unasked.

    Args:
        split: whose examples stand beside the generated ones, as in a turn of the game.
        limit: largest number of latents.
    """

    needs: ClassVar[tuple[type, ...]] = (Game,)
    figures: ClassVar[tuple[str, ...]] = ("gradient_minimax", "gradient_non_saturating")
    on_request: ClassVar[bool] = True
    higher_is_better = False

    def __init__(self, split: str = "test", limit: int = 2048):
        super().__init__()
        self.reads, self.limit = (split,), limit

    def refuses(self, spec: Spec) -> str:
        """Nothing: a game is played with any examples."""
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Add the gradients at as many latents as the batch has examples."""
        assert isinstance(model, Game)  # by ``needs``
        kept = batch["index"] < self.limit
        batch = {name: value[kept.to(value.device)] for name, value in batch.items()}
        count = len(batch["x"])
        if not count:
            return
        player, modules = list(model.players().items())[-1]
        parameters = [q for module in modules for q in module.parameters() if q.requires_grad]
        chance, parts = int(torch.randint(2**31, ())), [torch.ones(1, dtype=torch.float64, device=batch["x"].device)]
        for loss in LOSSES:
            torch.manual_seed(chance)  # both losses at the same latents
            with torch.enable_grad():
                value, _ = model.turn(player, batch, loss(), None)
                found = torch.autograd.grad(value, parameters, allow_unused=True)
            filled = [torch.zeros_like(q) if g is None else g for q, g in zip(parameters, found, strict=True)]
            parts += [gradient.flatten().double() for gradient in filled]
        self.add(count * torch.cat(parts))  # a count, then the summed gradient under each loss

    def compute(self) -> dict[str, Figure]:
        """Both norms."""
        if not self.width:
            raise GenlabError(f"the split '{self.reads[0]}' holds no example")
        count, *sums = self.total().tensor_split([1, 1 + int(self.width) // 2])
        norms = [float(torch.linalg.vector_norm(each) / count) for each in sums]
        if not all(map(math.isfinite, norms)):
            raise GenlabError("the generator's gradient is not finite")
        protocol = {"latents": int(count)}
        return {name: Figure(norm, "~", None, protocol) for name, norm in zip(self.figures, norms, strict=True)}
