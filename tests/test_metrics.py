"""Laws of the metrics: known answers, no dependence on batches or ranks, and no figure where there is none."""

import decimal
import json
import math
from importlib.resources import files

import numpy as np
import pytest
import torch
from fidelity import fidelity
from safetensors import safe_open
from torch.nn import functional

from genlab.data.digits import Digits as DigitsData
from genlab.errors import GenlabError
from genlab.extractors.base import Features, Shared
from genlab.extractors.digits import Digits
from genlab.extractors.train import digits
from genlab.metrics.frechet import FrechetDistance, frechet_distance
from genlab.metrics.inception_score import InceptionScore
from genlab.metrics.integral import Integral
from genlab.metrics.likelihood import Likelihood
from genlab.models.base import Bound, Density
from genlab.spec import Spec

IMAGES = Spec("image", (1, 2, 3), levels=17)


class Planted:
    """An extractor whose features and logits are its input."""

    name, hash = "planted", "0"

    def __init__(self, size):
        self.dimensions = self.classes = size

    def __call__(self, x):
        return Features(x, x)


def shown(metric, x, batch=1000, source="generated"):
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        metric.update({"x": part, "index": torch.arange(start, start + len(part))}, source)
    return metric


def score(logits, batch=1000, **options):
    metric = InceptionScore(Planted(logits.shape[1]), n=len(logits), **options)
    return shown(metric, logits, batch).compute()["is"]


def fid(generated, real, batch=1000):
    metric = FrechetDistance(Planted(generated.shape[1]))
    return shown(shown(metric, generated, batch), real, batch, "test").compute()["fid"].value


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_inception_score_of_sure_and_even_answers_is_the_number_of_classes():
    logits = 1e4 * functional.one_hot(torch.arange(1000) % 10, 10).double()
    assert score(logits, splits=1).value == pytest.approx(10, abs=1e-12)


@pytest.mark.parametrize("row", [torch.zeros(10), 1e4 * functional.one_hot(torch.tensor(3), 10), torch.arange(10.0)])
def test_inception_score_of_equal_answers_is_one(row):
    assert score(row.double().expand(2000, 10)).value == pytest.approx(1, abs=1e-12)


def test_inception_score_is_the_printed_formula_over_the_parts_of_the_permutation():
    logits = 2 * normal(1234, 7)
    shuffled = torch.softmax(logits, 1)[np.random.RandomState(2020).permutation(1234)]
    parts = [shuffled[part * 1234 // 10 : (part + 1) * 1234 // 10] for part in range(10)]
    scores = [float((p * (p / p.mean(0)).log()).sum(1).mean().exp()) for p in parts]
    found = score(logits)
    assert found.value == pytest.approx(np.mean(scores), rel=1e-10)
    assert found.stderr == pytest.approx(np.std(scores, ddof=1) / math.sqrt(10), rel=1e-8)
    assert found.protocol["splits"] == 10


def test_inception_score_takes_fewer_parts_of_few_samples():
    assert score(normal(250, 5)).protocol["splits"] == 2
    assert score(normal(99, 5)).stderr is None


def test_frechet_distance_of_known_gaussians():
    """Diagonal covariances: |m|^2 + sum (a - b)^2 for standard deviations a and b."""
    white = normal(500, 4)
    white -= white.mean(0)
    white = white @ torch.linalg.inv(torch.linalg.cholesky(white.T @ white / 499)).T
    a, b, mean = (torch.tensor(row, dtype=torch.float64) for row in ([1, 2, 3, 0], [2, 2, 1, 1], [1, 0, 0, 2]))
    expected = float(mean.square().sum() + (a - b).square().sum())
    assert fid(white * a, white * b + mean) == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings("ignore:.* examples for .* features")
@pytest.mark.parametrize("n, d", [(400, 20), (15, 40)])
def test_frechet_distance_agrees_with_the_eigenvalues_of_the_product_at_any_rank(n, d):
    x, y = normal(n, d) @ normal(d, d, seed=1), normal(n + 3, d, seed=2) @ normal(d, d, seed=3) + 1
    a, b = torch.cov(x.T), torch.cov(y.T)
    root = torch.linalg.eigvals(a @ b).to(torch.complex128).sqrt().real.sum()
    expected = float((x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * root)
    assert fid(x, y) == pytest.approx(expected, rel=1e-6)
    assert fid(y, x) == pytest.approx(fid(x, y), rel=1e-9)


@pytest.mark.parametrize("n, m, d", [(2200, 2100, 2048), (100, 150, 512), (600, 100, 512), (100, 600, 512)])
def test_frechet_distance_from_the_same_features_is_that_of_torch_fidelity(n, m, d):
    """In float32, as extractors give them; where a covariance is singular too."""
    theirs, mix = fidelity("metric_fid"), normal(d, d, seed=2) / d**0.5
    x, y = (normal(n, d) @ mix).relu().float(), (normal(m, d, seed=1) @ mix * 1.1 + 0.1).relu().float()
    statistics = [theirs.fid_features_to_statistics(features) for features in (x, y)]
    expected = theirs.fid_statistics_to_metric(*statistics, False)[theirs.KEY_METRIC_FID]
    assert fid(x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("decades", [0, 6, 12, 18])
@pytest.mark.parametrize("ranks", [(120, 120), (40, 120), (120, 40), (50, 60), (0, 120)], ids=str)
def test_frechet_distance_is_exact_for_spectra_of_any_width_and_rank(ranks, decades):
    """Of S = F F^T and G G^T the trace of the root is the sum of the singular values of F^T G, which lose no digits."""
    spread = torch.logspace(0, -decades / 2, 120, dtype=torch.float64)
    f, g = (torch.linalg.qr(normal(120, 120, seed=seed))[0] * spread for seed in (1, 2))
    f, g = f[:, : ranks[0]], g[:, : ranks[1]]
    a, b, mean = f @ f.T, g @ g.T, torch.zeros(120, dtype=torch.float64)
    expected = float(a.trace() + b.trace() - 2 * torch.linalg.matrix_norm(f.T @ g, "nuc")) if ranks[0] else b.trace()
    tolerance = 1e-12 if min(ranks) == 120 else 1e-7  # a product of lower rank than a factor has noise for zeros
    for ours in (frechet_distance(mean, a, mean, b), frechet_distance(mean, b, mean, a)):
        assert abs(ours - expected) <= tolerance * float(a.trace() + b.trace())


@pytest.mark.parametrize("near", [1.0, 1e-3])
def test_frechet_distance_is_exact_for_features_of_unlike_scales(near):
    """In pairs of features, each of a scale of its own, the root of a 2x2 matrix M has the trace
    (Tr M + 2 (det M)^1/2)^1/2; the sum over pairs is taken in fifty digits."""
    decimal.getcontext().prec = 50
    pairs, draw = 20, np.random.default_rng(0)
    scales, order = np.logspace(-4, 3, pairs), draw.permutation(2 * pairs)
    a, b = np.zeros((2, 2 * pairs, 2 * pairs))
    exact = decimal.Decimal(0)
    for pair, scale in enumerate(scales):
        place = slice(2 * pair, 2 * pair + 2)
        factor = np.eye(2) + 0.5 * draw.normal(size=(2, 2))
        moved = factor + near * draw.normal(size=(2, 2))
        a[place, place], b[place, place] = (scale**2 * f @ f.T for f in (factor, moved))
        p, q = ([[decimal.Decimal(float(v)) for v in row] for row in m[place, place]] for m in (a, b))
        product = sum(p[i][j] * q[j][i] for i in range(2) for j in range(2))
        det = (p[0][0] * p[1][1] - p[0][1] * p[1][0]) * (q[0][0] * q[1][1] - q[0][1] * q[1][0])
        exact += p[0][0] + p[1][1] + q[0][0] + q[1][1] - 2 * (product + 2 * det.sqrt()).sqrt()
    mean = torch.zeros(2 * pairs, dtype=torch.float64)
    a, b = (torch.from_numpy(m[np.ix_(order, order)]) for m in (a, b))
    assert frechet_distance(mean, a, mean, b) == pytest.approx(float(exact), rel=1e-8)


@pytest.mark.filterwarnings("ignore:.* examples for .* features")
@pytest.mark.parametrize("x", [normal(300, 30), normal(10, 30), torch.ones(10, 30)])
def test_frechet_distance_of_equal_sets_is_zero(x):
    assert fid(x, x) == pytest.approx(0, abs=1e-9)


@pytest.mark.filterwarnings("ignore:.* examples for .* features")
def test_frechet_distance_of_constant_features_is_that_of_their_means(capfd):
    assert fid(torch.ones(10, 30), 3 * torch.ones(10, 30)) == pytest.approx(120)
    assert fid(torch.ones(10, 30), normal(10, 30)) > 0
    assert capfd.readouterr() == ("", "")  # of BLAS, which takes no empty matrices


def test_frechet_distance_of_single_points_is_their_squared_distance():
    zero = torch.zeros(2, 2, dtype=torch.float64)
    assert frechet_distance(torch.tensor([3.0, 0.0]), zero, torch.tensor([0.0, 4.0]), zero) == pytest.approx(25)


def test_frechet_distance_is_refused_where_it_is_undefined():
    with pytest.raises(GenlabError, match="two examples"):
        fid(normal(1, 3), normal(10, 3))
    with pytest.raises(GenlabError, match="not finite"):
        fid(torch.full((5, 3), math.nan), normal(10, 3))


@pytest.mark.parametrize("batch", [1, 7, 300])
def test_figures_do_not_depend_on_batches(batch):
    x, y = normal(300, 6), normal(200, 6, seed=1)
    assert fid(x, y, batch) == pytest.approx(fid(x, y), rel=1e-10)
    assert score(x, batch).value == pytest.approx(score(x).value, rel=1e-12)


@pytest.mark.parametrize("far", [1e3, 1e6])
def test_frechet_distance_of_features_far_from_zero_keeps_its_digits(far):
    x, y = normal(300, 6), normal(200, 6, seed=1)
    x, y = x + far - far, y + far - far  # rounded as they will be
    assert fid(x + far, y + far, 64) == pytest.approx(fid(x, y), rel=1e-9)


@pytest.mark.parametrize("far", [0, 1e6])
def test_two_ranks_give_the_figures_of_one(far):
    x, y = normal(256, 6) + far, normal(200, 6, seed=1) + far
    halves = []
    for start in (0, 128):
        distance, inception = FrechetDistance(Planted(6)), InceptionScore(Planted(6), n=256)
        batch = {"x": x[start : start + 128], "index": torch.arange(start, start + 128)}
        distance.update(batch, "generated")
        inception.update(batch, "generated")
        distance.update({"x": y[start * 100 // 128 :][:100], "index": torch.arange(100)}, "test")
        halves.append((distance, inception))
    for mine, other in zip(*halves, strict=True):
        mine.merge_state(other)
    assert halves[0][0].compute()["fid"].value == pytest.approx(fid(x, y), rel=1e-10)
    assert halves[0][1].compute()["is"].value == pytest.approx(score(x).value, rel=1e-12)


class Uniform(torch.nn.Module):
    """Every level of every pixel alike."""

    exact = True

    def log_prob(self, x, y=None):
        return torch.full((len(x),), -IMAGES.dimensions * math.log(IMAGES.levels), dtype=torch.float64)


class Stochastic(Uniform):
    exact = False


class Latent(torch.nn.Module):
    """A bound of -10 / k, with or without the terms of an ELBO."""

    def bound(self, x, y=None, k=1):
        return torch.full((len(x),), -10 / k)


class WithTerms(Latent):
    def terms(self, x, y=None):
        return self.bound(x, y), torch.zeros(len(x), 1)


def likelihood(model, spec=IMAGES, k=None, n=10):
    metric = Likelihood(spec, k=k)
    for start in range(0, n, 4):
        metric.update({"x": torch.zeros(min(4, n - start), *spec.shape)}, "test", model)
    return metric.compute()


def test_a_uniform_model_costs_log2_of_the_levels():
    assert isinstance(Uniform(), Density)
    figures = likelihood(Uniform())
    assert figures["bpd"].value == pytest.approx(math.log2(17), rel=1e-15)
    assert figures["nats"].value == pytest.approx(6 * math.log(17), rel=1e-15)
    assert figures["bpd"].mark == "=" and figures["bpd"].stderr == pytest.approx(0, abs=1e-6)
    assert likelihood(Stochastic())["bpd"].mark == "~"


def test_continuous_data_have_nats_only():
    assert set(likelihood(Uniform(), Spec("vector", (6,)))) == {"nats"}


def test_a_bound_is_marked_and_says_its_samples():
    assert isinstance(Latent(), Bound)
    dequantized = likelihood(Latent())
    assert set(dequantized) == {"nats", "bpd"}
    assert (dequantized["nats"].value, dequantized["nats"].mark, dequantized["nats"].protocol["k"]) == (10, "<=", 1)
    latent = likelihood(WithTerms())
    assert latent["nats"].value == pytest.approx(10 / 500) and latent["nats"].protocol["k"] == 500
    assert latent["negative_elbo"].value == 10 and latent["negative_elbo"].protocol["k"] == 1
    assert likelihood(Latent(), k=5)["nats"].value == pytest.approx(2)
    with pytest.raises(GenlabError, match="k=0"):
        likelihood(Latent(), k=0)


def test_the_standard_error_is_that_of_the_mean():
    class Varied(Uniform):
        def log_prob(self, x, y=None):
            return x.flatten(1).sum(1).double()

    values = normal(50, 1, 2, 3)
    metric = Likelihood(IMAGES)
    for part in values.split(8):
        metric.update({"x": part}, "test", Varied())
    nats = -values.sum((1, 2, 3))
    assert metric.compute()["nats"].value == pytest.approx(float(nats.mean()))
    assert metric.compute()["nats"].stderr == pytest.approx(float(nats.std() / math.sqrt(50)))


def test_a_likelihood_that_is_none_is_an_error():
    class Broken(Uniform):
        def log_prob(self, x, y=None):
            return torch.tensor([math.nan] + [0.0] * (len(x) - 1))

    with pytest.raises(GenlabError, match="1 of 4 examples is NaN"):
        likelihood(Broken())


class Normal(Uniform):
    """Of the plane; ``mass`` is what a wrong log-determinant would make of 1."""

    def __init__(self, mass):
        super().__init__()
        self.mass = mass

    def log_prob(self, x, y=None):
        return math.log(self.mass) - x.square().sum(1) / 2 - math.log(2 * math.pi)


@pytest.mark.parametrize("mass", [1.0, 0.5, 1.1])
def test_an_integral_tells_a_density_from_what_is_none(mass):
    metric = Integral(cells=100)
    for part in (4 * normal(100, 2)).split(30):
        metric.update({"x": part}, "test", Normal(mass))
    assert metric.compute()["integral"].value == pytest.approx(mass, rel=1e-4)
    assert metric.refuses(IMAGES) and not metric.refuses(Spec("vector", (2,)))


def accuracy(extractor, x, y):
    return float((extractor(x).logits.argmax(1) == y).double().mean())


def test_the_bundled_digits_net_knows_its_digits():
    data = DigitsData()
    test = data.split("test")
    weights = files("genlab.extractors").joinpath("weights/digits.safetensors")
    with safe_open(str(weights), "pt") as file:
        card = json.loads(file.metadata()["card"])
    assert len(weights.read_bytes()) <= 200_000
    assert accuracy(Digits(data.spec), test.x, test.y) == pytest.approx(float(card["test accuracy"]), abs=1e-3)
    assert float(card["test accuracy"]) >= 0.97


def test_the_digits_net_sees_the_same_in_any_frame():
    test = DigitsData().split("test")
    extractor = Digits(DigitsData().spec)
    seen = extractor(test.x).logits
    grey = test.x.float() / 16
    colour = Digits(Spec("image", (3, 8, 8), 17, tuple("0123456789")))
    torch.testing.assert_close(colour(test.x.repeat(1, 3, 1, 1)).logits, seen)
    large = functional.pad((grey * 255).repeat_interleave(3, 2).repeat_interleave(3, 3), (4,) * 4)  # 32 x 32, margin 4
    framed = Digits(Spec("image", (1, 32, 32), 256, tuple("0123456789")))
    torch.testing.assert_close(framed(large).logits, seen, atol=1e-3, rtol=1e-3)


def test_the_last_batch_is_remembered_until_it_changes():
    data = DigitsData()
    extractor, x = Shared(Digits(data.spec)), data.split("test").x[:4].clone()
    first = extractor(x)
    assert extractor(x) is first
    x.zero_()
    assert not torch.equal(extractor(x).logits, first.logits)


def test_damaged_weights_are_told(tmp_path):
    whole = files("genlab.extractors").joinpath("weights/digits.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GenlabError, match="damaged"):
        Digits(DigitsData().spec, weights=str(tmp_path / "half.safetensors"))


def test_what_the_digits_net_does_not_know_it_refuses():
    assert Digits.refuses(Spec("vector", (2,)))
    assert Digits.refuses(Spec("image", (3, 32, 32), 256, ("airplane", "automobile")))
    assert not Digits.refuses(DigitsData().spec)


def test_training_of_the_digits_net_repeats_itself():
    (first, card), (second, _) = digits(steps=3), digits(steps=3)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert float(card["test accuracy"]) < 0.9  # three steps have not made the shipped net


def test_frechet_distance_tells_digits_from_noise_and_from_missing_digits():
    data = DigitsData()
    test, train = data.split("test"), data.split("train")
    extractor = Digits(data.spec)

    def distance(x):
        metric = FrechetDistance(extractor)
        return shown(shown(metric, x), test.x, source="test").compute()["fid"].value

    noise = torch.randint(0, 17, train.x.shape, generator=torch.Generator().manual_seed(0))
    assert 3 * distance(train.x) < distance(train.x[train.y < 7]) < distance(noise)


@pytest.mark.parametrize("spread, size", [(0.0, 20.0), (1e3, 1.0)])
def test_the_effective_sample_size_lies_between_one_and_k(spread, size):
    class Weighted(WithTerms):
        def log_weights(self, x, y=None, k=1):
            return -3 + spread * torch.arange(k, dtype=torch.float64)[:, None].expand(k, len(x))

    figures = likelihood(Weighted(), k=20)
    assert figures["ess"].value == pytest.approx(size) and figures["ess"].mark == "~"
    if spread == 0:
        assert figures["nats"].value == pytest.approx(3)
