"""A critic's gradient at its examples and in its layers, and the generator that is the data under noise."""

import math

import pytest
import torch
from torch import nn

from genlab.build import build
from genlab.data.mixtures import Ring
from genlab.errors import ConfigError
from genlab.metrics.base import GENERATED
from genlab.metrics.critic_slope import CriticSlope, layer_slopes
from genlab.models.gan.noised import Generator
from genlab.noise import Noise
from genlab.spec import Spec

PLANE = Spec("vector", (2,))
NOISED = {
    "_target_": "genlab.models.gan.gan.GAN",
    "latent": 3,
    "generator": {
        "_target_": "genlab.models.gan.noised.Generator",
        "data": {"_target_": "genlab.data.mixtures.Ring", "train": 500},
    },
    "discriminator": {"_target_": "genlab.models.gan.mlp.Discriminator", "width": 16},
}


class Deep(nn.Module):
    """f(x) = a^L times the sum of x: linear layers a I, so that the gradient grows by a from layer to layer."""

    def __init__(self, a, layers):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(layers))
        for layer in self.layers:
            layer.weight.data = a * torch.eye(2)

    def criticise(self, x, y=None):
        for layer in self.layers:
            x = layer(x)
        return x.sum(1)


@pytest.mark.parametrize("a", [0.5, 1.0, 3.0])
def test_slope_and_growth_are_those_of_a_critic_of_equal_layers(a):
    metric, model = CriticSlope(), Deep(a, 6)
    for source in (GENERATED, "test"):
        with torch.no_grad():
            metric.update({"x": torch.randn(7, 2)}, source, model)
    found = metric.compute()
    assert found["critic_slope"].value == pytest.approx(a**6 * math.sqrt(2), rel=1e-6)
    assert found["critic_growth"].value == pytest.approx(a, rel=1e-6)


def test_norms_are_those_of_each_example_by_autograd_and_the_critic_stays_as_it_was():
    torch.manual_seed(0)
    model = build(NOISED, spec=PLANE).eval()
    x = torch.randn(5, 2)
    found = layer_slopes(model, x)
    layers = model.critic.net.layers
    hidden = layers[:2](x).detach().requires_grad_()  # linear and activation
    values = model.critic.net.head(layers[2:](hidden))
    (slope,) = torch.autograd.grad(values.sum(), hidden)
    torch.testing.assert_close(found[1], slope.norm(dim=1).double())
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.criticise(point).sum(), point)
    torch.testing.assert_close(found[0], slope.norm(dim=1).double())
    assert len(found) == 4 and not any(layer._forward_pre_hooks for layer in model.modules())
    assert not x.requires_grad and all(parameter.grad is None for parameter in model.parameters())


def test_the_noised_generator_draws_training_points_with_equal_chances_and_moves_them():
    data = Ring(train=8)
    points = data.split("train").x
    generator = Generator(PLANE, 3, data, std=0.0)
    z = torch.randn(8000, 3, generator=torch.Generator().manual_seed(0))
    drawn = generator(z).detach()
    index = torch.cdist(drawn, points).argmin(1)
    counts = index.bincount(minlength=8)
    assert torch.equal(points[index], drawn) and (counts / 8000 - 1 / 8).abs().max() < 4 * (7 / 64 / 8000) ** 0.5
    moved = Generator(PLANE, 3, data, std=2.0)(z).detach()
    torch.testing.assert_close(moved - drawn, 2 * z[:, 1:])
    assert (moved - drawn).std() == pytest.approx(2, rel=0.05)


def test_a_checkpoint_of_it_samples_without_its_data():
    model = build(NOISED, spec=PLANE)
    again = build(NOISED, spec=PLANE)
    again.generator.points.zero_()
    again.load_state_dict(model.state_dict())
    assert torch.equal(model.sample(Noise([1, 2])), again.sample(Noise([1, 2])))


def test_what_it_cannot_be_built_of_is_refused():
    with pytest.raises(ConfigError, match=r"model.latent=2: takes 3 here"):
        Generator(PLANE, 2, Ring(train=8))
    with pytest.raises(ConfigError, match=r"model.generator.data"):
        Generator(PLANE, 3)
