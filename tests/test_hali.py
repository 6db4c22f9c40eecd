"""HALI: three streams that factorise as they should, levels that come back, and who learns in whose turn."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from genlab.errors import ConfigError
from genlab.losses.density_ratio import DensityRatio
from genlab.losses.least_squares import LeastSquares
from genlab.losses.non_saturating import NonSaturating
from genlab.losses.wasserstein import Wasserstein
from genlab.models.base import Criticises, Game, Hierarchical, Samples
from genlab.models.gan import dcgan, mlp
from genlab.models.gan.hali import HALI
from genlab.models.gan.joint import Discriminator, Levels
from genlab.noise import Noise
from genlab.penalties.gradient import Gradient
from genlab.penalties.r1 import R1
from genlab.spec import Spec

DIGITS = Spec("image", (1, 8, 8), 17)
ONE = Spec("image", (1, 1, 1), None)


def make(net=mlp, spec=DIGITS, pack=1, maps=3):
    torch.manual_seed(0)
    between = partial(net.Between, width=8)
    if net is mlp:
        critic = partial(Discriminator, width=16, depth=2)
    else:
        critic = partial(Levels, between=partial(between, norm=None), features=8, width=16)
    return HALI(spec, between, between, critic, 5, maps=maps, pack=pack)


def batch(spec=DIGITS, count=12):
    return {"x": torch.randint(spec.levels, (count, *spec.shape), dtype=torch.uint8)}


class Line(nn.Module):
    """Numbers to mean and log-variance: (slope x, log_variance), or to slope x alone."""

    def __init__(self, slope, log_variance=None):
        super().__init__()
        self.slope, self.log_variance = slope, log_variance

    def forward(self, x):
        mean = self.slope * x
        if self.log_variance is None:
            return mean
        return torch.cat((mean, torch.full_like(mean, self.log_variance)), 1)


def linear(slope=None):
    """z2 ~ N(0, 1), z1 ~ N(2 z2, 1), x = 3 z1; inference by the exact posteriors z1 = x / 3 (with the least deviation
    that there is) and z2 | z1 ~ N(2 z1 / 5, 1 / 5), or of another slope."""
    torch.manual_seed(0)
    slope = 2 / 5 if slope is None else slope
    model = HALI(ONE, mlp.Between, mlp.Between, partial(Discriminator, width=64, depth=2), 1, maps=1, halvings=0)
    model.generator = nn.ModuleList([Line(3.0), nn.Sequential(nn.Unflatten(1, (1, 1, 1)), Line(2.0, 0.0))])
    model.encoder = nn.ModuleList([Line(1 / 3, -100.0), nn.Sequential(nn.Flatten(), Line(slope, math.log(1 / 5)))])
    return model


def trained_critic(model, steps=150):
    def data(count):
        return {"x": 3 * math.sqrt(5) * torch.randn(count, 1, 1, 1)}

    optimizer = torch.optim.Adam(model.critic.parameters(), 5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model.turn("critic", data(512), NonSaturating(), None)[0].backward()
        optimizer.step()
    with torch.no_grad():
        return model.turn("critic", data(20_000), NonSaturating(), None)[0].item()


def test_no_critic_tells_exact_inference_from_generation():
    """Linear and Gaussian, where the posteriors are known; with one sign exchanged all marginals are the same."""
    assert trained_critic(linear()) == pytest.approx(math.log(4), abs=0.02)
    assert trained_critic(linear(-2 / 5)) < 0.9


def test_levels_go_up_and_come_back_by_the_means():
    model, x = linear(), torch.randn(6, 1, 1, 1)
    torch.testing.assert_close(model.ascend(x, 1), x / 3)
    torch.testing.assert_close(model.descend(model.ascend(x, 1), 1), x)
    torch.testing.assert_close(model.descend(model.ascend(x, 2), 2), x * 4 / 5)
    assert model.encode(x).shape == (6, 1)


def test_samples_have_the_law_of_generation():
    x = linear().sample(Noise(range(4000))).flatten()
    assert x.std().item() == pytest.approx(3 * math.sqrt(5), rel=0.05)
    cold = linear().sample(Noise(range(4000)), temperature=0.5).flatten()
    assert cold.std().item() == pytest.approx(1.5 * math.sqrt(5), rel=0.05)


@pytest.mark.parametrize("net", [mlp, dcgan])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_nets_size_themselves(net, shape):
    model = make(net, Spec("image", shape, 256)).eval()
    x = torch.randint(256, (2, *shape), dtype=torch.uint8)
    assert isinstance(model, Hierarchical) and isinstance(model, Game) and isinstance(model, Criticises)
    assert isinstance(model, Samples) and model.shape == (3, shape[1] // 4, shape[2] // 4)
    z1, z2 = model.infer(x.float())
    assert z1.shape == (2, *model.shape) and z2.shape == (2, 5) == model.encode(x).shape
    for level in (1, 2):
        back = model.descend(model.ascend(x, level), level)
        assert back.shape == x.shape and back.dtype == torch.uint8
    assert torch.equal(model.ascend(x, 2), model.encode(x)) and torch.equal(back, model.decode(model.encode(x)))
    many = model.sample(Noise(range(3)))
    assert many.shape == (3, *shape) and torch.equal(model.sample(Noise([2]))[0], many[2])
    assert model.criticise(x).shape == (2,)


def test_sides_that_do_not_halve_are_refused():
    with pytest.raises(ConfigError, match=r"model\.halvings"):
        make(spec=Spec("image", (1, 27, 27), 256))


@pytest.mark.parametrize("net", [mlp, dcgan])
@pytest.mark.parametrize("loss", [NonSaturating(), LeastSquares(), Wasserstein(), DensityRatio()])
@pytest.mark.parametrize("pack, penalty", [(1, Gradient()), (2, R1())], ids=["gradient", "packs, r1"])
def test_every_parameter_of_the_player_learns_in_its_turn(net, loss, pack, penalty):
    model = make(net, pack=pack)
    for player, modules in model.players().items():
        model.zero_grad()
        value, parts = model.turn(player, batch(), loss, penalty if player == "critic" else None)
        value.backward()
        assert value.isfinite() and all(not part.requires_grad for part in parts.values())
        for module in modules:
            assert not [name for name, p in module.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
            assert not [name for name, p in module.named_parameters() if p.dim() > 1 and not p.grad.any()]
    model.zero_grad()
    model.turn("critic", batch(), loss, None)[0].backward()
    assert all(p.grad is None for part in (model.generator, model.encoder) for p in part.parameters())


def test_the_gradient_of_the_upper_encoder_reaches_the_lower_one():
    """z2 is inferred from the z1 that was drawn, not from a copy without its past."""
    model = make()

    class Top(nn.Module):
        def forward(self, x, z1, z2):
            return z2.square().sum(1)

    model.critic.net = Top()
    model.turn("generator", batch(), NonSaturating(), None)[0].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.encoder[0].parameters() if p.dim() > 1)


def test_each_place_of_z1_meets_its_part_of_x():
    """Before the last maps are flattened, a place of z1 and the corner of x far from it do not touch."""
    model = make(dcgan, Spec("image", (1, 32, 32), 256))
    low = model.critic.net.low.eval()
    x = torch.randn(1, 1, 32, 32)
    other = x.clone()
    other[..., -4:, -4:] += 1
    changed = (low(x) != low(other)).any(1)[0]
    assert changed[-1, -1] and not changed[:4, :4].any()
