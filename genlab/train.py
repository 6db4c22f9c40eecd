"""``genlab train run=<folder>``: train what a run folder describes, from its last checkpoint if it has one."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genlab import checkpoint
from genlab.agreement import hold, written
from genlab.assembly import Training, assemble, quiet
from genlab.build import admitted
from genlab.errors import CheckpointError, GenlabError, PictureError
from genlab.jobs import answered_by, held
from genlab.plugins import told, word
from genlab.run import Run, alone, rank
from genlab.training.devices import processes
from genlab.training.meter import NotFiniteError
from genlab.training.module import Module
from genlab.training.resume import whole


def main(folder: str | Path) -> int:
    """Train the run in ``folder`` to its end.

    Returns:
        The exit code: 0 done, 130 interrupted after saving.
    """
    run = Run(folder)
    quiet()
    last = run.checkpoints / "last.ckpt"
    with writable(run, last), alone(run):
        for partial in run.checkpoints.glob(".*.partial") if rank() == 0 else ():  # of one that was killed as it wrote
            partial.unlink()
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
        over = f"to start over: rm -r {shlex.quote(os.path.relpath(last.parent))} && genlab train {again(run)}"
        raise CheckpointError(f"{told}{alone}; {over}") from None


def resumable(last: Path) -> str:
    """What is left to go on from."""
    if last.is_file():
        return f"the last good checkpoint is {last}"
    beside = checkpoint.others(last)  # best.ckpt may be written before the first last.ckpt is
    if "beside it:" not in beside:
        return "there is no checkpoint yet"
    return f"there is no {last.name} yet{beside} (weights alone)"


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
