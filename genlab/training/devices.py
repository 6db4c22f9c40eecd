"""Which processes a job has, and Lightning's name for how they work together."""

from __future__ import annotations

import os

import torch

from genlab.errors import ConfigError
from genlab.training.module import Module
from genlab.training.settings import Settings


def strategy(settings: Settings, module: Module) -> str:
    """Lightning's name of the strategy.

    Raises:
        ConfigError: FSDP without GPUs, or more processes than cores.
    """
    if settings.strategy == "fsdp" and not torch.cuda.is_available():
        raise ConfigError("trainer.strategy", "fsdp", "sharding needs CUDA GPUs, and torch sees none", "ddp")
    gpus = torch.cuda.is_available() and settings.accelerator != "cpu"
    cores = max(2, os.cpu_count() or 1)
    if not gpus and str(settings.devices).isdigit() and int(settings.devices) > cores:
        raise ConfigError("trainer.devices", settings.devices, f"no GPU, so each is a process; there are {cores} cores")
    if settings.strategy == "ddp" and len(module.take_players()) > 1:
        return "ddp_find_unused_parameters_true"  # in one player's turn the others have no gradient
    return settings.strategy


def processes(settings: Settings) -> int:
    """Processes of this job that share this machine's cores."""
    if "LOCAL_WORLD_SIZE" in os.environ:
        return int(os.environ["LOCAL_WORLD_SIZE"])
    return settings.devices if isinstance(settings.devices, int) and settings.accelerator == "cpu" else 1
