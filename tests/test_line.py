"""Numbers on the line: mixtures whose densities are known, a Gaussian as a generator, and figures of both."""

import math

import pytest
import torch

from genlab.data.line import Mixture
from genlab.errors import ConfigError
from genlab.losses.fgan import KL, JensenShannon
from genlab.losses.hinge import Hinge
from genlab.metrics.base import GENERATED
from genlab.metrics.critic_bound import CriticBound
from genlab.metrics.moments import Moments
from genlab.models.gan.affine import Generator
from genlab.pictures import save_picture
from genlab.spec import Spec

LINE = Spec("vector", (1,))


def test_a_mixture_has_the_density_and_the_entropy_that_it_says():
    data = Mixture(test=20_000)
    x = data.split("test").x
    log_p = data.log_prob(x)
    assert -log_p.mean().item() == pytest.approx(data.entropy, abs=4 * log_p.std().item() / math.sqrt(len(x)))
    grid = torch.linspace(-10, 10, 20_001, dtype=torch.float64)[:, None]
    assert torch.trapezoid(data.log_prob(grid).exp(), grid[:, 0]).item() == pytest.approx(1, abs=1e-6)
    one = Mixture(means=[3.0], stds=[2.0], weights=[7.0])
    assert one.entropy == pytest.approx(math.log(2) + (1 + math.log(2 * math.pi)) / 2, abs=1e-6)


def test_the_weights_of_a_mixture_are_the_shares_of_its_classes():
    y = Mixture(means=[0, 1, 2], stds=[1, 1, 1], weights=[1, 2, 7]).split("train").y
    assert torch.bincount(y).double().div(len(y)).tolist() == pytest.approx([0.1, 0.2, 0.7], abs=0.01)


@pytest.mark.parametrize("wrong", [{"stds": [1.0]}, {"weights": [1, 2, 3]}, {"stds": [1.0, 0.0]}, {"weights": [1, -1]}])
def test_a_mixture_that_is_none_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Mixture(**wrong)


@pytest.mark.parametrize("size, latent", [(1, 1), (3, 3), (2, 5), (2, 1)])
def test_an_affine_generator_is_the_gaussian_that_it_says(size, latent):
    net = Generator(Spec("vector", (size,)), latent, mean=0.5, std=2.0)
    with torch.no_grad():
        net.factor.add_(torch.arange(float(size))[:, None] + 1)
    x = net(torch.randn(100_000, latent, generator=torch.Generator().manual_seed(0))).detach()
    factor = net.factor.detach()
    torch.testing.assert_close(x.mean(0), torch.full((size,), 0.5), atol=0.1, rtol=0)
    torch.testing.assert_close(x.T.cov().view(size, size), factor @ factor.T, atol=0.3, rtol=0.02)


def test_moments_of_numbers_in_two_parts():
    metric, x = Moments(), torch.randn(1000, 1) * 3 + 1
    for part in x.split(300):
        metric.update({"x": part}, GENERATED)
    found = metric.compute()
    assert found["mean"].value == pytest.approx(x.mean().item(), rel=1e-6)
    assert found["std"].value == pytest.approx(x.std().item(), rel=1e-6)
    assert (
        metric.refuses(LINE) == ""
        and metric.refuses(Spec("vector", (2,)))
        and metric.refuses(Spec("image", (1, 1, 1), 2))
    )


class Best:
    """The critic that makes the bound of KL(N(0, 1) || N(1, 1)) tight: 1 + log p / q."""

    def criticise(self, x, y=None):
        return 1.5 - x.flatten()


def test_the_best_critic_bounds_the_divergence_from_where_it_is():
    metric = CriticBound(KL())
    random = torch.Generator().manual_seed(0)
    for source, mean in ((GENERATED, 1.0), ("test", 0.0)):
        metric.update({"x": mean + torch.randn(100_000, 1, generator=random, dtype=torch.float64)}, source, Best())
    (figure,) = metric.compute().values()
    assert figure.mark == ">=" and figure.value == pytest.approx(0.5, abs=4 * figure.stderr) and figure.stderr < 0.01


def test_a_bound_is_shown_of_f_divergences_alone():
    assert CriticBound(JensenShannon()).refuses(LINE) == ""
    assert "no f-divergence" in CriticBound(Hinge()).refuses(LINE) and "no f-divergence" in CriticBound(None).refuses(
        LINE
    )


def test_numbers_are_drawn_as_histograms(tmp_path):
    from PIL import Image

    save_picture(torch.randn(500, 1), LINE, tmp_path / "a.png", real=torch.randn(500, 1))
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) >= 400 and len(set(picture.convert("L").getdata())) > 20
