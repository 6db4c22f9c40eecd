"""Residual flows: layers contract as they say, estimates of the log-determinant have no bias, inverses arrive."""

import pytest
import torch
from torch import nn

from genlab.bijections import residual
from genlab.bijections.residual import Residual, Roulette, Truncated
from genlab.errors import ConfigError, GenlabError
from genlab.laws.bijections import jacobians
from genlab.metrics.likelihood import Likelihood
from genlab.models.base import Bound, Density
from genlab.models.flow.residual_flow import residual_flow
from genlab.nn.contraction import RestrainedMLP
from genlab.nn.lipschitz import RestrainedConv2d, RestrainedLinear
from genlab.nn.lipswish import ConcatenatedLipSwish, LipSwish
from genlab.spec import Spec

PLANE = Spec("vector", (2,))
TINY = Spec("image", (1, 8, 8), levels=17)
DRAWS = 10_000


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def stretched(net, factor=3.0):
    """Weights that the bound has to hold back, in float64."""
    net.double()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)
    return net


def block(series=None, dimensions=4, width=16):
    return Residual(stretched(RestrainedMLP([dimensions, width, width, dimensions])), series or Roulette())


def dense(layer, shape):
    """The matrix of a layer without its bias."""
    size = torch.Size(shape).numel()
    columns = torch.eye(size, dtype=torch.float64).view(size, *shape)
    with torch.no_grad():
        return layer.operate(layer.restrained_weight(), columns).flatten(1).T


LAYERS = {
    "linear": lambda: (RestrainedLinear(6, 9), (6,)),
    "3 x 3": lambda: (RestrainedConv2d(2, 5, 3, (6, 7)), (2, 6, 7)),
    "1 x 1": lambda: (RestrainedConv2d(4, 4, 1, (3, 3)), (4, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_norm_of_the_dense_operator_is_the_bound(name):
    layer, shape = LAYERS[name]()
    stretched(layer, 10).eval()
    assert torch.linalg.matrix_norm(dense(layer, shape), 2).item() == pytest.approx(0.9, abs=2e-3)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_below_the_bound_is_left_alone(name):
    layer, _ = LAYERS[name]()
    stretched(layer, 1e-3).eval()
    assert torch.equal(layer.restrained_weight(), layer.weight)


def test_reshaped_kernel_would_have_missed_the_norm_of_the_convolution():
    layer, shape = LAYERS["3 x 3"]()
    stretched(layer, 10).eval()
    weight = layer.restrained_weight().detach()
    assert torch.linalg.matrix_norm(weight.flatten(1), 2) < 0.75
    assert torch.linalg.matrix_norm(dense(layer, shape), 2) > 0.89


def test_training_follows_the_norm_and_evaluation_leaves_the_buffer():
    layer = RestrainedLinear(8, 8)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    for _ in range(60):
        (layer(torch.randn(32, 8)) - 5 * torch.randn(32, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert torch.linalg.matrix_norm(layer.restrained_weight(), 2) < 0.99
    layer.eval()
    before = layer.u.clone()
    layer.weight.data.copy_(10 * torch.randn(8, 8))
    layer.eval()  # as the average of the weights is put in their place: nothing else tells it
    assert torch.linalg.matrix_norm(layer.restrained_weight(), 2).item() == pytest.approx(0.9, abs=1e-3)
    assert torch.equal(layer.u, before)


def test_gradient_of_a_restrained_weight_is_that_of_the_quotient():
    layer = stretched(RestrainedLinear(3, 4), 10).eval()
    target = torch.randn(4, 3, dtype=torch.float64)
    (layer.restrained_weight() * target).sum().backward()
    weight = layer.weight.detach().requires_grad_()
    (0.9 * weight / torch.linalg.matrix_norm(weight, 2) * target).sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad, rtol=0.01, atol=1e-3)


def test_slope_of_lipswish_is_at_most_one():
    activation, x = LipSwish().double(), torch.linspace(-50, 50, 100_001, dtype=torch.float64)
    for beta in (-3.0, 0.5, 4.0):
        activation.beta.data.fill_(beta)
        (slope,) = torch.autograd.grad(activation(x.requires_grad_()).sum(), x)
        assert 0.99 < slope.abs().max() <= 1


def test_both_sides_of_lipswish_stretch_by_one_at_most():
    activation, x = ConcatenatedLipSwish().double(), torch.linspace(-50, 50, 100_001, dtype=torch.float64)
    for beta in (-3.0, 0.5, 4.0):
        activation.beta.data.fill_(beta)
        _, slopes = torch.func.jvp(activation, (x[:, None],), (torch.ones(len(x), 1, dtype=x.dtype),))
        assert slopes.shape == (len(x), 2)
        assert 0.99 < slopes.norm(dim=1).max() <= 1 and slopes.norm(dim=1).min() > 0.5  # never flat


@pytest.mark.parametrize("activation", ["lipswish", "clipswish"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("conv", [False, True])
def test_every_block_of_a_model_contracts(conv, training, activation):
    spec = Spec("image", (1, 4, 4), levels=17)
    net = "conv" if conv else "mlp"
    sizes = {"maps": 8, "blocks": 2, "scales": 1, "last": 1, "layers": 3, "width": 16}
    model = residual_flow(spec, Roulette(), net=net, activation=activation, **sizes)
    stretched(model, 4).train(training)
    blocks = [part for part in model.modules() if isinstance(part, Residual)]
    for _ in range(30 if training else 1):
        z = torch.randn(8, 1, 4, 4, dtype=torch.float64)
        for part in blocks:
            z = part(z)[0]
    for part in blocks:
        matrix = torch.autograd.functional.jacobian(part.net, torch.randn(1, 1, 4, 4, dtype=torch.float64)).view(16, 16)
        assert 0.01 < torch.linalg.matrix_norm(matrix, 2) < 1
        product = 1.0
        for layer in part.modules():
            if isinstance(layer, (RestrainedLinear, RestrainedConv2d)):
                shape = (layer.weight.shape[1], 4, 4) if isinstance(layer, RestrainedConv2d) else layer.weight.shape[1:]
                product *= torch.linalg.matrix_norm(dense(layer, shape), 2).item()
        assert product < 1


@pytest.mark.parametrize("tail", ["geometric", "poisson"])
def test_weights_of_the_roulette_have_mean_one(tail):
    series = Roulette(tail, sure=3, surer=2)
    weights = series.weights(torch.empty(200_000, 1, dtype=torch.float64), training=False)
    assert (weights[:2] == 1).all()
    for k in range(2, 5):
        error = weights[k].std() / len(weights[k]) ** 0.5
        assert (weights[k].mean() - 1).abs() <= 4 * error + 1e-12
    assert series.weights(torch.empty(50, 1), training=True).shape[1] == 1


@pytest.mark.parametrize("tail", ["geometric", "poisson"])
def test_roulette_has_the_mean_of_the_exact_log_det(tail):
    part = block(Roulette(tail, sure=2, surer=2)).eval()
    x = torch.randn(1, 4, dtype=torch.float64)
    exact = part(x)[1].item()
    many = x.expand(DRAWS, 4).requires_grad_()
    draws = part.estimate(many, part.net(many), False)
    error = draws.std().item() / DRAWS**0.5
    assert abs(draws.mean().item() - exact) < 3 * error < 0.01


def test_a_series_cut_off_is_biased_by_no_more_than_its_remainder():
    class Tanh(nn.Module):  # one dimension, J = s exactly: the sum is known
        def forward(self, x):
            return 0.8 * x

    part = Residual(Tanh(), Truncated(3)).double().eval()
    x = torch.randn(5, 1, dtype=torch.float64).requires_grad_()
    estimate = part.estimate(x, part.net(x), False)
    torch.testing.assert_close(estimate, torch.full((5,), 0.8 - 0.8**2 / 2 + 0.8**3 / 3, dtype=torch.float64))
    assert (part(x)[1] - torch.log(torch.tensor(1.8))).abs().max() < 1e-7
    assert 0.05 < (estimate - torch.log(torch.tensor(1.8))).abs().max() < 0.8**4 / 4 / (1 - 0.8)


def test_neumann_gradient_has_the_mean_of_the_exact_gradient():
    part = block(Roulette(sure=2, surer=2), dimensions=3, width=8)
    x = torch.randn(1, 3, dtype=torch.float64)
    weight = part.net[0].weight
    part.eval()
    (exact,) = torch.autograd.grad(part(x)[1].sum(), weight)
    part.train()
    calls, copies = 400, 25  # a batch shares the number of terms in training
    found = []
    for _ in range(calls):
        found.append(torch.autograd.grad(part(x.expand(copies, 3))[1].mean(), weight)[0])
    found = torch.stack(found)
    error = found.std(0) / calls**0.5
    off = ((found.mean(0) - exact) / error).abs()
    assert off.max() < 4 and off.square().mean() < 2  # of 24 numbers
    assert (exact.abs() > 10 * error).any()


def test_exact_log_det_is_autograds_and_estimates_say_that_they_are():
    part = block(dimensions=5).eval()
    x = torch.randn(3, 5, dtype=torch.float64)
    matrices, log_det = jacobians(part, x)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(matrices).logabsdet)
    assert part.is_exact(64) and not part.is_exact(65)


def test_inverse_arrives_and_tells_how_soon():
    part = block().eval()
    x = torch.randn(50, 4, dtype=torch.float64)
    back, log_det = part.inverse(part(x)[0])
    assert (back - x).abs().max() < 1e-8 and 3 < part.iterations < 200
    torch.testing.assert_close(log_det, -part(x)[1])
    part.float()
    assert (part.inverse(part(x.float())[0])[0] - x.float()).abs().max() < 1e-4


def test_an_inverse_that_does_not_arrive_names_layer_and_residual():
    part = Residual(nn.Linear(2, 2), Roulette(), name="residual block 7", most=50).eval()
    part.net.weight.data.copy_(-1.5 * torch.eye(2))
    with pytest.raises(GenlabError, match=r"residual block 7: .*50 iterations.*moves by"):
        part.inverse(torch.ones(3, 2))


def test_inverse_of_an_example_does_not_depend_on_its_neighbours():
    part = block(dimensions=2).float().eval()
    y = torch.randn(16, 2)
    crowd = y.clone()
    crowd[1:] *= 100
    assert torch.equal(part.inverse(y)[0][0], part.inverse(crowd)[0][0])


def test_what_models_say_of_their_figures():
    plane = residual_flow(PLANE, Roulette(), layers=2, width=8)
    small = residual_flow(TINY, Roulette(), net="mlp", layers=2, width=8).eval()
    large = residual_flow(Spec("image", (1, 9, 9), levels=17), Roulette(), net="mlp", layers=2, width=8).eval()
    assert isinstance(plane, Density) and plane.exact
    assert isinstance(small, Bound) and small.exact and not large.exact
    for model, mark in ((small, "<="), (large, "~")):
        metric = Likelihood(model.spec)
        metric.update({"x": torch.randint(17, (8, *model.spec.shape)).to(torch.uint8)}, "test", model)
        assert metric.compute()["bpd"].mark == mark


def test_estimates_beyond_64_dimensions_agree_with_the_determinant(monkeypatch):
    model = residual_flow(TINY, Roulette(), net="conv", maps=4, blocks=1, scales=2, last=1, width=8, bound=0.9).eval()
    x = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        exact = model.flow.bijection(x.sigmoid())[1].item()
        monkeypatch.setattr(residual, "EXACT", 1)
        draws = model.flow.bijection(x.sigmoid().expand(2000, 1, 8, 8))[1]
    assert abs(draws.mean().item() - exact) < 4 * draws.std().item() / 2000**0.5 < 0.2


def test_the_size_of_the_papers_model():
    model = residual_flow(Spec("image", (3, 32, 32), levels=256), Roulette())
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_180_267


@pytest.mark.parametrize(
    ("options", "key"),
    [({"net": "resnet"}, "model.net"), ({"activation": "relus"}, "activation"), ({"bound": 1.0}, "bound")],
)
def test_wrong_options_are_named(options, key):
    with pytest.raises(ConfigError) as error:
        residual_flow(TINY, Roulette(), **options)
    assert error.value.key == key
