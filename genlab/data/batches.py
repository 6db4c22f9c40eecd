"""Training batches that are a function of (seed, step), and the sequential batches of evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from genlab.data.base import Examples
from genlab.errors import ConfigError, DataError

RESIDENT = 2 << 30  # bytes: what is smaller is moved to the device once and for all


def mix(*numbers: int) -> int:
    """A 64-bit seed of several numbers in which each bit depends on all of them (the finaliser of splitmix64)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state


class Batches:
    """Endless training batches; batch ``step`` is a function of (seed, step), never of a global generator.

    Epoch e is a permutation of all examples drawn from (seed, e); batch ``step`` takes places step * size to
    (step + 1) * size of all epochs strung together, so none is dropped and all batches are equally large. Rank r of n
    takes the r-th of n equal pieces of each batch. Where some labels are not known (-1), as many labelled examples,
    ``x_labelled`` and ``y_labelled``, come with a batch, drawn with replacement, a function of (seed, step, rank).

    Args:
        examples: what to draw from.
        size: of a batch, all ranks together.
        seed: of the order and of the augmentation.
        augment: fresh randomness for a batch, ``augment(batch, generator)``; the generator is seeded for each step.
        rank: of this process.
        ranks: number of processes.
        device: where batches go. Examples of less than 2 GiB move there at once, and a batch is an index into them.
        start: first step, to resume.
    """

    def __init__(
        self,
        examples: Examples,
        size: int,
        *,
        seed: int,
        augment: Callable[[Mapping[str, Tensor], Generator], Mapping[str, Tensor]] | None = None,
        rank: int = 0,
        ranks: int = 1,
        device: torch.device | str = "cpu",
        start: int = 0,
    ):
        if size < 1:
            raise ConfigError("trainer.batch_size", size, "is at least 1")
        if size % ranks:
            raise ConfigError("trainer.batch_size", size, f"does not divide by the {ranks} processes that share it")
        if len(examples) == 0:
            raise DataError("no examples to train on")
        self.size, self.seed, self.augment, self.start = size, seed, augment, start
        self.rank, self.ranks, self.device = rank, ranks, torch.device(device)
        self.count = len(examples)
        self.resident = examples.x.nbytes <= RESIDENT
        self.x = examples.x.to(self.device) if self.resident else examples.x
        self.y = None if examples.y is None else examples.y.to(self.device if self.resident else "cpu")
        self._generator = Generator(self.device)
        known = None if self.y is None or self.y.dim() > 1 else (self.y >= 0).nonzero().flatten()
        self.known = None if known is None or len(known) in (0, self.count) else known
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        step = self.start
        while True:
            yield self.batch(step)
            step += 1

    def batch(self, step: int) -> Mapping[str, Tensor]:
        """Batch number ``step``, this rank's piece of it."""
        batch = self._batch(self.rows(step), mix(self.seed, step, self.rank))
        if self.known is None:
            return batch
        chance = mix(self.seed, step, self.rank, 1)
        drawn = torch.randint(len(self.known), (len(batch["x"]),), generator=Generator().manual_seed(chance))
        labelled = self._batch(self.known[drawn.to(self.known.device)], chance)
        return {**batch, "x_labelled": labelled["x"], "y_labelled": labelled["y"]}

    def _batch(self, rows: Tensor, chance: int) -> Mapping[str, Tensor]:
        """These examples, with fresh randomness by the seed ``chance``."""
        if self.resident:
            batch = {"x": self.x.index_select(0, rows)}
            if self.y is not None:
                batch["y"] = self.y.index_select(0, rows)
        else:
            batch = self._gathered(rows)
        return batch if self.augment is None else self.augment(batch, self._generator.manual_seed(chance))

    def rows(self, step: int) -> Tensor:
        """Which examples make up this rank's piece of batch ``step``."""
        piece = self.size // self.ranks
        epoch, place = divmod(step * self.size + self.rank * piece, self.count)
        rows = self._permutation(epoch)[place : place + piece]
        while len(rows) < piece:
            epoch += 1
            rows = torch.cat([rows, self._permutation(epoch)[: piece - len(rows)]])
        return rows

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            # drawn on the CPU, so that the order is the same on every device
            order = torch.randperm(self.count, generator=Generator().manual_seed(mix(self.seed, epoch)))
            self._epoch, self._order = epoch, order.to(self.device if self.resident else "cpu")
        return self._order

    def _gathered(self, rows: Tensor) -> dict[str, Tensor]:
        """Rows of a file that may be larger than memory, in ascending order: the disk is read forwards."""
        rows = rows.sort().values
        batch = {"x": torch.from_numpy(np.take(self.x.numpy(), rows.numpy(), axis=0))}
        if self.y is not None:
            batch["y"] = self.y[rows]
        return _moved(batch, self.device)


def _moved(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    if device.type != "cuda":
        return {key: value.to(device) for key, value in batch.items()}
    return {key: value.pin_memory().to(device, non_blocking=True) for key, value in batch.items()}


def chunks(examples: Examples, size: int, device: torch.device | str = "cpu") -> Iterator[dict[str, Any]]:
    """The examples in their order, in batches of ``size``, the last one smaller."""
    for i in range(0, len(examples), size):
        batch = {"x": examples.x[i : i + size]}
        if examples.y is not None:
            batch["y"] = examples.y[i : i + size]
        yield _moved(batch, torch.device(device))
