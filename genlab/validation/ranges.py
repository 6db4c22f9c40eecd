"""Numbers that cannot be, whatever else a config says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from genlab.errors import ConfigError

DURATION = re.compile(r"\d+(:\d+){1,3}|(\d+(\.\d+)?[dhms])+")
LEAST = {
    "seed": 0,
    "trainer.batch_size": 1,
    "trainer.max_steps": 1,
    "trainer.accumulate_grad_batches": 1,
    "trainer.warmup": 0,
    "trainer.num_nodes": 1,
    "trainer.log_every": 1,
    "trainer.validate_every": 1,
    "trainer.checkpoint_every": 1,
    "trainer.keep_every": 1,
    "trainer.sample_every": 1,
    "trainer.patience": 1,
    "training.critic_steps": 1,
    "model.latent": 1,
    "model.pack": 1,
    "penalty.every": 1,
    "penalty.vectors": 1,
    "loss.warmup": 0,
    "loss.k": 1,
    "data.size": 1,
    "data.limit": 1,
    "data.validation": 0,
    "data.test": 1,
}
POSITIVE = ("trainer.max_epochs", "trainer.gradient_clip_val")
NOT_NEGATIVE = ("weight_decay", "eps", "momentum", "alpha")
"""Of an optimizer, as ``lr``, which is positive, and ``betas``, which are below 1."""


def ranges(look: Callable[[str], Any]) -> Iterator[ConfigError]:
    """Counts that are too small, rates that are not positive, words that are no numbers.

    Args:
        look: what stands at a dotted key, or its default.
    """
    for key, least in LEAST.items():
        value = look(key)
        if is_number(value) and value < least:
            yield ConfigError(key, value, f"must be at least {least}")
    for key in POSITIVE:
        value = look(key)
        if is_number(value) and not 0 < value < float("inf"):
            yield ConfigError(key, value, "must be a positive number")
    yield from of_an_optimizer("optimizer", look)
    players = look("training.players")
    for name in players if isinstance(players, Mapping) else ():
        yield from of_an_optimizer(f"training.players.{name}", look)
    smoothing, slope = look("loss.smoothing"), look("loss.slope")
    if is_number(smoothing) and not 0 <= smoothing < 0.5:
        yield ConfigError("loss.smoothing", smoothing, "must be at least 0 and below 0.5, where labels say nothing")
    if is_number(slope) and not 0 <= slope <= 1:
        yield ConfigError("loss.slope", slope, "must be from 0 (loss-sensitive) to 1 (Wasserstein)")
    count = look("trainer.devices")
    if is_number(count) and count < 1 and count != -1:
        yield ConfigError("trainer.devices", count, "must be at least 1, or -1 or auto for all")
    if isinstance(count, str) and not re.fullmatch(r"auto|-?\d+(,\d+)*", count):
        yield ConfigError("trainer.devices", count, "write a number, auto for all, or the numbers of some", "auto")
    limit = look("trainer.max_time")
    if is_number(limit) or (isinstance(limit, str) and not DURATION.fullmatch(limit)):
        yield ConfigError("trainer.max_time", limit, "write it as 90s, 20m, 1h30m or DD:HH:MM:SS")
    average = look("trainer.ema")
    if is_number(average) and not 0 <= average < 1:
        yield ConfigError("trainer.ema", average, "must be at least 0 and below 1, or null")


def of_an_optimizer(node: str, look: Callable[[str], Any]) -> Iterator[ConfigError]:
    """Rates and decays that no optimizer takes."""
    rate, betas = look(f"{node}.lr"), look(f"{node}.betas")
    held = rate == 0 and node != "optimizer"  # a player that stays as it is
    if is_number(rate) and not (0 < rate < float("inf") or held):
        yield ConfigError(f"{node}.lr", rate, "must be a positive number")
    for name in NOT_NEGATIVE:
        value = look(f"{node}.{name}")
        if is_number(value) and not 0 <= value < float("inf"):
            yield ConfigError(f"{node}.{name}", value, "must not be negative")
    if isinstance(betas, list) and any(is_number(beta) and not 0 <= beta < 1 for beta in betas):
        yield ConfigError(f"{node}.betas", betas, "must each be at least 0 and below 1")


def is_number(value: Any) -> bool:
    """Is it one? Other values are mistakes of type."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
