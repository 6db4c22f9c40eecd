"""The unrolled GAN: the critic foreseen is the critic after its steps, and the gradient goes through them."""

import copy
from functools import partial

import pytest
import torch

from genlab.errors import ConfigError
from genlab.losses.non_saturating import NonSaturating
from genlab.models.gan import dcgan, mlp
from genlab.models.gan.gan import GAN
from genlab.models.gan.unrolled import UnrolledGAN
from genlab.penalties.gradient import Gradient
from genlab.spec import Spec

PLANE = Spec("vector", (2,))
DIGITS = Spec("image", (1, 8, 8), 17)


def game(unroll, inner="sgd", lr=0.1, spec=PLANE, net=mlp, **more):
    torch.manual_seed(0)
    nets = partial(net.Generator, width=8), partial(net.Discriminator, width=8, **more)
    return UnrolledGAN(spec, *nets, 3, unroll=unroll, inner=inner, inner_lr=lr)


@pytest.mark.parametrize(
    "inner, make", [("sgd", torch.optim.SGD), ("adam", partial(torch.optim.Adam, betas=(0.5, 0.999)))]
)
def test_the_critic_foreseen_is_the_one_that_torch_would_train(inner, make):
    model = game(3, inner, activation="tanh").double()
    real, fake = torch.randn(16, 2).double(), torch.randn(16, 2).double()
    trained = copy.deepcopy(model.critic)
    optimizer = make(trained.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        trained.turn(real, fake, NonSaturating(), None)[0].backward()
        optimizer.step()
    foreseen = model.foreseen(real, fake, NonSaturating(), None)
    torch.testing.assert_close(foreseen(real), trained(real), rtol=1e-3, atol=1e-4)


def test_the_gradient_goes_through_the_updates():
    """By differences of the whole objective; without second derivatives it would be another."""
    model = game(2, activation="tanh").double()
    real, z = torch.randn(16, 2).double(), torch.randn(16, 3).double()
    parameter = model.generator.layers[0].bias

    def objective():
        fake = model.generate(z, None)
        return model.foreseen(real, fake, NonSaturating(), None).against(fake, NonSaturating(), real)

    (slope,) = torch.autograd.grad(objective(), parameter)
    fake = model.generate(z, None)
    short = model.foreseen(real, fake.detach(), NonSaturating(), None).against(fake, NonSaturating(), real)
    (without,) = torch.autograd.grad(short, parameter)
    index, step = slope.abs().argmax(), 1e-5
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter[index] += sign * step
        values.append(objective().item())
        with torch.no_grad():
            parameter[index] -= sign * step
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope[index].item(), rel=1e-5)
    assert (slope - without).abs().max() > 1e-3 * slope.abs().max()


@pytest.mark.parametrize("net, spec", [(mlp, PLANE), (dcgan, DIGITS)])
def test_the_critic_itself_stays_as_it_is(net, spec):
    """Neither weights nor running statistics move in the generator's turn, and only the generator learns."""
    model = game(2, "adam", spec=spec, net=net, norm="batch")
    before = copy.deepcopy(model.critic.state_dict())
    for p in model.critic.parameters():
        p.requires_grad_(False)
    x = torch.randn(8, 2) if spec is PLANE else torch.randint(17, (8, 1, 8, 8), dtype=torch.uint8)
    model.turn("generator", {"x": x}, NonSaturating(), None)[0].backward()
    after = model.critic.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if not name.endswith("tracked"))
    assert all(p.grad is None for p in model.critic.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.generator.parameters())


def test_nothing_unrolled_is_the_plain_game():
    plain = GAN(PLANE, partial(mlp.Generator, width=8), partial(mlp.Discriminator, width=8), 3)
    model = game(0)
    plain.load_state_dict(model.state_dict())
    batch, values = {"x": torch.randn(8, 2)}, []
    for one in (plain, model):
        for player in ("critic", "generator"):
            torch.manual_seed(1)
            values.append(
                one.turn(player, batch, NonSaturating(), Gradient() if player == "critic" else None)[0].item()
            )
    assert values[:2] == values[2:]


def test_mistakes_are_refused():
    with pytest.raises(ConfigError, match="inner"):
        game(1, "adamw")
    with pytest.raises(ConfigError, match="unroll"):
        game(-1)
