"""Several processes that share the work of sampling or evaluating: shares of it, and gathering what they made."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from genlab.errors import ConfigError, GenlabError, nearest
from genlab.run import rank


@contextlib.contextmanager
def group(devices: int, accelerator: str = "auto") -> Iterator[torch.device]:
    """Within the block this process is one of ``devices`` ranks; yields its device.

    The first process starts the others by its own command line; ranks that torchrun or SLURM started are taken as
    they are.
    """
    others: list[subprocess.Popen[bytes]] = []
    started = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    if accelerator not in ("auto", "cpu", "gpu", "cuda"):
        raise ConfigError(
            "device", accelerator, "is auto, cpu or gpu", nearest(accelerator, ("auto", "cpu", "gpu", "cuda"))
        )
    cuda = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())
    if cuda and not torch.cuda.is_available():
        raise ConfigError("device", accelerator, "torch sees no GPU here", "cpu")
    if devices > 1 and not started:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        shared = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(devices),
            "LOCAL_WORLD_SIZE": str(devices),
        }
        for number in range(1, devices):
            command = [sys.executable, "-m", "genlab", *sys.argv[1:]]
            environment = os.environ | shared | {"RANK": str(number), "LOCAL_RANK": str(number)}
            others.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        os.environ.update(shared, RANK="0", LOCAL_RANK="0")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", world))))
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield device
        if world > 1:
            dist.barrier()
    finally:
        if world > 1:
            dist.destroy_process_group()
        if others:
            codes = [other.wait(60) for other in others]
            for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
                os.environ.pop(name, None)
            if any(codes) and sys.exc_info()[0] is None:
                raise GenlabError(f"another rank ended with exit code {max(codes)}")


def share(count: int, chunk: int) -> range:
    """This rank's consecutive part of ``count`` items, in whole chunks: they are the same for any number of ranks.

    The first rank, which speaks for all, has none only where there are none.
    """
    number, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    chunks = -(-count // chunk)
    low, high = (-(-chunks * edge // world) for edge in (number, number + 1))
    return range(min(low * chunk, count), min(high * chunk, count))


def gather(part: Tensor | None) -> Tensor:
    """All ranks' parts in order, on every rank."""
    if not dist.is_initialized():
        if part is None:
            raise ValueError("nothing was made")
        return part
    parts: list[Tensor | None] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return torch.cat([made for made in parts if made is not None])


def first() -> bool:
    """Whether this process speaks and writes for all."""
    return rank() == 0
