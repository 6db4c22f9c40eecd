"""Continuous flows: divergences, log-determinants and inverses of what the solver solves; failures that say where."""

import math

import pytest
import torch
from torch import nn

from genlab.bijections.ode import ODE
from genlab.bijections.runge_kutta import rk4
from genlab.errors import ConfigError, NumericalError
from genlab.laws.bijections import jacobians
from genlab.models.base import Density
from genlab.models.flow.continuous import ContinuousFlow, continuous_flow
from genlab.nn.concat_squash import ConcatSquashNet
from genlab.nn.gated_planar import GatedPlanar
from genlab.spec import Spec

PLANE = Spec("vector", (2,))
NETS = {
    "tanh": lambda D: ConcatSquashNet(D, width=12, depth=2),
    "softplus": lambda D: ConcatSquashNet(D, width=12, depth=2, activation="softplus"),
    "planar": lambda D: GatedPlanar(D, width=12, hidden=8),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def lively(net, factor=2.0):
    """Weights large enough that points travel, in float64."""
    net.double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(factor)
    return net


@pytest.mark.parametrize("name", NETS)
def test_divergence_is_the_trace_of_autograds_jacobian(name):
    net, x, t = lively(NETS[name](5)), torch.randn(4, 5, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    matrices, divergence = jacobians(lambda v: net(t, v, None), x)
    torch.testing.assert_close(divergence, matrices.diagonal(dim1=1, dim2=2).sum(1))
    if name != "planar":
        e = torch.randn(4, 5, dtype=torch.float64)
        torch.testing.assert_close(net(t, x, e)[1], torch.einsum("bi,bij,bj->b", e, matrices, e))


@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
@pytest.mark.parametrize("name", NETS)
def test_log_det_is_autograds_and_the_inverse_comes_back(name, solver):
    flow = ODE(lively(NETS[name](3)), solver, steps=4, end=0.7, learn_end=True).double().eval()
    x = torch.randn(4, 3, dtype=torch.float64)
    y, log_det = flow(x)
    assert (y - x).abs().max() > 0.05 and flow.evaluations >= 20
    exact = torch.linalg.slogdet(jacobians(flow, x)[0]).logabsdet
    torch.testing.assert_close(log_det, exact, rtol=0, atol=1e-6)
    with torch.no_grad():
        back, again = flow.inverse(y)
    assert (back - x).abs().max() < 1e-6 and (log_det + again).abs().max() < 1e-6


def test_hutchinson_has_the_mean_of_the_exact_log_det():
    flow = ODE(lively(NETS["tanh"](3)), "rk4", steps=8, trace="hutchinson").double()
    x = torch.randn(1, 3, dtype=torch.float64)
    with torch.no_grad():
        draws = flow(x.expand(10_000, 3))[1]
        flow.finer = 1
        exact = flow.eval()(x)[1].item()
    error = draws.std().item() / 100
    assert abs(draws.mean().item() - exact) < 3 * error < 0.05


def test_noise_is_one_for_the_whole_solution():
    seen = []

    class Watching(ConcatSquashNet):
        def forward(self, t, x, e):
            seen.append(e)
            return super().forward(t, x, e)

    flow = ODE(Watching(3, 4, 1), "rk4", steps=3, trace="hutchinson")
    flow(torch.randn(5, 3))
    assert len(seen) == flow.evaluations == 12
    assert all(torch.equal(e, seen[0]) for e in seen) and (seen[0].abs() == 1).all()
    flow(torch.randn(5, 3))
    assert not torch.equal(seen[-1], seen[0])


def test_gradient_of_the_solution_is_that_of_differences():
    flow = ODE(lively(NETS["tanh"](2)), "dopri5", end=0.7, learn_end=True).double()
    x = torch.randn(6, 2, dtype=torch.float64)

    def value():
        y, log_det = flow(x)
        return y.square().sum() + log_det.sum()

    value().backward()
    for parameter in (flow.log_end, flow.dynamics.layers[0].gate.weight, flow.dynamics.layers[1].linear.bias):
        gradient, step = parameter.grad.flatten()[0].item(), 1e-5
        with torch.no_grad():
            parameter.view(-1)[0].add_(step)
            above = value().item()
            parameter.view(-1)[0].sub_(2 * step)
            below = value().item()
            parameter.view(-1)[0].add_(step)
        assert gradient == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-6)


def test_fixed_steps_have_the_fourth_order():
    def errors(steps):
        def rate(s, state):
            return (state[0],)

        (end,) = rk4(rate, (torch.ones(1, dtype=torch.float64),), 0.0, 1.0, steps)
        return abs(end.item() - math.e)

    assert 14 < errors(10) / errors(20) < 17


@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
def test_sample_of_one_does_not_depend_on_the_others(solver):
    model = continuous_flow(PLANE, lambda D: lively(NETS["tanh"](D)).float(), solver=solver, steps=6).eval()
    z = torch.randn(16, 2)
    crowd = z.clone()
    crowd[1:] *= 20
    with torch.no_grad():
        assert torch.equal(model.decode(z)[0], model.decode(crowd)[0])


class Explosive(nn.Module):
    """dx/dt = 1 + x^2 leaves for infinity at t = pi / 2 - arctan x."""

    def forward(self, t, x, e):
        return 1 + x.square(), (2 * x).sum(1)


def test_a_solver_that_underflows_says_where():
    flow = ODE(Explosive(), end=3.0, name="equation 4")
    with pytest.raises(
        NumericalError, match=r"equation 4: .*(underflow|not finite) at 0\.\d+ of the way, after \d+ eval"
    ):
        flow(torch.zeros(2, 2))


def test_an_inverse_that_does_not_settle_says_so():
    flow = ODE(Explosive(), end=3.0, name="equation 4").eval()
    with pytest.raises(NumericalError, match="equation 4: its inverse has not settled"):
        flow.inverse(torch.zeros(2, 2))


def test_training_stops_with_step_and_layer_named(tmp_path):
    """The step before is whole; nothing that is not finite is kept."""
    from genlab.training.meter import NotFiniteError
    from genlab.training.module import Module

    class Breaking(Module):
        def __init__(self):
            nn.Module.__init__(self)
            self.config = {"seed": 0}

        global_step, global_rank = 41, 0

        def take_step(self, batch):
            ODE(Explosive(), end=3.0, name="equation 4")(torch.zeros(2, 2))

    with pytest.raises(NotFiniteError, match="step 42: equation 4"):
        Breaking().training_step({}, 0)


def test_what_models_say_of_themselves():
    model = continuous_flow(PLANE, NETS["tanh"], equations=2, solver="rk4", steps=3).eval()
    assert isinstance(model, ContinuousFlow) and isinstance(model, Density) and model.exact
    model.log_prob(torch.randn(4, 2))
    assert model.evaluations() == 2 * 2 * 3 * 4
    large = Spec("image", (1, 9, 9), levels=4)
    assert not continuous_flow(large, NETS["tanh"]).exact and continuous_flow(large, NETS["planar"]).exact


def test_trajectories_begin_at_the_latent_and_end_at_the_sample():
    net = NETS["tanh"]
    model = continuous_flow(PLANE, lambda D: lively(net(D)), equations=2, solver="rk4", steps=5).double().eval()
    z = torch.randn(5, 2, dtype=torch.float64)
    path = model.trajectories(z, 9)
    assert path.shape == (17, 5, 2)
    assert torch.equal(path[0], z)
    torch.testing.assert_close(path[-1], model.decode(z).detach(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "key"), [({"solver": "euler"}, "model.solver"), ({"trace": "none"}, "model.trace")]
)
def test_wrong_options_are_named(options, key):
    with pytest.raises(ConfigError) as error:
        continuous_flow(PLANE, NETS["tanh"], **options)
    assert error.value.key == key
