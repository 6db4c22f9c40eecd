"""The restricted Boltzmann machine against sums over all its states: energies, chains, gradients, log Z."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from runs import MOONS, VAE, make_run
from torch import Tensor

from genlab import config, sample, validate
from genlab.build import build
from genlab.errors import ConfigError, ConfigErrors, GenlabError
from genlab.losses.contrastive_divergence import ContrastiveDivergence
from genlab.losses.nll import NLL
from genlab.metrics.likelihood import Likelihood
from genlab.metrics.partition import Partition
from genlab.models.base import Anneals, Density, Samples, Walks
from genlab.models.energy.rbm import RBM, schedule
from genlab.noise import Noise
from genlab.spec import Spec

POINTS = Spec("vector", (2,))


def image(dimensions: int) -> Spec:
    return Spec("image", (1, 1, dimensions), 2)


def make(spec: Spec, hidden: int, spread: float = 1.0, **options) -> RBM:
    """With weights that couple its units, and data seen."""
    torch.manual_seed(0)
    model = RBM(spec, hidden, **options).double()
    x = torch.randint(2, (40, *spec.shape)) if model.binary else 2 * torch.randn(40, *spec.shape) + 1
    model.negatives(x, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(spread * torch.randn_like(parameter))
        if model.log_scale is not None:
            model.log_scale.mul_(0.3)
    return model.eval()


def every(units: int) -> Tensor:
    """All states of binary units, in an order that is not the model's."""
    return torch.tensor(list(product((0.0, 1.0), repeat=units)), dtype=torch.float64)


def joint(model: RBM) -> Tensor:
    """p(v, h) of a small binary machine, (states of v, states of h)."""
    D, H = model.weight.shape
    v, h = every(D), every(H)
    minus = v @ model.weight @ h.T + (v @ model.visible_bias)[:, None] + h @ model.hidden_bias
    return minus.flatten().softmax(0).view(len(v), len(h)).detach()


def steps(p: Tensor) -> Tensor:
    """Probability of each v after a sweep from each v, (states, states): the sum over h of p(v' | h) p(h | v)."""
    return (p / p.sum(1, keepdim=True)) @ (p / p.sum(0)).T


def shares(v: Tensor) -> Tensor:
    """How often each state is among some, in the order of ``every``."""
    D = v.shape[1]
    numbers = (v.double() @ 2.0 ** torch.arange(D - 1, -1, -1, dtype=torch.float64)).long()
    return numbers.bincount(minlength=2**D) / len(v)


def chi_squared(found: Tensor, p: Tensor, count: int) -> float:
    """Standard deviations by which the statistic of such shares is above its mean."""
    statistic, freedom = count * ((found - p).square() / p).sum().item(), len(p) - 1
    return (statistic - freedom) / math.sqrt(2 * freedom)


@pytest.mark.parametrize("spec", [image(5), Spec("vector", (3,))], ids=["binary", "real"])
def test_free_energy_is_that_of_the_sum_over_hidden_states(spec: Spec) -> None:
    model, h = make(spec, 7), every(7)
    v = every(5) if model.binary else 2 * torch.randn(20, 3, dtype=torch.float64)
    pairs = model.energy(v.repeat_interleave(len(h), 0), h.repeat(len(v), 1)).view(len(v), len(h))
    torch.testing.assert_close(model.free_energy(v), -(-pairs).logsumexp(1), rtol=1e-12, atol=1e-12)
    if model.binary:  # and the energy is that of the equation
        written = -(v @ model.visible_bias)[:, None] - h @ model.hidden_bias - v @ model.weight @ h.T
    else:
        scaled = v / model.log_scale.exp()
        quadratic = (v - model.visible_bias).square() / (2 * torch.exp(2 * model.log_scale))
        constant = model.visible_bias.square() / (2 * torch.exp(2 * model.log_scale))
        written = (quadratic - constant).sum(1)[:, None] - h @ model.hidden_bias - scaled @ model.weight @ h.T
    torch.testing.assert_close(pairs, written, rtol=1e-12, atol=1e-12)


def test_conditionals_are_those_of_the_joint_by_bayes() -> None:
    model = make(image(4), 3)
    p, v, h = joint(model), every(4), every(3)
    on = (p[:, :, None] * h).sum(1) / p.sum(1, keepdim=True)
    torch.testing.assert_close(model.hidden_given(v).sigmoid(), on)
    on = (p[:, :, None] * v[:, None]).sum(0) / p.sum(0)[:, None]
    torch.testing.assert_close(model.visible_given(h).linear.sigmoid(), on)


def test_real_visible_units_given_hidden_ones_are_normal_about_what_they_say() -> None:
    """By the energy on a grid: mean b + sigma W h, deviation sigma."""
    model = make(Spec("vector", (1,)), 3)
    v, scale = torch.linspace(-40, 40, 80_001, dtype=torch.float64)[:, None], model.log_scale.exp().item()
    for h in every(3):
        p = (-model.energy(v, h.expand(len(v), -1))).softmax(0)
        mean = (p * v[:, 0]).sum()
        assert mean.item() == pytest.approx((model.visible_bias + scale * model.weight @ h).item())
        assert (p * (v[:, 0] - mean).square()).sum().sqrt().item() == pytest.approx(scale)
        drawn = model.visible_given(h[None])
        assert drawn.mean().item() == pytest.approx(mean.item())
        assert (drawn.draw(torch.ones(1, 1).double()) - drawn.mean()).item() == pytest.approx(scale)


def test_a_sweep_leaves_the_distribution_as_it_is() -> None:
    """Exactly, of the kernel by Bayes; and sweeps from one state follow that kernel, so that they are not idle."""
    model, count = make(image(3), 2), 200_000
    p, v = joint(model), every(3)
    kernel = steps(p)
    torch.testing.assert_close(p.sum(1) @ kernel, p.sum(1))
    generator = torch.Generator().manual_seed(1)
    for start in (0, 5):
        after = model.sweep(v[start].expand(count, -1), *model.chance(count, generator))
        assert abs(chi_squared(shares(after), kernel[start], count)) < 4
        assert chi_squared(shares(after), p.sum(1), count) > 100


def test_sweeps_on_the_way_to_the_model_leave_each_distribution_on_it_as_it_is() -> None:
    """base(v)^(1 - beta) sum_h exp(-beta E(v, h)), which annealing relies on."""
    model, count, v, h = make(image(3), 2), 200_000, every(3), every(2)
    pairs = -model.energy(v.repeat_interleave(len(h), 0), h.repeat(len(v), 1)).view(len(v), len(h))
    p = (0.7 * pairs + 0.3 * (v @ model.base().linear)[:, None]).flatten().softmax(0).view_as(pairs).detach()
    generator = torch.Generator().manual_seed(1)
    after = model.sweep(v[5].expand(count, -1), *model.chance(count, generator), own=0.7, based=0.3)
    assert abs(chi_squared(shares(after), steps(p)[5], count)) < 4
    torch.testing.assert_close(p.sum(1) @ steps(p), p.sum(1))


def test_samples_come_from_the_distribution_and_each_from_its_seed() -> None:
    model = make(image(4), 3, sweeps=60)
    assert isinstance(model, Samples) and isinstance(model, Walks)
    x = model.sample(Noise(range(6000)))
    assert x.dtype == torch.uint8 and x.shape == (6000, 1, 1, 4)
    assert abs(chi_squared(shares(x.flatten(1)), joint(model).sum(1), 6000)) < 4
    torch.manual_seed(3)
    assert model.sample(Noise([17, 4, 5999, 4])).equal(x[[17, 4, 5999, 4]]) and model.sample(Noise([8])).equal(x[8:9])


def test_a_chain_is_told_where_it_passes() -> None:
    model, seeds, told = make(image(20), 9, sweeps=110), range(30), []
    model.watch = told.append
    passed = model.chain(Noise(seeds), (0, 1, 1, 60, 110))
    assert passed.shape == (5, 30, 1, 1, 20) and told == [pytest.approx(50 / 110), pytest.approx(100 / 110)]
    assert passed[4].equal(model.sample(Noise(seeds))) and passed[1].equal(passed[2])
    assert model.chain(Noise(seeds), (60,))[0].equal(passed[3])
    assert len({tuple(state.flatten().tolist()) for state in passed}) == 4


def test_temperature_divides_the_energy() -> None:
    model = make(image(4), 3, sweeps=60)
    hot = model.sample(Noise(range(6000)), temperature=4.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.div_(4)
    assert abs(chi_squared(shares(hot.flatten(1)), joint(model).sum(1), 6000)) < 4
    real = make(POINTS, 2, spread=0.0, sweeps=3)
    spread = real.sample(Noise(range(4000)), temperature=4.0).std(0)
    torch.testing.assert_close(spread, torch.full_like(spread, 2.0), rtol=0.06, atol=0)


@pytest.mark.parametrize("spec", [image(6), Spec("vector", (3,))], ids=["binary", "real"])
@pytest.mark.parametrize("persistent", [False, True])
def test_the_gradient_is_positive_minus_negative_statistics(spec: Spec, persistent: bool) -> None:
    model = make(spec, 4, chains=7).train()
    x = torch.randint(2, (9, *spec.shape)) if model.binary else torch.randn(9, *spec.shape).double()
    before = model.particles.clone()
    torch.manual_seed(5)
    loss, parts = ContrastiveDivergence(3, persistent)(model, {"x": x}, 0)
    loss.backward()
    torch.manual_seed(5)
    v, negatives = x.flatten(1).double(), before if persistent else x.flatten(1).double()
    scale = 1.0 if model.binary else model.log_scale.exp().detach()
    with torch.no_grad():
        for _ in range(3):
            h = (
                torch.rand(len(negatives), 4, dtype=v.dtype)
                < (model.hidden_bias + negatives / scale @ model.weight).sigmoid()
            )
            field = model.visible_bias + scale * (h.double() @ model.weight.T)
            if model.binary:
                negatives = (torch.rand_like(negatives) < field.sigmoid()).double()
            else:
                negatives = field + scale * torch.randn_like(negatives)
        on = [(model.hidden_bias + units / scale @ model.weight).sigmoid() for units in (v, negatives)]
        positive, negative = ((units / scale).T @ h / len(units) for units, h in zip((v, negatives), on, strict=True))
        torch.testing.assert_close(-model.weight.grad, positive - negative)
        torch.testing.assert_close(-model.hidden_bias.grad, on[0].mean(0) - on[1].mean(0))
        torch.testing.assert_close(-model.visible_bias.grad, (v.mean(0) - negatives.mean(0)) / scale**2)
    assert parts["contrast"] == loss and not parts["contrast"].requires_grad
    torch.testing.assert_close(model.particles, negatives if persistent else before)
    assert model.particles.equal(before) != persistent


def test_chains_and_what_is_known_of_the_data_are_saved() -> None:
    model, other = make(image(6), 4, chains=7), RBM(image(6), 4, chains=7).double()
    assert not other.particles.equal(model.particles)
    other.load_state_dict(model.state_dict())
    other.train()
    torch.manual_seed(5)
    expected = model.train().negatives(torch.zeros(9, 6), 2, persistent=True)
    torch.manual_seed(5)
    assert other.negatives(torch.zeros(9, 6), 2, persistent=True).equal(expected)
    assert other.visible_bias.equal(model.visible_bias) and other.mean.equal(model.mean) and other.seen == 49
    model.eval().negatives(torch.zeros(9, 6), 2, persistent=True)
    assert model.particles.equal(other.particles) and model.seen == 49  # evaluation leaves them


@pytest.mark.parametrize("spec", [image(6), Spec("vector", (6,))], ids=["binary", "real"])
def test_training_starts_from_the_first_batch_and_the_base_follows_all(spec: Spec) -> None:
    torch.manual_seed(0)
    model = RBM(spec, 4).double()
    x = torch.rand(3, 500, 6, dtype=torch.float64)
    x = (x < 0.3).double() if model.binary else 3 + 2 * x
    for batch in x:
        model.negatives(batch, 1)
    means = model.visible_bias.sigmoid() if model.binary else model.visible_bias
    torch.testing.assert_close(means, x[0].mean(0), rtol=0, atol=2e-2)
    everything = x.flatten(0, 1)
    torch.testing.assert_close(model.mean, everything.mean(0))
    torch.testing.assert_close(model.variance, everything.var(0, correction=0))
    if model.log_scale is not None:
        torch.testing.assert_close(model.log_scale.exp(), x[0].std(0), rtol=1e-2, atol=0)
        assert model.base().mean().allclose(everything.mean(0))
        assert model.base().precision.rsqrt().allclose(everything.std(0), rtol=1e-2)
    else:
        torch.testing.assert_close(model.base().linear.sigmoid(), everything.mean(0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("hidden", [5, 25])
def test_probabilities_of_all_states_sum_to_one(hidden: int) -> None:
    """Whichever layer is listed."""
    model, v = make(image(12), hidden), every(12)
    assert model.exact and isinstance(model, Density) and isinstance(model, Anneals)
    assert model.partition().log_z == pytest.approx((-model.free_energy(v)).logsumexp(0).item(), abs=1e-9)
    assert model.log_prob(v.view(-1, 1, 1, 12)).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_the_density_of_real_data_integrates_to_one() -> None:
    model = make(POINTS, 6)
    axis = torch.linspace(-25, 25, 1001, dtype=torch.float64)
    total = model.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.05**2
    assert model.exact and total.item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("pieces", [2**22, 2**9])
def test_pieces_of_the_list_change_nothing(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.models.energy.rbm.AT_ONCE", pieces)
    assert make(image(12), 9).enumerate().item() == pytest.approx(make(image(12), 9).anneal().log_z, abs=0.2)


@pytest.mark.parametrize("spec", [image(64), Spec("vector", (5,))], ids=["binary", "real"])
def test_annealing_finds_the_sum_over_the_states_of_sixteen_hidden_units(spec: Spec) -> None:
    """Far from where the path begins, and within four of its standard errors."""
    model = make(spec, 16, spread=0.3, temperatures=2000)
    with torch.no_grad():
        model.hidden_bias.add_(1)
    exact, estimate = model.partition(), model.anneal()
    begun = model.base().log_z().item() + 16 * math.log(2)
    assert exact.spread == 0 and abs(exact.log_z - begun) > 2
    assert estimate.log_z == pytest.approx(exact.log_z, abs=0.05)
    assert abs(estimate.log_z - exact.log_z) < 4 * estimate.spread < 0.2


def test_most_temperatures_are_near_the_model() -> None:
    betas = torch.tensor(schedule(14_500), dtype=torch.float64)
    assert betas[[0, 500, 4500, 14_500]].tolist() == pytest.approx([0, 0.5, 0.9, 1]) and (betas.diff() > 0).all()


def wide() -> RBM:
    """Too many hidden units to list their states, but 14 of the 30 are idle: log Z is known."""
    model = make(image(64), 30, spread=0.3, temperatures=1000)
    with torch.no_grad():
        model.weight[:, 16:] = 0
        model.hidden_bias[16:] = 0
    return model


def test_an_estimate_is_made_once_for_its_weights_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls, anneal = wide(), [], RBM.anneal
    monkeypatch.setattr(RBM, "anneal", lambda self: calls.append(1) or anneal(self))
    narrow = RBM(image(64), 16).double().eval()
    narrow.load_state_dict(
        {
            key: value[..., :16] if "hidden" in key or key == "weight" else value
            for key, value in model.state_dict().items()
        }
    )
    x = torch.randint(2, (40, 1, 1, 64), dtype=torch.uint8)
    assert narrow.exact and not model.exact
    torch.testing.assert_close(model.log_prob(x), narrow.log_prob(x), rtol=0, atol=0.1)
    metric = Likelihood(model.spec)
    for part in x.split(20):
        torch.manual_seed(len(calls) + 17)
        metric.update({"x": part}, "test", model)
    found = metric.compute()["nats"]
    settings = {"chains": 100, "temperatures": 1000, "AIS seed": 0}
    assert found.mark == "~" and found.protocol == {"n": 40} | settings and calls == [1]
    of_examples = -model.log_prob(x)
    assert found.value == pytest.approx(of_examples.mean().item())
    error = math.hypot(of_examples.std().item() / math.sqrt(40), model.partition().spread)
    assert found.stderr == pytest.approx(error) and calls == [1]
    with torch.no_grad():
        model.hidden_bias[-1] += 1
    model.log_prob(x)
    assert calls == [1, 1]


def test_an_estimate_depends_on_its_seed_alone() -> None:
    model = wide()
    torch.manual_seed(1)
    state, first = torch.get_rng_state(), model.anneal()
    assert torch.get_rng_state().equal(state)
    torch.manual_seed(2)
    assert model.anneal() == first
    model.seed = 1
    assert model.anneal() != first


def test_the_two_ways_to_log_z_stand_beside_each_other() -> None:
    model, metric = make(image(12), 9), Partition()
    with pytest.raises(GenlabError, match="no example"):
        metric.compute()
    for _ in range(2):
        metric.update({"x": torch.zeros(3, 1, 1, 12)}, "test", model)
    found = metric.compute()
    assert found["log_z"][:3] == (model.partition().log_z, "=", None)
    assert found["log_z_ais"].mark == "~" and found["log_z_ais"].value == pytest.approx(model.anneal().log_z)
    assert found["log_z_ais"].protocol == model.annealing and found["log_z_ais"].stderr > 0


@pytest.mark.parametrize("spec", [image(6), POINTS], ids=["binary", "real"])
def test_the_likelihood_itself_can_be_followed_where_states_are_listed(spec: Spec) -> None:
    """By finite differences of log p."""
    model = make(spec, 4)
    x = torch.randint(2, (9, *spec.shape)) if model.binary else torch.randn(9, *spec.shape).double()
    loss, _ = NLL()(model.train(), {"x": x}, 0)
    loss.backward()
    model.eval()
    for parameter in model.parameters():
        with torch.no_grad():
            values = []
            for step in (1e-5, -2e-5):
                parameter.view(-1)[1] += step
                values.append(-model.log_prob(x).mean().item())
            parameter.view(-1)[1] += 1e-5
        assert parameter.grad.view(-1)[1].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-8)
    with pytest.raises(ConfigError, match="loss=nll: log Z of 30 hidden units is an estimate"):
        NLL()(wide().train(), {"x": torch.zeros(3, 64)}, 0)


def test_training_learns_two_patterns() -> None:
    """Independent units would have 8 log 2 nats, and the truth is log 2."""
    torch.manual_seed(0)
    model, loss = RBM(image(8), 3), ContrastiveDivergence(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    patterns = torch.tensor([[1, 0, 1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1, 0, 1]], dtype=torch.uint8).view(2, 1, 1, 8)
    for step in range(400):
        optimizer.zero_grad()
        loss(model, {"x": patterns.repeat(10, 1, 1, 1)}, step)[0].backward()
        optimizer.step()
    assert math.log(2) < -model.eval().log_prob(patterns).mean().item() < 1


def test_what_it_cannot_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="two levels"):
        RBM(Spec("image", (1, 8, 8), 17))
    for key in ("hidden", "sweeps", "chains", "temperatures"):
        with pytest.raises(ConfigError, match=rf"model\.{key}=0"):
            RBM(POINTS, **{key: 0})
    with pytest.raises(ConfigError, match=r"loss\.steps=0"):
        ContrastiveDivergence(0)
    with pytest.raises(ConfigErrors, match=r"RBM takes data\.levels=2, and here it is 256"):
        validate.check(["model=rbm", "data=cifar10"])
    with pytest.raises(ConfigErrors, match="ContrastiveDivergence asks a model for its free_energy, which VAE has not"):
        validate.check(["model=vae", "loss=contrastive_divergence", "data.binarize=static"])


def sampled(run, *words):
    return sample.main(config.compose("sample", [f"run={run.path}", f"out={run.path / 'made'}", *words]).config)


DIGITS = {"_target_": "genlab.data.digits.Digits", "limit": 40, "levels": 2}


@pytest.mark.parametrize(("data", "count"), [(DIGITS, 5), (MOONS, 70)], ids=["images", "points"])
def test_chains_are_drawn_on_their_way(tmp_path, data, count) -> None:
    model = {"_target_": "genlab.models.energy.rbm.RBM", "hidden": 4, "sweeps": 1000}
    run = make_run(tmp_path / "run", model, data)
    assert sampled(run, "task=chain", f"n={count}") == 0 and sampled(run, "task=grid", f"n={count}") == 0
    with np.load(run.path / "made" / "chain.npz") as chain, np.load(run.path / "made" / "samples.npz") as grid:
        assert chain["chains"].shape == (count, len(chain["times"]), *build(data).spec.shape)
        np.testing.assert_array_equal(chain["samples"], grid["samples"])
        assert chain["times"][0] == 0 and chain["times"][-1] == 1000
    with Image.open(run.path / "made" / "chain.png") as picture:
        assert min(picture.size) >= 400 and len(set(picture.convert("L").getdata())) > 2


def test_models_without_chains_have_none_to_draw(tmp_path) -> None:
    with pytest.raises(ConfigError, match="has no Markov chain"):
        sampled(make_run(tmp_path / "run", VAE), "task=chain", "n=3")
