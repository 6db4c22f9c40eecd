"""Laws of the metrics on features and logits: agreement with torch-fidelity, known answers, planted truths, ranks."""

import math

import numpy as np
import pytest
import torch
from fidelity import fidelity
from omegaconf import OmegaConf
from scipy.spatial.distance import cdist, pdist
from torch.nn import functional
from torchmetrics.utilities import dim_zero_cat

from genlab.data.digits import Digits
from genlab.errors import GenlabError
from genlab.extractors.base import Features
from genlab.metrics.birthday import Birthday, collision_rate
from genlab.metrics.choose import choose
from genlab.metrics.features import squared_distances
from genlab.metrics.inception_score import InceptionScore
from genlab.metrics.kernel_distance import KernelDistance, kernel_distance
from genlab.metrics.mmd import MMD, mean_kernels
from genlab.metrics.mode_score import ModeScore
from genlab.metrics.precision_recall import PrecisionRecall
from genlab.presets import conf_folder
from genlab.spec import Spec

ALL = (KernelDistance, MMD, PrecisionRecall, ModeScore, Birthday)


class Planted:
    """An extractor whose features and logits are its input."""

    name, hash = "planted", "0"

    def __init__(self, size, classes=None):
        self.dimensions, self.classes = size, size if classes is None else classes

    def __call__(self, x):
        return Features(x, x)


def shown(metric, x, source, batch=1000, first=0):
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        metric.update({"x": part, "index": torch.arange(first + start, first + start + len(part))}, source)
    return metric


def both(metric, generated, real, batch=1000):
    return shown(shown(metric, generated, metric.reads[0], batch), real, metric.reads[1], batch)


def figures(kind, generated, real, batch=1000, **options):
    return both(kind(Planted(generated.shape[1]), **options), generated, real, batch).compute()


def values(kind, generated, real, **options):
    return {name: figure.value for name, figure in figures(kind, generated, real, **options).items()}


def normal(*shape, seed=0):
    """In float32, as features are."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mean_is_zero(drawn):
    return abs(np.mean(drawn)) < 3 * np.std(drawn, ddof=1) / math.sqrt(len(drawn))


# Kernel distance


@pytest.mark.parametrize("n, m, d, size", [(300, 250, 24, 100), (700, 600, 64, 500), (90, 70, 200, 70)])
def test_the_kernel_distance_is_that_of_torch_fidelity(n, m, d, size):
    x, y = normal(n, d).relu(), (normal(m, d, seed=1) + 0.1).relu()
    found = figures(KernelDistance, x, y, subsets=8, size=size)["kid"]
    options = {"kid_subsets": 8, "kid_subset_size": size, "rng_seed": 2020, "verbose": False}
    expected = fidelity("metric_kid").kid_features_to_metric(x.double(), y.double(), **options)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=0, abs=1e-12)
    deviation = expected["kernel_inception_distance_std"]  # over the subsets, not corrected for its degree of freedom
    assert found.stderr == pytest.approx(deviation / math.sqrt(7), rel=1e-6)
    protocol = {"n real": m, "subsets": 8, "subset size": size, "subset seed": 2020}
    assert found.protocol == protocol


def test_the_kernel_distance_is_the_mean_over_pairs_of_different_examples():
    x, y = normal(7, 5).double(), normal(7, 5, seed=1).double()
    k = {name: (a @ b.T / 5 + 1) ** 3 for name, a, b in (("xx", x, x), ("yy", y, y), ("xy", x, y))}
    off = [(i, j) for i in range(7) for j in range(7) if i != j]
    expected = np.mean([k["xx"][pair] + k["yy"][pair] for pair in off]) - 2 * float(k["xy"].mean())
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-12)
    assert values(KernelDistance, x, y)["kid"] == pytest.approx(expected, rel=1e-5)


def test_where_all_examples_make_one_subset_there_is_no_spread_over_subsets():
    found = figures(KernelDistance, normal(50, 4), normal(50, 4, seed=1))["kid"]
    assert found.stderr is None and found.protocol["subsets"] == 1 and found.protocol["subset size"] == 50


@pytest.mark.parametrize("kind, names", [(KernelDistance, ["kid"]), (MMD, ["mmd2", "mmd2_multi"])])
def test_unbiased_distances_of_one_distribution_are_zero_on_average(kind, names):
    pairs = [(normal(30, 3, seed=2 * i), normal(30, 3, seed=2 * i + 1)) for i in range(60)]
    same, other = [values(kind, x, y) for x, y in pairs], [values(kind, x, y + 0.5) for x, y in pairs]
    for name in names:
        drawn = [found[name] for found in same]
        assert mean_is_zero(drawn) and min(drawn) < 0 < max(drawn)
        apart = [found[name] for found in other]
        assert not mean_is_zero(apart) and np.mean(apart) > 0


# Kernel MMD


@pytest.mark.parametrize("n, m, d", [(120, 90, 6), (40, 40, 100)])
def test_mmd_is_the_mean_over_pairs_under_kernels_of_the_median_distance(n, m, d):
    x, y = normal(n, d), normal(m, d, seed=1) * 1.5 + 0.3
    median = np.median(pdist(torch.cat([x, y]).double().numpy()))
    of_real = np.median(pdist(y.double().numpy()))

    def square(bandwidth):
        kernel = [np.exp(-(cdist(a, b) ** 2) / (2 * bandwidth**2)) for a, b in ((x, x), (y, y), (x, y))]
        xx, yy = ((k.sum() - len(k)) / (len(k) * (len(k) - 1)) for k in kernel[:2])
        return xx + yy - 2 * kernel[2].mean()

    found = values(MMD, x, y)
    assert found["mmd2"] == pytest.approx(square(median), rel=1e-9)
    assert found["mmd2_multi"] == pytest.approx(np.mean([square(of_real * 2**i) for i in range(-2, 3)]), rel=1e-9)
    assert found["mmd"] == pytest.approx(math.sqrt(found["mmd2"]), rel=1e-12)
    fixed = figures(MMD, x, y, bandwidths=[0.7, 3.0])["mmd2_multi"]
    assert fixed.value == pytest.approx((square(0.7) + square(3.0)) / 2, rel=1e-9)
    assert fixed.protocol["bandwidth"] == "0.7, 3.0"
    for wrong in ([], [1.0, 0.0]):
        with pytest.raises(GenlabError, match="bandwidths="):
            figures(MMD, x, y, bandwidths=wrong)


def test_beyond_the_reach_of_the_fixed_kernels_it_does_not_matter_how_far():
    """Then MMD^2 = E k(x, x') + E k(y, y'), as the kernels are those of the real examples alone."""
    real, x = normal(200, 3), normal(200, 3, seed=1)
    near, far, farther = (values(MMD, x + shift, real)["mmd2_multi"] for shift in (0.5, 256.0, 1024.0))
    assert farther == pytest.approx(far, rel=1e-4) and 0 < near < far / 5


def test_mean_kernels_of_gaussians_are_those_of_the_closed_form():
    """E exp(-|x - y|^2 / 2 s^2) = (s^2 / (s^2 + 2))^(d/2) exp(-|m|^2 / 2 (s^2 + 2)) for unit Gaussians m apart."""
    widths, apart = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64), torch.tensor([1.0, -0.5])
    alike = widths**2 / (widths**2 + 2)
    expected = torch.stack([alike, alike * torch.exp(-1.25 / 2 / (widths**2 + 2))])
    drawn = []
    for i in range(15):
        x, y = normal(150, 2, seed=2 * i), normal(150, 2, seed=2 * i + 1) + apart
        drawn.append(torch.stack([mean_kernels(x, other, widths.tolist()) for other in (x, y)]) - expected)
    errors = torch.stack(drawn)
    assert all(mean_is_zero(errors[:, i, j].numpy()) for i in range(2) for j in range(3))
    assert errors.mean(0).abs().max() < 0.01


def test_a_square_below_zero_has_no_root():
    drawn = [values(MMD, normal(20, 3, seed=2 * i), normal(20, 3, seed=2 * i + 1)) for i in range(20)]
    assert {("mmd" in found, found["mmd2"] > 0) for found in drawn} == {(True, True), (False, False)}


def test_more_examples_than_the_limit_are_thinned_and_it_is_told():
    x, y = normal(300, 4), normal(400, 4, seed=1) + 0.5
    thinned, whole = figures(MMD, x, y, limit=100)["mmd2"], figures(MMD, x, y)["mmd2"]
    assert thinned.protocol["limit"] == 100 and thinned.protocol["n real"] == 400
    assert thinned.value != whole.value and thinned.value == pytest.approx(whole.value, abs=0.05)


def test_a_median_of_zero_is_that_of_the_pairs_apart():
    x = torch.cat([torch.zeros(97, 2), torch.tensor([[3.0, 4.0]] * 3)])
    assert values(MMD, x, normal(5, 2))["mmd2"] > 0  # most pairs coincide
    assert values(MMD, torch.ones(30, 2), torch.ones(20, 2))["mmd2"] == pytest.approx(0, abs=1e-14)


# Precision and recall


def brute(generated, real, k):
    """Precision, recall, density and coverage by the definitions, with the integers' exact distances."""
    gr, gg, rr = (
        ((a[:, None].double() - b[None].double()) ** 2).sum(2)
        for a, b in ((generated, real), (generated, generated), (real, real))
    )
    around_generated, around_real = gg.sort(1).values[:, k], rr.sort(1).values[:, k]
    held = gr <= around_real
    recall = (gr <= around_generated[:, None]).any(0).double().mean()
    return [float(v) for v in (held.any(1).double().mean(), recall, held.double().sum() / k / len(gr))] + [
        float(held.any(0).double().mean())
    ]


@pytest.mark.parametrize("n, m, d", [(500, 500, 8), (700, 450, 64), (60, 300, 2)])
def test_precision_and_recall_are_those_of_torch_fidelity(n, m, d):
    x, y = (normal(n, d) * 0.8).relu() + 0.01 * normal(n, d, seed=2), normal(m, d, seed=1).relu()
    y += 0.01 * normal(m, d, seed=3)
    found = values(PrecisionRecall, x, y)
    for k in (3, 5):
        expected = fidelity("metric_prc").prc_features_to_metric(
            x.double(), y.double(), prc_neighborhood=k, verbose=False
        )
        assert np.float32(found[f"precision_{k}"]) == expected["precision"]
        assert np.float32(found[f"recall_{k}"]) == expected["recall"]
    assert 0 < found["precision_3"] < 1 and 0 < found["recall_3"] < 1


@pytest.mark.parametrize("scale", [1.0, 0.125])
def test_ties_and_repeated_examples_are_told_as_by_the_definitions(scale):
    x = torch.randint(0, 9, (150, 2), generator=torch.Generator().manual_seed(0)).float()
    y = torch.randint(2, 12, (120, 2), generator=torch.Generator().manual_seed(1)).float()
    found = values(PrecisionRecall, x * scale + 100 * scale, y * scale + 100 * scale)
    for k in (3, 5):
        precision, recall, density, coverage = brute(x, y, k)
        assert found[f"precision_{k}"] == pytest.approx(precision, rel=1e-12)
        assert found[f"recall_{k}"] == pytest.approx(recall, rel=1e-12)
    assert (found["density"], found["coverage"]) == pytest.approx((density, coverage), rel=1e-12)


def test_a_copy_of_the_real_examples_is_precise_and_complete():
    x = normal(200, 7)
    found = values(PrecisionRecall, x, x[torch.randperm(200, generator=torch.Generator().manual_seed(0))])
    assert found.pop("density") == pytest.approx(1 + 1 / 5, rel=1e-12)
    assert set(found.values()) == {1.0}


def test_fresh_examples_have_density_and_coverage_of_one_on_average():
    """E density = 1, and coverage 1 - (n-1)...(n-k) / (2n-1)...(2n-k) for n on each side (Naeem et al., lemma 2)."""
    n, k = 400, 5
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    drawn = [values(PrecisionRecall, normal(n, 2, seed=2 * i), normal(n, 2, seed=2 * i + 1)) for i in range(12)]
    density, coverage = (np.array([found[name] for found in drawn]) for name in ("density", "coverage"))
    assert mean_is_zero(density - 1) and mean_is_zero(coverage - expected)


def modes(count, each, seed):
    """``count`` of ten far modes."""
    centres = 20 * functional.one_hot(torch.arange(count), 10).float()
    return centres.repeat_interleave(each, 0) + normal(count * each, 10, seed=seed)


def test_missing_modes_lower_recall_and_coverage_and_noise_lowers_precision():
    real, whole = modes(10, 30, 0), values(PrecisionRecall, modes(10, 30, 1), modes(10, 30, 0))
    half = values(PrecisionRecall, modes(5, 60, 1), real)
    for name in ("recall_3", "recall_5", "coverage"):
        assert half[name] < 0.6 * whole[name]
    for name in ("precision_3", "precision_5", "density"):
        assert half[name] > 0.9 * whole[name]
    noise = values(PrecisionRecall, torch.cat([modes(10, 30, 1), -100 + normal(300, 10, seed=2)]), real)
    for name in ("recall_3", "recall_5", "coverage"):
        assert noise[name] == whole[name]
    for name in ("precision_3", "precision_5", "density"):
        assert noise[name] == pytest.approx(whole[name] / 2, rel=1e-12)


def test_distances_are_those_of_the_differences_and_zero_between_equal_examples():
    x = torch.cat([normal(300, 30), 1e3 + 1e-3 * normal(50, 30, seed=1)])
    y = torch.cat([x[::2], x[::2] + 1e-3, normal(100, 30, seed=2)])
    found = torch.cat([part for _, part in squared_distances(x, y)])
    expected = torch.from_numpy(cdist(x.double().numpy(), y.double().numpy(), "sqeuclidean"))
    assert torch.equal(found == 0, expected == 0) and int((found == 0).sum()) >= 175
    assert ((found - expected).abs() <= 1e-10 * expected).all()


# Mode Score


def test_the_printed_mode_score_is_the_inception_score():
    logits = 3 * normal(500, 10)
    inception = shown(InceptionScore(Planted(10), n=500, splits=1), logits, "generated").compute()["is"].value
    for train in (normal(300, 10, seed=1), normal(300, 10, seed=2) + 5 * torch.arange(10)):
        assert values(ModeScore, logits, train)["mode_score"] == pytest.approx(inception, rel=1e-12)


def test_mode_scores_are_the_formulas():
    logits, others = 2 * normal(200, 6).double(), normal(150, 6, seed=1).double()
    p, train = logits.softmax(1), others.softmax(1).mean(0)
    example, reverse = float((p * (p / train).log()).sum(1).mean()), float((train * (train / p.mean(0)).log()).sum())
    found = values(ModeScore, logits, others)
    assert found["mode_score_train"] == pytest.approx(math.exp(example - reverse), rel=1e-10)
    assert found["class_kl"] == pytest.approx(reverse, rel=1e-10)


def sure(classes, of=10, gap=8.0):
    return gap * functional.one_hot(classes, of).float()


def test_wrong_class_frequencies_lower_the_mode_score_by_the_training_classes_only():
    train = sure(torch.arange(1000) % 10)
    uneven = sure((torch.arange(1000) % 20).clamp(max=9))  # class 9 in eleven of twenty
    right, wrong = values(ModeScore, train, train), values(ModeScore, uneven, train)
    assert right["class_kl"] == pytest.approx(0, abs=1e-12) and wrong["class_kl"] > 0.3
    assert right["mode_score"] == pytest.approx(right["mode_score_train"], rel=1e-10)
    # Frequencies as in training are right, even and uneven alike: the Inception Score prefers even ones.
    assert values(ModeScore, uneven, uneven)["class_kl"] == pytest.approx(0, abs=1e-12)
    assert values(ModeScore, train, uneven)["class_kl"] > 0.3


@pytest.mark.parametrize("counts", [[110] * 10, [19 * (k + 1) for k in range(10)], [500, 500] + [1] * 8])
def test_the_divergence_of_classes_is_that_of_their_frequencies(counts):
    """By a classifier that is sure: KL(p_train || p_gen), and the score turned around is the printed one by so much."""
    q = np.array(counts) / sum(counts)
    classes = torch.arange(10)
    found = values(ModeScore, sure(classes.repeat_interleave(torch.tensor(counts)), gap=60), sure(classes, gap=60))
    forward, reverse = float((q * np.log(10 * q)).sum()), float(-np.log(10 * q).mean())
    assert found["class_kl"] == pytest.approx(reverse, abs=1e-9)
    assert found["mode_score"] == pytest.approx(10 * math.exp(-forward), rel=1e-9)
    assert found["mode_score_train"] == pytest.approx(10 * math.exp(-reverse), rel=1e-9)


def test_a_class_that_underflows_has_a_finite_divergence():
    only, even = sure(torch.zeros(50, dtype=torch.long), gap=1e4), sure(torch.arange(50) % 2, gap=1e4)
    found = values(ModeScore, only, even)
    assert found["class_kl"] == pytest.approx(5000, rel=1e-3) and found["mode_score_train"] == 0
    assert set(values(ModeScore, even, only)) == {"mode_score", "class_kl"}  # exp(5000) is left out


def test_the_mode_score_wants_classes():
    assert "no classes" in ModeScore(Planted(4, classes=0)).refuses(Spec("vector", (4,)))
    assert not ModeScore(Planted(4)).refuses(Spec("vector", (4,)))


# Birthday paradox


@pytest.mark.parametrize("n, s", [(100, 2500), (1000, 2500), (10000, 2500), (10000, 4000), (300, 200)])
def test_a_planted_support_is_recovered_within_a_factor_of_two(n, s):
    items = normal(n, 8)
    copies = items[torch.randint(0, n, (s,), generator=torch.Generator().manual_seed(n + s))]
    found = figures(Birthday, copies + 1e-4 * normal(s, 8, seed=1), normal(s, 8, seed=2))
    assert found["support"].mark == "~" and n / 2 < found["support"].value < 2 * n
    assert found["support"].stderr < 0.3 * found["support"].value
    assert found["duplicates"].value > 0.99


def test_fewer_real_examples_still_tell_a_support():
    items = normal(1000, 8)
    copies = items[torch.randint(0, 1000, (2500,), generator=torch.Generator().manual_seed(0))]
    assert 500 < values(Birthday, copies, normal(400, 8, seed=2))["support"] < 2000


def test_one_example_for_all_is_a_support_of_one():
    found = figures(Birthday, normal(1, 8).expand(300, 8), normal(300, 8, seed=1))
    assert found["support"][:3] == (1, "~", 0) and found["duplicates"].value == 1


def test_without_duplicates_the_support_is_a_bound_and_not_infinite():
    far = figures(Birthday, 10 * normal(400, 8), normal(400, 8, seed=1))
    assert far["support"].mark == ">=" and far["duplicates"].value == 0
    assert math.exp(-400 * 399 / 2 / far["support"].value) == pytest.approx(0.05)  # of no pair, at the limit
    like_real = figures(Birthday, normal(400, 8), normal(400, 8, seed=1))
    assert like_real["support"].mark == ">=" and like_real["support"].value > 50 * 400 / 4


@pytest.mark.parametrize("n", [8_000, 20_000, 40_000])
def test_a_bound_of_the_support_is_seldom_above_it(n):
    """At most one in twenty draws, and of 60 no more than eight (that would be one in two thousand), says too much."""
    centres, above = normal(n, 8), 0
    for draw in range(60):
        chance = torch.Generator().manual_seed(draw)
        copies = centres[torch.randint(n, (500,), generator=chance)]
        found = figures(Birthday, copies + 1e-4 * normal(500, 8, seed=draw + 1), normal(500, 8, seed=-draw - 1))
        above += found["support"].mark == ">=" and found["support"].value > n
    assert above <= 8


@pytest.mark.parametrize("uneven", [False, True])
def test_the_collision_rate_is_unbiased_and_its_standard_error_true(uneven):
    p = np.arange(1, 41) ** (2.0 if uneven else 0.0)
    p /= p.sum()
    drawn, errors = [], []
    random = np.random.RandomState(0)
    for _ in range(600):
        counts = random.multinomial(150, p)
        rate, stderr = collision_rate(torch.from_numpy(np.repeat(counts - 1, counts)).double())
        drawn.append(rate - np.square(p).sum())
        errors.append(stderr)
    assert mean_is_zero(drawn)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(drawn), rel=0.12)


# All of them


def features_of(kind):
    generated, real = normal(120, 5).abs(), normal(90, 5, seed=1).abs()
    return generated, real, ({"size": 50, "subsets": 3} if kind is KernelDistance else {})


@pytest.mark.parametrize("kind", ALL)
def test_figures_do_not_depend_on_batches(kind):
    generated, real, options = features_of(kind)
    whole = figures(kind, generated, real, **options)
    assert set(whole) <= set(kind.figures) and len(whole) >= 1
    for batch in (1, 7):
        parts = figures(kind, generated, real, batch, **options)
        assert {name: f.value for name, f in parts.items()} == pytest.approx({n: f.value for n, f in whole.items()})


@pytest.mark.parametrize("kind", [MMD, PrecisionRecall, ModeScore, Birthday])
def test_figures_do_not_depend_on_the_order_of_examples(kind):
    generated, real, _ = features_of(kind)
    order = torch.Generator().manual_seed(0)
    shuffled = [x[torch.randperm(len(x), generator=order)] for x in (generated, real[:60])]
    assert values(kind, *shuffled) == pytest.approx(values(kind, generated, real[:60]), rel=1e-10)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")  # of a rank that was shown nothing
@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("split", [0, 50])
def test_two_ranks_give_the_figures_of_one(kind, split):
    """Of which the first may have been shown nothing, as where there are fewer chunks than ranks."""
    generated, real, options = features_of(kind)
    first, second = (kind(Planted(5), **options) for _ in range(2))
    both(first, generated[:split], real[:split])
    both(second, generated[split:], real[split:])
    theirs = iter([dim_zero_cat(state) if isinstance(state, list) else state for state in second.metric_state.values()])
    first._sync_dist(lambda mine, group=None: [mine, next(theirs)])  # what torchmetrics does on rank 0 of two
    found = {name: figure.value for name, figure in first.compute().items()}
    assert found == pytest.approx(values(kind, generated, real, **options), rel=1e-12)


@pytest.mark.parametrize("kind", ALL)
def test_wrong_input_is_one_line(kind):
    real = normal(30, 4)
    broken = real.clone()
    broken[3, 1] = math.nan
    cases = [(broken, real), (real, broken), (real[:0], real), (real, real[:0])]
    if kind is not ModeScore:
        cases += [(real[:1], real), (real, real[:1])]
    for generated, others in cases:
        with pytest.raises(GenlabError) as told:
            figures(kind, generated, others)
        assert "\n" not in str(told.value) and ("not finite" in str(told.value) or "here are" in str(told.value))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("generated", [torch.ones(40, 4), torch.ones(40, 4) * 1e4, torch.zeros(40, 4)])
def test_constant_features_have_defined_figures(kind, generated):
    for real in (normal(30, 4), torch.ones(30, 4)):
        assert all(math.isfinite(value) for value in values(kind, generated, real).values())


def test_every_one_is_chosen_for_images_and_left_out_where_nothing_looks_at_them():
    options = OmegaConf.to_container(OmegaConf.load(conf_folder() / "eval.yaml")) | {"extractor": None}
    chosen, _ = choose(options, None, Digits(), 100)
    assert {type(metric) for metric in chosen.values()} >= set(ALL)
    named, _ = choose(options | {"metrics": "kid,mmd2_multi,recall_5_digits,class_kl,support"}, None, Digits(), 100)
    assert {type(metric) for metric in named.values()} == set(ALL)
