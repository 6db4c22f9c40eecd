"""Games that name what they make: InfoGAN and AC-GAN, and how well they name."""

import math
from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from genlab.errors import ConfigError
from genlab.losses.non_saturating import NonSaturating
from genlab.losses.wasserstein import Wasserstein
from genlab.metrics.classification import Classification
from genlab.models.base import Classifies, Decodes, Game, Samples
from genlab.models.gan import dcgan, mlp, resnet
from genlab.models.gan.acgan import ACGAN
from genlab.models.gan.infogan import InfoGAN
from genlab.penalties.gradient import Gradient
from genlab.spec import Spec, to_signed

DIGITS = Spec("image", (1, 8, 8), 17, classes=tuple("0123456789"))
PLANE = Spec("vector", (2,))


def game(kind, net=mlp, spec=DIGITS, **more):
    torch.manual_seed(0)
    return kind(spec, partial(net.Generator, width=8), partial(net.Discriminator, width=8), **more)


def batch(count=12):
    return {"x": torch.randint(17, (count, 1, 8, 8), dtype=torch.uint8), "y": torch.arange(count) % 10}


@pytest.mark.parametrize("kind", [InfoGAN, ACGAN])
@pytest.mark.parametrize("net", [mlp, dcgan, resnet])
@pytest.mark.parametrize("pack", [1, 2])
def test_every_player_learns_in_its_turn_and_no_other(kind, net, pack):
    model = game(kind, net, pack=pack)
    assert isinstance(model, Samples) and isinstance(model, Decodes) and isinstance(model, Game)
    assert isinstance(model, Classifies)
    players = model.players()
    assert {id(p) for ms in players.values() for m in ms for p in m.parameters()} == {id(p) for p in model.parameters()}
    for player in players:
        others = [p for name, ms in players.items() if name != player for m in ms for p in m.parameters()]
        for p in others:
            p.requires_grad_(False)
        penalty = Gradient() if player == "critic" else None
        model.turn(player, batch(), NonSaturating(), penalty)[0].backward()
        assert all(p.grad is None for p in others)
        assert all(p.grad.isfinite().all() for m in players[player] for p in m.parameters() if p.grad is not None)
        assert all(p.grad is not None for m in players[player] for p in m.parameters())
        for p in model.parameters():
            p.requires_grad_(True)
            p.grad = None
    assert model.classify(batch()["x"]).shape == (12, 10) and model.criticise(batch()["x"]).shape == (12,)


def test_information_is_that_of_the_code_the_example_was_made_of():
    """-log Q(category) - log N(continuous; mean, 1) without its constant, written out."""
    model = game(InfoGAN).eval()
    codes = model.codes(torch.randn(9, model.latent))
    x = model.make(codes)
    logits, mean = model.recognise(x)
    uncertainty, missed = model.missing(model.critic.net.features(x), codes)
    known = -torch.stack([logits[i].log_softmax(0)[codes.category[i]] for i in range(9)]).mean()
    torch.testing.assert_close(uncertainty, known)
    normal = torch.distributions.Normal(mean, 1.0).log_prob(codes.continuous).sum(1).mean()
    torch.testing.assert_close(missed, -normal - math.log(2 * math.pi))


def test_both_turns_weigh_the_information_alike():
    model = game(InfoGAN, weight=3.0)
    for player in ("critic", "generator"):
        torch.manual_seed(1)
        value, parts = model.turn(player, batch(), Wasserstein(), None)
        model.weight = 0.0
        torch.manual_seed(1)
        without, _ = model.turn(player, batch(), Wasserstein(), None)
        model.weight = 3.0
        information = (value - without) / 3
        assert parts["information"].item() <= math.log(10) and information > math.log(10) - parts["information"] - 1e-4


@pytest.mark.parametrize("player", ["critic", "generator"])
def test_continuous_codes_have_a_weight_of_their_own(player):
    model, made, found = game(InfoGAN, weight=2.0).eval(), batch(), []
    for weight in (0.0, 0.5, 1.0):
        model.continuous_weight = weight
        torch.manual_seed(1)
        value, parts = model.turn(player, made, NonSaturating(), None)
        found.append(value.item())
    torch.manual_seed(1)
    codes = model.codes(torch.randn(12, model.latent))
    uncertainty, missed = model.missing(model.critic.net.features(model.make(codes)), codes)
    torch.testing.assert_close(parts["information"], math.log(10) - uncertainty)
    assert found[1] - found[0] == pytest.approx(missed.item(), rel=1e-4)
    assert found[2] - found[0] == pytest.approx(2 * missed.item(), rel=1e-4)


def test_codes_of_normal_numbers_have_their_own_laws():
    model = game(InfoGAN)
    codes = model.codes(torch.randn(20000, model.latent, generator=torch.Generator().manual_seed(0)))
    shares = torch.bincount(codes.category, minlength=10) / 20000
    assert (shares - 0.1).abs().max() < 4 * math.sqrt(0.09 / 20000)
    assert codes.continuous.abs().max() <= 1
    assert codes.continuous.square().mean().item() == pytest.approx(1 / 3, abs=0.01)


def test_classes_are_named_by_both_players():
    """AC-GAN: the cross-entropy of real and generated examples, or of real ones alone."""
    model = game(ACGAN, critic_weight=2.0, generator_weight=0.5).eval()
    made = batch()
    real, given = to_signed(made["x"], 17), torch.eye(10)[made["y"]]
    for real_only in (False, True):
        model.real_only = real_only
        torch.manual_seed(1)
        value, parts = model.turn("critic", made, Wasserstein(), None)
        torch.manual_seed(1)
        fake = model.generator(torch.randn(12, model.latent), given)
        known = cross_entropy(model.name(real), made["y"])
        known = known if real_only else known + cross_entropy(model.name(fake), made["y"])
        torch.testing.assert_close(parts["classes"], known.detach())
        torch.testing.assert_close(value, parts["critic"] + 2 * known)
    torch.manual_seed(1)
    value, parts = model.turn("generator", made, Wasserstein(), None)
    torch.testing.assert_close(value, parts["generator"] + 0.5 * parts["classes"])


def test_attributes_are_named_each_by_itself():
    """The cross-entropy is that of a product of Bernoulli distributions: none of them takes from another."""
    faces = Spec("image", (1, 8, 8), 17, attributes=("Male", "Smiling", "Young"))
    model = game(ACGAN, spec=faces).eval()
    made = batch() | {"y": torch.randint(2, (12, 3), dtype=torch.uint8)}
    torch.manual_seed(1)
    _, parts = model.turn("generator", made, Wasserstein(), None)
    torch.manual_seed(1)
    fake = model.generator(torch.randn(12, model.latent), made["y"].float())
    named = torch.distributions.Bernoulli(logits=model.name(fake))
    torch.testing.assert_close(parts["classes"], -named.log_prob(made["y"].float()).sum(1).mean().detach())


def test_no_classes_no_auxiliary_classifier():
    with pytest.raises(ConfigError, match="labels"):
        game(ACGAN, spec=PLANE)


class Told(torch.nn.Module):
    """Names examples as it is told."""

    def __init__(self, categories, supervised):
        super().__init__()
        self.categories, self.supervised = categories, supervised

    def classify(self, x):
        return torch.eye(self.categories)[x.flatten().long()]


def measured(pairs, categories=3, supervised=True):
    metric = Classification(Spec("image", (1, 1, 1), 4, classes=("a", "b")))
    for part in (pairs[:2], pairs[2:]):
        y, c = (torch.tensor(side) for side in zip(*part, strict=True))
        metric.update({"x": c.view(-1, 1, 1, 1), "y": y}, "test", Told(categories, supervised))
    return metric.compute()


def test_error_and_purity_counted_by_hand():
    pairs = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (1, 2), (0, 2), (0, 2)]  # (class, category)
    found = measured(pairs)
    assert found["error"].value == pytest.approx(1 - 4 / 8)
    assert found["purity"].value == pytest.approx((2 + 2 + 2) / 8)
    assert set(measured(pairs, supervised=False)) == {"purity"}
    assert Classification(PLANE).refuses(PLANE)
