"""NICE, Glow, planar, radial, MAF, IAF, spline flows and variational dequantisation: sizes, temperature, bounds."""

import math

import pytest
import torch

from genlab.bijections.coupling import Coupling
from genlab.bijections.inverse import Inverse
from genlab.bijections.squeeze import halvings
from genlab.errors import ConfigError
from genlab.laws.bijections import double_precision, jacobians
from genlab.models.base import Bound, Density
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.models.flow.glow import glow
from genlab.models.flow.maf import iaf, maf
from genlab.models.flow.nice import nice
from genlab.models.flow.planar_flow import planar_flow
from genlab.models.flow.radial_flow import radial_flow
from genlab.models.flow.realnvp import realnvp
from genlab.models.flow.spline_flow import spline_flow
from genlab.models.flow.standard_logistic import StandardLogistic
from genlab.models.flow.variational import VariationalNoise
from genlab.noise import Noise
from genlab.spec import Spec

PLANE = Spec("vector", (2,), classes=("a", "b"))
TINY = Spec("image", (1, 4, 4), levels=17, classes=("a", "b", "c"))
MODELS = {
    "nice": lambda spec, **o: nice(spec, width=16, depth=2, **o),
    "glow": lambda spec, **o: glow(spec, levels=2, steps=2, width=16, **o),
    "planar": lambda spec: planar_flow(spec, layers=4),
    "radial": lambda spec: radial_flow(spec, layers=4),
    "maf": lambda spec, **o: maf(spec, layers=3, widths=(16, 16), **o),
    "iaf": lambda spec, **o: iaf(spec, layers=3, widths=(16, 16), **o),
    "spline": lambda spec, **o: spline_flow(spec, layers=3, width=16, **o),
}
CONDITIONAL = [name for name in MODELS if name not in ("planar", "radial")]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def perturbed(model, scale=0.1):
    """Away from the identity, in evaluation mode, actnorm as it stands."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=scale)
    return model.eval()


def integers(spec, batch=4):
    return torch.randint(spec.levels, (batch, *spec.shape)).to(torch.uint8)


@pytest.mark.parametrize("name", MODELS)
def test_points_have_a_density_and_integers_a_bound(name):
    points, images = (perturbed(MODELS[name](spec)) for spec in (PLANE, TINY))
    assert isinstance(points, Density) and points.exact and not isinstance(points, Bound)
    assert isinstance(images, Bound) and not isinstance(images, Density)
    x = integers(TINY)
    assert torch.equal(images.decode(images.encode(x)), x)
    assert images.sample(Noise([1, 2])).shape == (2, *TINY.shape)


@pytest.mark.parametrize("name", MODELS)
def test_density_integrates_to_one(name):
    model = perturbed(MODELS[name](PLANE), 0.2)
    reach = 40 if name == "nice" else 15  # a logistic base has long tails
    axis = torch.linspace(-reach, reach, 700)
    with torch.no_grad():
        total = model.log_prob(torch.cartesian_prod(axis, axis)).double().exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize("spec", [PLANE, TINY])
def test_the_class_decides(name, spec):
    model = perturbed(MODELS[name](spec, conditional=True), 0.2)
    x = torch.randn(4, 2) if spec is PLANE else integers(spec)
    y = torch.zeros(4, dtype=torch.int64)
    assert not torch.allclose(model.encode(x, y), model.encode(x, y + 1))
    with pytest.raises(ConfigError, match="needs one"):
        model.encode(x)


def test_glow_has_the_size_of_the_paper():
    """By hand, of CIFAR-10's K = 32, L = 3, 512 maps: 44 million."""

    def step(C):
        net = 9 * (C // 2) * 512 + 512 * 512 + 9 * 512 * C + 2 * (2 * 512) + 2 * C  # convolutions, actnorms, bias and l
        return 2 * C + C * C + net

    wanted = 32 * sum(step(C) for C in (12, 24, 48))
    wanted += sum(9 * (C // 2) * C + 2 * C for C in (12, 24)) + 2 * 48  # split priors, the last prior
    count = sum(p.numel() for p in glow(Spec("image", (3, 32, 32), 256)).parameters())
    assert count == wanted and 44.0e6 < count < 44.3e6


def test_nice_has_the_size_of_the_paper():
    """Four couplings of 392-1000-1000-1000-1000-1000-392 and a scale of 784."""
    net = 392 * 1000 + 1000 + 4 * (1000 * 1000 + 1000) + 1000 * 392 + 392
    assert sum(p.numel() for p in nice(Spec("image", (1, 28, 28), 256)).parameters()) == 4 * net + 784


@pytest.mark.parametrize(("shape", "levels"), [((1, 8, 8), 3), ((1, 28, 28), 2), ((3, 32, 32), 5), ((1, 9, 8), 0)])
def test_levels_of_glow(shape, levels):
    assert halvings(shape) == levels
    if levels == 0:
        with pytest.raises(ConfigError, match="even"):
            glow(Spec("image", shape, 256))


def density_of_samples(flow: Flow, e: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """x of base noise e and log of the density with which it is drawn, by the Jacobian of the sampler."""
    matrices, log_p = jacobians(lambda v: (flow.decode(temperature * v), flow.base.log_prob(v)), e)
    return flow.decode(temperature * e).detach(), log_p - torch.linalg.slogdet(matrices).logabsdet


@pytest.mark.parametrize(
    ("options", "exact"),
    [
        ({"coupling": "additive", "split_prior": False}, True),
        ({"coupling": "additive", "split_prior": True}, False),
        ({"coupling": "affine", "split_prior": False}, False),
    ],
)
@pytest.mark.parametrize("T", [0.5, 0.8])
def test_samples_at_a_temperature_have_the_density_to_a_power(options, exact, T):
    """q_T(x) is p(x)^(1 / T^2), normalised: where log|det| is the same everywhere, and only there."""
    model = perturbed(glow(TINY, levels=2, steps=2, width=8, **options), 0.3).double()
    flow = model.flow
    x, log_q = density_of_samples(flow, torch.randn(12, 16, dtype=torch.float64), T)
    with torch.no_grad():
        ratio = log_q - flow.log_prob(x) / T**2
    assert (ratio.max() - ratio.min() < 1e-6) == exact


def test_temperature_multiplies_the_standard_deviations_of_every_level():
    """What is factored out is mu + T sigma e, given what goes on."""
    model = perturbed(glow(TINY, levels=2, steps=1, width=8), 0.3).double().flow
    chain = model.bijection
    prior, split = chain.bijections[-2], chain.bijections[-1]
    assert isinstance(prior, Coupling)
    e = torch.randn(1, 16, dtype=torch.float64).repeat(2, 1)
    e[1, :8] = 0  # the same code of the coarse level, the factored out part at its mean
    with torch.no_grad():
        whole, middle = split.inverse(e)[0]
        one, mean = (prior.inverse(part[None])[0][0, 2:] for part in (whole, middle))
        cold = split.inverse(0.25 * e[:1] + 0.75 * e[1:])[0]
        quarter = prior.inverse(torch.cat([whole[None, :2], cold[:, 2:]], 1))[0][0, 2:]
    torch.testing.assert_close(quarter - mean, 0.25 * (one - mean))


def test_iaf_is_maf_the_other_way_round():
    forward, backward = maf(PLANE, layers=1, widths=(8,)), iaf(PLANE, layers=1, widths=(8,))
    masked = forward.bijection.bijections[1]
    inverse = backward.bijection.bijections[1]
    assert isinstance(inverse, Inverse)
    inverse.bijection.load_state_dict(masked.state_dict())
    perturbed(masked, 0.5)
    inverse.bijection.load_state_dict(masked.state_dict())
    x = torch.randn(5, 2)
    torch.testing.assert_close(inverse(x)[0], masked.inverse(x)[0])
    torch.testing.assert_close(inverse.inverse(x)[1], masked(x)[1])


def test_the_logistic_base_is_a_distribution():
    base = StandardLogistic(1)
    z = torch.linspace(-40, 40, 8001, dtype=torch.float64)[:, None]
    assert (base.log_prob(z).exp().sum() * 0.01).item() == pytest.approx(1, abs=1e-6)
    drawn = base.sample(Noise(range(4000)), 0.5)
    assert drawn.std().item() == pytest.approx(0.5 * math.pi / math.sqrt(3), rel=0.05)
    assert base.sample(Noise([0]), 0.0).eq(0).all()


@pytest.mark.parametrize(
    ("make", "options", "spec"),
    [
        (glow, {"coupling": "afine"}, TINY),
        (glow, {"steps": 0}, TINY),
        (maf, {"widths": (16, 0)}, PLANE),
        (spline_flow, {"bins": 0}, PLANE),
        (nice, {"conditional": True}, Spec("vector", (2,))),
        (realnvp, {"dequantization": "none"}, TINY),
        (planar_flow, {}, Spec("text", (64,), 128)),
        (nice, {}, Spec("vector", (1,))),
    ],
)
def test_wrong_options_are_named(make, options, spec):
    with pytest.raises(ConfigError) as error:
        make(spec, **options)
    key = next(iter(options), "data")
    assert error.value.key == (key if key == "data" else f"model.{key}")


SQUARE = Spec("vector", (2,), levels=2)


def cells():
    return torch.tensor([[0, 0], [1, 1], [0, 1], [1, 0]], dtype=torch.uint8)


def exactly(flow: Flow) -> torch.Tensor:
    """log of a flow's mass over each cell, from a fine grid."""
    u = torch.cartesian_prod(*[(torch.arange(200) + 0.5) / 200] * 2).to(torch.get_default_dtype())
    with torch.no_grad():
        return torch.stack([flow.log_prob((one + u) / 2).exp().mean() / 4 for one in cells()]).log()


def test_learned_noise_is_a_distribution_on_the_cell():
    noise = perturbed(VariationalNoise(SQUARE, layers=3, maps=8), 0.5).double()
    axis = torch.linspace(-100, 100, 1000, dtype=torch.float64)  # of logits, in which q has no edge
    logits = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        for one in cells():
            e, log_det = noise.chain.inverse(logits, noise.seen(one[None]).double().expand(len(logits), -1))
            total = (noise.base.log_prob(e) + log_det).exp().sum() * (axis[1] - axis[0]) ** 2
            assert total.item() == pytest.approx(1, abs=1e-2)


def test_learned_noise_starts_uniform():
    u, log_q = VariationalNoise(TINY)(integers(TINY, 500))
    assert log_q.abs().max() < 1e-3 and u.mean().item() == pytest.approx(0.5, abs=0.02)


def test_log_q_is_that_of_the_inverse():
    noise, x = perturbed(VariationalNoise(TINY, maps=4), 0.1).double(), integers(TINY)
    with double_precision(), torch.no_grad():
        u, log_q = noise(x)
        e, log_det = noise.chain.inverse(u.logit(), noise.seen(x))
    assert u.shape == x.shape and ((u > 0) & (u < 1)).all()
    slope = (u.log() + (1 - u).log()).flatten(1).sum(1)
    torch.testing.assert_close(log_q, noise.base.log_prob(e.flatten(1)) + log_det - slope, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
def test_bounds_lie_below_the_exact_mass_and_rise_to_it(dequantization):
    model = perturbed(realnvp(SQUARE, layers=4, width=8, dequantization=dequantization), 0.03)
    perturbed(model.flow, 0.3)
    exact = exactly(model.flow)
    many = cells().repeat(1500, 1)
    with torch.no_grad():
        one, ten, hundred = (model.bound(many, k=k).view(1500, 4) for k in (1, 10, 100))
    errors = [each.std(0) / math.sqrt(1500) for each in (one, ten, hundred)]
    assert (one.mean(0) <= exact + 3 * errors[0]).all()
    assert (one.mean(0) <= ten.mean(0) + 3 * errors[1]).all() and (one.mean(0) < hundred.mean(0)).any()
    assert (ten.mean(0) <= hundred.mean(0) + 3 * errors[2]).all()
    torch.testing.assert_close(hundred.mean(0), exact, atol=0.05, rtol=0)


def test_learned_noise_narrows_the_gap_of_a_fixed_flow():
    """With p held fixed, E[bound] = log P - KL(q || posterior of u): training q alone must bring it nearer."""
    model = perturbed(realnvp(SQUARE, layers=4, width=16, dequantization="variational"), 0.5)
    uniform = Dequantized(model.flow)
    optimizer = torch.optim.Adam(model.noise.parameters(), lr=1e-2)
    batch = cells().repeat(64, 1)
    for _ in range(150):
        optimizer.zero_grad()
        (-model.bound(batch).mean()).backward()
        optimizer.step()
    many, exact = cells().repeat(1000, 1), exactly(model.flow).mean()
    with torch.no_grad():
        learned, flat = (exact - each.bound(many).mean() for each in (model, uniform))
    assert -0.01 < learned < 0.5 * flat
