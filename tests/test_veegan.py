"""VEEGAN: which way its signs point, and which of its two terms reaches whom."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from genlab.losses.density_ratio import DensityRatio
from genlab.losses.least_squares import LeastSquares
from genlab.losses.non_saturating import NonSaturating
from genlab.models.base import Encodes, Game
from genlab.models.gan import mlp
from genlab.models.gan.joint import Discriminator
from genlab.models.gan.veegan import VEEGAN
from genlab.penalties.gradient import Gradient
from genlab.spec import Spec

PLANE = Spec("vector", (2,))


class Relative(NonSaturating):
    """A loss whose generator is judged beside real pairs, so that their codes are in its graph."""

    needs_real = True

    def generator(self, fake, real=None):
        return softplus(real - fake).mean()


def make(weight=1.0, noise=1.0, pack=1):
    torch.manual_seed(0)
    nets = partial(mlp.Generator, width=8), partial(mlp.Discriminator, width=8), partial(Discriminator, width=8)
    return VEEGAN(PLANE, *nets, 5, pack=pack, weight=weight, noise=noise)


def gradients(model, loss, which):
    model.zero_grad()
    torch.manual_seed(1)
    model.turn("generator", {"x": torch.randn(12, 2)}, loss, None)[0].backward()
    return [p.grad for p in getattr(model, which).parameters()]


def test_the_value_is_the_negative_logit_and_the_distance_summed_over_noise():
    model, x = make(weight=0.5), torch.randn(12, 2)
    torch.manual_seed(1)
    value, parts = model.turn("generator", {"x": x}, DensityRatio(), None)
    torch.manual_seed(1)
    z = torch.randn(12, 5)
    fake = model.generator(z)
    distance = (z - model.encoder(fake)).square().sum() / 12
    logit = model.critic.net(fake, z).mean()
    torch.testing.assert_close(value, -logit + 0.5 * distance)
    torch.testing.assert_close(parts["distance"], distance.detach())
    torch.testing.assert_close(parts["generator"], -logit.detach())


def test_the_critic_is_high_on_real_pairs_whose_codes_have_unit_noise():
    model, x = make(), torch.randn(12, 2)
    torch.manual_seed(1)
    value, _ = model.turn("critic", {"x": x}, DensityRatio(), None)
    torch.manual_seed(1)
    z = torch.randn(12, 5)
    code = model.encoder(x)
    code = code + torch.randn_like(code)
    real, fake = model.critic.net(x, code), model.critic.net(model.generator(z), z)
    torch.testing.assert_close(value, softplus(-real).mean() + softplus(fake).mean())
    codes = model.infer(x[:1].expand(20_000, 2), None)
    torch.testing.assert_close(codes.std(0), torch.ones(5), atol=0.03, rtol=0)


@pytest.mark.parametrize("loss", [DensityRatio(), NonSaturating(), LeastSquares(), Relative()])
def test_the_reconstructor_learns_from_the_distance_alone(loss):
    model = make()
    assert not any(grad.any() for grad in gradients(make(weight=0.0), loss, "encoder"))
    own = gradients(model, loss, "encoder")
    torch.manual_seed(1)
    torch.randn(12, 2)  # x
    z = torch.randn(12, 5)
    model.zero_grad()
    (z - model.encoder(model.generator(z))).square().sum(1).mean().backward()
    for grad, parameter in zip(own, model.encoder.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad)


def test_the_generator_learns_from_both():
    both, critic_alone = (
        gradients(make(), DensityRatio(), "generator"),
        gradients(make(0.0), DensityRatio(), "generator"),
    )
    assert all(grad.any() for grad in critic_alone)
    assert any(not torch.allclose(one, other) for one, other in zip(both, critic_alone, strict=True))


def test_the_critic_s_turn_is_the_critic_s_alone():
    model = make(pack=2)
    model.turn("critic", {"x": torch.randn(12, 2)}, DensityRatio(), Gradient())[0].backward()
    assert all(p.grad is None for part in (model.generator, model.encoder) for p in part.parameters())
    assert all(p.grad is not None for p in model.critic.parameters())
    assert isinstance(model, Game) and isinstance(model, Encodes)


def test_the_generator_goes_where_the_logit_of_real_pairs_is_high():
    """A critic that is high to the right: one step to the right, for the sign of the paper's code would go left."""
    model = make(weight=0.0)

    class Right(nn.Module):
        def forward(self, x, z):
            return x[:, 0]

    model.critic.net = Right()
    z = torch.randn(500, 5)
    before = model.generator(z)[:, 0].mean().item()
    optimizer = torch.optim.SGD(model.generator.parameters(), 0.1)
    model.turn("generator", {"x": torch.randn(500, 2)}, DensityRatio(), None)[0].backward()
    optimizer.step()
    assert model.generator(z)[:, 0].mean().item() > before


def test_density_ratio_at_its_best_critic_is_the_reverse_divergence():
    """p = N(0, 1), q = N(1, 0.5^2): d* = log p / q is a critic's best, and -E_q[d*] = KL(q || p)."""
    torch.manual_seed(0)
    p, q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.0, 0.5)
    x, y = p.sample((200_000,)), q.sample((200_000,))
    loss, scale = DensityRatio(), torch.tensor(1.0, requires_grad=True)
    real, fake = (p.log_prob(part) - q.log_prob(part) for part in (x, y))
    (slope,) = torch.autograd.grad(loss.critic(scale * real, scale * fake), scale)
    assert abs(slope.item()) < 5e-3
    assert loss.generator(fake).item() == pytest.approx(torch.distributions.kl_divergence(q, p).item(), abs=0.01)
