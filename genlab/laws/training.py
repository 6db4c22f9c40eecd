"""Laws of training: who gets gradients."""

from __future__ import annotations

import copy
from typing import Any

import torch

from genlab.laws.base import BrokenError
from genlab.laws.trial import Trial
from genlab.models.base import Game

SHIFT = 1e-2


def gradients(trial: Trial) -> str:
    """Over all steps, so that a layer starting at zero hides nothing; by player, each from its own turns."""
    found = []
    for player, modules in trial.module.take_players().items():
        silent = [name for name in trial.unreached[player] if not shifts_nothing(trial, player, name)]
        if silent:
            whose = f"of {player} " if len(trial.unreached) > 2 else ""
            raise BrokenError(f"{len(silent)} parameters {whose}have no gradient: {listed(silent)}")
        count = sum(p.requires_grad for module in modules for p in module.parameters())
        without = f", of them {len(trial.unreached[player])} that shift no loss" if trial.unreached[player] else ""
        found.append(f"{player} {count} tensors{without}")
    if trial.unreached[""]:
        raise BrokenError(f"{len(trial.unreached[''])} parameters belong to no player: {listed(trial.unreached[''])}")
    if trial.wild:
        raise BrokenError(f"gradients that are not finite: {listed(trial.wild)}")
    return ", ".join(found)


def shifts_nothing(trial: Trial, player: str, name: str) -> bool:
    """Is a parameter without a gradient one that its player's loss cannot depend on, while another player's does?

    So it is with the last bias of a Wasserstein critic: it adds the same to both terms of E[d(G(z))] - E[d(x)]. It is
    shifted by little, since under a hinge that holds only until an example reaches a corner.
    """
    if not isinstance(trial.module.model, Game):
        return False
    model: Any = copy.deepcopy(trial.module.model)
    module: Any = trial.module
    batch = {"x": trial.x} if trial.y is None else {"x": trial.x, "y": trial.y}

    def losses() -> dict[str, float]:
        values = {}
        for other in model.players():
            torch.manual_seed(0)
            values[other] = model.turn(other, batch, module.loss, None)[0].item()
        return values

    before = losses()
    with torch.no_grad():
        model.get_parameter(name).add_(SHIFT)
    found = losses()
    moved = {other for other in found if abs(found[other] - before[other]) > 1e-4 * SHIFT * max(1.0, abs(found[other]))}
    return bool(moved) and player not in moved


def listed(names: list[str]) -> str:
    """The first of them."""
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
