"""Encoders beside a GAN: they learn to undo the generator, and it does not notice."""

import copy

import pytest
import torch

from genlab.losses.minimax import Minimax
from genlab.losses.non_saturating import NonSaturating
from genlab.models.base import Encodes, Game
from genlab.models.gan import joint, mlp
from genlab.models.gan.ali import ALI
from genlab.models.gan.gan import GAN
from genlab.models.gan.latent_regressor import LatentRegressor
from genlab.models.gan.posthoc_ali import PostHocALI
from genlab.spec import Spec

PLANE = Spec("vector", (2,))


def narrow(net, **given):
    return lambda spec, *arguments, **more: net(spec, *arguments, width=16, depth=2, **given, **more)


def regressor():
    return LatentRegressor(PLANE, narrow(mlp.Generator), narrow(mlp.Discriminator), narrow(mlp.Discriminator), 2)


def pairs(spec, codes, **given):
    return joint.Discriminator(spec, codes, width=16, depth=2, code_depth=0, **given)


def posthoc():
    judge = narrow(mlp.Discriminator)
    return PostHocALI(PLANE, narrow(mlp.Generator), narrow(mlp.Discriminator), pairs, judge, 2)


@pytest.mark.parametrize("make", [regressor, posthoc])
def test_an_encoder_leaves_the_generator_and_its_critic_alone(make):
    """Their gradients are those of a plain GAN with the same weights and the same noise."""
    torch.manual_seed(0)
    model = make()
    plain = GAN(PLANE, narrow(mlp.Generator), narrow(mlp.Discriminator), 2)
    plain.generator = copy.deepcopy(model.generator)
    plain.critic = copy.deepcopy(getattr(model, "judge", model.critic))
    batch = {"x": torch.randn(32, 2)}
    for player in ("critic", "generator"):
        for game in (model, plain):
            game.zero_grad()
            torch.manual_seed(1)
            game.turn(player, batch, NonSaturating(), None)[0].backward()
        mine = getattr(model, "judge", model.critic) if player == "critic" else model.generator
        other = plain.critic if player == "critic" else plain.generator
        for ours, theirs in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_regressor_is_told_how_far_the_codes_are():
    model, batch = regressor(), {"x": torch.randn(64, 2)}
    torch.manual_seed(3)
    parts = model.turn("generator", batch, Minimax(), None)[1]
    torch.manual_seed(3)
    z = torch.randn(64, 2)
    expected = (z - model.encode(model.decode(z))).square().sum(1).mean()
    assert parts["missed"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_regressor_learns_to_undo_a_generator_that_stays():
    torch.manual_seed(0)
    model, batch = regressor(), {"x": torch.randn(512, 2)}

    def missed():
        z = torch.randn(2000, 2, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            return (z - model.encode(model.decode(z))).square().sum(1).mean().item()

    before, optimizer = missed(), torch.optim.Adam(model.encoder.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        model.turn("generator", batch, NonSaturating(), None)[0].backward()
        optimizer.step()
    assert missed() < before / 2


@pytest.mark.parametrize("player, part", [("generator", "encoder"), ("critic", "critic")])
def test_an_encoder_after_the_fact_plays_the_game_of_ali(player, part):
    """Its gradients and those of the critic of pairs are those in ALI with the same weights and the same noise."""
    torch.manual_seed(0)
    model, batch = posthoc(), {"x": torch.randn(32, 2)}
    ali = ALI(PLANE, narrow(mlp.Generator), narrow(mlp.Discriminator), pairs, 2)
    ali.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("judge")})
    for game in (model, ali):
        torch.manual_seed(1)
        game.turn(player, batch, NonSaturating(), None)[0].backward()
    for ours, theirs in zip(getattr(model, part).parameters(), getattr(ali, part).parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("make", [regressor, posthoc])
def test_what_they_can_do(make):
    model = make()
    assert isinstance(model, Game) and isinstance(model, Encodes)
    assert model.encode(torch.randn(5, 2)).shape == (5, 2)
    assert model.criticise(torch.randn(5, 2)).shape == (5,)
