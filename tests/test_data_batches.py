"""Batches: every example once in each epoch, a function of (seed, step), shared out among ranks."""

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from genlab.data import batches
from genlab.data.base import Examples
from genlab.data.batches import Batches, chunks, mix
from genlab.errors import ConfigError, DataError

counts, sizes, seeds = some.integers(1, 60), some.integers(1, 40), some.integers(0, 2**63 - 1)


def numbered(count: int) -> Examples:
    return Examples(torch.arange(count, dtype=torch.float32)[:, None].repeat(1, 2), torch.arange(count))


@settings(deadline=None, max_examples=60)
@given(counts, sizes, seeds)
def test_each_epoch_holds_every_example_once_and_no_remainder_is_dropped(count, size, seed):
    stream = Batches(numbered(count), size, seed=seed)
    steps = -(-3 * count // size)
    taken = [batch["y"] for batch in islice(stream, steps)]
    assert all(len(y) == size for y in taken)
    places = torch.cat(taken)
    for epoch in range(3):
        assert places[epoch * count : (epoch + 1) * count].sort().values.tolist() == list(range(count))


@settings(deadline=None, max_examples=60)
@given(counts, sizes, seeds, some.integers(0, 30))
def test_a_resumed_stream_is_the_undisturbed_one(count, size, seed, start):
    undisturbed = list(islice(Batches(numbered(count), size, seed=seed), start + 3))[start:]
    torch.randperm(5)  # the global generator has no say
    resumed = islice(Batches(numbered(count), size, seed=seed, start=start), 3)
    for one, other in zip(undisturbed, resumed, strict=True):
        assert torch.equal(one["x"], other["x"]) and torch.equal(one["y"], other["y"])
        assert torch.equal(one["x"][:, 0].long(), one["y"])


@settings(deadline=None, max_examples=60)
@given(counts, some.integers(1, 8), some.integers(1, 4), seeds, some.integers(0, 20))
def test_ranks_partition_each_batch(count, piece, ranks, seed, step):
    whole = Batches(numbered(count), piece * ranks, seed=seed).batch(step)["y"]
    pieces = [
        Batches(numbered(count), piece * ranks, seed=seed, rank=rank, ranks=ranks).batch(step)["y"]
        for rank in range(ranks)
    ]
    assert all(len(y) == piece for y in pieces)
    assert torch.equal(torch.cat(pieces), whole)


def test_epochs_and_seeds_differ_in_order():
    order = [Batches(numbered(100), 100, seed=seed).batch(step)["y"] for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(y.tolist()) for y in order}) == 4


def test_augmentation_is_a_function_of_seed_step_and_rank():
    def jitter(batch, generator):
        return {**batch, "x": batch["x"] + torch.rand(batch["x"].shape, generator=generator)}

    def noise(seed, step, rank):
        batch = Batches(numbered(50), 10, seed=seed, augment=jitter, rank=rank, ranks=2).batch(step)
        return batch["x"] - batch["y"][:, None]

    assert torch.equal(noise(3, 4, 1), noise(3, 4, 1))
    others = [noise(3, 5, 1), noise(4, 4, 1), noise(3, 4, 0)]
    assert not any(torch.allclose(noise(3, 4, 1), other, atol=1e-3) for other in others)


def test_what_does_not_fit_is_gathered_from_its_file(tmp_path, monkeypatch):
    import numpy as np

    np.save(tmp_path / "x.npy", np.arange(90, dtype=np.uint8).reshape(30, 3))
    big = Examples(torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c")), torch.arange(30))
    resident = Batches(big, 8, seed=0)
    monkeypatch.setattr(batches, "RESIDENT", 10)
    gathered = Batches(big, 8, seed=0)
    assert resident.resident and not gathered.resident
    for one, other in islice(zip(resident, gathered, strict=False), 10):
        assert torch.equal(other["x"][:, 0].long(), 3 * other["y"])
        assert sorted(one["y"].tolist()) == sorted(other["y"].tolist())


@given(some.integers(1, 30), some.integers(1, 12))
def test_chunks_are_the_examples_in_order(count, size):
    parts = list(chunks(numbered(count), size))
    assert torch.cat([part["y"] for part in parts]).tolist() == list(range(count))
    assert all(len(part["x"]) == size for part in parts[:-1])
    assert "y" not in next(chunks(Examples(torch.zeros(3, 2)), 2))


def test_wrong_sizes_are_named():
    with pytest.raises(ConfigError, match=r"trainer\.batch_size=9"):
        Batches(numbered(20), 9, seed=0, ranks=2)
    with pytest.raises(ConfigError, match=r"trainer\.batch_size=0"):
        Batches(numbered(20), 0, seed=0)
    with pytest.raises(DataError, match="no examples"):
        Batches(numbered(0), 4, seed=0)


def test_mixed_seeds_do_not_collide():
    seeds = [mix(a, b) & 0xFFFFFFFF for a in range(60) for b in range(60)]  # torch's CPU generator takes 32 bits
    assert len(set(seeds)) >= len(seeds) - 1
    assert mix(1, 2) != mix(2, 1) and mix(0) != mix(0, 0)
