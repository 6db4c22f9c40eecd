"""Every preset under all laws, whatever is added to ``conf/model`` tomorrow; and laws that are broken are caught.

Models are made narrow, so that all of them take seconds.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import build, validate
from genlab.bijections.affine_coupling import AffineCoupling
from genlab.check import BROKEN, HOLDS, UNFIT, examine, main
from genlab.errors import ConfigError, ConfigErrors
from genlab.likelihoods import make_likelihood
from genlab.models.flow.conditioner import MLPConditioner
from genlab.models.flow.flow import Flow
from genlab.models.flow.realnvp import alternating
from genlab.models.flow.standard_normal import StandardNormal
from genlab.noise import Noise
from genlab.presets import groups
from genlab.spec import Spec

WIDTH = 16
DEEP = {"layers": 4, "small_layers": 4, "blocks": 2}
PRESETS = groups()["model"]


def narrow(node: Any, most: int = WIDTH) -> Any:
    """A model's node with no whole number above ``WIDTH``, in lists of widths four times that (a MADE's units stand for
    64 pixels of the digits), and few layers."""
    if isinstance(node, Mapping):
        return {key: narrow(value, DEEP.get(key, most)) for key, value in node.items()}
    if isinstance(node, list):
        return [narrow(value, 4 * WIDTH) for value in node]
    return min(node, most) if isinstance(node, int) and not isinstance(node, bool) else node


@cache
def outcomes(preset: str, data: str, *more: str) -> dict[str, tuple[str, str]]:
    config = validate.check([f"model={preset}", f"data={data}", *more]).config
    return {law: (verdict, text) for law, verdict, text in examine(config | {"model": narrow(config["model"])})}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("data", ["digits", "moons"])
def test_every_preset_obeys_every_law(preset, data):
    try:
        found = outcomes(preset, data)
    except (ConfigError, ConfigErrors) as refused:  # an image model and points, or the other way round
        assert {"moons": "image", "digits": "vector"}[data] in str(refused)
        return
    assert not {law: text for law, (verdict, text) in found.items() if verdict == BROKEN}
    assert found["gradients reach every parameter"][0] == HOLDS


def test_laws_apply_to_whom_they_should():
    """A law that no longer applied to anything would hold for ever."""
    applied = {law: set() for law in outcomes("realnvp", "moons")}
    for preset, data in (("realnvp", "moons"), ("realnvp", "digits"), ("pixelcnn", "digits"), ("vae", "digits")):
        for law, (verdict, _) in outcomes(preset, data).items():
            if verdict != UNFIT:
                applied[law].add((preset, data))
    assert all(applied.values())
    assert applied["no density beats the entropy"] == {("realnvp", "moons")}
    assert applied["the density integrates to one"] == {("realnvp", "moons")}
    assert applied["no conditional sees what comes later"] == {("pixelcnn", "digits")}
    assert applied["bijections invert"] == {("realnvp", "moons"), ("realnvp", "digits")}
    assert applied["more samples make a bound no looser"] == {("realnvp", "digits"), ("vae", "digits")}


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("realnvp", ("model.conditional=true",)),
        ("realnvp", ("model.net=resnet", "model.maps=4", "model.blocks=2", "data.binarize=dynamic")),
        ("realnvp", ("model.net=mlp", "model.dequantization=variational")),
        ("glow", ("model.coupling=additive", "model.split_prior=false", "model.conditional=true")),
        ("vae", ("model.net=conv", "model.likelihood=discretised_logistic")),
        ("vae", ("loss=iwae", "loss.gradient=dreg")),
        ("ssl_vae", ("data.labelled=50",)),
        ("ssl_vae_stacked", ("data.labelled=50",)),
        ("wgan_gp", ("model.net=resnet", "model.generator.norm=batch")),
        ("gan", ("loss=lsgan", "trainer.ema=null", "penalty=r1")),
    ],
)
def test_options_obey_them_too(preset, options):
    found = outcomes(preset, "digits", *options)
    assert not {law: text for law, (verdict, text) in found.items() if verdict == BROKEN}


class WrongLogDet(AffineCoupling):
    """Counts every scale twice."""

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_det = super().forward(x, c)
        return y, 2 * log_det

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = super().inverse(y, c)
        return x, 2 * log_det


class WrongInverse(AffineCoupling):
    """Forgets the shift on the way back."""

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        unmoved = torch.tensor([0.0, 1.0], dtype=y.dtype)[:, None]
        return self.monotone.inverse(y, self._params(y, c) * unmoved)


def broken_flow(spec: Spec, coupling: str) -> Flow:
    """Points through couplings of which the first is wrong."""
    chain = alternating(spec.shape, 4, lambda shape: MLPConditioner(shape, width=16), 2.0)
    first = next(module for module in chain.modules() if isinstance(module, AffineCoupling))
    first.__class__ = {"log_det": WrongLogDet, "inverse": WrongInverse}[coupling]
    nn.init.normal_(first.net.net[-1].bias)  # so that it is wrong from the first step
    return Flow(chain, StandardNormal(spec.dimensions), spec)


class Clairvoyant(nn.Module):
    """Claims to be auto-regressive, and every conditional sees all values."""

    exact = True

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec, self.likelihood = spec, make_likelihood(None, spec)
        self.net = nn.Linear(spec.dimensions, spec.dimensions * self.likelihood.outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.flatten(1).float()).view(len(x), -1, *self.spec.shape)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.likelihood.log_prob(self(x), x)


class Careless(nn.Module):
    """A game that samples from the global generator, beside the data, and has an idle layer."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec = spec
        self.generator, self.critic = nn.Linear(4, spec.dimensions), nn.Linear(spec.dimensions, 1)
        self.idle = nn.Linear(3, 3)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"critic": [self.critic, self.idle], "generator": [self.generator]}

    def turn(self, player: str, batch: Any, loss: Any, penalty: Any) -> tuple[Tensor, dict[str, Tensor]]:
        x = batch["x"].flatten(1).float() / 16
        on_fake = self.critic(self.generator(torch.randn(len(x), 4))).flatten()
        value = loss.generator(on_fake) if player == "generator" else loss.critic(self.critic(x).flatten(), on_fake)
        return value, {player: value.detach()}

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        x = self.generator(torch.randn(len(noise), 4)) * 16
        return x.round().long().view(-1, *self.spec.shape)


class Unnormalised(nn.Module):
    """A density that forgets to normalise, and so has less than the entropy of the data."""

    exact = True

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec, self.scale = spec, nn.Parameter(torch.zeros(()))

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return 6 - x.square().sum(1) * self.scale.exp()

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        return noise.normal(2)


@pytest.fixture
def trusted(monkeypatch):
    """Models of this file may be named in a config."""
    monkeypatch.setattr(build, "_admitted", [*build._admitted, f"{__name__}."])


def broken(preset: str, data: str, **node: Any) -> dict[str, str]:
    config = validate.check([f"model={preset}", f"data={data}", "logger=csv"]).config
    node["_target_"] = f"{__name__}.{node['_target_']}"
    return {law: text for law, verdict, text in examine(config | {"model": node}) if verdict == BROKEN}


def test_a_wrong_log_det_is_caught(trusted):
    found = broken("realnvp", "moons", _target_="broken_flow", coupling="log_det")
    assert {"log-determinants are those of autograd", "the density integrates to one"} <= set(found)
    assert "bijections invert" not in found


def test_a_wrong_inverse_is_caught(trusted):
    assert "bijections invert" in broken("realnvp", "moons", _target_="broken_flow", coupling="inverse")


def test_a_net_that_sees_the_future_is_caught(trusted):
    found = broken("pixelcnn", "digits", _target_="Clairvoyant")
    assert set(found) == {"no conditional sees what comes later", "probabilities sum to one, bounds to less"}


def test_careless_sampling_and_idle_parameters_are_caught(trusted):
    found = broken("wgan_gp", "digits", _target_="Careless")
    assert "idle.weight, idle.bias" in found["gradients reach every parameter"]
    assert "critic.bias" not in found["gradients reach every parameter"]  # shifts both terms of the loss alike
    assert "same seeds" in found["sample i depends on seed i alone"]
    assert "levels" in found["samples lie in data space"]


def test_a_density_that_is_too_good_is_caught(trusted):
    found = broken("realnvp", "moons", _target_="Unnormalised")
    assert {"no density beats the entropy", "the density integrates to one"} <= set(found)


def test_the_verdict_is_the_exit_code(trusted, capsys):
    config = validate.check(["model=gan", "data=moons"]).config
    config["model"] = narrow(config["model"])
    assert main(config) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("gan on moons") and "holds" in shown.out and not shown.err
    assert main(config | {"model": {"_target_": f"{__name__}.Careless"}}) == 1
    shown = capsys.readouterr()
    assert "BROKEN" in shown.out and "laws are broken" in shown.err
