"""OT-Flow: derivatives of the potential written out are autograd's, penalties what they say, ways straight."""

import pytest
import torch

from genlab.errors import ConfigError
from genlab.laws.bijections import jacobians
from genlab.losses.ot_flow import OTFlow as Loss
from genlab.models.base import Bound, Density
from genlab.models.flow.ot_flow import ot_flow
from genlab.nn.potential import Potential, antiderivative
from genlab.spec import Spec

PLANE = Spec("vector", (2,))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def potential(D=3, depth=2):
    net = Potential(D, width=7, depth=depth, rank=2).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    return net


def test_the_activation_is_the_integral_of_tanh():
    x = torch.linspace(-30, 30, 1001, dtype=torch.float64).requires_grad_()
    y = antiderivative(x)
    torch.testing.assert_close(y, x.abs() + (-2 * x.abs()).exp().log1p())
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], x.tanh())
    assert antiderivative(torch.tensor(1e4)).isfinite()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gradient_and_laplacian_are_autograds(depth):
    net, x, t = potential(depth=depth), torch.randn(5, 3, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    gradient, laplacian = net.derivatives(t, x)
    for i in range(5):

        def value(s):
            return net.value(s[-1], s[None, :-1])[0]

        s = torch.cat([x[i], t[None]])
        torch.testing.assert_close(gradient[i], torch.autograd.functional.jacobian(value, s))
        hessian = torch.autograd.functional.hessian(value, s)
        torch.testing.assert_close(laplacian[i], hessian[:3, :3].trace())
    velocity, divergence = net(t, x)
    torch.testing.assert_close(velocity, -gradient[:, :3])
    torch.testing.assert_close(divergence, -laplacian)


def test_log_det_is_autograds_and_steps_have_settled():
    model = ot_flow(PLANE, width=8, steps=4).double().eval()
    x = torch.randn(4, 2, dtype=torch.float64)
    matrices, log_det = jacobians(model.bijection, x)
    assert (log_det - torch.linalg.slogdet(matrices).logabsdet).abs().max() < 1e-6
    with torch.no_grad():
        assert (model.decode(model.encode(x)) - x).abs().max() < 1e-6


def test_costs_are_those_of_the_way():
    """log p by the same steps as in training; transport and violation by a fine sum along the way."""
    model = ot_flow(PLANE, width=8, steps=40, finer=1).double()  # in training mode
    x = torch.randn(3, 2, dtype=torch.float64)
    with torch.no_grad():
        log_prob, transport, hjb = model.costs(x)
        torch.testing.assert_close(log_prob, model.log_prob(x))
        net, cells, sums = model.solvers()[0].dynamics, 1000, torch.zeros(2, 3, dtype=torch.float64)
        for k in range(cells):
            t = torch.tensor((k + 0.5) / cells, dtype=torch.float64)
            middle = x - net.derivatives(t, x)[0][:, :2] / cells / 2
            gradient = net.derivatives(t, middle)[0]
            kinetic = gradient[:, :2].square().sum(1) / 2
            sums += torch.stack([kinetic, (kinetic - gradient[:, 2]).abs()]) / cells
            x = x - gradient[:, :2] / cells
    torch.testing.assert_close(torch.stack([transport, hjb]), sums, rtol=1e-3, atol=1e-3)


def test_a_potential_that_solves_the_equation_violates_nothing():
    """Phi = -|x|^2 / (2 (2 - t)) would; at rest, Phi = 0 does."""
    net = Potential(2, width=4, depth=1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    model = ot_flow(PLANE, width=4)
    model.solvers()[0].dynamics.load_state_dict(net.state_dict() | {"A": torch.zeros(3, 3)})
    _, transport, hjb = model.costs(torch.randn(5, 2))
    assert not transport.any() and not hjb.any()


def test_penalties_are_of_training_alone():
    model = ot_flow(PLANE, width=8, finer=1)
    batch, loss = {"x": torch.randn(16, 2)}, Loss(3.0, 2.0, 1.5)
    value, parts = loss(model, batch, 0)
    assert value.item() == pytest.approx((3 * parts["nll"] + 2 * parts["transport"] + 1.5 * parts["hjb"]).item())
    value, parts = loss(model.eval(), batch, 0)
    assert value.item() == pytest.approx(parts["nll"].item())
    assert parts["nll"].item() == pytest.approx(-model.log_prob(batch["x"]).mean().item(), abs=1e-5)


def test_integers_have_a_bound():
    spec = Spec("image", (1, 3, 3), levels=4)
    model = ot_flow(spec, width=8, finer=1)
    x = torch.randint(4, (6, 1, 3, 3)).to(torch.uint8)
    assert isinstance(model, Bound) and not isinstance(model, Density) and model.exact
    torch.manual_seed(1)
    log_prob = model.costs(x)[0]
    torch.manual_seed(1)
    torch.testing.assert_close(log_prob, model.bound(x))


@pytest.mark.parametrize(
    ("make", "key"), [(lambda: Loss(hjb=-1), "loss.hjb"), (lambda: Potential(2, depth=0), "model.depth")]
)
def test_wrong_options_are_named(make, key):
    with pytest.raises(ConfigError) as error:
        make()
    assert error.value.key == key
