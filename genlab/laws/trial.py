"""A model of a config after a few steps of its own training, so that laws can be put to it."""

from __future__ import annotations

import copy
import inspect
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from genlab.assembly import build_module, quiet
from genlab.build import build, locate
from genlab.data.base import Examples
from genlab.data.batches import Batches
from genlab.errors import DataError
from genlab.noise import Noise
from genlab.spec import Spec
from genlab.training.module import Module
from genlab.training.settings import Settings
from genlab.training.storage import AtomicIO

STEPS = 6  # a last layer that starts at zero hides the others in the first
BATCH = 16


class Trial:
    """A model trained for a few steps on the CPU, with what that showed.

    Args:
        config: as ``genlab train`` would have it; budget, device and precision are ours.
        spec: of the data, or another that the model should build on as well.
        data: gives ``examples`` their augmentation; None for made-up ones.
        examples: to train on.

    Attributes:
        model: with averaged weights, in eval mode, as it would sample.
        x, y: a batch of examples that training has not seen in this order; y None where there are no labels.
        losses: means over the steps, by name.
        unreached: names of parameters that no gradient reached, by player; "" for those that belong to none.
        wild: names of parameters whose gradient was not finite.
    """

    def __init__(self, config: Mapping[str, Any], spec: Spec, data: Any = None, examples: Examples | None = None):
        self.config, self.spec, self.data = dict(config) | {"compile": False}, spec, data
        self.examples = examples or made_up(spec)
        ours = {"batch_size": BATCH, "accumulate_grad_batches": 1, "max_steps": STEPS, "max_epochs": None}
        self.settings: Settings = build({**config["trainer"], **ours, "accelerator": "cpu", "precision": "32"})
        self.module: Module = build_module(self.config, spec, self.settings, STEPS)

    def train(self) -> Trial:
        """Take the steps.

        Raises:
            NotFiniteError: a loss is not finite.
        """
        quiet()
        module, seed = self.module, self.config["seed"]
        size = BATCH * module.batches_per_step()
        augment = None if self.data is None else self.data.augment
        batches = Batches(self.examples, size, seed=seed, augment=augment)
        module.make_batches = lambda: batches  # type: ignore[assignment, return-value]
        gradients = Gradients()
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
            self.trainer = Trainer(
                accelerator="cpu",
                devices=1,
                max_steps=STEPS,
                max_epochs=-1,
                logger=False,
                enable_checkpointing=False,
                plugins=[AtomicIO()],
                enable_progress_bar=False,
                enable_model_summary=False,
                limit_val_batches=0,
                num_sanity_val_steps=0,
                default_root_dir=folder,
            )
            hook = register_optimizer_step_pre_hook(gradients)
            try:
                self.trainer.fit(module)
            finally:
                hook.remove()
        self.losses = module.meter.flush()
        names = {id(parameter): name for name, parameter in module.model.named_parameters()}
        self.unreached = {
            player: [
                names[id(p)]
                for part in modules
                for p in part.parameters()
                if p.requires_grad and id(p) not in gradients.reached  # others stay as they are given
            ]
            for player, modules in module.take_players().items()
        }
        self.wild = [names[number] for number in gradients.wild]
        playing = {id(p) for modules in module.take_players().values() for part in modules for p in part.parameters()}
        self.unreached[""] = [
            name for name, p in module.model.named_parameters() if p.requires_grad and id(p) not in playing
        ]
        with module.averaged() as model:
            self.model: nn.Module = copy.deepcopy(model)
        batch = batches.batch(STEPS)
        told = {name: batch.get(f"{name}_labelled", batch[name]) for name in batch}  # where few labels are known, those
        self.x, self.y = told["x"][:BATCH], told["y"][:BATCH] if "y" in told else None
        return self

    def sample(self, seeds: list[int], model: nn.Module | None = None, temperature: float = 1.0) -> Tensor:
        """One sample a seed, of the class or the attributes that the seed's number makes it where the model has any."""
        y = None
        if getattr(self.model, "conditional", False):
            bits = torch.tensor(seeds)[:, None] >> torch.arange(len(self.spec.attributes)) & 1
            y = bits if self.spec.attributes else torch.tensor(seeds) % len(self.spec.classes)
        with torch.no_grad():
            return (model or self.model).sample(Noise(seeds), y, temperature)  # type: ignore[operator]

    def label(self, count: int) -> Tensor | None:
        """One and the same label for ``count`` examples; None where there are none."""
        return None if self.y is None else self.y[:1].expand(count, *self.y.shape[1:])

    def smaller(self, shape: tuple[int, ...], levels: int | None) -> Trial:
        """The same model on made-up examples of another shape, trained as long."""
        return Trial(self.config, replace(self.spec, shape=shape, levels=levels)).train()


class Gradients:
    """Whom gradients reach, looked at before each step of any optimizer."""

    def __init__(self) -> None:
        self.reached: set[int] = set()
        self.wild: dict[int, None] = {}

    def __call__(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for parameter in (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None):
            if bool(parameter.grad.any()):
                self.reached.add(id(parameter))
            if not bool(torch.isfinite(parameter.grad).all()):
                self.wild[id(parameter)] = None


def gather(node: Mapping[str, Any], count: int = 256) -> tuple[Any, Examples, str]:
    """The data set of a config, some of its training examples, and why they are made up where its files are missing."""
    takes = inspect.signature(locate(node["_target_"])).parameters
    few = {"limit": count} if "limit" in takes and node.get("limit") is None else {}
    data = build({**node, **few})
    try:
        return data, data.split("train"), ""
    except DataError as error:
        return data, made_up(data.spec, count), str(error)


def made_up(spec: Spec, count: int = 256) -> Examples:
    """Examples that look like ``spec`` says: uniform levels, or normal numbers; random labels."""
    chance = torch.Generator().manual_seed(0)
    if spec.levels is None:
        x = torch.randn(count, *spec.shape, generator=chance)
    else:
        x = torch.randint(spec.levels, (count, *spec.shape), generator=chance)
        x = x.to(torch.uint8 if spec.levels <= 256 else torch.int64)
    y = None
    if spec.classes:
        y = torch.randint(len(spec.classes), (count,), generator=chance)
    elif spec.attributes:
        y = torch.randint(2, (count, len(spec.attributes)), generator=chance).to(torch.uint8)
    return Examples(x, y)
