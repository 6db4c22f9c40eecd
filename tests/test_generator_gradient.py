"""The gradient that a critic leaves its generator, against its closed form and against the theory's limit."""

import pytest
import torch
from runs import GAN
from torch import nn

from genlab.build import build
from genlab.losses.minimax import Minimax
from genlab.metrics.choose import choose
from genlab.metrics.generator_gradient import GeneratorGradient
from genlab.models.base import Game
from genlab.models.gan import gan
from genlab.models.gan.segment import Generator
from genlab.spec import Spec

PLANE = Spec("vector", (2,))


class Slope(nn.Module):
    """d(x) = slope x_0 + offset."""

    def __init__(self, slope, offset):
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.tensor(slope)), nn.Parameter(torch.tensor(offset))

    def forward(self, x):
        return self.slope * x[:, 0] + self.offset


def measured(model, count=600, batch=250, limit=2048):
    metric = GeneratorGradient(limit=limit)
    for start in range(0, count, batch):
        index = torch.arange(start, min(start + batch, count))
        with torch.no_grad():
            metric.update({"x": torch.zeros(len(index), 2), "index": index}, "test", model.eval())
    return metric.compute()


def pointed(slope, offset):
    """A game whose generator stands at x_0 = 1/2."""
    net = lambda spec, latent: Generator(spec, latent, 0.5)  # noqa: E731
    return gan.GAN(PLANE, net, lambda spec: Slope(slope, offset), latent=1)


@pytest.mark.parametrize("slope, offset", [(0.7, -0.2), (3.0, -8.0)])
def test_both_norms_are_the_closed_form_of_a_generator_of_one_parameter(slope, offset):
    model = pointed(slope, offset)
    found = measured(model)
    fooled = torch.sigmoid(torch.tensor(slope * 0.5 + offset)).item()
    assert found["gradient_minimax"].value == pytest.approx(slope * fooled, rel=1e-5)
    assert found["gradient_non_saturating"].value == pytest.approx(slope * (1 - fooled), rel=1e-5)
    assert found["gradient_minimax"].protocol["latents"] == 600


def test_a_critic_that_wins_leaves_nothing_under_minimax_and_something_under_non_saturating():
    (minimax, _), (won_minimax, won) = (
        [figure.value for figure in measured(pointed(1.0, offset)).values()] for offset in (0.0, -20.0)
    )
    assert won_minimax < 1e-6 * minimax and won == pytest.approx(1, rel=1e-5)


def test_it_is_the_gradient_of_the_mean_at_the_same_latents_and_changes_nothing():
    torch.manual_seed(0)
    model = build(GAN, spec=PLANE).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    found = measured(model, count=200, batch=200)
    torch.manual_seed(3)
    torch.manual_seed(int(torch.randint(2**31, ())))
    z = torch.randn(200, model.latent)
    loss = Minimax().generator(model.critic(model.generator(z)))
    gradient = torch.autograd.grad(loss, [*model.generator.parameters()])
    norm = torch.cat([part.flatten() for part in gradient]).norm().item()
    assert found["gradient_minimax"].value == pytest.approx(norm, rel=1e-5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_more_latents_than_the_limit_are_taken():
    model = build(GAN, spec=PLANE)
    assert measured(model, limit=300)["gradient_minimax"].protocol["latents"] == 300


def test_it_is_measured_where_it_is_asked_for_alone():
    model, data = build(GAN, spec=PLANE), build({"_target_": "genlab.data.planar.Moons"})
    assert isinstance(model, Game)
    options = {"extractor": None, "split": "test", "k": None, "config_dir": [], "seed": 0, "batch": 256, "n": 100}
    unasked, left_out = choose(options | {"metrics": "auto"}, model, data, 100)
    assert "generator_gradient" not in unasked and not any("gradient_minimax" in names for names in left_out)
    for asked in ("generator_gradient", "gradient_minimax"):
        assert list(choose(options | {"metrics": asked}, model, data, 100)[0]) == ["generator_gradient"]
