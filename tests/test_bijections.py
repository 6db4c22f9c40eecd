"""The laws of a bijection, for every one of them and for the chains that models build of them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab.bijections.actnorm import ActNorm
from genlab.bijections.affine_coupling import AffineCoupling
from genlab.bijections.base import Bijection
from genlab.bijections.chain import Chain
from genlab.bijections.coupling import Coupling, halve
from genlab.bijections.factor_out import FactorOut
from genlab.bijections.flatten import Flatten
from genlab.bijections.inverse import Inverse
from genlab.bijections.invertible_linear import InvertibleLinear
from genlab.bijections.logit import Logit
from genlab.bijections.masked_autoregressive import MaskedAutoregressive
from genlab.bijections.permute import Permute
from genlab.bijections.planar import Planar
from genlab.bijections.radial import Radial
from genlab.bijections.rational_quadratic import RationalQuadratic
from genlab.bijections.scale import Scale
from genlab.bijections.shift import Shift
from genlab.bijections.shift_and_scale import ShiftAndScale
from genlab.bijections.squeeze import Squeeze
from genlab.models.flow.conditioner import MLPConditioner, ResNetConditioner
from genlab.models.flow.masks import halves, parity
from genlab.models.flow.realnvp import alternating, diagonals_first, multi_scale

CONTEXT = 3


def mlp(shape):
    return MLPConditioner(shape, width=8, context=CONTEXT)


def resnet(channels, maps=4):
    return ResNetConditioner(channels, maps, blocks=1, context=CONTEXT)


def halves_of(shape, monotone, swapped=False):
    kept, changed = halve(shape[0], swapped)
    net = MLPConditioner((kept, *shape[1:]), width=8, context=CONTEXT, outputs=monotone.parameters * changed)
    return Coupling(net, monotone, swapped)


def started(channels):
    norm = ActNorm(channels)
    norm.started.fill_(True)
    return norm


def masked(monotone, order=None):
    return MaskedAutoregressive(4, monotone, (9, 7), CONTEXT, order, activation="tanh")


# name: (the bijection, the shape of x); at most eight dimensions, so that a Jacobian is cheap
CASES = {
    "coupling of a vector": lambda: (AffineCoupling(mlp((5,)), parity((5,), 1)), (5,)),
    "coupling under a checkerboard": lambda: (AffineCoupling(resnet(2), parity((2, 2, 2), 0)), (2, 2, 2)),
    "coupling under channel halves": lambda: (AffineCoupling(resnet(4), halves(4, 1)), (4, 1, 2)),
    "coupling with a tight limit": lambda: (AffineCoupling(mlp((4,)), parity((4,), 0), limit=0.1), (4,)),
    "logit": lambda: (Logit(0.05), (3,)),
    "logit of an image": lambda: (Logit(1e-6), (1, 2, 2)),
    "permute": lambda: (Permute([2, 0, 1]), (3,)),
    "flip": lambda: (Permute(range(4)[::-1]), (4, 1, 2)),
    "squeeze": lambda: (Squeeze(), (2, 2, 2)),
    "flatten": lambda: (Flatten((2, 1, 3)), (2, 1, 3)),
    "factor out": lambda: (FactorOut(alternating((2, 1, 2), 2, mlp, 2.0), (4, 1, 2)), (4, 1, 2)),
    "chain": lambda: (Chain([Logit(0.05), Permute([1, 0, 2]), *alternating((3,), 4, mlp, 2.0).bijections]), (3,)),
    "additive coupling": lambda: (halves_of((5,), Shift()), (5,)),
    "additive coupling of an image": lambda: (halves_of((3, 1, 2), Shift(), swapped=True), (3, 1, 2)),
    "affine coupling of halves": lambda: (halves_of((2, 2, 2), ShiftAndScale(0.5)), (2, 2, 2)),
    "spline coupling": lambda: (halves_of((5,), RationalQuadratic(bins=5, bound=0.8), swapped=True), (5,)),
    "spline coupling of an image": lambda: (halves_of((4, 1, 2), RationalQuadratic(bins=3, bound=2.0)), (4, 1, 2)),
    "scale": lambda: (Scale((2, 1, 2)), (2, 1, 2)),
    "actnorm": lambda: (started(3), (3,)),
    "actnorm of an image": lambda: (started(2), (2, 2, 2)),
    "invertible linear": lambda: (InvertibleLinear(5), (5,)),
    "invertible 1 x 1 convolution": lambda: (InvertibleLinear(4), (4, 1, 2)),
    "planar": lambda: (Planar(3), (3,)),
    "radial": lambda: (Radial(3), (3,)),
    "radial in one dimension": lambda: (Radial(1), (1,)),
    "masked auto-regressive": lambda: (masked(ShiftAndScale()), (4,)),
    "masked auto-regressive in another order": lambda: (masked(ShiftAndScale(), [2, 0, 3, 1]), (4,)),
    "masked auto-regressive spline": lambda: (masked(RationalQuadratic(4, 0.7), [3, 2, 1, 0]), (4,)),
    "inverse auto-regressive": lambda: (Inverse(masked(ShiftAndScale(), [3, 2, 1, 0])), (4,)),
    "multi-scale": lambda: (multi_scale((2, 2, 2), 2, 2, 4, resnet, 2.0), (2, 2, 2)),
}


def make(name: str) -> tuple[Bijection, tuple[int, ...]]:
    """In float64, with weights away from the identity that every coupling starts at."""
    torch.manual_seed(len(name))
    bijection, shape = CASES[name]()
    bijection = bijection.double()
    with torch.no_grad():
        for parameter in bijection.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    return bijection, shape


def examples(shape: tuple[int, ...], batch: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the open unit cube, where every bijection is defined, and contexts."""
    return torch.rand(batch, *shape, dtype=torch.float64), torch.randn(batch, CONTEXT, dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
def test_round_trip_returns_and_its_log_determinants_cancel(name):
    bijection, shape = make(name)
    x, c = examples(shape)
    y, there = bijection(x, c)
    again, back = bijection.inverse(y, c)
    assert again.shape == x.shape and y[0].numel() == x[0].numel()
    assert there.shape == back.shape == (len(x),)
    torch.testing.assert_close(again, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(there + back, torch.zeros_like(there), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_log_determinant_is_that_of_the_jacobian(name):
    bijection, shape = make(name)
    x, c = examples(shape)
    _, log_det = bijection(x, c)
    D = math.prod(shape)
    for i in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda x, i=i: bijection(x, c[i : i + 1])[0], x[i : i + 1])
        assert torch.linalg.slogdet(jacobian.reshape(D, D)).logabsdet.item() == pytest.approx(
            log_det[i].item(), abs=1e-9
        )


@pytest.mark.parametrize("name", CASES)
def test_example_does_not_depend_on_the_rest_of_the_batch(name):
    bijection, shape = make(name)
    x, c = examples(shape)
    bijection.train()
    y, log_det = bijection(x, c)
    alone, alone_log_det = bijection(x[:1], c[:1])
    torch.testing.assert_close(alone, y[:1])
    torch.testing.assert_close(alone_log_det, log_det[:1])


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_squeeze_is_a_permutation_that_keeps_blocks_together(channels, height, width):
    x = torch.arange(channels * 4 * height * width).reshape(1, channels, 2 * height, 2 * width)
    y, log_det = Squeeze()(x)
    assert y.shape == (1, 4 * channels, height, width)
    assert torch.equal(y.flatten().sort().values, x.flatten())
    assert log_det.eq(0).all()
    assert set(y[0, :, -1, -1].tolist()) == set(x[0, :, -2:, -2:].flatten().tolist())


@pytest.mark.parametrize("channels", [1, 3])
def test_factored_out_half_is_one_colour_of_the_checkerboard(channels):
    board = parity((4, 4), 0).expand(1, channels, 4, 4)
    y, _ = Permute(diagonals_first(channels))(Squeeze()(board)[0])
    kept, out = y.chunk(2, dim=1)
    assert kept.eq(1).all() and out.eq(0).all()


def test_coupling_starts_as_the_identity_and_leaves_the_masked_alone():
    mask = parity((6,), 0)
    coupling = AffineCoupling(MLPConditioner((6,)), mask)
    x = torch.randn(3, 6)
    y, log_det = coupling(x)
    assert torch.equal(y, x) and log_det.eq(0).all()
    torch.nn.init.normal_(coupling.net.net[-1].weight)
    y, _ = coupling(x)
    assert torch.equal(y[:, mask.bool()], x[:, mask.bool()])
    assert (y != x)[:, ~mask.bool()].all()


@given(st.floats(0.1, 5), st.floats(-1e6, 1e6))
@settings(max_examples=50, deadline=None)
def test_log_scale_is_bounded(limit, raw):
    coupling = AffineCoupling(MLPConditioner((2,)), parity((2,), 0), limit)
    torch.nn.init.constant_(coupling.net.net[-1].bias, raw)
    _, log_det = coupling(torch.zeros(1, 2))
    assert log_det.abs().item() <= limit * (1 + 1e-6)


def test_context_matters_to_couplings():
    bijection, shape = make("coupling under a checkerboard")
    x, c = examples(shape)
    assert not torch.allclose(bijection(x, c)[0], bijection(x, -c)[0])


@pytest.mark.parametrize("net", [MLPConditioner((2, 4, 4)), ResNetConditioner(2, 4, 1)])
def test_results_keep_the_precision_of_x_under_mixed_precision(net):
    coupling = AffineCoupling(net, parity((2, 4, 4), 0))
    torch.nn.init.normal_(net.net[-1].weight)
    with torch.autocast("cpu", torch.bfloat16):
        y, log_det = coupling(torch.randn(3, 2, 4, 4))
        assert net(torch.randn(3, 2, 4, 4)).dtype == torch.bfloat16
    assert y.dtype == log_det.dtype == torch.float32


@pytest.mark.parametrize("name", CASES)
def test_mixed_precision_rounds_conditioners_and_no_bijection(name):
    """What comes back is what went in, to float32, for both ways ask the same net for the same numbers."""
    bijection, shape = make(name)
    x, c = (part.float() for part in examples(shape))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        y, there = bijection.float()(x, c)
        again, back = bijection.inverse(y, c)
    assert y.dtype == there.dtype == again.dtype == back.dtype == torch.float32
    if "masked" not in name and "auto-regressive" not in name:  # steps and passes of a MADE are rounded differently
        torch.testing.assert_close(again, x, rtol=0, atol=1e-3)
