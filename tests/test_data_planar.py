"""The two-dimensional sets against their own densities."""

import math

import numpy as np
import pytest
import torch
import yaml

from genlab.data import planar
from genlab.data.mixtures import Grid, Ring
from genlab.data.planar import Checkerboard, Moons
from genlab.data.two_lines import TwoLines
from genlab.errors import ConfigError
from genlab.presets import conf_folder

SETS = [Moons, Ring, Grid, Checkerboard, planar.Spirals, planar.SwissRoll, planar.Pinwheel, TwoLines]


@pytest.mark.parametrize("cls", SETS, ids=lambda cls: cls.name)
def test_splits_are_fixed_different_and_as_the_spec_says(cls):
    data, again = cls(train=3000, validation=200, test=400), cls(train=3000, validation=200, test=400)
    data.prepare()
    splits = {name: data.split(name) for name in ("train", "val", "test")}
    assert [len(split) for split in splits.values()] == [3000, 200, 400]
    for name, split in splits.items():
        assert split.x.shape == (len(split), *data.spec.shape) and split.x.dtype == torch.float32
        assert torch.equal(split.x, again.split(name).x)
        if data.spec.classes:
            assert set(split.y.tolist()) == set(range(len(data.spec.classes)))
    assert not torch.equal(splits["val"].x, splits["test"].x[:200])
    assert not torch.equal(cls(seed=1, test=400).split("test").x, splits["test"].x)


def test_moons_have_the_density_of_scikit_learn():
    from sklearn.datasets import make_moons

    ours = Moons(noise=0.1).split("test")
    theirs, labels = make_moons(20000, noise=0.1, random_state=0)
    for k in (0, 1):
        one, other = ours.x[ours.y == k].double(), torch.from_numpy(theirs[labels == k])
        assert torch.allclose(one.mean(0), other.mean(0), atol=0.03)
        assert torch.allclose(one.T.cov(), other.T.cov(), atol=0.02)


def test_two_lines_have_the_entropy_that_they_say():
    """-E[log p] for p = (1/2) sum over k of N(a; theta k, noise^2) on 0 <= u <= 1."""
    data = TwoLines(theta=0.5, noise=0.02, test=4000)
    a = data.split("test").x[:, 0].double()
    one = torch.distributions.Normal(0, 0.02)
    log_p = torch.logaddexp(one.log_prob(a), one.log_prob(a - 0.5)) - math.log(2)
    assert -log_p.mean().item() == pytest.approx(data.entropy, abs=4 * log_p.std().item() / math.sqrt(len(a)))
    assert TwoLines(noise=0.0).entropy is None and TwoLines(theta=0.01).entropy is None


@pytest.mark.parametrize("variant, between", [("ring_unrolled", 2.0), ("ring_wgan_gp", 2 / 1.414)])
def test_variants_of_the_ring_keep_their_proportions(variant, between):
    node = yaml.safe_load((conf_folder() / "data" / f"{variant}.yaml").read_text())
    data = Ring(**{key: value for key, value in node.items() if key != "_target_"})
    assert data.centres.norm(dim=1).tolist() == pytest.approx([between] * 8, rel=1e-4)
    assert data.std == pytest.approx(between / 100, rel=1e-4)


@pytest.mark.parametrize("noise, entropy", [(0.05, 0.289), (0.1, 1.007)])
def test_moons_entropy_is_the_known_one_and_that_of_the_samples(noise, entropy):
    data = Moons(noise=noise, test=4000)
    assert data.entropy == pytest.approx(entropy, abs=0.002)
    x = data.split("test").x.double()
    a = (torch.arange(400, dtype=torch.float64) + 0.5) * math.pi / 400
    arcs = torch.cat([torch.stack([a.cos(), a.sin()], 1), torch.stack([1 - a.cos(), 0.5 - a.sin()], 1)])
    log_p = torch.logsumexp(-torch.cdist(x, arcs).square() / (2 * noise**2), 1)
    log_p -= math.log(len(arcs) * 2 * math.pi * noise**2)
    assert -log_p.mean().item() == pytest.approx(data.entropy, abs=4 * log_p.std().item() / math.sqrt(len(x)))


@pytest.mark.parametrize("data", [Ring(), Grid(), Ring(modes=5, radius=2.0, std=0.02)], ids=["ring", "grid", "other"])
def test_mixtures_have_their_modes_spread_and_entropy(data):
    test = data.split("test")
    distance = torch.cdist(test.x, data.centres)
    assert torch.equal(distance.argmin(1), test.y)
    inside = (distance.min(1).values < 3 * data.std).double().mean().item()
    assert inside == pytest.approx(1 - math.exp(-4.5), abs=0.004)
    counts = torch.bincount(test.y, minlength=len(data.centres)).double()
    expected = len(test) / len(counts)
    assert (counts - expected).abs().max() < 5 * math.sqrt(expected)
    log_p = torch.logsumexp(-distance.double().square() / (2 * data.std**2), 1)
    log_p -= math.log(len(counts) * 2 * math.pi * data.std**2)
    assert -log_p.mean().item() == pytest.approx(data.entropy, abs=4 * log_p.std().item() / math.sqrt(len(test)))


def test_entropy_of_overlapping_modes_is_not_claimed():
    assert Ring(std=0.5).entropy is None


def test_checkerboard_is_uniform_on_eight_squares():
    x = Checkerboard().split("test").x.numpy()
    column, row = np.floor((x.T + 4) / 2).astype(int)
    counts = np.zeros((4, 4))
    np.add.at(counts, (column, row), 1)
    black = np.indices((4, 4)).sum(0) % 2 == 0
    assert (counts[~black] == 0).all()
    assert np.abs(counts[black] - len(x) / 8).max() < 5 * math.sqrt(len(x) / 8)
    assert Checkerboard().entropy == pytest.approx(math.log(32))


@pytest.mark.parametrize(
    "cls, options, key",
    [
        (Moons, {"noise": math.nan}, "data.noise"),
        (Ring, {"std": 0.0}, "data.std"),
        (Grid, {"spacing": -1.0}, "data.spacing"),
        (planar.SwissRoll, {"scale": math.inf}, "data.scale"),
        (Moons, {"test": 0}, "data.test"),
    ],
)
def test_wrong_options_are_named(cls, options, key):
    with pytest.raises(ConfigError) as error:
        cls(**options)
    assert error.value.key == key
