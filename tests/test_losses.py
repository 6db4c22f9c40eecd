"""Losses of games: where they are best, what they do with extreme values, and the penalties that papers pair them with.

The f-divergences have a file of their own; what is older is in ``test_gan.py``.
"""

import math

import pytest
import torch
from torch import nn

from genlab.build import build
from genlab.catalogue import based, picks
from genlab.errors import ConfigError
from genlab.losses.fgan import KL, SquaredHellinger
from genlab.losses.hinge import Hinge
from genlab.losses.loss_sensitive import LossSensitive
from genlab.losses.minimax import Minimax
from genlab.losses.non_saturating import NonSaturating
from genlab.losses.relativistic import Relativistic
from genlab.losses.softmax import Softmax
from genlab.losses.wasserstein import Wasserstein
from genlab.presets import file_of, groups, read


def node(name):
    """Of a loss, with what it builds on."""
    whole = {}
    for path in based("loss", name):
        whole |= {key: value for key, value in read(path).items() if key != "defaults"}
    return whole


def make(name, **options):
    """The loss; one with a state of its own in the middle of it."""
    loss = build(node(name) | options)
    for buffer in loss.buffers() if isinstance(loss, nn.Module) else ():
        buffer.fill_(0.5)
    return loss


GAMES = [name for name in groups()["loss"] if hasattr(build(node(name)), "critic")]


def critic(loss, real, fake):
    """The critic's loss, of examples that are all zeros and all ones."""
    if getattr(loss, "needs_examples", False):
        return loss.critic(real, fake, (torch.zeros(len(real), 3), torch.ones(len(fake), 3)))
    return loss.critic(real, fake)


def generator(loss, fake, real):
    if getattr(loss, "needs_examples", False):
        return loss.generator(fake, None, (torch.zeros(len(real), 3), torch.ones(len(fake), 3)))
    return loss.generator(fake, real if getattr(loss, "needs_real", False) else None)


# ---- all of them ----
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", GAMES)
def test_values_and_gradients_are_finite_at_extreme_logits(name, dtype):
    for options in ({}, {"practical": True}) if "fgan" in name else ({},):
        loss = make(name, **options)
        for real, fake in ((-1e4, -1e4), (-1e4, 1e4), (1e4, -1e4), (1e4, 1e4), (0.0, 0.0)):
            on_real = torch.tensor([real, 0.5, real], dtype=dtype, requires_grad=True)
            on_fake = torch.tensor([fake, -0.5, fake], dtype=dtype, requires_grad=True)
            values = [critic(loss, on_real, on_fake), generator(loss, on_fake, on_real)]
            values += [loss.both(on_real, on_fake)] if hasattr(loss, "both") else []
            for value in values:
                assert value.isfinite() and value.shape == ()
                slopes = torch.autograd.grad(value, (on_real, on_fake), allow_unused=True)
                assert all(slope is None or slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("name", GAMES)
def test_a_critic_parts_the_two_and_a_generator_joins_them(name):
    """Down the critic's loss real values rise and generated ones fall; down the generator's, generated ones rise."""
    loss = make(name)
    real, fake = (torch.full((4,), value, requires_grad=True) for value in (0.8, 0.2))
    up, down = torch.autograd.grad(critic(loss, real, fake), (real, fake))
    assert (up < 0).all() and (down > 0).all()
    (rise,) = torch.autograd.grad(generator(loss, fake, real), fake)
    assert (rise < 0).all()
    if hasattr(loss, "both"):  # players that make both kinds
        fall, rise = torch.autograd.grad(loss.both(real, fake), (real, fake))
        assert (fall > 0).all() and (rise < 0).all()


@pytest.mark.parametrize("name", GAMES)
def test_losses_are_means(name):
    """Of a batch twice over, the same: but for softmax, whose batch is the distribution."""
    loss, (real, fake) = make(name), torch.randn(2, 5)
    grown = math.log(2) if name == "softmax" else 0.0
    once, twice = critic(loss, real, fake), critic(make(name), real.repeat(2), fake.repeat(2))
    assert twice.item() == pytest.approx(once.item() + grown, abs=1e-5)
    once, twice = generator(loss, fake, real), generator(loss, fake.repeat(2), real.repeat(2))
    assert twice.item() == pytest.approx(once.item() + grown, abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "penalty"),
    [
        ("hinge_sn", "spectral_norm"),
        ("relativistic_r1_r2", "r1_r2"),
        ("non_saturating_r1", "r1"),
        ("non_saturating_dragan", "dragan"),
        ("wasserstein_lp", "gradient_one_sided"),
        ("wasserstein_gp", "gradient"),
        ("wasserstein_clip", "clip"),
    ],
)
def test_presets_pair_a_loss_with_the_penalty_of_its_paper(loss, penalty):
    assert picks(file_of("loss", loss)) == {"penalty": penalty}


@pytest.mark.parametrize("kind", [Minimax, Hinge, KL, SquaredHellinger, Wasserstein])
def test_players_of_both_kinds_play_against_the_critic(kind):
    """In a game of zero sum their loss is minus the critic's; hinge is one within its margins, whose two it lacks."""
    loss, (real, fake) = kind(), 0.3 * torch.randn(2, 6, dtype=torch.float64)
    both = loss.both(real, fake) if hasattr(loss, "both") else loss.critic(fake, real)
    margins = 2.0 if kind is Hinge else 0.0
    assert both.item() == pytest.approx(margins - loss.critic(real, fake).item())


# ---- on two known distributions, p = (1, 2, 5) / 8 and q = (4, 3, 1) / 8, each drawn exactly ----
P, Q = torch.tensor([1.0, 2, 5], dtype=torch.float64) / 8, torch.tensor([4.0, 3, 1], dtype=torch.float64) / 8


def drawn(values, law):
    """Critic values on eight examples that follow ``law`` exactly."""
    return values.repeat_interleave((law * 8).long())


def is_least(value, at):
    """No neighbour, near or far, has a smaller one."""
    torch.manual_seed(0)
    ways = [size * torch.randn_like(at) for size in (0.01, 0.3, 3.0) for _ in range(9)]
    return all(value(at + way).item() >= value(at).item() - 1e-12 for way in ways)


def test_hinge_is_best_at_the_sign_of_p_less_q():
    """There it is 2 - 2 TV(p, q)."""
    best = (P - Q).sign()
    loss = lambda d: Hinge().critic(drawn(d, P), drawn(d, Q))  # noqa: E731
    assert loss(best).item() == pytest.approx(2 - (P - Q).abs().sum().item())
    assert is_least(loss, best)


def test_hinge_leaves_alone_what_is_beyond_the_margin():
    real = torch.tensor([1.5, 0.5], requires_grad=True)
    fake = torch.tensor([-1.5, -0.5], requires_grad=True)
    slopes = torch.autograd.grad(Hinge().critic(real, fake), (real, fake))
    assert [slope.tolist() for slope in slopes] == [[0, -0.5], [0, 0.5]]


@pytest.mark.parametrize("kind", [Minimax, NonSaturating])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_smoothed_labels_scale_the_best_discriminator(kind, smoothing):
    """D* = (1 - s) p / (p + q); generated examples keep their label, so that q stands below alone."""
    best = torch.logit((1 - smoothing) * P / (P + Q)).requires_grad_()
    loss = kind(smoothing)
    (slope,) = torch.autograd.grad(loss.critic(drawn(best, P), drawn(best, Q)), best)
    assert slope.abs().max() < 1e-12
    fake = torch.randn(5)
    assert loss.generator(fake) == kind().generator(fake)


def test_smoothed_labels_are_a_cross_entropy():
    real, fake = torch.randn(2, 6, dtype=torch.float64)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = entropy(real, torch.full_like(real, 0.9)) + entropy(fake, torch.zeros_like(fake))
    assert Minimax(0.1).critic(real, fake).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("smoothing", [-0.1, 0.5, 1.0])
def test_labels_that_say_nothing_are_refused(smoothing):
    with pytest.raises(ConfigError, match=r"loss\.smoothing"):
        NonSaturating(smoothing)


def test_softmax_critic_is_a_cross_entropy_and_least_with_all_mass_on_the_real_ones():
    real, fake = torch.randn(4, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    target = torch.tensor([0.25] * 4 + [0.0] * 6, dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(torch.cat((real, fake)), target)
    assert Softmax().critic(real, fake).item() == pytest.approx(expected.item())
    assert Softmax().critic(torch.zeros(4), torch.full((6,), -50.0)).item() == pytest.approx(math.log(4))
    assert Softmax().critic(real, fake).item() > math.log(4)


def test_softmax_generator_is_least_where_none_is_told_from_another():
    real = torch.full((4,), 0.7, dtype=torch.float64)
    loss = lambda fake: Softmax().generator(fake, real)  # noqa: E731
    assert loss(torch.full((6,), 0.7)).item() == pytest.approx(math.log(10))
    assert is_least(loss, torch.full((6,), 0.7, dtype=torch.float64))


@pytest.mark.parametrize(("average", "least"), [(False, math.log(2)), (True, math.log(4))])
def test_relativistic_is_at_rest_where_p_is_q(average, least):
    """All pairs of examples of one law: any constant critic is best, and the two players' gradients are opposite."""
    loss = Relativistic(average)
    flat = torch.full((8,), 0.4, dtype=torch.float64)
    pairs = lambda d: loss.critic(d.repeat_interleave(8), d.repeat(8))  # noqa: E731
    assert pairs(flat).item() == pytest.approx(least)
    assert is_least(pairs, flat)
    real, fake = flat.clone().requires_grad_(), flat.clone().requires_grad_()
    of_critic = torch.autograd.grad(loss.critic(real, fake), (real, fake))
    of_generator = torch.autograd.grad(loss.generator(fake, real), (real, fake))
    torch.testing.assert_close(of_critic[0], -of_critic[1])
    torch.testing.assert_close(of_critic[1], -of_generator[1])


@pytest.mark.parametrize("average", [False, True])
def test_relativistic_players_change_places(average):
    """The generator plays the critic's loss with real and generated exchanged, and only differences count."""
    loss, (real, fake) = Relativistic(average), torch.randn(2, 7, dtype=torch.float64)
    assert loss.generator(fake, real) == loss.critic(fake, real)
    assert loss.critic(real + 3, fake + 3).item() == pytest.approx(loss.critic(real, fake).item())


def test_relativistic_pairs_are_pairs():
    real, fake = torch.tensor([0.0, 5.0]), torch.tensor([1.0, 5.0])
    expected = (math.log1p(math.exp(1)) + math.log(2)) / 2
    assert Relativistic().critic(real, fake).item() == pytest.approx(expected)


def test_loss_sensitive_asks_for_the_margin_and_no_more():
    """Of three pairs at distances 1, 2 and 0 the first has more than its margin, the second half of it."""
    x = torch.tensor([[0.0, 0], [0, 0], [0, 0]], dtype=torch.float64)
    y = torch.tensor([[1.0, 1], [1, 3], [0, 0]], dtype=torch.float64)
    real = torch.tensor([3.0, 1, 0], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([0.0, 0, 0], dtype=torch.float64, requires_grad=True)
    value = LossSensitive(margin=1.0).critic(real, fake, (x, y))
    assert value.item() == pytest.approx(1 / 3)
    up, down = torch.autograd.grad(value, (real, fake))
    assert up[:2].tolist() == [0, -1 / 3] and down[:2].tolist() == [0, 1 / 3]


def test_loss_sensitive_of_slope_one_is_wasserstein():
    real, fake = torch.randn(2, 6, dtype=torch.float64)
    examples = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    margin = 2 * (examples[0] - examples[1]).abs().mean().item()
    found = LossSensitive(margin=2.0, slope=1.0).critic(real, fake, examples)
    assert found.item() == pytest.approx(Wasserstein().critic(real, fake).item() + margin)
    with pytest.raises(ConfigError, match=r"loss\.slope"):
        LossSensitive(slope=1.5)


def test_loss_sensitive_teaches_the_critic_alone_about_distances():
    """The distance is a number: what generated the examples has no gradient by it in the critic's turn."""
    y = torch.randn(4, 3, requires_grad=True)
    real = torch.zeros(4, requires_grad=True)
    LossSensitive().critic(real, torch.zeros(4), (torch.zeros(4, 3), y)).backward()
    assert y.grad is None and real.grad is not None
