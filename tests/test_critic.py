"""What every game does with its discriminator: packs, pairs, conditions, and losses of three kinds."""

from functools import partial

import pytest
import torch
from torch import nn

from genlab.errors import ConfigError
from genlab.losses.non_saturating import NonSaturating
from genlab.losses.relativistic import Relativistic
from genlab.losses.wasserstein import Wasserstein
from genlab.models.gan import dcgan, improved, mlp, resnet, resnet101, sngan
from genlab.models.gan.critic import Critic, apart, joined, packed
from genlab.models.gan.gan import GAN
from genlab.noise import Noise
from genlab.penalties.feature_matching import FeatureMatching
from genlab.penalties.gradient import Gradient
from genlab.penalties.pulling_away import PullingAway
from genlab.penalties.r1 import R1
from genlab.penalties.sum import Sum
from genlab.spec import Spec, to_signed

DIGITS = Spec("image", (1, 8, 8), 17, classes=tuple("0123456789"))
FACES = Spec("image", (3, 8, 8), 256, attributes=("smiling", "bearded", "old"))
PLANE = Spec("vector", (2,))


class Pair(nn.Module):
    """Rates a point and its code by a bilinear form, whose gradients are known."""

    def __init__(self, features, latent):
        super().__init__()
        self.form = nn.Parameter(torch.randn(features, latent))

    def forward(self, x, z):
        return (x @ self.form * z).sum(1)


def game(spec, net=mlp, pack=1, conditional=False, norm=None):
    torch.manual_seed(0)
    critic = partial(net.Discriminator, width=8, norm=norm)
    return GAN(spec, partial(net.Generator, width=8, norm="batch"), critic, 6, pack=pack, conditional=conditional)


def batch(spec, count=12):
    y = torch.arange(count) % 10 if spec.classes else torch.randint(2, (count, 3), dtype=torch.uint8)
    if spec.levels is None:
        return {"x": torch.randn(count, *spec.shape)}
    return {"x": torch.randint(spec.levels, (count, *spec.shape), dtype=torch.uint8), "y": y}


def test_packs_are_neighbours_joined_along_their_first_axis():
    x = torch.arange(7 * 3 * 2 * 2).view(7, 3, 2, 2)
    pairs = packed(x, 2)
    assert pairs.shape == (3, 6, 2, 2)  # the seventh is left out
    assert torch.equal(pairs[1], torch.cat([x[2], x[3]]))
    assert packed(x, 1) is x


@pytest.mark.parametrize("net", [mlp, dcgan, resnet])
@pytest.mark.parametrize("pack", [2, 3])
@pytest.mark.parametrize("penalty", [Gradient(), R1()])
def test_any_net_rates_packs(net, pack, penalty):
    model = game(DIGITS, net, pack)
    value, parts = model.turn("critic", batch(DIGITS), Wasserstein(), penalty)
    value.backward()
    assert parts["penalty"] > 0 and model.critic(torch.randn(12, 1, 8, 8)).shape == (12 // pack,)
    model.turn("generator", batch(DIGITS), Wasserstein(), None)[0].backward()
    assert all(p.grad is not None for p in model.generator.parameters())
    assert model.criticise(batch(DIGITS)["x"]).shape == (12,)


@pytest.mark.parametrize("net", [mlp, dcgan, resnet])
@pytest.mark.parametrize("spec", [DIGITS, FACES])
@pytest.mark.parametrize("pack", [1, 2])
def test_conditions_reach_both_players(net, spec, pack):
    """Each example, and each value, changes with its own label and with no other's."""
    model, made = game(spec, net, pack, conditional=True).eval(), batch(spec)
    for player in ("critic", "generator"):
        model.turn(player, made, Wasserstein(), Gradient() if player == "critic" else None)[0].backward()
    x, y = made["x"], made["y"]
    z = torch.randn(len(x), 6)
    other = y.clone()
    other[:2] = 9 - y[:2] if spec.classes else 1 - y[:2]
    changed = (model.generate(z, y) != model.generate(z, other)).flatten(1).any(1)
    assert changed[:2].any() and not changed[2:].any()
    values = model.criticise(x, y), model.criticise(x, other)
    assert (values[0] != values[1]).tolist() == [True] * 2 + [False] * 10
    with pytest.raises(ConfigError, match="label"):
        model.sample(Noise([0]))


def test_data_without_labels_are_refused():
    with pytest.raises(ConfigError, match="labels"):
        game(PLANE, conditional=True)


def test_pairs_are_rated_in_one_call_and_apart_alike():
    torch.manual_seed(0)
    critic = Critic(Pair(2, 3))
    real, fake = (torch.randn(4, 2), torch.randn(4, 3)), (torch.randn(4, 2), torch.randn(4, 3))
    once = critic.rate(real, fake)
    critic.mixes = True
    for one, other in zip(once, critic.rate(real, fake), strict=True):
        torch.testing.assert_close(one, other)
    parts = apart(joined(real, 1), [part.shape[1:] for part in real])
    assert all(map(torch.equal, parts, real))


def test_a_penalty_on_pairs_runs_over_both():
    """R1 of x' A z at (x, z): |A z|^2 + |A' x|^2."""
    torch.manual_seed(0)
    net = Pair(2, 3)
    x, z = torch.randn(5, 2), torch.randn(5, 3)
    term = Critic(net).penalise(R1(weight=2.0), (x, z), (x, z))
    known = (z @ net.form.T).square().sum(1) + (x @ net.form).square().sum(1)
    torch.testing.assert_close(term, known.mean())


def test_a_penalty_does_not_differentiate_by_conditions():
    class Scaled(nn.Module):
        def forward(self, x, given):
            return x.sum(1) * given.sum(1)

    x, given = torch.randn(4, 2), torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    term = Critic(Scaled()).penalise(R1(weight=2.0), x, x, given)
    assert term.item() == pytest.approx((2 * given.square()).mean().item())


@pytest.mark.parametrize("pack", [1, 2])
def test_losses_get_what_they_ask_for(pack):
    seen = {}

    class Curious(NonSaturating):
        needs_real = needs_examples = True

        def critic(self, real, fake, examples):
            seen["critic"] = examples
            return super().critic(real, fake)

        def generator(self, fake, real, examples):
            seen["generator"] = (real, examples)
            return super().generator(fake)

    model, made = game(DIGITS, pack=pack), batch(DIGITS)
    model.turn("critic", made, Curious(), None)
    model.turn("generator", made, Curious(), None)
    real, (x, fake) = seen["generator"]
    assert real.shape == (12 // pack,) and x.shape == fake.shape == (12 // pack, 64 * pack)
    assert fake.requires_grad and not seen["critic"][1].requires_grad


def test_players_of_both_kinds_exchange_the_labels():
    """softplus(d(x, E(x))) + softplus(-d(G(z), z)).  (Dumoulin et al. 2017, released code)"""
    critic = Critic(nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)))
    real, fake = torch.randn(6, 2), torch.randn(6, 2)
    known = nn.functional.softplus(critic(real)).mean() + nn.functional.softplus(-critic(fake)).mean()
    torch.testing.assert_close(critic.against_both(real, fake, NonSaturating()), known)
    torch.testing.assert_close(
        critic.against_both(real, fake, Wasserstein()), -Wasserstein().critic(critic(real), critic(fake))
    )


def test_matched_features_have_equal_means():
    """|E h(x) - E h(G(z))|^2 by hand, added to the generator's loss and to no critic's."""
    model, made = game(DIGITS), batch(DIGITS)
    model.eval()
    values = []
    for penalty in (None, FeatureMatching(weight=3.0)):
        torch.manual_seed(1)
        values.append(model.turn("generator", made, NonSaturating(), penalty)[0])
    torch.manual_seed(1)
    fake, real = model.generate(torch.randn(12, 6)), to_signed(made["x"], 17)
    features = model.critic.net.features
    known = 3 * (features(real).mean(0) - features(fake).mean(0)).square().mean()
    torch.testing.assert_close(values[1] - values[0], known)
    _, parts = model.turn("critic", made, NonSaturating(), FeatureMatching())
    assert "penalty" not in parts


def test_features_pull_away_from_each_other():
    """Equal directions cost the weight, orthogonal ones nothing."""
    away = PullingAway(weight=0.1)
    assert away.imitation(lambda x: x, torch.eye(4), torch.eye(4)).item() == pytest.approx(0, abs=1e-7)
    alike = torch.ones(4, 3) * torch.tensor([[1.0], [2.0], [-3.0], [4.0]])
    assert away.imitation(lambda x: x, alike, alike).item() == pytest.approx(0.1)


def test_a_sum_asks_a_generator_for_all_that_its_parts_ask():
    parts = {"match": FeatureMatching(), "away": PullingAway(), "flat": R1()}
    x, fake = torch.randn(6, 3), torch.randn(6, 3)
    total = Sum(parts).imitation(lambda x: x, x, fake)
    known = parts["match"].imitation(lambda x: x, x, fake) + parts["away"].imitation(lambda x: x, x, fake)
    torch.testing.assert_close(total, known)


@pytest.mark.parametrize("net", [mlp, dcgan, resnet, sngan, resnet101, improved])
@pytest.mark.parametrize("pack", [1, 2])
def test_features_and_values_come_of_one_pass(net, pack):
    """The net is called once for both, and says what it says when it is asked for either alone."""
    torch.manual_seed(0)
    spec = DIGITS if net is not resnet101 else Spec("image", (1, 16, 16), 17)
    narrow = (
        {"widths": (9, 8)}
        if net is improved
        else {"width": 4} | ({"blocks": 3} if net is resnet101 else {"norm": None})
    )
    critic = Critic(net.Discriminator(spec.packed(pack), **narrow), pack).eval()
    real, fake = torch.randn(7, *spec.shape), torch.randn(10, *spec.shape)  # seven make three pairs
    passes = []
    first = next(part for part in critic.net.modules() if isinstance(part, nn.Linear | nn.Conv2d))
    first.register_forward_hook(lambda *_: passes.append(1))
    on_both = critic.view(real, fake)
    assert len(passes) == 1 and not critic.mixes
    for x, (values, features) in zip((real, fake), on_both, strict=True):
        torch.testing.assert_close(values, critic(x))
        torch.testing.assert_close(features, critic.net.features(packed(x, pack)))
        torch.testing.assert_close(critic.see(x), (values, features))
    torch.testing.assert_close(critic.rate(real, fake), (on_both[0][0], on_both[1][0]))
    loss = NonSaturating()
    alone, known = (critic.turn(real, fake, loss, None, rated=rated)[0] for rated in (None, critic.rate(real, fake)))
    assert torch.equal(alone, known)


@pytest.mark.parametrize("loss", [NonSaturating(), Relativistic()])
def test_known_values_of_generated_examples_change_nothing(loss):
    torch.manual_seed(0)
    critic = Critic(mlp.Discriminator(DIGITS, width=8, norm="batch"))
    real, fake = torch.randn(2, 12, 1, 8, 8)
    torch.testing.assert_close(critic.against(fake, loss, real), critic.against(fake, loss, real, rated=critic(fake)))


def test_a_critic_that_mixes_a_batch_sees_real_and_generated_examples_apart():
    torch.manual_seed(0)
    critic = Critic(dcgan.Discriminator(DIGITS, width=4, norm="batch"))
    real, fake = torch.randn(8, 1, 8, 8), 2 + torch.randn(12, 1, 8, 8)
    (on_real, _), (on_fake, features) = critic.view(real, fake)
    torch.testing.assert_close((on_real, on_fake), (critic(real), critic(fake)))
    torch.testing.assert_close(features, critic.net.features(fake))
