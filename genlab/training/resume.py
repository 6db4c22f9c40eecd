"""What a training goes on from, looked at before it does: a damaged state would fail steps later, or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn

from genlab.checkpoint import blamed, of_model
from genlab.models.base import averaged
from genlab.run import flat, option
from genlab.spec import Spec
from genlab.training.module import Module
from genlab.weights import amiss

STATES = ("state_dict", "average", "meter", "callbacks", "loops")
STEPS = "epoch_loop.manual_optimization.optim_step_progress.total.completed"
"""Where Lightning counts steps."""
Key = tuple[torch.Size, torch.dtype]


def whole(path: Any, state: Mapping[str, Any], module: Module, trainer: Trainer) -> None:
    """Refuse a checkpoint that this training cannot go on from.

    Raises:
        CheckpointError: something is missing from it, or is not this training's.
    """
    about = state["genlab"]
    with blamed(path, str(about.get("version"))):
        if "optimizer_states" not in state:
            raise ValueError("holds weights alone, of which a training cannot go on")
        for key in STATES:
            if key not in state:
                raise ValueError(f"lacks `{key}`")
        loops = flat(option(state, "loops.fit_loop"))
        for key, value in flat(trainer.fit_loop.state_dict()).items():
            if type(loops.get(key)) is not type(value):
                raise ValueError(f"its loops.fit_loop: {key} is {loops.get(key)!r}")
        if (done := loops[STEPS]) != about["step"]:
            raise ValueError(f"its step is {about['step']}, and Lightning counts {done}")
        then, now = Spec.from_dict(about["spec"]).to_dict(), module.spec.to_dict()
        if others := [key for key in now if then[key] != now[key]]:
            raise ValueError(f"its spec: {others[0]} is {then[others[0]]}, of the data that are there {now[others[0]]}")
        if module.settings.strategy == "fsdp":  # gathers what it has sharded under names and shapes of its own
            return
        if reason := of_weights(state, module) or of_optimizers(state["optimizer_states"], module):
            raise ValueError(reason)
        for name, (steps, values) in state["meter"].items():
            if len(steps) != len(values) or not all(map(math.isfinite, values)):
                raise ValueError(f"its meter holds no losses of {name}")
        best = option(state["callbacks"], "Beside.Validate") or {}
        if not {"best", "best_step", "since"} <= {*best} or not math.isfinite(best["best"] or 0):
            raise ValueError("its callbacks have no best validation")


def of_weights(state: Mapping[str, Any], module: Module) -> str:
    """What is wrong with weights and their average; empty where nothing is."""
    weights = state["state_dict"]
    reason = amiss(of_model(weights), module.model.state_dict()) or amiss(weights, module.state_dict())
    return reason or (amiss(state["average"], averaged(module.model), "its average") if state["average"] else "")


def of_optimizers(states: Sequence[Mapping[str, Any]], module: Module) -> str:
    """What is wrong with the states of the players' optimizers; empty where nothing is.

    A parameter without a state has had no gradient yet. Of the others the state is held against the one that the same
    optimizer makes of parameters of their shapes.
    """
    players = module.take_players()
    names = {id(parameter): name for name, parameter in module.model.named_parameters()}
    if len(states) != len(players):
        return f"has states of {len(states)} optimizers, and there are {len(players)}"
    for (player, modules), state in zip(players.items(), states, strict=True):
        parameters = [parameter for each in modules for parameter in each.parameters()]
        groups = state["param_groups"]
        if len(groups) != 1 or len(groups[0]["params"]) != len(parameters):
            return f"its optimizer of {player} has other parameters"
        if wild := [key for key, value in groups[0].items() if isinstance(value, float) and not math.isfinite(value)]:
            return f"its optimizer of {player} has {wild[0]} {groups[0][wild[0]]}"
        first = fresh(partial(module.optimizer_for, player), parameters)
        for index, parameter in zip(groups[0]["params"], parameters, strict=True):
            found = {key: value for key, value in state["state"].get(index, {}).items() if isinstance(value, Tensor)}
            what = f"its optimizer's state of {names[id(parameter)]}"
            if found and first and (reason := amiss(found, first[key_of(parameter)], what, "the optimizer")):
                return reason
            if "step" in found and found["step"].min() < 0:
                return f"{what}: step is {found['step'].min():g}"
    return ""


def fresh(build: Callable[[list[nn.Parameter]], torch.optim.Optimizer], like: Sequence[nn.Parameter]) -> dict[Key, Any]:
    """The tensors that an optimizer keeps of a parameter, by shape and kind, after its first step; nothing of one that
    cannot take it so."""
    kinds = {key_of(parameter): nn.Parameter(torch.zeros_like(parameter, device="cpu")) for parameter in like}
    for parameter in kinds.values():
        parameter.grad = torch.zeros_like(parameter)
    try:
        optimizer = build([*kinds.values()])
        optimizer.step()
    except (RuntimeError, TypeError):
        return {}
    states = {kind: optimizer.state[parameter] for kind, parameter in kinds.items()}
    return {kind: {k: v for k, v in state.items() if isinstance(v, Tensor)} for kind, state in states.items()}


def key_of(parameter: nn.Parameter) -> Key:
    """What the state of a parameter depends on."""
    return parameter.shape, parameter.dtype
