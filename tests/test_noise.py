"""Noise: the stream of an example is that of its seed alone, call after call."""

import pytest
import torch

from genlab.noise import Noise


@pytest.mark.parametrize("shape", [(), (1,), (15,), (16,), (17,), (3, 5)])
@pytest.mark.parametrize(("kind", "draw"), [("normal", torch.randn), ("uniform", torch.rand)])
def test_rows_are_what_a_generator_of_the_seed_gives(kind, draw, shape):
    noise, streams = Noise([3, 8, 5]), [torch.Generator().manual_seed(seed) for seed in (3, 8, 5)]
    for _ in range(2):
        rows = torch.stack([draw(shape, generator=stream) for stream in streams])
        assert torch.equal(getattr(noise, kind)(*shape), rows)


def test_no_seeds_are_no_rows():
    assert Noise([]).normal(3).shape == (0, 3)
