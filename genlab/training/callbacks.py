"""What happens beside the training step: the log, validation, checkpoints, pictures, progress, and an orderly stop.

All of it is one callback of Lightning's, since each costs every hook of every step a few microseconds; it takes its
parts in their order: the log first, so that a loss that is not finite stops the run before a checkpoint could be made
of it; checkpoints last, so that each holds what validation found.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pytorch_lightning import Callback, Trainer

from genlab.data.base import Examples
from genlab.errors import NumericalError
from genlab.jobs import HELD
from genlab.run import Run, stem
from genlab.training.journal import Journal
from genlab.training.meter import NotFiniteError
from genlab.training.module import Module, validation_batches
from genlab.weights import finite


class Part:
    """One thing that happens beside the step."""

    def start(self, trainer: Trainer, module: Module) -> None:
        """Before the first step, when a checkpoint has been restored."""

    def after(self, trainer: Trainer, module: Module, step: int) -> None:
        """After step ``step``, on every rank."""

    def end(self) -> None:
        """When training ends, however it does."""


class Beside(Callback):
    """All parts, in their order."""

    def __init__(self, parts: Sequence[Part]):
        self.parts = parts

    def on_train_start(self, trainer: Trainer, module: Module) -> None:  # type: ignore[override]
        for part in self.parts:
            part.start(trainer, module)

    def on_train_batch_end(self, trainer: Trainer, module: Module, *_: Any) -> None:  # type: ignore[override]
        step = module.global_step
        for part in self.parts:
            try:
                part.after(trainer, module, step)
            except NumericalError as error:  # of a picture's samples, say
                raise NotFiniteError(f"step {step}: {error}") from None

    def teardown(self, trainer: Trainer, module: Module, stage: str) -> None:  # type: ignore[override]
        for part in self.parts:
            part.end()

    def state_dict(self) -> dict[str, Any]:
        return {type(part).__name__: part.state_dict() for part in self.parts if isinstance(part, Validate)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part in self.parts:
            if isinstance(part, Validate):
                part.load_state_dict(state[type(part).__name__])


class Log(Part):
    """Means of the losses' parts, every ``log_every`` steps, into metrics.csv and the loggers.

    ``seconds`` is the clock's time since the first step, pictures and checkpoints included; a run that goes on counts
    from what its last row has, so that neither a pause nor steps that are trained again are in it.
    """

    def __init__(self, run: Run):
        self.run = run
        self.latest: dict[str, float] = {}

    def start(self, trainer: Trainer, module: Module) -> None:
        self.journal = Journal(self.run.path / "metrics.csv", module.global_step) if trainer.is_global_zero else None
        rows = self.journal.rows if self.journal is not None else []
        self._mark = (time.monotonic(), module.global_step)
        self._start = time.monotonic() - max((float(row.get("seconds") or 0) for row in rows), default=0.0)

    def after(self, trainer: Trainer, module: Module, step: int) -> None:
        if step % module.settings.log_every == 0 or step == module.steps:
            values = module.meter.flush()
            now, (then, before) = time.monotonic(), self._mark
            values["seconds"] = now - self._start
            values["steps_per_second"] = (step - before) / max(now - then, 1e-9)
            values["learning_rate"] = next(iter(module._players.values())).optimizer.param_groups[0]["lr"]
            self._mark = (now, step)
            self.write(trainer, step, values)

    def write(self, trainer: Trainer, step: int, values: dict[str, float]) -> None:
        """Into metrics.csv and every logger, from the first rank."""
        self.latest |= values
        if self.journal is not None:
            self.journal.write(step, values)
            for logger in trainer.loggers:
                logger.log_metrics(values, step)


class Validate(Part):
    """Negative log-likelihood of the validation split, and a stop when it no longer falls."""

    def __init__(self, examples: Examples, every: int, patience: int | None, log: Log, dimensions: int | None):
        self.examples, self.every, self.patience, self.figures = examples, every, patience, log
        self.dimensions = dimensions
        self.best: float | None = None
        self.best_step = 0
        self.latest: float | None = None
        self.since = 0

    def after(self, trainer: Trainer, module: Module, step: int) -> None:
        if len(self.examples.x) == 0 or (step % self.every and step != module.steps):
            return
        size = min(module.settings.batch_size, 256)
        nats = module.validate(validation_batches(self.examples, size, trainer.global_rank, trainer.world_size))
        if nats is None:
            return
        if nats - nats != 0:
            raise NotFiniteError(f"step {step}: the validation likelihood is {nats}")
        self.latest = nats
        self.since += 1
        if self.best is None or nats < self.best:
            self.best, self.best_step, self.since = nats, step, 0
        values = {"val/nats": nats}
        if self.dimensions:
            values["val/bpd"] = nats / (self.dimensions * 0.6931471805599453)
        self.figures.write(trainer, step, values)
        if self.patience is not None and self.since >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_step, self.since = state["best"], state["best_step"], state["since"]


class Keep(Part):
    """``last.ckpt`` every so many steps, at step 100 and at the end; ``best.ckpt`` whenever validation was best; and
    ``step_0001000.ckpt`` every ``lasting`` steps, which later ones do not replace: a course, without optimizers."""

    def __init__(self, run: Run, every: int, validate: Validate, lasting: int | None = None):
        self.run, self.every, self.validate, self.lasting = run, every, validate, lasting

    def after(self, trainer: Trainer, module: Module, step: int) -> None:
        ends = step == module.steps or trainer.should_stop
        best = self.validate.latest is not None and self.validate.best_step == step
        lasts = self.lasting is not None and step % self.lasting == 0
        if not (ends or best or lasts or step % self.every == 0 or step == 100):
            return
        module.meter.check()
        self.check(trainer, module, step)
        if best:
            trainer.save_checkpoint(self.run.checkpoints / "best.ckpt", weights_only=True)
        if lasts:
            trainer.save_checkpoint(self.run.checkpoints / f"{stem(step)}.ckpt", weights_only=True)
        if ends or step % self.every == 0 or step == 100:
            trainer.save_checkpoint(self.run.checkpoints / "last.ckpt")
            if trainer.is_global_zero:
                self.run.note(step=step)

    def check(self, trainer: Trainer, module: Module, step: int) -> None:
        """Keep what was last kept where the step itself has spoilt the weights, of which no loss has told yet.

        Raises:
            NotFiniteError: it has.
        """
        tensors = [*module.model.named_parameters(), *module.model.named_buffers()]
        wild = next((name for name, tensor in tensors if not finite(tensor)), None)
        spoilt = wild is not None
        if trainer.world_size > 1:
            spoilt = trainer.strategy.reduce_boolean_decision(spoilt, all=False)
        if spoilt:
            raise NotFiniteError(f"step {step}: {wild or 'a weight of another rank'} is not finite")


class Pictures(Part):
    """Samples of fixed latents, every so many steps."""

    def __init__(self, run: Run, every: int, draw: Callable[[Any, Any], None]):
        self.run, self.every, self.draw = run, every, draw

    def after(self, trainer: Trainer, module: Module, step: int) -> None:
        if trainer.is_global_zero and step % self.every == 0 and step != module.steps:
            path = self.run.samples / f"{stem(step)}.png"
            with module.averaged() as model:
                self.draw(model, path)
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image("samples", [str(path)], step)


class Stop(Part):
    """Ctrl-C, a scheduler's SIGTERM and ``max_time`` end the run after the step that is under way, with a checkpoint.

    Another Ctrl-C, more than ``AGAIN`` seconds later, ends it at once; sooner it is the same one, which a key that
    bounces or a launcher that passes it on may send twice. What comes while ranks start waits: see ``held``.
    """

    AGAIN: ClassVar[float] = 1.0

    def __init__(self, seconds: float | None):
        self.seconds = seconds
        self.signal: int | None = None
        self._asked = 0.0

    def start(self, trainer: Trainer, module: Module) -> None:
        self._start = time.monotonic()
        self._handlers = {number: signal.signal(number, self._caught) for number in (signal.SIGINT, signal.SIGTERM)}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)

    def after(self, trainer: Trainer, module: Module, step: int) -> None:
        if self.signal is not None:
            trainer.should_stop = True
        if self.seconds is not None and time.monotonic() - self._start > self.seconds:
            trainer.should_stop = True
        if trainer.world_size > 1:  # all ranks stop after the same step
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(trainer.should_stop, all=False)

    def _caught(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self.signal is None:
            self._asked = now
        elif number == signal.SIGINT and now - self._asked > self.AGAIN:
            raise KeyboardInterrupt
        self.signal = number

    def end(self) -> None:
        for number, handler in getattr(self, "_handlers", {}).items():
            if signal.getsignal(number) == self._caught:  # Lightning has put back those that were there before its own
                signal.signal(number, handler)
        self._handlers = {}


class Progress(Part):
    """One line: step, rate, losses and the time left; nothing when stderr is no terminal."""

    def __init__(self, log: Log, name: str):
        self.figures, self.name = log, name
        self._bar: Any = None

    def start(self, trainer: Trainer, module: Module) -> None:
        if not (trainer.is_global_zero and sys.stderr.isatty()):
            return
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        def whole() -> Column:  # what must not give way when the line is short
            return Column(no_wrap=True, min_width=8)

        self._bar = Progress(
            TextColumn(self.name, table_column=Column(no_wrap=True, overflow="ellipsis", max_width=20)),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(module.steps)) + 1)),
            TextColumn("{task.fields[rate]}", table_column=whole()),
            TimeRemainingColumn(table_column=whole()),
            TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=Console(stderr=True),
            expand=True,
            refresh_per_second=4,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=module.steps, completed=module.global_step, rate="", losses="")
        self._next = 0.0

    def after(self, trainer: Trainer, module: Module, step: int) -> None:
        if self._bar is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.2
        latest = dict(self.figures.latest)
        rate = latest.pop("steps_per_second", None)
        latest.pop("learning_rate", None)
        losses = " ".join(f"{name} {value:.4g}" for name, value in list(latest.items())[:4])
        self._bar.update(self._task, completed=step, rate=f"{rate:.1f}/s" if rate else "", losses=losses)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
