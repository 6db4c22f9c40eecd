"""Laws of flows over continuous data, of dequantised flows over integers, and RealNVP's shapes."""

import math

import pytest
import torch

from genlab.bijections.flatten import Flatten
from genlab.errors import ConfigError
from genlab.models.base import Bound, Density, Encodes, Samples
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Flow
from genlab.models.flow.masks import parity
from genlab.models.flow.realnvp import count_scales, realnvp
from genlab.models.flow.standard_normal import StandardNormal
from genlab.noise import Noise
from genlab.spec import Spec

PLANE = Spec("vector", (2,))
TINY = Spec("image", (1, 8, 8), levels=17, classes=("a", "b", "c"))
SMALL = {"maps": 4, "blocks": 1, "couplings": 2, "layers": 4, "width": 16}


@pytest.fixture(autouse=True)
def seeded():
    """Weights start from the global generator, whatever other tests took from it."""
    torch.manual_seed(0)


def perturbed(model, scale=0.3):
    """Away from the identity, in evaluation mode."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=scale)
    return model.eval()


def integers(spec, batch=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(spec.levels, (batch, *spec.shape), generator=generator).to(torch.uint8)


KINDS = ("vector", "mlp", "resnet")


def make(kind, **options):
    """A small flow of points, of images through perceptrons, or of images through residual nets."""
    if kind == "vector":
        return perturbed(realnvp(PLANE, **SMALL, **options))
    return perturbed(realnvp(TINY, net=kind, scales=None, **SMALL, **options), 0.1)


def examples(model, batch=4):
    return torch.randn(batch, *model.spec.shape) if model.spec.levels is None else integers(model.spec, batch)


@pytest.mark.parametrize("seed", range(3))
def test_density_integrates_to_one(seed):
    torch.manual_seed(seed)
    model = perturbed(realnvp(PLANE, layers=4, width=16), 0.2)
    axis = torch.linspace(-12, 12, 400)
    cell = (axis[1] - axis[0]) ** 2
    with torch.no_grad():
        log_p = model.log_prob(torch.cartesian_prod(axis, axis))
        identity = StandardNormal(2).log_prob(torch.cartesian_prod(axis, axis))
    assert (log_p - identity).abs().max() > 0.5  # the law says nothing about an identity
    assert (log_p.double().exp().sum() * cell).item() == pytest.approx(1, abs=1e-2)


def test_bound_rises_with_k_to_the_log_of_the_integral_over_the_cell():
    """Two dimensions, two levels: a flow's mass over each cell is known from a fine grid."""
    spec = Spec("vector", (2,), levels=2)
    model = perturbed(realnvp(spec, layers=4, width=8), 0.3)
    x = torch.tensor([[0, 0], [1, 1], [0, 1], [1, 0]], dtype=torch.uint8)
    u = torch.cartesian_prod(*[(torch.arange(300) + 0.5) / 300] * 2)
    with torch.no_grad():
        mass = torch.stack([model.flow.log_prob((one + u) / 2).exp().mean() / 4 for one in x])
        many = x.repeat(1000, 1)
        one, several, hundred = (model.bound(many, k=k).view(1000, 4).mean(0) for k in (1, 5, 100))
    assert mass.sum() < 1  # what is missing lies in the margin that alpha leaves around the cube
    assert (one < several).all() and (several < hundred).all()
    torch.testing.assert_close(hundred, mass.log(), atol=0.02, rtol=0)


def test_density_of_samples_agrees_with_that_of_the_base():
    model = make("vector").double()
    z = torch.randn(8, 2, dtype=torch.float64)
    x, log_det = model.bijection.inverse(z)
    torch.testing.assert_close(model.log_prob(x), model.base.log_prob(z) - log_det)


class Uniform:
    """A base under which the unit cube has density one, so that an identity flow is uniform on it."""

    def log_prob(self, z):
        return z.new_zeros(len(z))


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("k", [1, 7])
def test_flow_uniform_on_the_cube_costs_log_levels_a_dimension(levels, k):
    spec = Spec("image", (3, 4, 4), levels)
    model = Dequantized(Flow(Flatten(spec.shape), Uniform(), spec))
    bits = -model.bound(integers(spec), k=k) / (spec.dimensions * math.log(2))
    torch.testing.assert_close(bits, torch.full((4,), math.log2(levels)))


def test_bound_draws_from_the_global_generator():
    model, x = make("mlp"), integers(TINY)
    torch.manual_seed(5)
    first, second = model.bound(x), model.bound(x)
    torch.manual_seed(5)
    assert torch.equal(model.bound(x), first) and not torch.equal(first, second)


def test_capabilities():
    vector, mlp, resnet = map(make, KINDS)
    assert isinstance(vector, Density) and vector.exact and not isinstance(vector, Bound)
    for image in (mlp, resnet):
        assert isinstance(image, Bound) and not isinstance(image, Density)
    assert all(isinstance(model, Samples) and isinstance(model, Encodes) for model in (vector, mlp, resnet))


@pytest.mark.parametrize("kind", KINDS)
def test_codes_decode_to_their_examples(kind):
    model = make(kind)
    x = examples(model)
    z = model.encode(x)
    assert z.shape == (4, model.latent) == (4, model.spec.dimensions)
    torch.testing.assert_close(model.decode(z), x, rtol=0, atol=1e-4 if x.is_floating_point() else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_sample_is_a_function_of_its_noise(kind):
    model = make(kind)
    three, one = model.sample(Noise([3, 8, 5])), model.sample(Noise([8]))
    torch.testing.assert_close(three[1:2], one)
    assert three.shape == (3, *model.spec.shape)
    assert three.dtype == (torch.float32 if model.spec.levels is None else torch.uint8)
    assert model.spec.levels is None or three.max() < model.spec.levels
    assert not torch.equal(three[0], three[2])


@pytest.mark.parametrize("kind", KINDS)
def test_temperature_multiplies_the_standard_deviation_of_the_base(kind):
    model = make(kind)
    flow = model if isinstance(model, Flow) else model.flow
    noise = Noise([1, 2]).normal(model.spec.dimensions)
    assert torch.equal(model.sample(Noise([1, 2]), temperature=0.3), model.decode(0.3 * noise))
    cold = model.sample(Noise([1, 2]), temperature=0.0)
    assert torch.equal(cold[0], cold[1])
    assert flow.base.sample(Noise(range(500)), 0.3).std().item() == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize(("kind", "conditional"), [(kind, False) for kind in KINDS] + [("mlp", True), ("resnet", True)])
def test_gradient_reaches_every_parameter(kind, conditional):
    model = make(kind, conditional=conditional)
    x, y = examples(model), torch.tensor([0, 1, 2, 0])
    value = model.log_prob(x) if isinstance(model, Density) else model.bound(x, y)
    value.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_class_decides_density_and_sample_of_a_conditional_flow():
    model = perturbed(realnvp(TINY, net="mlp", conditional=True, **SMALL), 0.2)
    x, y = integers(TINY), torch.zeros(4, dtype=torch.int64)
    assert not torch.allclose(model.bound(x, y), model.bound(x, y + 1), atol=1)
    assert not torch.equal(model.encode(x, y), model.encode(x, y + 1))
    assert model.sample(Noise([1, 2])).shape == (2, *TINY.shape)  # classes drawn
    with pytest.raises(ConfigError):
        model.bound(x)


@pytest.mark.parametrize(
    ("shape", "scales"), [((1, 8, 8), 2), ((3, 8, 8), 2), ((1, 28, 28), 3), ((3, 32, 32), 4), ((3, 64, 64), 5)]
)
def test_image_flows_size_themselves(shape, scales):
    spec = Spec("image", shape, 256)
    model = realnvp(spec, maps=2, blocks=1, couplings=1, scales=None).eval()
    assert count_scales(shape) == scales
    x = integers(spec, batch=2)
    with torch.no_grad():
        assert torch.equal(model.decode(model.encode(x)), x)
        assert model.bound(x).isfinite().all()
        assert model.sample(Noise([0])).shape == (1, *shape)


def test_masks_alternate_and_cover():
    assert torch.equal(parity((1, 3, 5), 0) + parity((1, 3, 5), 1), torch.ones(3, 5))
    assert torch.equal(parity((4,), 0), torch.tensor([1.0, 0, 1, 0]))


def test_every_latent_of_an_image_depends_on_several_pixels():
    """A dimension that no mask of any scale ever changed would depend on itself alone."""
    model = perturbed(realnvp(TINY, maps=16, blocks=1), 0.1)
    jacobian = torch.autograd.functional.jacobian(model.flow.encode, torch.rand(1, *TINY.shape)).view(64, 64)
    assert ((jacobian != 0).sum(1) > 1).all()


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({"net": "resnets"}, TINY),
        ({"scales": 0}, TINY),
        ({"conditional": True}, PLANE),
        ({}, Spec("text", (64,), 128)),
    ],
)
def test_wrong_options_are_named(options, spec):
    with pytest.raises(ConfigError) as error:
        realnvp(spec, **options)
    key, value = next(iter(options.items()), ("data", "text"))
    assert (error.value.key, error.value.value) == (key if key == "data" else f"model.{key}", value)
