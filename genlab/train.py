"""``genlab train run=<folder>``: train what a run folder describes, from its last checkpoint if it has one."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Trainer
from torch import nn

from genlab import checkpoint
from genlab.agreement import hold, written
from genlab.build import admitted, build, later
from genlab.data.base import Examples
from genlab.data.batches import Batches
from genlab.errors import CheckpointError, ConfigError, DataError, GenlabError, PictureError
from genlab.initialise import initialise
from genlab.jobs import answered_by, held
from genlab.models.base import Density, Game
from genlab.models.conditions import in_turn
from genlab.noise import Noise
from genlab.penalties.base import Penalty
from genlab.pictures import save_density, save_picture
from genlab.plugins import told, word
from genlab.run import Run, alone, rank, title
from genlab.spec import Spec
from genlab.training.callbacks import Beside, Keep, Log, Pictures, Progress, Stop, Validate
from genlab.training.devices import processes, strategy
from genlab.training.loggers import loggers
from genlab.training.meter import NotFiniteError
from genlab.training.module import Module, reseed
from genlab.training.resume import whole
from genlab.training.settings import Settings
from genlab.training.storage import AtomicIO

PICTURED = 64


def main(folder: str | Path) -> int:
    """Train the run in ``folder`` to its end.

    Returns:
        The exit code: 0 done, 130 interrupted after saving.
    """
    run = Run(folder)
    quiet()
    last = run.checkpoints / "last.ckpt"
    with writable(run, last), alone(run):
        removed = bool(run.info.get("step")) and any(run.checkpoints.glob("*.ckpt"))  # others were left
        state = begun(run, last) if last.is_file() or removed else None
        training = assemble(run)
        module, trainer = training.module, training.trainer
        if state is not None:
            if ending := over(run, state["genlab"]["step"], module):
                say(f"{run.path}: trained already, {ending}")
                return 0
            with advised(run, last):
                whole(last, state, module, trainer)
        elif (before := run.info.get("step")) and rank() == 0:
            print(f"{run.path}: none of its checkpoints is left, so its {before} steps start over", file=sys.stderr)
        note(run, status="training", error=None)
        try:
            with held(processes(module.settings) > 1):
                trainer.fit(module, ckpt_path=last if last.is_file() else None, weights_only=True)
        except NotFiniteError as error:
            note(run, status="failed", error=str(error))
            calmer = "a lower optimizer.lr or trainer.gradient_clip_val=1 in a new run may hold"
            raise NotFiniteError(f"{error}; training stopped; {resumable(last)}; {calmer}") from None
        except (CheckpointError, PictureError) as error:
            note(run, status="failed", error=str(error))
            left = f"{error}; {resumable(last)}; make room, then: genlab train {again(run)}"
            raise type(error)(left) from None
        except RuntimeError as error:
            note(run, status="failed", error=told(error))
            if "state_dict" not in str(error):
                raise
            raise CheckpointError(f"{last}: its weights are not those of the model in {run.path}/config.yaml") from None
        except (KeyboardInterrupt, SystemExit):  # of the first Lightning makes the second
            note(run, status="interrupted")
            say(f"stopped before it could save; {resumable(last)}; go on with: genlab train {again(run)}")
            raise KeyboardInterrupt from None
        except BaseException as error:
            note(run, status="failed", error=told(error))
            raise
        return finish(run, training) if trainer.is_global_zero else 0


def over(run: Run, done: int, module: Module) -> str:
    """What ended a training that has come to its end, and what would make it go on; empty of one that has not."""
    settings = module.settings
    if done >= module.steps:
        if settings.max_epochs is None or module.steps == settings.max_steps:
            return f"{done} steps; give trainer.max_steps=... above that to go on"
        epochs = f"trainer.max_epochs={settings.max_epochs:g}"
        return f"{done} steps, where {epochs} makes {module.steps}; give more of them to go on"
    if run.info.get("status") == "done" and (limit := run.info.get("ended")):
        key = limit.partition("=")[0]
        return f"{done} steps: {limit} ended it; give {key}=... again, as much or another, or null, to go on"
    return ""


def limit(training: Training) -> str:
    """What ended a training before its steps were done: the word that sets it; empty where nothing did."""
    settings, validate = training.module.settings, training.validate
    if training.module.global_step >= training.module.steps:
        return ""
    if settings.patience is not None and validate.since >= settings.patience:
        return f"trainer.patience={settings.patience}"
    return f"trainer.max_time={settings.max_time}"


@contextlib.contextmanager
def writable(run: Run, last: Path) -> Iterator[None]:
    """Within the block a full disk is told in one line, with what is left to go on from.

    Raises:
        GenlabError: it is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and "No space left" not in str(error):
            raise
        where, reason = error.filename or run.path, error.strerror or error
        raise GenlabError(f"{where}: cannot write: {reason}; {resumable(last)}") from None


def begun(run: Run, last: Path) -> dict[str, Any]:
    """The contents of a run's last checkpoint.

    Raises:
        CheckpointError: it is damaged; the message says what can be done without it.
        ConfigError: the run's config is not the one that it was trained by.
    """
    run.trainable()
    with advised(run, last):
        state = checkpoint.read(last)
        card = checkpoint.card_of(last, state)
    hold(run, last, card.config)
    for line in written(card.version) if rank() == 0 else ():
        print(f"{last}: {line}", file=sys.stderr)
    return state


@contextlib.contextmanager
def advised(run: Run, last: Path) -> Iterator[None]:
    """Within the block a damaged checkpoint is told with what can be done without it."""
    try:
        yield
    except CheckpointError as error:
        told, there = str(error), checkpoint.others(last)
        told += there if "beside it" not in told else ""
        alone = f" (weights alone: for sample, eval, and init_from={shown(run)} of a new run)" * ("beside it:" in told)
        over = f"to start over: rm {shlex.quote(os.path.relpath(last))} && genlab train {again(run)}"
        raise CheckpointError(f"{told}{alone}; {over}") from None


def resumable(last: Path) -> str:
    """What is left to go on from."""
    return f"the last good checkpoint is {last}" if last.is_file() else "there is no checkpoint yet"


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
    if config.get("init_from") and not (run.checkpoints / "last.ckpt").is_file():
        taken, lines = initialise(module.model, Path(config["init_from"]))
        for line in lines:
            say(line)
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


def finish(run: Run, training: Training) -> int:
    """The last picture, the status, and what to type next."""
    module, validated = training.module, training.validate
    step = module.global_step
    if training.stop.signal is not None:
        with answered_by(lambda number, frame: None):  # what is pressed again must not take this away
            run.note(status="interrupted", step=step)
            say(f"stopped after step {step}, saved; go on with: genlab train {again(run)}")
        return 130
    module.to(training.trainer.strategy.root_device)  # Lightning has left it on the processor, the average not
    with module.averaged() as model:
        training.picture(model, run.samples / "final.png")
    early = limit(training)
    found = {"best": validated.best, "best_step": validated.best_step}
    run.note(status="done", step=step, ended=early or None, error=None, **found)
    say(f"done, {step} steps{f', ended by {early}' if early else ''}: {shown(run)}/samples/final.png")
    say(f"genlab sample {again(run)}    genlab eval {again(run)}")
    return 0


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


def note(run: Run, **entries: Any) -> None:
    """Into run.yaml, from the first rank; on a full disk the error that led here matters more."""
    if rank() == 0:
        with contextlib.suppress(OSError):
            run.note(**entries)


def shown(run: Run) -> str:
    """The run's folder as a user would type it from here."""
    path = os.path.relpath(run.path)
    return shlex.quote(str(run.path) if path.startswith("..") else path)


def again(run: Run) -> str:
    """The words that name the run to another verb, and the plugins that it takes."""
    named = run.config.get("plugins") if admitted() else None  # a folder from elsewhere advises nobody to trust it
    return f"run={shown(run)} {word(named or ())}".rstrip()


def say(line: str) -> None:
    """A line of result, from the first rank."""
    if rank() == 0:
        print(line, flush=True)


def quiet() -> None:
    """Lightning's remarks on choices that are deliberate here."""
    for name in ("pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not os.environ.get("GENLAB_DEBUG"):
        logging.raiseExceptions = False  # a log that cannot be written (wandb's, on a full disk) is not worth pages
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch\.distributed).*")
