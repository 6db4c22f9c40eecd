"""What is left of examples: the metric against its definition, and the pictures by level."""

from functools import partial

import numpy as np
import pytest
import torch
from runs import DIGITS, VAE, make_run

from genlab import config, sample
from genlab.errors import ConfigError, GenlabError
from genlab.metrics.reconstruction import Reconstruction
from genlab.models.base import Encodes, Hierarchical
from genlab.spec import Spec

PLANE = Spec("vector", (2,))
HALI = {
    "_target_": "genlab.models.gan.hali.HALI",
    "generator": {"_target_": "genlab.models.gan.mlp.Between"},
    "encoder": {"_target_": "genlab.models.gan.mlp.Between"},
    "discriminator": {"_target_": "genlab.models.gan.joint.Discriminator"},
}


class Shrunk(torch.nn.Module):
    """Leaves a share of the example."""

    latent = 2

    def __init__(self, share):
        super().__init__()
        self.share = share

    def encode(self, x, y=None):
        return x

    def decode(self, z, y=None):
        return self.share * z


class TwoLevels(Shrunk):
    levels = 2

    def ascend(self, x, level, y=None):
        return x / level

    def descend(self, code, level, y=None):
        return code


def shown(model, x, size=7):
    metric = Reconstruction(PLANE)
    for part in x.split(size):
        metric.update({"x": part}, "test", model)
    return metric


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_figures_are_the_definition_over_all_pairs():
    x = normal(40, 2) + 3
    assert isinstance(Shrunk(0.5), Encodes) and not isinstance(Shrunk(0.5), Hierarchical)
    figures = shown(Shrunk(0.5), x).compute()
    apart = (x[:, None] - 0.5 * x).double().square().mean(2)
    own, every = apart.diagonal(), (apart.sum() - apart.trace()) / (40 * 39)
    assert figures["reconstruction"].value == pytest.approx(own.mean().item(), rel=1e-6)
    assert figures["reconstruction"].stderr == pytest.approx((own.std() / 40**0.5).item(), rel=1e-6)
    assert figures["reconstruction_other"].value == pytest.approx(every.item(), rel=1e-6)
    assert figures["reconstruction_gain"].value == pytest.approx((every / own.mean()).item(), rel=1e-6)


def test_a_model_that_forgets_its_example_gains_nothing():
    class Forgetful(Shrunk):
        def decode(self, z, y=None):
            return torch.ones_like(z)

    assert shown(Forgetful(0), normal(50, 2)).compute()["reconstruction_gain"].value == pytest.approx(1)


def test_what_is_whole_has_no_gain_and_what_is_none_is_told():
    figures = shown(Shrunk(1.0), normal(9, 2)).compute()
    assert figures["reconstruction"].value == 0 and set(figures) == {"reconstruction", "reconstruction_other"}
    with pytest.raises(GenlabError, match="not finite"):
        shown(Shrunk(float("nan")), normal(9, 2))
    with pytest.raises(GenlabError, match="takes two"):
        shown(Shrunk(0.5), normal(1, 2)).compute()


def test_levels_have_figures_of_their_own():
    assert isinstance(TwoLevels(0.5), Hierarchical)
    figures = shown(TwoLevels(0.5), normal(30, 2)).compute()
    assert set(figures) <= set(Reconstruction.figures)
    assert figures["reconstruction_1"].value == 0 < figures["reconstruction_2"].value
    assert figures["reconstruction"] == figures["reconstruction_2"]
    assert figures["reconstruction_gain"] == figures["reconstruction_gain_2"]


def test_two_ranks_give_the_figures_of_one():
    x = normal(30, 2)
    one, other, whole = shown(TwoLevels(0.5), x[:11]), shown(TwoLevels(0.5), x[11:]), shown(TwoLevels(0.5), x)
    one.merge_state(other)
    for name, figure in one.compute().items():
        assert figure.value == pytest.approx(whole.compute()[name].value, rel=1e-12)


def sampled(run, *words):
    assert sample.main(config.compose("sample", [f"run={run.path}", "task=reconstruct", *words]).config) == 0
    return partial(np.load, run.samples / "reconstruct.npz")


def test_a_hierarchy_is_shown_by_level(tmp_path):
    run = make_run(tmp_path / "hali", HALI)
    with sampled(run, "n=3")() as made:
        every = {name: made[name] for name in made}
    assert {"level_1", "level_2", "originals"} <= set(every) and every["samples"].shape == (3, 1, 8, 8)
    assert np.array_equal(every["samples"], every["level_2"]) and not np.array_equal(every["level_1"], every["level_2"])
    with sampled(run, "n=3", "level=1")() as made:
        assert np.array_equal(made["samples"], every["level_1"]) and "level_2" not in made
    with pytest.raises(ConfigError, match="level=3: the levels of HALI are 1 to 2"):
        sampled(run, "level=3")
    with pytest.raises(ConfigError, match="level=2: this model has one level"):
        sampled(make_run(tmp_path / "vae", VAE, DIGITS), "level=2")
