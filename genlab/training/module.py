"""What every way of training shares: optimizers, schedules, clipping, averaging, the step's random numbers, the log.

Optimization is manual throughout, since games need it: a turn is backward, clip, step, for one player and with the
others' parameters frozen. Every random number of step k is a function of (seed, k, rank), because the generators are
seeded anew at each step; so a resumed run needs no generator's state to go on as if it had never stopped.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from genlab import checkpoint
from genlab.data.base import Examples
from genlab.data.batches import mix
from genlab.errors import ConfigError, NumericalError
from genlab.models.base import averaged
from genlab.spec import Spec
from genlab.training.average import Average
from genlab.training.meter import Meter, NotFiniteError
from genlab.training.settings import Settings


class Player:
    """One player's parameters and how they are updated."""

    def __init__(self, name: str, modules: list[nn.Module], build_optimizer: Callable[..., torch.optim.Optimizer]):
        self.name = name
        self.modules = modules
        self.parameters = [parameter for module in modules for parameter in module.parameters()]
        self.optimizer = build_optimizer(self.parameters)
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]


class Module(LightningModule):
    """Base of the ways of training. A way says who plays (``take_players``) and what a step is (``step``).

    Args:
        model: what is trained; its weights are saved under ``model.``.
        spec: of the data, kept in the checkpoint.
        optimizer: gives an optimizer for a list of parameters.
        settings: the ``trainer`` node.
        config: the run's whole config, kept in the checkpoint.
        steps: number of steps in all, for the schedules.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: Spec,
        optimizer: Callable[..., torch.optim.Optimizer],
        settings: Settings,
        config: dict[str, Any],
        steps: int,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.spec = spec
        self.settings = settings
        self.config = config
        self.steps = steps
        self.meter = Meter()
        self._optimizer = optimizer
        self._players: dict[str, Player] = {}
        self._average: Average | None = None
        self._restored: dict[str, Any] = {}
        self.make_batches: Callable[[], Iterable[dict[str, Tensor]]] | None = None

    # What a way of training defines

    def take_players(self) -> dict[str, list[nn.Module]]:
        """Who plays, in order; the last one's update closes the step."""
        return {"model": [self.model]}

    def optimizer_options(self, player: str) -> dict[str, Any]:
        """Options of one player's optimizer beside the common ones."""
        return {}

    def batches_per_step(self) -> int:
        """Batches of ``settings.batch_size`` that one step consumes."""
        return 1

    def take_step(self, batch: dict[str, Tensor]) -> None:
        """All turns of one step, ``update`` called once for each."""
        raise TypeError(f"{type(self).__name__} does not say what a step is")

    def validation_nats(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """Negative log-likelihood (or its bound) of each example in nats, (B,); None where there is none."""
        return None

    # What they share

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        for name, modules in self.take_players().items():
            self._players[name] = Player(name, modules, partial(self.optimizer_for, name))
        return [player.optimizer for player in self._players.values()]

    def optimizer_for(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """A player's optimizer, for some parameters."""
        return self._optimizer(parameters, **self.optimizer_options(player))

    def train_dataloader(self) -> Any:
        if self.make_batches is None:
            raise TypeError("set make_batches before training")
        return self.make_batches()

    def on_fit_start(self) -> None:
        players = list(self._players.values())
        self._closing = players[-1]
        parameters = list({id(q): q for player in players for q in player.parameters}.values())
        self._frozen = {  # what two players share is free in the turns of both
            p.name: [q for q in parameters if q.requires_grad and id(q) not in set(map(id, p.parameters))]
            for p in players
        }
        self._scaled = self.settings.precision == "16-mixed"
        # Lightning's way round by every callback's hooks is needed only where ranks or a gradient scaler take part.
        self._backward = self.manual_backward if self._scaled or self.trainer.world_size > 1 else Tensor.backward
        if self.settings.ema is not None:
            self._average = Average(averaged(self.model), self.settings.ema)
            if self._restored.get("average"):
                self._average.load_state_dict(self._restored["average"])
        if self._restored.get("meter"):
            self.meter.load_state_dict(self._restored["meter"], self.device)
        self._restored = {}
        self._prefix = {p.name: "" if len(players) == 1 else f"{p.name}/" for p in players}

    def training_step(self, batch: dict[str, Tensor], index: int) -> None:
        step = self.global_step
        reseed(self.config["seed"], step, self.global_rank)
        try:
            self.take_step(batch)
        except NumericalError as error:
            raise NotFiniteError(f"step {step + 1}: {error}") from None
        if self._average is not None:
            self._average.update(step + 1)

    def update(self, name: str, loss: Callable[[], tuple[Tensor, dict[str, Tensor]]], parts: int = 1) -> None:
        """One player's turn: the gradient of ``loss`` (called ``parts`` times, the mean taken), clipped, and a step."""
        player, factor = self._players[name], self.rate_factor(self.global_step)
        for parameter in self._frozen[name]:
            parameter.requires_grad_(False)
        for _ in range(parts):
            value, logged = loss()
            if value.ndim:
                gives = f"what the {name} minimises has shape {tuple(value.shape)}, and must be one number"
                raise ConfigError("loss", (self.config.get("choices") or {}).get("loss"), f"{gives}: a mean")
            self._backward(value / parts if parts > 1 else value)
            self.meter.add(self.global_step + 1, logged, self._prefix[name])
        for parameter in self._frozen[name]:
            parameter.requires_grad_(True)
        for group, rate in zip(player.optimizer.param_groups, player.rates, strict=True):
            group["lr"] = rate * factor
        self._step(player)
        player.optimizer.zero_grad()

    def _step(self, player: Player) -> None:
        """An optimizer step. Lightning counts those that go through it, and a step of ours is the closing player's."""
        counted = player is self._closing
        if not counted and not self._scaled:
            self._clip(player)
            player.optimizer.step()
            return
        optimizer: Any = self.optimizers()
        optimizer = optimizer[list(self._players.values()).index(player)] if len(self._players) > 1 else optimizer
        if not counted:
            optimizer._on_before_step = optimizer._on_after_step = _nothing
        optimizer.step()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip, now that a gradient scaler has undone its scaling."""
        self._clip(next(player for player in self._players.values() if player.optimizer is optimizer))

    def _clip(self, player: Player) -> None:
        """Clip the gradient, and keep its norm for the log: of every step where it is clipped, else of logged steps."""
        step, limit = self.global_step + 1, self.settings.gradient_clip_val
        if limit is not None:
            norm = nn.utils.clip_grad_norm_(player.parameters, limit)
        elif step % self.settings.log_every == 0:
            norm = nn.utils.get_total_norm([p.grad for p in player.parameters if p.grad is not None])
        else:
            return
        if not self._scaled:  # a gradient scaler finds its scale by overflows, which are no fault
            self.meter.add(step, {"gradient_norm": norm}, self._prefix[player.name])

    def rate_factor(self, step: int) -> float:
        """What the learning rates are multiplied with at ``step`` (from 0)."""
        settings = self.settings
        rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
        done = min(1.0, max(0.0, (step - settings.warmup) / max(1, self.steps - settings.warmup)))
        falls = {
            "constant": 1.0,
            "linear": 1 - done,
            "late": min(1.0, 2 - 2 * done),
            "cosine": (1 + math.cos(math.pi * done)) / 2,
        }
        return rise * falls[settings.schedule]

    def split_batch(self, batch: Mapping[str, Tensor], parts: int) -> list[dict[str, Tensor]]:
        """The batch in equal consecutive parts."""
        if parts == 1:
            return [dict(batch)]
        pieces = {name: value.chunk(parts) for name, value in batch.items()}
        return [dict(zip(pieces, values, strict=True)) for values in zip(*pieces.values(), strict=True)]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The model as it will sample: averaged weights, evaluation mode, no gradients; as it was afterwards."""
        context = self._average.applied() if self._average is not None else contextlib.nullcontext()
        self.model.eval()
        try:
            with context, torch.no_grad():
                yield self.model
        finally:
            self.model.train()

    def validate(self, batches: Iterable[Mapping[str, Tensor]]) -> float | None:
        """Mean of ``validation_nats`` over this rank's batches and all ranks; the same noise every time."""
        total = torch.zeros(2, dtype=torch.float64)
        reseed(self.config["seed"], -1, self.global_rank)
        with self.averaged():
            for batch in batches:
                nats = self.validation_nats({name: value.to(self.device) for name, value in batch.items()})
                if nats is None:
                    return None
                total += torch.tensor([nats.double().sum().item(), len(nats)], dtype=torch.float64)
        if self.trainer.world_size > 1:
            total = self.trainer.strategy.reduce(total.to(self.device), reduce_op="sum").cpu()
        return (total[0] / total[1]).item()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # Batches put it there

    def on_save_checkpoint(self, state: dict[str, Any]) -> None:
        state["genlab"] = checkpoint.card(self.config, self.spec, self.global_step)
        state["average"] = self._average.state_dict() if self._average is not None else {}
        state["meter"] = self.meter.state_dict()

    def on_load_checkpoint(self, state: dict[str, Any]) -> None:
        self._restored = {name: state[name] for name in ("average", "meter")}


def reseed(*numbers: int) -> None:
    """Seed torch's generators with a number that all of ``numbers`` decide."""
    seed = mix(*numbers) >> 1
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(seed)


def _nothing() -> None:
    """Stands where Lightning counts the step of an optimizer."""


def validation_batches(examples: Examples, size: int, rank: int, ranks: int) -> Iterator[dict[str, Tensor]]:
    """This rank's share of the examples, in order."""
    for start in range(rank * size, len(examples.x), size * ranks):
        batch = {"x": examples.x[start : start + size]}
        if examples.y is not None:
            batch["y"] = examples.y[start : start + size]
        yield batch
