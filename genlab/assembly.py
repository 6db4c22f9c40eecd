"""What a run's config describes: its model, its batches, and the way and the Trainer by which they are trained."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Trainer
from torch import nn

from genlab import checkpoint
from genlab.build import build, later
from genlab.data.base import Examples
from genlab.data.batches import Batches
from genlab.errors import ConfigError, DataError
from genlab.initialise import initialise
from genlab.models.base import Density, Game
from genlab.models.conditions import in_turn
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.pictures import save_density, save_picture
from genlab.run import Run, rank, title
from genlab.spec import Spec
from genlab.training.callbacks import Beside, Keep, Log, Pictures, Progress, Stop, Validate
from genlab.training.devices import processes, strategy
from genlab.training.loggers import loggers
from genlab.training.module import Module, reseed
from genlab.training.settings import Settings
from genlab.training.storage import AtomicIO

PICTURED = 64


class Training(NamedTuple):
    """All that takes part in one training."""

    module: Module
    trainer: Trainer
    stop: Stop
    validate: Validate
    picture: Callable[[Any, Path], None]


def assemble(run: Run) -> Training:
    """The LightningModule with its model and batches, and the Trainer, that a run's config describes."""
    config = run.trainable()
    settings: Settings = build(config["trainer"])
    there(settings)
    if processes(settings) > 1:  # two processes with two threads each on two cores ran thirty times slower
        torch.set_num_threads(max(1, torch.get_num_threads() // processes(settings)))
    data = build(config["data"])
    data.prepare()
    train, held_out = split(data, config, "train"), split(data, config, "val")
    steps = settings.steps(len(train.x))
    if settings.batch_size > len(train.x) and rank() == 0:
        told = f"more than the {len(train.x)} training examples, so a batch holds some of them more than once"
        print(f"trainer.batch_size={settings.batch_size}: {told}", file=sys.stderr)
    module = build_module(config, data.spec, settings, steps)
    begins = not (run.checkpoints / "last.ckpt").is_file()
    if begins and not config.get("init_from") and (parts := getattr(module.model, "frozen", ())):
        reason = f"{title(config)} learns nothing of its {', '.join(parts)}; give the run that has"
        raise ConfigError("init_from", None, reason)
    if begins and config.get("init_from"):
        taken, lines = initialise(module.model, Path(config["init_from"]))
        for line in lines if rank() == 0 else ():
            print(line, flush=True)
        run.note(initialised=taken)
    module.make_batches = lambda: Batches(  # type: ignore[assignment]
        train,
        settings.batch_size * module.batches_per_step(),
        seed=config["seed"],
        augment=data.augment,
        rank=module.global_rank,
        ranks=module.trainer.world_size,
        device=module.device,
        start=module.global_step,
    )

    def picture(model: Any, path: Path) -> None:
        draw(model, data.spec, path, held_out if len(held_out) else train)

    log, stop = Log(run), Stop(settings.seconds())
    every = settings.validate_every or max(1, len(train.x) // settings.batch_size, steps // 20)
    dimensions = data.spec.dimensions if data.spec.levels else None
    validate = Validate(held_out, every, settings.patience, log, dimensions)
    pictures = Pictures(run, settings.sample_every or max(1, steps // 20), picture)
    keep = Keep(run, settings.checkpoint_every, validate, settings.keep_every)
    trainer = Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=strategy(settings, module),
        precision={"32": "32-true"}.get(settings.precision, settings.precision),  # type: ignore[arg-type]
        max_steps=steps,
        max_epochs=-1,
        deterministic=settings.deterministic or None,
        logger=loggers(run),
        callbacks=[Beside([log, validate, pictures, stop, Progress(log, title(config)), keep])],
        plugins=[AtomicIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        log_every_n_steps=settings.log_every,
        default_root_dir=run.path,
    )
    return Training(module, trainer, stop, validate, picture)


def there(settings: Settings) -> None:
    """Refuse a GPU that is not there.

    Raises:
        ConfigError: torch sees none.
    """
    if settings.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator", settings.accelerator, "torch sees no GPU here", "cpu")


def split(data: Any, config: Mapping[str, Any], name: str) -> Examples:
    """The examples of a split; what is wrong with one is told with the data set's name."""
    try:
        return data.split(name)
    except DataError as error:
        raise DataError(f"data={(config.get('choices') or {}).get('data')}, {name}: {error}") from None


def build_module(config: Mapping[str, Any], spec: Spec, settings: Settings, steps: int) -> Module:
    """The way of training around a freshly initialised model: a function of config and spec."""
    reseed(config["seed"])
    model: nn.Module = build(config["model"], spec=spec)
    checkpoint.prepare(model, dict(config))
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    penalty: Penalty = build(config["penalty"])
    if config.get("compile"):
        compile_nets(model, penalty)
    optimizer = later(config["optimizer"])
    return build(
        config["training"],
        model=model,
        loss=build(config["loss"]),
        penalty=penalty,
        spec=spec,
        optimizer=optimizer,
        settings=settings,
        config=dict(config),
        steps=steps,
    )


def compile_nets(model: nn.Module, penalty: Penalty) -> None:
    """Compile the nets in place, all but a critic whose gradient is itself differentiated."""
    plain = list(model.players().values())[:-1] if penalty.twice and isinstance(model, Game) else []
    for child in model.children():
        if not any(child is module for modules in plain for module in modules):
            child.compile()


def draw(model: Any, spec: Spec, path: Path, examples: Examples) -> None:
    """A picture of samples of fixed seeds; in the plane, of the density and of real ``examples`` too."""
    device, real = next(model.parameters()).device, examples.x[:5000]
    count = PICTURED if spec.kind == "image" else 2000
    y = in_turn(spec, count, examples.y).to(device) if getattr(model, "conditional", False) else None
    x = model.sample(Noise(range(count), device), y).cpu()
    if spec.kind == "vector" and spec.dimensions == 2 and isinstance(model, Density):
        save_density(model, x, real, path)
    else:
        save_picture(x, spec, path, real=real)


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """For ``--dry-run``: parameters, shapes, budget and device of a config, nothing trained and nothing written."""
    settings: Settings = build(config["trainer"])
    data = build(config["data"])
    data.prepare()
    train, held_out, test = (data.split(name) for name in ("train", "val", "test"))
    steps = settings.steps(len(train.x))
    module = build_module(config, data.spec, settings, steps)
    there(settings)
    device: str = settings.accelerator
    if device == "auto":
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "model": title(config),
        "data": f"{data.spec.kind} {tuple(data.spec.shape)}, "
        + (f"{data.spec.levels} levels, " if data.spec.levels else "continuous, ")
        + f"{len(train.x)} train, {len(held_out.x)} val, {len(test.x)} test",
        "parameters": {
            name: sum(parameter.numel() for part in modules for parameter in part.parameters())
            for name, modules in module.take_players().items()
        },
        "budget": f"{steps} steps of {settings.batch_size}, {steps * settings.batch_size / len(train.x):.1f} epochs",
        "device": f"{device}, precision {settings.precision}" + shared(settings),
    }


def shared(settings: Settings) -> str:
    """Among how many ranks a batch is shared; nothing of one."""
    devices = settings.devices if isinstance(settings.devices, int) and settings.devices > 0 else None
    ranks = None if devices is None else devices * settings.num_nodes
    return f", {ranks} ranks of {settings.batch_size // ranks} examples a batch" if ranks and ranks > 1 else ""


def quiet() -> None:
    """Lightning's remarks on choices that are deliberate here."""
    for name in ("pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not os.environ.get("GENLAB_DEBUG"):
        logging.raiseExceptions = False  # a log that cannot be written (wandb's, on a full disk) is not worth pages
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch\.distributed).*")
