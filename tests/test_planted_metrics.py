"""Metrics whose answer is known beforehand: planted modes, shifts, copies, labels and codes."""

import gzip
import math
import struct
import warnings

import numpy as np
import pytest
import torch
from runs import GAN
from scipy import stats
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from genlab.build import build
from genlab.data.digits import Digits
from genlab.data.mixtures import Grid, Ring
from genlab.data.planar import Moons
from genlab.data.stacked_mnist import StackedMNIST
from genlab.errors import GenlabError
from genlab.extractors.base import Features
from genlab.metrics.choose import choose
from genlab.metrics.class_accuracy import ClassAccuracy
from genlab.metrics.latents import Latents
from genlab.metrics.memorisation import Memorisation, nearest_distance
from genlab.metrics.modes import Modes, StackedModes
from genlab.metrics.probe import CriticProbe, Probe
from genlab.metrics.transport import Transport, energy_distance
from genlab.models.base import Encodes, Posterior
from genlab.spec import Spec

PLANE = Spec("vector", (2,))
TEN = tuple("0123456789")


class Planted:
    """An extractor whose features and logits are its input."""

    name, hash = "planted", "0"

    def __init__(self, size):
        self.dimensions = self.classes = size

    def __call__(self, x):
        return Features(x.flatten(1), x.flatten(1))


class Corner:
    """A classifier of digits that are written into the first pixel; the second moves its feature away."""

    name, hash, dimensions, classes = "corner", "0", 1, 10

    def __call__(self, x):
        assert x.shape[1:] == (1, 28, 28)
        digit = x[:, 0, 0, 0].long()
        apart = x[:, 0, 0, 1].float() / 2
        return Features((digit + apart)[:, None], torch.nn.functional.one_hot(digit, 10).float())


class Identity(torch.nn.Module):
    """A model whose code of an example is the example."""

    def encode(self, x, y=None):
        return x

    def decode(self, z, y=None):
        return z

    latent = 2


class Split(torch.nn.Module):
    """A posterior that is written into the example: half of it means, half log-variances."""

    def posterior(self, x):
        return x.chunk(2, 1)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batches(x, y=None, size=1000):
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        batch = {"x": x[rows], "index": torch.arange(start, min(start + size, len(x)))}
        yield batch if y is None else batch | {"y": y[rows]}


def figures(metric, model=None, size=1000, **sources):
    """What a metric says of examples, or of pairs of examples and labels, by source."""
    for source, given in sources.items():
        x, y = given if isinstance(given, tuple) else (given, None)
        for batch in batches(x, y, size):
            metric.update(batch, source, model)
    return metric.compute()


def values(found):
    return {name: figure.value for name, figure in found.items()}


# Modes


@pytest.mark.parametrize("data", [Grid(), Ring(), Ring(modes=1), Grid(side=7, std=0.1)])
def test_samples_of_the_mixture_find_all_modes_and_98_9_percent_are_near_one(data):
    found = figures(Modes(data), generated=data.split("train").x)
    share = 1 - math.exp(-4.5)
    error = math.sqrt(share * (1 - share) / 100_000)
    assert found["modes"].value == len(data.centres)
    assert found["high_quality"].value == pytest.approx(share, abs=4 * error)
    assert found["high_quality"].stderr == pytest.approx(error, rel=0.1)


def test_samples_of_the_mixture_have_the_reverse_kl_of_chance():
    """(K - 1) / 2n on average over draws of n."""
    parts = Grid().split("train").x.split(2500)
    chance = [figures(Modes(Grid()), generated=part)["reverse_kl"].value for part in parts]
    assert np.mean(chance) == pytest.approx(24 / 2 / (2500 * 0.989), abs=4 * np.std(chance) / math.sqrt(len(chance)))


def test_planted_samples_are_counted_exactly():
    data = Grid()
    counts = torch.zeros(25, dtype=torch.long)
    counts[:4] = torch.tensor([60, 20, 19, 1])
    close = data.centres.repeat_interleave(counts, 0) + torch.tensor([0.149, 0.0])
    far = data.centres[:10] + torch.tensor([0.0, 0.151])
    found = figures(Modes(data), generated=torch.cat([close, far, torch.full((90, 2), math.nan)]), size=7)
    p = np.array([0.6, 0.2, 0.19, 0.01])
    assert values(found) == pytest.approx(
        {"modes": 2, "high_quality": 0.5, "reverse_kl": float((p * np.log(25 * p)).sum())}
    )
    assert found["high_quality"].stderr == pytest.approx(0.5 / math.sqrt(200))
    assert found["modes"].protocol == {"within": 3.0, "least": 20, "modes of data": 25, "std": 0.05, "spacing": 2.0}


def test_one_mode_alone_has_a_reverse_kl_of_log_k():
    data = Ring()
    found = figures(Modes(data), generated=data.centres[3].expand(50, 2))
    assert values(found) == pytest.approx({"modes": 1, "high_quality": 1, "reverse_kl": math.log(8)})


def test_a_blob_touches_most_modes_and_captures_none():
    blob = 3 * normal(2500, 2)
    touched = figures(Modes(Grid(), least=1), generated=blob)
    assert touched["modes"].value >= 15 and touched["high_quality"].value < 0.03
    assert figures(Modes(Grid()), generated=blob)["modes"].value == 0


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_sample_near_a_mode_leaves_no_histogram():
    with pytest.warns(UserWarning, match="at most"), pytest.warns(UserWarning, match="no sample is near a mode"):
        found = figures(Modes(Ring()), generated=torch.zeros(30, 2))
    assert values(found) == {"modes": 0, "high_quality": 0}
    with pytest.raises(GenlabError, match="none"):
        figures(Modes(Ring()), generated=torch.zeros(0, 2))


def test_modes_are_counted_only_where_they_are_known():
    assert not Modes(Grid()).refuses(PLANE) and "not known" in Modes(Moons()).refuses(PLANE)
    assert "not known" in StackedModes(Corner(), Grid()).refuses(PLANE)
    stacks = StackedMNIST()
    assert not StackedModes(Corner(), stacks).refuses(stacks.spec)
    assert "classifier of the ten digits" in StackedModes(Planted(5), stacks).refuses(stacks.spec)
    some = StackedMNIST(classes=["000", "111"])
    assert "left out" in StackedModes(Corner(), some).refuses(some.spec)


def stacks(numbers):
    """Stacks that say in the first pixel of each channel which digit it is."""
    x = torch.zeros(len(numbers), 3, 28, 28, dtype=torch.uint8)
    for channel, unit in enumerate((100, 10, 1)):
        x[:, channel, 0, 0] = torch.as_tensor(numbers) // unit % 10
    return x


def test_stacked_digits_are_counted_unasked_and_by_nothing_else():
    """By the classifier of digits, channel by channel, which as pictures in grey means nobody would look at unasked."""
    stacks = StackedMNIST(limit=10)
    options = {"metrics": "auto", "extractor": None, "n": 10, "k": 1, "split": "test", "seed": 0, "batch": 8}
    metrics, left_out = choose(options, build(GAN, spec=stacks.spec), stacks, 10)
    assert "stacked_modes_mnist" in metrics and not any(name.startswith("frechet") for name in metrics)
    assert "no extractor is taken for such data unasked" in left_out["fid"]
    assert "few for 1000 classes" in CriticProbe(limit=5000).refuses(stacks.spec)
    assert not CriticProbe(limit=20_000).refuses(stacks.spec) and not Probe(limit=30).refuses(Digits().spec)


@pytest.mark.parametrize(
    "numbers, modes, divergence",
    [
        (range(1000), 1000, 0),
        ([7, 70, 700, 707], 4, math.log(250)),
        ([123] * 5, 1, math.log(1000)),
        ([999] * 3 + [0], 2, 0.75 * math.log(750) + 0.25 * math.log(250)),
    ],
)
def test_stacked_modes_are_the_triples_that_occur(numbers, modes, divergence):
    found = figures(
        StackedModes(Corner(), StackedMNIST()),
        generated=stacks(list(numbers)),
        test=stacks([0, 123, 456, 789]),
        size=300,
    )
    assert values(found) == pytest.approx({"modes": modes, "high_quality": 1, "reverse_kl": divergence}, abs=1e-12)


def test_stacks_are_of_quality_whose_three_digits_are_as_near_to_real_ones_as_these_are_to_each_other():
    x = stacks([123] * 4)
    x[0, :, 0, 1], x[1, :1, 0, 1], x[2, 2, 0, 1] = 1, 1, 1
    found = figures(StackedModes(Corner(), StackedMNIST()), generated=x, test=stacks([111, 222, 333]))
    assert values(found)["high_quality"] == 0.25


def test_modes_that_too_few_samples_cannot_fill_are_told():
    ring = Ring()
    with pytest.warns(UserWarning, match="at most 2 of 8 modes can count, for each takes 20 samples"):
        figures(Modes(ring), generated=ring.split("test").x[:50])


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """MNIST's files, with 60 and 20 images; every pixel of a digit d is 10 d, and 10 d + 1 in the test part."""
    folder = tmp_path_factory.mktemp("data") / "mnist"
    folder.mkdir()
    for part, count, mark in (("train", 60, 0), ("t10k", 20, 1)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.broadcast_to((10 * labels + mark)[:, None, None], (count, 28, 28))
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder.parent


def test_the_class_of_a_stack_is_the_number_its_channels_make(mnist):
    data = StackedMNIST(root=str(mnist))
    assert data.spec == Spec("image", (3, 28, 28), 256, tuple(f"{number:03d}" for number in range(1000)))
    assert data.missing() == [] and data.folder == mnist / "mnist"
    parts = {name: data.split(name) for name in ("train", "val", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 45_000, "val": 5_000, "test": 10_000}
    for name, part in parts.items():
        pixels = part.x[:, :, 5, 5].long()
        assert torch.equal(part.y, (pixels // 10) @ torch.tensor([100, 10, 1]))
        assert (pixels % 10 == (name == "test")).all()  # digits of the part itself, none of the other
    assert len(parts["train"].y.unique()) == 1000
    again = StackedMNIST(root=str(mnist)).split("test")
    assert torch.equal(again.x, parts["test"].x) and torch.equal(again.y, parts["test"].y)


def test_classes_of_stacks_are_chosen_by_name(mnist):
    part = StackedMNIST(root=str(mnist), classes=["007", "700"], limit=20).split("train")
    assert len(part) == 20
    assert torch.equal(part.x[:, 0, 0, 0] == 70, part.y == 1)


# Transport


def transport(x, y, **options):
    return figures(Transport(Spec("vector", (x.shape[1],)), **options), generated=x, test=y)


def test_the_distance_of_point_masses_is_their_distance():
    found = transport(torch.zeros(5, 2), torch.tensor([3.0, 4.0]).expand(5, 2))
    assert values(found) == pytest.approx({"wasserstein_1": 5, "wasserstein_2": 5, "energy": 10})


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_a_shifted_copy_is_as_far_as_the_shift(dimensions):
    x, shift = normal(300, dimensions), torch.linspace(-1, 3, dimensions, dtype=torch.float64)
    found = values(transport(x, x + shift))
    assert found["wasserstein_1"] == pytest.approx(float(shift.norm()), rel=1e-6)
    assert found["wasserstein_2"] == pytest.approx(float(shift.norm()), rel=1e-6)
    still = transport(x, x)
    assert (still["wasserstein_1"].value, still["wasserstein_2"].value) == (0, 0)


def test_transport_on_a_line_agrees_with_scipy():
    x, y = normal(400, 1), 0.5 * normal(400, 1, seed=1) + 1
    slope = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    found = values(transport(x * slope, y * slope))
    expected = stats.wasserstein_distance(x[:, 0], y[:, 0]) * math.sqrt(5)
    assert found["wasserstein_1"] == pytest.approx(expected, rel=1e-6)
    squares = (x.sort(0).values - y.sort(0).values).square().mean()  # in order, on a line
    assert found["wasserstein_2"] == pytest.approx(math.sqrt(5 * squares), rel=1e-6)


def test_energy_on_a_line_agrees_with_scipy_but_for_the_points_paired_with_themselves():
    x, y = normal(50, 1), 0.5 * normal(70, 1, seed=1) + 1
    own = [torch.cdist(z, z).sum() / len(z) * (1 / (len(z) - 1) - 1 / len(z)) for z in (x, y)]
    expected = stats.energy_distance(x[:, 0], y[:, 0]) ** 2 - float(sum(own))
    assert energy_distance(x, y) == pytest.approx(expected, rel=1e-10)


def test_energy_of_one_distribution_is_zero_on_average():
    found = [energy_distance(normal(20, 2, seed=i), normal(20, 2, seed=1000 + i)) for i in range(500)]
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found) / math.sqrt(500))


@pytest.mark.parametrize("power, name", [(1, "wasserstein_1"), (2, "wasserstein_2")])
def test_transport_in_the_plane_is_the_best_assignment(power, name):
    x, y = normal(200, 2).float(), (2 * normal(200, 2, seed=1) + 1).float()
    cost = torch.cdist(x.double(), y.double()).pow(power).numpy()
    best = cost[linear_sum_assignment(cost)].mean() ** (1 / power)
    assert transport(x, y)[name].value == pytest.approx(best, rel=1e-9)


def test_equally_many_points_are_chosen_by_the_seed_whatever_the_batches():
    x, y = normal(300, 2), normal(120, 2, seed=1)
    found = transport(x, y, limit=50)
    assert found["wasserstein_1"].protocol == {"points": 50, "subset seed": 0}
    assert transport(x, y)["energy"].protocol["points"] == 120
    metric = Transport(PLANE, limit=50)
    assert values(figures(metric, size=7, generated=x, test=y)) == values(found)
    assert values(transport(x, y, limit=50, seed=1)) != values(found)


def test_transport_is_refused_where_it_is_undefined():
    assert Transport(PLANE).refuses(Spec("image", (1, 8, 8), 17))
    with pytest.raises(GenlabError, match="two points of each; here are 1 and 9"):
        transport(normal(1, 2), normal(9, 2))
    with pytest.raises(GenlabError, match="not finite"):
        transport(torch.full((5, 2), math.inf), normal(9, 2))
    with pytest.raises(GenlabError, match="limit=1"):
        Transport(PLANE, limit=1)


# Memorisation


def memorisation(generated, train=None, test=None, size=1000, **options):
    train = normal(3000, 3, seed=1) if train is None else train
    test = normal(1000, 3, seed=2) if test is None else test
    metric = Memorisation(Planted(train.shape[1]), **options)
    return figures(metric, size=size, generated=generated, train=train, test=test)


def test_a_perfect_model_is_as_far_from_the_training_examples_as_held_out_ones():
    found = memorisation(normal(1000, 3, seed=3))
    assert found["memorised"].value == pytest.approx(0.01, abs=0.015)
    assert found["nearest_train"].value == pytest.approx(1, abs=0.1)
    assert found["memorised"].protocol == {"n train": 3000, "n real": 1000}


@pytest.mark.parametrize("noise", [0, 1e-4])
def test_a_model_that_copies_is_caught(noise):
    train = normal(3000, 3, seed=1)
    copies = train[::3] + noise * normal(1000, 3)
    found = memorisation(copies)
    assert found["memorised"].value > 0.99 and found["nearest_train"].value < 0.01
    half = memorisation(torch.cat([copies, normal(1000, 3, seed=3)]))
    assert half["memorised"].value == pytest.approx(0.505, abs=0.015)
    assert half["memorised"].stderr == pytest.approx(0.5 / math.sqrt(2000), rel=1e-3)


def test_far_samples_have_memorised_nothing():
    found = memorisation(10 + normal(500, 3))
    assert found["memorised"].value == 0 and found["nearest_train"].value > 10


def test_held_out_examples_themselves_are_at_the_percentile():
    test = normal(1000, 3, seed=2)
    found = memorisation(test, test=test, size=77)
    assert found["memorised"].value == 0.01 and found["nearest_train"].value == 1


@pytest.mark.parametrize("dimensions", [2, 50])
def test_nearest_distances_are_those_of_all_pairs(dimensions):
    x, y = 100 + normal(4200, dimensions).float(), 100 + normal(2300, dimensions, seed=1).float()
    y[2250:2260] = x[:10]
    some = torch.cat([torch.arange(50), torch.arange(4050, 4200)])  # of two pieces
    pairs = torch.cdist(x[some].double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
    found = nearest_distance(x, y)[some]
    assert torch.allclose(found, pairs.min(1).values, rtol=1e-9, atol=0)
    assert (found[:10] == 0).all()


def test_memorisation_is_refused_where_copies_would_not_show():
    x = normal(200, 3)
    with pytest.raises(GenlabError, match="takes 100 examples of 'test'; here are 99"):
        memorisation(x, test=x[:99])
    with pytest.raises(GenlabError, match="half of 'test' is found in 'train'"):
        memorisation(x, train=x, test=x)
    with pytest.raises(GenlabError, match="not finite"):
        memorisation(torch.full((9, 3), math.nan))
    with pytest.raises(GenlabError, match="0 generated"):
        memorisation(x[:0])
    assert Memorisation(Planted(3), split="train").refuses(PLANE) and not Memorisation(Planted(3)).refuses(PLANE)


# Class accuracy


def test_class_accuracy_is_the_share_that_is_recognised():
    y = torch.arange(1000) % 10
    x = torch.nn.functional.one_hot(torch.where(torch.arange(1000) < 700, y, (y + 1) % 10), 10).float()
    found = figures(ClassAccuracy(Planted(10)), generated=(x, y), size=64)["class_accuracy"]
    assert found.value == 0.7 and found.stderr == pytest.approx(math.sqrt(0.21 / 1000))


def test_class_accuracy_takes_labels_and_a_classifier_of_the_same_classes():
    with pytest.raises(GenlabError, match="without labels"):
        figures(ClassAccuracy(Planted(10)), generated=torch.zeros(5, 10))
    metric = ClassAccuracy(Planted(10))
    assert not metric.refuses(Spec("image", (1, 8, 8), 17, TEN))
    assert "no classes" in metric.refuses(Spec("image", (1, 8, 8), 17))
    assert "1000 classes" in metric.refuses(StackedMNIST().spec)
    metric.extractor.labels = TEN[::-1]
    assert "other classes" in metric.refuses(Spec("image", (1, 8, 8), 17, TEN))


# Latents


def latents(mean, log_variance, size=1000, **options):
    return figures(Latents(**options), Split(), size, test=torch.cat([mean, log_variance], 1))


def white(n, z):
    """Codes with mean exactly 0 and variance exactly 1, ddof 0."""
    x = normal(n, z)
    return (x - x.mean(0)) / x.std(0, correction=0)


def test_a_collapsed_posterior_is_idle_and_costs_nothing():
    assert isinstance(Split(), Posterior)
    found = latents(torch.zeros(50, 4), torch.zeros(50, 4))
    assert values(found) == {"active_units": 0, "latent_mismatch": 0, "latent_kl": 0}


def test_units_are_active_above_a_variance_of_one_hundredth():
    scale = torch.tensor([0, 0.099, 0.101, 1.0])
    assert latents(white(500, 4) * scale, torch.zeros(500, 4))["active_units"].value == 2
    assert latents(white(500, 4) * scale, torch.zeros(500, 4), threshold=0.001)["active_units"].value == 3


def test_codes_that_fill_the_prior_have_no_mismatch_and_their_known_cost():
    """Var mu + sigma^2 = 1: KL = -log(sigma) on average, for each dimension."""
    variance = torch.tensor([0.01, 0.5, 0.9], dtype=torch.float64)
    found = latents(white(500, 3) * (1 - variance).sqrt(), variance.log().expand(500, 3))
    assert found["latent_mismatch"].value == pytest.approx(0, abs=1e-12)
    assert found["latent_kl"].value == pytest.approx(float(-variance.log().sum() / 2), rel=1e-9)


def test_the_mismatch_is_that_of_a_gaussian_of_equal_moments():
    mean, variance = torch.tensor([2.0, 0.0]), torch.tensor([0.25, 3.0])
    found = latents(mean + white(500, 2) * (variance / 2).sqrt(), (variance / 2).log().expand(500, 2))
    target = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(mean, variance.sqrt()), target).sum()
    assert found["latent_mismatch"].value == pytest.approx(float(kl), rel=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_mismatch_is_at_most_the_cost(seed):
    found = latents(normal(30, 5, seed=seed), 2 * normal(30, 5, seed=100 + seed))
    assert 0 <= found["latent_mismatch"].value <= found["latent_kl"].value


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_statistics_of_codes_do_not_depend_on_batches_nor_lose_digits_far_from_zero(size):
    n = 100
    mean, log_variance = 1e6 + normal(n, 3), normal(n, 3, seed=1)
    found = latents(mean, log_variance, size)
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    assert found["active_units"].value == 3 and found["latent_kl"].protocol == {"n": n}
    assert found["latent_kl"].value == pytest.approx(float(kl.mean()), rel=1e-12)
    assert found["latent_kl"].stderr == pytest.approx(float(kl.std() / math.sqrt(n)), rel=1e-6)
    still = latents(1e6 + 1e-3 * normal(n, 3), log_variance, size, threshold=1e-9)
    assert still["active_units"].value == 3
    assert latents(1e6 + 1e-3 * normal(n, 3), log_variance, size, threshold=2e-6)["active_units"].value == 0


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_posteriors_that_are_none_are_told():
    with pytest.raises(GenlabError, match="posterior of 1 of 3 examples"):
        latents(torch.tensor([[0.0], [math.nan], [1.0]]), torch.zeros(3, 1))
    with pytest.raises(GenlabError, match="two examples"):
        latents(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(GenlabError, match="no example"):
        Latents().compute()


# Probe


def two_gaussians(n, distance, seed):
    y = torch.arange(n) % 2
    x = normal(n, 3, seed=seed)
    x[:, 1] += (2 * y - 1) * distance / 2
    return x * torch.tensor([1, 100.0, 0.01]) + 5, y


def test_a_probe_of_two_gaussians_has_the_bayes_accuracy():
    """Phi(distance / 2), whatever the scale of the codes."""
    assert isinstance(Identity(), Encodes)
    found = figures(Probe(), Identity(), train=two_gaussians(4000, 2, 0), test=two_gaussians(20_000, 2, 1))
    for name in ("probe_logistic", "probe_svm"):
        assert found[name].value == pytest.approx(stats.norm.cdf(1), abs=0.01)
        assert found[name].protocol == {"n train": 4000, "train seed": 0, "n": 20_000, "C": 1.0}
    assert found["probe_svm"].stderr == pytest.approx(math.sqrt(0.1587 * 0.8413 / 20_000), rel=0.05)


def test_a_probe_of_codes_that_say_nothing_guesses():
    y = torch.from_numpy(np.random.RandomState(0).randint(0, 4, 4000))
    found = figures(Probe(), Identity(), train=(normal(4000, 2), y), test=(normal(4000, 2, seed=1), y))
    assert found["probe_logistic"].value == pytest.approx(0.25, abs=0.03)
    assert found["probe_svm"].value == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("limit", [300, 30, 299])
def test_a_probe_is_scikit_learn_on_the_examples_chosen(limit):
    x, test = (normal(300 * (1 + seed), 5, seed=seed).float() for seed in (0, 1))
    y, labels = (part[:, :3].argmax(1) for part in (x, test))
    rows = np.argsort(np.random.RandomState(0).random_sample(300))[:limit]
    scaler = StandardScaler().fit(x[rows].double())
    expected = {}
    for name, model in (("logistic", LogisticRegression(max_iter=300)), ("svm", LinearSVC(dual=False, max_iter=300))):
        model.fit(scaler.transform(x[rows].double()), y[rows])
        expected[f"probe_{name}"] = model.score(scaler.transform(test.double()), labels)
    for size in (300, 11):
        found = figures(Probe(limit=limit), Identity(), size, train=(x, y), test=(test, labels))
        assert values(found) == expected
        assert found["probe_svm"].protocol["n train"] == limit


def test_a_probe_of_wide_codes_comes_to_the_same():
    rest = normal(3000, 140, seed=7)
    (x, y), (test, labels) = two_gaussians(1000, 3, 0), two_gaussians(2000, 3, 1)
    x, test = torch.cat([x, rest[:1000]], 1), torch.cat([test, rest[1000:]], 1)
    scaler = StandardScaler().fit(x)
    expected = LinearSVC(dual=False).fit(scaler.transform(x), y).score(scaler.transform(test), labels)
    found = figures(Probe(), Identity(), train=(x, y), test=(test, labels))
    assert found["probe_svm"].value == pytest.approx(expected, abs=0.01)


def test_a_probe_keeps_no_more_than_twice_its_limit():
    probe, most = Probe(limit=20), 0
    for batch in batches(normal(1000, 3), torch.arange(1000) % 2, 10):
        probe.update(batch, "train", Identity())
        most = max(most, sum(map(len, probe.train_labels)))
    assert most < 40


def test_a_probe_is_silent_and_needs_no_spread():
    x, y = two_gaussians(400, 9, 0)
    x[:, 0] = 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = figures(Probe(steps=2), Identity(), train=(x, y), test=(x, y))
    assert found["probe_svm"].value > 0.9


def test_a_probe_needs_labels_and_two_classes_of_them():
    x, y = two_gaussians(40, 3, 0)
    with pytest.raises(GenlabError, match="'train' carry no label"):
        figures(Probe(), Identity(), train=x)
    with pytest.raises(GenlabError, match="'train' carry no label each"):
        figures(Probe(), Identity(), train=(x, torch.zeros(40, 5)))
    with pytest.raises(GenlabError, match="of one class"):
        figures(Probe(), Identity(), train=(x, 0 * y), test=(x, y))
    with pytest.raises(GenlabError, match="'test' holds no example"):
        figures(Probe(), Identity(), train=(x, y))
    with pytest.raises(GenlabError, match="not finite"):
        figures(Probe(), Identity(), train=(x * math.nan, y), test=(x, y))
    assert Probe().refuses(PLANE) and not Probe().refuses(Spec("vector", (2,), classes=("a", "b")))
    assert "other examples" in Probe(split="train").refuses(Spec("vector", (2,), classes=("a", "b")))
    model = Identity()
    model.conditional = True
    with pytest.raises(GenlabError, match="together with its label"):
        figures(Probe(), model, train=(x, y))


# States

LABELLED = {name: (normal(n, 2, seed=n), torch.arange(n) % 2) for name, n in (("train", 400), ("test", 150))}
SHOWN = {"generated": (normal(300, 2), torch.arange(300) % 2), **LABELLED}
METRICS = {
    "modes": lambda: Modes(Ring(std=0.3)),
    "transport": lambda: Transport(PLANE, limit=100),
    "memorisation": lambda: Memorisation(Planted(2)),
    "class accuracy": lambda: ClassAccuracy(Planted(2)),
    "latents": Latents,
    "probe": lambda: Probe(limit=60),
}


class Both(Identity, Split):
    """Encodes and has a posterior."""


@pytest.mark.parametrize("name", METRICS)
def test_states_of_two_metrics_merge(name):
    whole, first, second = (METRICS[name]() for _ in range(3))
    for source in whole.reads:
        parts = list(batches(*SHOWN[source], 50))
        for metric, batch in zip([first] * (len(parts) - 1) + [second], parts, strict=True):
            metric.update(batch, source, Both())
            whole.update(batch, source, Both())
    second.merge_state(first)
    assert values(second.compute()) == pytest.approx(values(whole.compute()), rel=1e-10)
