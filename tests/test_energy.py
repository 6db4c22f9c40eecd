"""Critics that are auto-encoders, and the two losses that steer them."""

from functools import partial

import pytest
import torch
from torch import nn

from genlab.errors import ConfigError
from genlab.losses.equilibrium import Equilibrium
from genlab.losses.hinge import Hinge
from genlab.losses.margin import Margin
from genlab.losses.wasserstein import Wasserstein
from genlab.models.gan import dcgan, energy, mlp, resnet
from genlab.models.gan.gan import GAN
from genlab.penalties.gradient import Gradient
from genlab.spec import Spec

DIGITS = Spec("image", (1, 8, 8), 17)


def critic(net=mlp, **more):
    nets = partial(net.Discriminator, width=8), partial(net.Generator, width=8)
    return partial(energy.Discriminator, encoder=nets[0], decoder=nets[1], code=4, **more)


class Halves(nn.Module):
    """An encoder that keeps everything, and a decoder that halves it."""

    def __init__(self, spec, outputs=1):
        super().__init__()

    def forward(self, x):
        return x / 2


@pytest.mark.parametrize("power", [1, 2])
def test_the_energy_is_what_is_lost(power):
    net = energy.Discriminator(DIGITS, lambda spec, outputs: nn.Identity(), Halves, power=power)
    x = torch.randn(5, 1, 8, 8)
    known = -(x.abs() / 2).flatten(1).mean(1) if power == 1 else -(x / 2).square().flatten(1).mean(1)
    torch.testing.assert_close(net(x), known)
    with pytest.raises(ConfigError, match="power"):
        critic(power=3)(DIGITS)


@pytest.mark.parametrize("net", [mlp, dcgan, resnet])
@pytest.mark.parametrize("loss", [Margin(), Equilibrium(), Wasserstein(), Hinge()])
@pytest.mark.parametrize("pack", [1, 2])
def test_any_loss_takes_energies(net, loss, pack):
    model = GAN(DIGITS, partial(net.Generator, width=8), critic(net), 6, pack=pack)
    batch = {"x": torch.randint(17, (8, 1, 8, 8), dtype=torch.uint8)}
    value, _ = model.turn("critic", batch, loss, Gradient())
    (value + model.turn("generator", batch, loss, None)[0]).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_margin_bounds_what_generated_examples_cost():
    energies = torch.tensor([0.1, 0.4, 3.0])
    loss = Margin(0.5)
    known = energies.mean() + ((0.5 - 0.1) + (0.5 - 0.4) + 0) / 3
    torch.testing.assert_close(loss.critic(-energies, -energies), known)
    torch.testing.assert_close(loss.generator(-energies), energies.mean())


def test_at_equilibrium_the_critics_loss_is_the_margin():
    """p = q: the best energies are anywhere between 0 and the margin, and cost the margin. (Theorem 1)"""
    e = torch.rand(64) * 0.7
    assert Margin(0.7).critic(-e, -e).item() == pytest.approx(0.7, rel=1e-5)


def test_the_balance_moves_by_the_control_loop_and_is_kept():
    loss = Equilibrium(diversity=0.5, rate=0.1)
    real, fake = -torch.tensor([2.0, 4.0]), -torch.tensor([1.0, 1.0])
    assert loss.critic(real, fake).item() == pytest.approx(3.0)  # k = 0 at first
    assert loss.balance.item() == pytest.approx(0.1 * (0.5 * 3 - 1))
    assert loss.critic(real, fake).item() == pytest.approx(3.0 - 0.05 * 1)
    other = Equilibrium(rate=0.1)
    other.load_state_dict(loss.state_dict())
    assert other.balance.item() == pytest.approx(0.1)
    for _ in range(100):
        loss.critic(real, fake)
    assert loss.balance.item() == 1.0  # clipped


def test_the_loops_fixed_point_is_the_diversity():
    """Energies that follow the critic's attention: E(G) rises with k until it is the share gamma of E(x)."""
    loss = Equilibrium(diversity=0.3, rate=0.02)
    for _ in range(2000):
        fake = torch.full((4,), 0.8 - 0.6 * (1 - loss.balance.item()))
        loss.critic(-torch.ones(4), -fake)
    assert fake.mean().item() == pytest.approx(0.3, abs=0.01)
