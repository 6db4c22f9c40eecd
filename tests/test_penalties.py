"""Penalties: their values where they are known by hand, and the mistakes that are common elsewhere."""

import pytest
import torch
from torch import nn

from genlab.penalties.base import Penalty
from genlab.penalties.clip import Clip
from genlab.penalties.gradient import Gradient
from genlab.penalties.r1 import R1

SHAPES = [(6,), (1, 4, 4), (3, 4, 2)]


def linear(shape, norm):
    """A critic w.x with |w| = norm."""
    w = torch.randn(shape, dtype=torch.float64)
    w *= norm / w.norm()
    return lambda x: (x * w).flatten(1).sum(1)


def examples(shape, count=5):
    return torch.randn(2, count, *shape, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic_is_known(shape, norm):
    """The slope is |w| over all axes together, wherever it is taken; a norm per channel would be smaller."""
    real, fake = examples(shape)
    assert Gradient(weight=10.0).term(linear(shape, norm), real, fake).item() == pytest.approx(10 * (norm - 1) ** 2)


def test_weights_of_the_paper():
    """Ten on images, a tenth on two-dimensional sets."""
    image, plane = linear((1, 4, 4), 2.0), linear((2,), 2.0)
    assert Gradient().term(image, *examples((1, 4, 4))).item() == pytest.approx(10)
    assert Gradient().term(plane, *examples((2,))).item() == pytest.approx(0.1)


def test_target_and_sides():
    real, fake = examples((6,))
    steep, shallow = linear((6,), 3.0), linear((6,), 0.25)
    assert Gradient(weight=1.0, target=2.5).term(steep, real, fake).item() == pytest.approx(0.25)
    assert Gradient(weight=1.0, one_sided=True).term(steep, real, fake).item() == pytest.approx(4.0)
    assert Gradient(weight=1.0, one_sided=True).term(shallow, real, fake).item() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_interpolates_lie_on_straight_lines_at_a_place_of_their_own(shape):
    """One epsilon an example, not one a pixel and not one a batch."""
    real, fake = examples(shape, 64)
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    Gradient().term(critic, real, fake)
    place = ((seen[0] - fake) / (real - fake)).flatten(1)
    torch.testing.assert_close(place, place[:, :1].expand_as(place), atol=1e-6, rtol=0)
    assert place.min() >= 0 and place.max() <= 1
    assert place[:, 0].std().item() == pytest.approx(12**-0.5, abs=0.08)


def test_gradient_penalty_is_the_mean_over_examples():
    """For d(x) = a x^2 / 2 the slope at x is a |x|: with real = fake the interpolate is known."""
    x = torch.tensor([[1.0], [2.0], [5.0]], dtype=torch.float64)
    term = Gradient(weight=3.0).term(lambda v: v.square().sum(1) / 2, x, x)
    assert term.item() == pytest.approx(3 * (0 + 1 + 16) / 3)


@pytest.mark.parametrize("penalty", [Gradient(), R1()])
def test_terms_reach_the_critic_and_nothing_else(penalty):
    critic = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    real, fake = torch.randn(4, 2), torch.randn(4, 2, requires_grad=True)
    penalty.term(critic, real, fake).backward()
    assert critic[0].weight.grad.abs().sum() > 0
    assert fake.grad is None and not real.requires_grad


@pytest.mark.parametrize("kind", [Gradient, R1])
def test_lazy_terms_have_the_same_mean(kind):
    real, fake = examples((6,))
    critic = linear((6,), 3.0)
    lazy, eager = kind(weight=2.0, every=4), kind(weight=2.0)
    assert lazy.every == 4
    assert lazy.term(critic, real, fake).item() == pytest.approx(4 * eager.term(critic, real, fake).item())


def test_r1_of_a_linear_critic_is_known():
    real, fake = examples((3, 4, 2))
    assert R1(weight=10.0).term(linear((3, 4, 2), 3.0), real, fake).item() == pytest.approx(45)


def test_clipping_is_a_projection_onto_the_box():
    critic = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 1))
    before = [p.detach().clone() for p in critic.parameters()]
    penalty = Clip(0.1)
    assert penalty.term(critic, torch.randn(2, 3), torch.randn(2, 3)) is None
    penalty.project(critic)
    for old, new in zip(before, critic.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old.clamp(-0.1, 0.1))
        assert new.requires_grad
    once = [p.detach().clone() for p in critic.parameters()]
    penalty.project(critic)
    assert all(torch.equal(a, b) for a, b in zip(once, critic.parameters(), strict=True))


def test_no_penalty_changes_nothing():
    critic = nn.Linear(3, 1)
    before = critic.weight.detach().clone()
    none = Penalty()
    none.prepare(critic)
    none.project(critic)
    assert none.term(critic, torch.randn(2, 3), torch.randn(2, 3)) is None
    assert torch.equal(before, critic.weight)
