"""What shows the limits of flows: bridges between clusters, squeezed space on a curve; and strips of temperatures."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genlab.bijections.chain import Chain
from genlab.bijections.flatten import Flatten
from genlab.bijections.scale import Scale
from genlab.data.circle import Circle
from genlab.data.mixtures import Ring
from genlab.errors import ConfigError, GenlabError
from genlab.metrics.bridge import Bridge
from genlab.metrics.stretch import Stretch
from genlab.models.flow.flow import Flow
from genlab.models.flow.glow import glow
from genlab.models.flow.standard_normal import StandardNormal
from genlab.spec import Spec
from genlab.tasks import temperature

CLUSTERS = Ring(modes=2, radius=4.0, std=0.25, train=10, validation=10)


def test_the_bridge_is_what_lies_between():
    metric = Bridge(CLUSTERS)
    x = torch.tensor([[4.0, 0], [-4.0, 1.4], [0.0, 0], [4.0, 1.6], [math.nan, 0]])
    metric.update({"x": x}, "generated")
    figure = metric.compute()["bridge"]
    assert figure.value == pytest.approx(0.6)  # the last three; what is no number is nowhere
    metric.reset()
    metric.update({"x": CLUSTERS.split("test").x}, "generated")
    assert metric.compute()["bridge"].value == 0
    assert Bridge(Circle()).refuses(Spec("vector", (2,)))


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_stretch_is_that_of_a_known_map():
    """z = diag(4, 1/2) x: dx/dz has singular values 1/4 and 2."""
    scale = Scale((2,))
    scale.log_scale.data = torch.tensor([math.log(4.0), math.log(0.5)])
    flow = Flow(Chain([Flatten((2,)), scale]), StandardNormal(2), Spec("vector", (2,)))
    metric = Stretch(limit=3)
    x = torch.tensor([[1.0, 0], [0.5, 0], [0, 3.0], [0, 0]])  # the last lies beyond the limit
    metric.update({"x": x, "index": torch.arange(4)}, "test", flow)
    figures = metric.compute()
    assert figures["singular_min"].value == pytest.approx(0.25)
    assert figures["log_density_max"].value == pytest.approx(-math.log(2 * math.pi) + math.log(2) - 1.125, abs=1e-5)
    assert metric.refuses(Spec("vector", (65,))) and metric.refuses(Spec("image", (1, 4, 4), 2))
    with pytest.raises(GenlabError):
        Stretch().compute()


def test_the_entropy_of_a_circle():
    """By the exact density of the radius: p(x) = N(r; 1, noise) / (2 pi r)."""
    for noise in (0.01, 0.1):
        data = Circle(noise=noise)
        r = np.linspace(1 - 8 * noise, 1 + 8 * noise, 20001)
        p = np.exp(-(((r - 1) / noise) ** 2) / 2) / (math.sqrt(2 * math.pi) * noise)
        exact = float(-(p * np.log(p / (2 * math.pi * r))).sum() * (r[1] - r[0]))
        assert data.entropy == pytest.approx(exact, abs=1e-4)
    assert Circle(noise=0.0).entropy is None
    thin = Circle(noise=0.0, test=100).split("test").x
    torch.testing.assert_close(thin.norm(dim=1), torch.ones(100))
    with pytest.raises(ConfigError, match=r"data\.noise=-1"):
        Circle(noise=-1)


def test_a_strip_has_a_row_for_each_seed_and_warms_from_left_to_right():
    torch.manual_seed(0)
    spec = Spec("image", (1, 4, 4), 17)
    model = glow(spec, levels=2, steps=2, width=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    loaded = SimpleNamespace(model=model.eval(), spec=spec)
    made = temperature.make(loaded, [3, 5], {}, "cpu")
    count = len(temperature.TEMPERATURES)
    assert made.x.shape == (2 * count, 1, 4, 4) and made.columns == count
    assert made.arrays["seeds"].tolist() == [3] * count + [5] * count
    rows = made.x.view(2, count, -1).float()
    apart = (rows[0] - rows[1]).abs().mean(1)
    assert apart[0] < 0.5 < apart[-1]  # at 0 all seeds give one and the same image
    with pytest.raises(ConfigError, match="rows of images"):
        temperature.make(SimpleNamespace(model=model, spec=Spec("vector", (2,))), [0], {}, "cpu")
