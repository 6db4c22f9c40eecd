"""What the steps of flows say of themselves beside the laws of test_bijections: starts, states, tails, errors."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab.bijections.actnorm import ActNorm
from genlab.bijections.coupling import Coupling, halve
from genlab.bijections.invertible_linear import InvertibleLinear, NotInvertibleError
from genlab.bijections.masked_autoregressive import MaskedAutoregressive
from genlab.bijections.planar import Planar
from genlab.bijections.radial import Radial
from genlab.bijections.rational_quadratic import RationalQuadratic
from genlab.bijections.root import NotConvergedError, root
from genlab.bijections.shift import Shift
from genlab.bijections.shift_and_scale import ShiftAndScale
from genlab.models.flow.conditioner import MLPConditioner
from genlab.training.average import Average


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5)])
def test_actnorm_starts_with_the_statistics_of_the_first_batch_and_never_again(shape):
    norm = ActNorm(3)
    x = 5 + torch.arange(1.0, 4).view(3, *[1] * (len(shape) - 1)) * torch.randn(200, *shape)
    assert torch.equal(norm.eval()(x)[0], x)  # evaluation starts nothing
    y, log_det = norm.train()(x)
    rows = y.transpose(0, 1).flatten(1)
    torch.testing.assert_close(rows.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.std(1, correction=0), torch.ones(3), atol=1e-5, rtol=0)
    scales = x.transpose(0, 1).flatten(1).std(1, correction=0)
    torch.testing.assert_close(log_det, (-scales.log().sum() * math.prod(shape[1:])).expand(200), rtol=1e-4, atol=1e-4)
    before = copy.deepcopy(norm.state_dict())
    norm(x * 7)
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def test_a_started_actnorm_stays_so_when_copied_or_loaded():
    norm, x = ActNorm(2), torch.randn(50, 2)
    norm.train()(x + 3)
    for other in (copy.deepcopy(norm), ActNorm(2).train()):
        other.load_state_dict(norm.state_dict())
        other(x - 9)
        assert torch.equal(other.shift, norm.shift)
    fresh, other = ActNorm(2), ActNorm(2).train()
    other(x)
    other.load_state_dict(fresh.state_dict())  # and one that is made fresh starts anew
    other(x + 5)
    torch.testing.assert_close(other.shift, -(x + 5).mean(0))


def test_gradients_reach_actnorm_in_the_step_in_which_it_starts():
    norm = ActNorm(2).train()
    y, log_det = norm(torch.randn(9, 2))
    (y.square().sum() - log_det.sum()).backward()
    assert norm.shift.grad is not None and norm.log_scale.grad.abs().sum() > 0


def test_a_weight_average_forgets_what_actnorm_was_before_its_start():
    norm = ActNorm(2).train()
    average = Average(dict(norm.named_parameters()), 0.999)
    norm(100 + 10 * torch.randn(1000, 2))
    for step in range(1, 11):
        average.update(step)
    torch.testing.assert_close(average.state_dict()["shift"], norm.shift.data, rtol=1e-4, atol=0)


@pytest.mark.parametrize("broken", [math.inf, -math.inf, math.nan, -200.0])
def test_a_linear_map_without_an_inverse_is_named(broken):
    layer = InvertibleLinear(3, name="scale 1, step 2")
    layer.triangles.data[1, 1] = broken
    with pytest.raises(NotInvertibleError, match="scale 1, step 2"):
        layer.inverse(torch.randn(4, 3))


def test_an_invertible_linear_map_starts_as_a_rotation():
    layer = InvertibleLinear(6).double()
    x = torch.randn(20, 6, dtype=torch.float64)
    y, log_det = layer(x)
    torch.testing.assert_close(y.norm(dim=1), x.norm(dim=1), rtol=1e-6, atol=0)
    assert log_det.abs().max() < 1e-6


@given(st.integers(0, 10_000), st.floats(0.1, 30))
@settings(max_examples=30, deadline=None)
def test_planar_and_radial_invert_whatever_their_parameters(seed, size):
    torch.manual_seed(seed)
    x = torch.randn(20, 3, dtype=torch.float64) * 3
    for layer in (Planar(3).double(), Radial(3).double()):
        for parameter in layer.parameters():
            parameter.data = torch.randn_like(parameter) * size
        y, log_det = layer(x)
        again, back = layer.inverse(y)
        assert log_det.isfinite().all()
        # where a map squeezes, what comes back has lost as many digits
        slack = 1e-12 * (-log_det).exp().clamp(min=1) * (1 + y.abs().amax(1))
        assert ((again - x).abs().amax(1) <= 1e-9 + slack).all()
        assert ((log_det + back).abs() <= 1e-9 + 1e3 * slack).all()


def test_planar_counts_the_iterations_of_its_inverse():
    layer = Planar(2).double()
    layer.inverse(torch.randn(1000, 2, dtype=torch.float64))
    assert 1 <= layer.iterations <= 12


def test_gradients_go_through_the_inverse_of_a_planar_map():
    layer = Planar(3).double()
    y = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer.inverse, y)
    again = layer.inverse(layer(y)[0])[0]
    (slope,) = torch.autograd.grad(again.sum(), layer.w)
    assert slope.abs().max() < 1e-9  # a round trip is the identity whatever the parameters


def test_a_root_does_not_depend_on_its_neighbours_and_failure_is_told():
    goal = torch.linspace(-50, 50, 101, dtype=torch.float64)

    def cubic(goals):
        return lambda a: (a**3 + 1e-3 * a - goals, 3 * a**2 + 1e-3)

    ends = torch.full_like(goal, 9)
    found, iterations = root(cubic(goal), -ends, ends)
    torch.testing.assert_close(found**3 + 1e-3 * found, goal, rtol=0, atol=1e-10)
    assert torch.equal(root(cubic(goal[7:8]), -ends[:1], ends[:1]).at, found[7:8]) and iterations < 60
    with pytest.raises(NotConvergedError, match=r"layer 3: .* roots not found in 2 iterations"):
        root(cubic(goal), -ends, ends, most=2, name="layer 3")


@pytest.mark.parametrize("monotone", [Shift(), ShiftAndScale(), RationalQuadratic()])
def test_zero_parameters_are_the_identity(monotone):
    x = torch.randn(50, 3) * 3
    for way in (monotone.forward, monotone.inverse):
        y, log_det = way(x, torch.zeros(50, monotone.parameters, 3))
        torch.testing.assert_close(y, x, atol=1e-5, rtol=0)
        torch.testing.assert_close(log_det, torch.zeros(50), atol=1e-4, rtol=0)


@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(0.5, 6), st.floats(0, 3))
@settings(max_examples=40, deadline=None)
def test_splines_rise_join_their_tails_and_invert(seed, bins, bound, size):
    torch.manual_seed(seed)
    spline = RationalQuadratic(bins, bound)
    x = torch.linspace(-1.5 * bound, 1.5 * bound, 4001, dtype=torch.float64)[:, None]
    params = (size * torch.randn(1, spline.parameters, 1, dtype=torch.float64)).expand(len(x), -1, -1)
    y, log_slope = spline.forward(x, params)
    assert (y.diff(dim=0) > 0).all()
    outside = x.abs().flatten() >= bound
    assert torch.equal(y[outside], x[outside]) and log_slope[outside].eq(0).all()
    again, back = spline.inverse(y, params)
    slack = 1e-9 + 1e-11 * (-log_slope).exp()  # where it is flat, what comes back has lost as many digits
    assert ((again - x).abs().flatten() <= slack).all()
    torch.testing.assert_close(log_slope + back, torch.zeros_like(back), rtol=0, atol=1e-6)
    edge = torch.tensor([[-bound], [-bound * (1 - 1e-9)]], dtype=torch.float64)
    ends = spline.forward(edge, params[:2])[0]
    assert (ends[1] - ends[0]).abs() < 1e-6 * bound


def test_halves_of_a_coupling_take_turns():
    for swapped in (False, True):
        kept, changed = halve(5, swapped)
        assert {kept, changed} == {2, 3}
        coupling = Coupling(MLPConditioner((kept,), outputs=changed), Shift(), swapped)
        torch.nn.init.ones_(coupling.net.net[-1].bias)
        moved = coupling(torch.zeros(1, 5))[0][0]
        assert moved.tolist() == ([1, 1, 1, 0, 0] if swapped else [0, 0, 0, 1, 1])


@pytest.mark.parametrize("widths", [(8,), (20, 13), (3, 4, 5)])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("order", [None, [4, 1, 5, 0, 2, 3]])
def test_the_steps_of_a_masked_inverse_are_those_of_whole_passes(widths, context, order):
    layer = MaskedAutoregressive(6, ShiftAndScale(), widths, context, order).double()
    for parameter in layer.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.5)
    y, c = torch.randn(7, 6, dtype=torch.float64), torch.randn(7, context, dtype=torch.float64) if context else None
    passes, log_det = layer.inverse(y, c)
    with torch.no_grad():
        steps, other = layer.inverse(y, c)
    torch.testing.assert_close(steps, passes.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(other, log_det.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(layer(steps, c)[0].detach(), y, rtol=0, atol=1e-9)


def test_a_masked_map_is_triangular_in_its_order():
    order = [2, 0, 3, 1]
    layer = MaskedAutoregressive(4, ShiftAndScale(), (16, 16), order=order)
    for parameter in layer.parameters():
        parameter.data.normal_()
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x[None])[0][0], torch.randn(4))[order][:, order]
    assert jacobian.triu(1).eq(0).all() and (jacobian != 0).sum() == 10


def test_gradients_go_through_the_inverse_of_a_masked_map():
    layer = MaskedAutoregressive(3, ShiftAndScale(), (8,), order=[1, 2, 0]).double()
    for parameter in layer.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.5)
    y = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: layer.inverse(y)[0], y)
    layer.inverse(y)[0].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in layer.parameters())
