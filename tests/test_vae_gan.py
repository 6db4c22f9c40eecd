"""VAE-GAN: who learns from what, in three turns."""

from functools import partial

import pytest
import torch
from runs import each_learns_in_its_turn
from torch.nn.functional import softplus

from genlab.losses.non_saturating import NonSaturating
from genlab.models.base import Encodes, Game, Posterior, Samples
from genlab.models.gan import dcgan, mlp, resnet
from genlab.models.gan.critic import Critic
from genlab.models.gan.vae_gan import VAEGAN
from genlab.spec import Spec, to_signed

DIGITS = Spec("image", (1, 8, 8), 17)


def game(net=mlp, similarity=0.5):
    torch.manual_seed(0)
    critic = partial(net.Discriminator, width=8)
    return VAEGAN(DIGITS, critic, partial(net.Generator, width=8), critic, latent=4, similarity=similarity)


def batch():
    return {"x": torch.randint(17, (10, 1, 8, 8), dtype=torch.uint8)}


@pytest.mark.parametrize("net", [mlp, dcgan, resnet])
def test_each_player_learns_in_its_turn(net):
    model = game(net)
    assert all(isinstance(model, protocol) for protocol in (Samples, Encodes, Posterior, Game))
    each_learns_in_its_turn(model, batch(), NonSaturating())


def test_the_adversarial_loss_does_not_reach_the_encoder_nor_the_similarity_the_critic():
    model, made = game(), batch()
    model.turn("generator", made, NonSaturating(), None)[0].backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    model.zero_grad(set_to_none=True)
    model.turn("critic", made, NonSaturating(), None)[0].backward()
    assert all(p.grad is None for part in (model.encoder, model.generator) for p in part.parameters())


def test_turns_are_those_of_algorithm_1():
    model, made = game(similarity=0.5).eval(), batch()
    real = to_signed(made["x"], 17)

    def drawn():
        torch.manual_seed(1)
        mean, log_variance = model.posterior(made["x"])
        return mean, log_variance, mean + torch.exp(log_variance / 2) * torch.randn_like(mean), torch.randn_like(mean)

    def value(player):
        torch.manual_seed(1)
        return model.turn(player, made, NonSaturating(), None)[0]

    mean, log_variance, code, z = drawn()
    x, prior = model.generator(code), model.generator(z)
    features = model.critic.net.features
    similar = -torch.distributions.Normal(features(x), 1.0).log_prob(features(real)).sum(1).mean()
    similar = similar - features(real).shape[1] * 0.5 * torch.log(torch.tensor(2 * torch.pi))
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum(1)
    torch.testing.assert_close(value("encoder"), kl.mean() + similar)
    d = model.critic
    on_fake = torch.cat((d(x), d(prior)))
    torch.testing.assert_close(value("critic"), softplus(-d(real)).mean() + softplus(on_fake).mean())
    torch.testing.assert_close(value("generator"), 0.5 * similar + softplus(-on_fake).mean())


@pytest.mark.parametrize("minibatch", [0, 4])
def test_the_critic_rates_as_many_real_examples_as_generated_ones(minibatch):
    """Where examples are compared with the rest of their batch, that is part of what they are rated by."""
    model, made = game(), batch()
    torch.manual_seed(2)
    model.critic = Critic(mlp.Discriminator(DIGITS, width=8, minibatch=minibatch))
    torch.manual_seed(1)
    value, _ = model.turn("critic", made, NonSaturating(), None)
    torch.manual_seed(1)
    mean, log_variance = model.posterior(made["x"])
    code = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
    fake = model.generator(torch.cat((code, torch.randn_like(mean))))
    real = to_signed(made["x"], 17)
    d = model.critic
    torch.testing.assert_close(value, softplus(-d(torch.cat((real, real)))).mean() + softplus(d(fake)).mean())
