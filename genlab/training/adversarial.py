"""Training of games: every player in turn minimises its own loss, by its own optimizer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.models.base import AdversarialLoss, Game
from genlab.penalties.base import Penalty
from genlab.spec import Spec
from genlab.training.module import Module
from genlab.training.settings import Settings


class Adversarial(Module):
    """Who moves when: ``critic_steps`` turns of every player but the last, then one of the last, which closes the step.

    A critic's turn sees a batch of its own; the last player sees the last of them. The game says what each player
    minimises; the loss and the penalty know no step.

    Args:
        critic_steps: turns of the critic in one step (``n_critic`` of WGAN).
        players: optimizer options of single players, such as ``{critic: {lr: 4e-4}}`` for two time-scales
            (Heusel et al. 2017, arXiv 1706.08500).

    Raises:
        ConfigError: the model is no game, or ``players`` names one that does not play.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: AdversarialLoss,
        penalty: Penalty,
        spec: Spec,
        optimizer: Callable[..., torch.optim.Optimizer],
        settings: Settings,
        config: dict[str, Any],
        steps: int,
        critic_steps: int = 1,
        players: dict[str, dict[str, Any]] | None = None,
    ):
        super().__init__(model, spec, optimizer, settings, config, steps)
        if not isinstance(model, Game):
            reason = f"{type(model).__name__} is no game, which has players and a turn"
            raise ConfigError("training", type(self).__name__, reason)
        self.loss, self.penalty, self.critic_steps = loss, penalty, critic_steps
        self.options = players or {}
        names = list(model.players())
        self.closing_player = names[-1]
        for name in self.options:
            if name not in names:
                raise ConfigError(f"training.players.{name}", self.options[name], f"the players are {', '.join(names)}")

    @property
    def game(self) -> Any:
        """The model as the game it is; a property, since a second attribute would save it twice."""
        return self.model

    def take_players(self) -> dict[str, list[nn.Module]]:
        return self.game.players()

    def optimizer_options(self, player: str) -> dict[str, Any]:
        return self.options.get(player, {})

    def batches_per_step(self) -> int:
        return self.critic_steps

    def take_step(self, batch: dict[str, Tensor]) -> None:
        batches = self.split_batch(batch, self.critic_steps)
        for turn, part in enumerate(batches):
            due = (self.global_step * self.critic_steps + turn) % self.penalty.every == 0
            for name, player in self._players.items():
                if name != self.closing_player:
                    self._turn(name, part, self.penalty if due else None)
                    for module in player.modules:
                        self.penalty.project(module)
        self._turn(self.closing_player, batches[-1], self.penalty)

    def _turn(self, name: str, batch: dict[str, Tensor], penalty: Penalty | None) -> None:
        parts = self.settings.accumulate_grad_batches
        pieces = iter(self.split_batch(batch, parts))
        self.update(name, lambda: self.game.turn(name, next(pieces), self.loss, penalty), parts)
