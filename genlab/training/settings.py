"""How long, how large, on what, and how often: the ``trainer`` node of a config."""

import re
from dataclasses import dataclass
from typing import Literal

from genlab.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Names are Lightning's where the meaning is. A **step** is one complete round of updates: one optimizer step of
    a likelihood model, one generator update (with its critic updates before it) of a game.

    Args:
        max_steps: steps in all; None: as many as ``max_epochs`` make.
        max_epochs: passes over the training examples. Where both are given, the one that ends first; one typed on the
            command line takes the place of the other that a preset has.
        max_time: wall-clock limit, ``90s``, ``20m``, ``1h30m`` or Lightning's ``DD:HH:MM:SS``; the run ends in order.
        batch_size: examples an update, over all ranks together.
        gradient_clip_val: largest norm of a player's gradient, None for no clipping.
        accumulate_grad_batches: an update's examples are taken in so many parts, for the memory's sake.
        schedule: of the learning rate after ``warmup``: constant, or linear or cosine to zero at the last step,
            or late: constant for the first half, then linear.
        warmup: steps in which the learning rate rises linearly from zero.
        ema: decay of the weight average that samples and is evaluated, None for none.
        precision: 32, bf16-mixed or 16-mixed.
        channels_last: images and weights of convolutions have their channels innermost in memory, as the matrix units
            of GPUs have them in 16 bits; figures are the same up to rounding.
        accelerator: auto, cpu, gpu; devices, num_nodes: as Lightning has them.
        strategy: how ranks share the work: ddp has all weights on each, fsdp shards them; auto: ddp where there are
            several.
        log_every: steps between two rows of metrics.csv.
        validate_every: steps between two validations, None: an epoch, but at most 20 times in a run.
        checkpoint_every: steps between two checkpoints; there is one at step 100 too, and at the end.
        keep_every: steps between two checkpoints that stay, ``step_0001000.ckpt``, for ``genlab eval ckpt=all``; None:
            none but the last and the best.
        sample_every: steps between two sample grids, None: twenty in a run.
        patience: stop after so many validations without a better one; None: never.
        deterministic: ask torch for deterministic kernels.
    """

    max_steps: int | None = None
    max_epochs: float | None = None
    max_time: str | None = None
    batch_size: int = 128
    gradient_clip_val: float | None = None
    accumulate_grad_batches: int = 1
    schedule: Literal["constant", "linear", "late", "cosine"] = "constant"
    warmup: int = 0
    ema: float | None = 0.999
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    channels_last: bool = False
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    log_every: int = 50
    validate_every: int | None = None
    checkpoint_every: int = 1000
    keep_every: int | None = None
    sample_every: int | None = None
    patience: int | None = None
    deterministic: bool = False

    def steps(self, examples: int) -> int:
        """Steps in all, for so many training examples.

        Raises:
            ConfigError: neither steps nor epochs are given.
        """
        given = [] if self.max_steps is None else [self.max_steps]
        if self.max_epochs is not None:
            given.append(max(1, round(self.max_epochs * examples / self.batch_size)))
        if not given and self.max_time is None:
            raise ConfigError("trainer.max_steps", None, "give max_steps, max_epochs or max_time")
        return min(given, default=2**31)

    def seconds(self) -> float | None:
        """``max_time`` in seconds.

        Raises:
            ConfigError: it cannot be read.
        """
        if self.max_time is None:
            return None
        text = str(self.max_time)
        if re.fullmatch(r"\d+(:\d+){1,3}", text):
            parts = [int(part) for part in text.split(":")]
            return sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3600, 86400), strict=False))
        units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
        if re.fullmatch(r"(\d+(\.\d+)?[dhms])+", text):
            return sum(float(number) * units[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)([dhms])", text))
        raise ConfigError("trainer.max_time", self.max_time, "write it as 90s, 20m, 1h30m or DD:HH:MM:SS")
