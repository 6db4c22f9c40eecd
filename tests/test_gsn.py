"""The generative stochastic network: its chain against the exact one of tiny data, and what walkback changes."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab import cli, validate
from genlab.assembly import build_module
from genlab.build import build
from genlab.errors import ConfigError, ConfigErrors
from genlab.losses.reconstruction import Reconstruction
from genlab.models.base import Bound, Density, Encodes, Samples, Walks
from genlab.models.vae.gsn import GSN, Chance
from genlab.noise import Noise
from genlab.run import Run
from genlab.spec import Spec

D = 7
BITS = Spec("image", (1, 1, D), 2)
STATES = torch.tensor(list(product((0.0, 1.0), repeat=D)), dtype=torch.float64)
ON = STATES.sum(1)
DATA = (0.7 * 0.03**ON * 0.97 ** (D - ON) + 0.3 * 0.97**ON * 0.03 ** (D - ON)).double()
"""All off or all on, and a few bits otherwise: none of them says anything alone."""


def make(hidden=(5,), spec: Spec = BITS, spread: float = 1.0, **options) -> GSN:
    torch.manual_seed(0)
    model = GSN(spec, hidden, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    model.mean.copy_(torch.rand(spec.dimensions))
    return model.eval()


def examples(count: int, spec: Spec = BITS) -> Tensor:
    return torch.randint(2, (count, *spec.shape), dtype=torch.uint8)


def silence(count: int) -> Chance:
    """Nothing is corrupted, and there is no noise."""
    return Chance(*[torch.ones(count, D).double()] * 2, torch.zeros(count, 0).double())


@torch.no_grad()
def transitions(model: GSN) -> Tensor:
    """p(x' | x) of one layer, (states, states): the sum over all corruptions x~ of p(x' | x~) p(x~ | x)."""
    half = model.corruption / 2
    same = (STATES[:, None] == STATES).double()
    corrupted = (half + (1 - 2 * half) * same).prod(2)
    chances = model.step(STATES, model.start(len(STATES)), silence(len(STATES)))[0].sigmoid()
    denoised = torch.where(STATES[None] == 1, chances[:, None], 1 - chances[:, None]).prod(2)
    return corrupted @ denoised


def variation(p: Tensor, q: Tensor) -> float:
    """Total variation."""
    return (p - q).abs().sum().item() / 2


def shares(x: Tensor) -> Tensor:
    """How often each state is among some."""
    places = 2.0 ** torch.arange(D - 1, -1, -1, dtype=torch.float64)
    return (x.flatten(1).double() @ places).long().bincount(minlength=2**D) / len(x)


@pytest.mark.parametrize("hidden", [(7,), (7, 6), (7, 6, 5)])
def test_it_trains_samples_and_has_no_likelihood(hidden) -> None:
    spec = Spec("image", (1, 4, 5), 2)
    model, x = make(hidden, spec, walkback=3, steps=5), examples(6, spec)
    assert isinstance(model, Samples) and isinstance(model, Walks)
    assert not isinstance(model, (Density, Bound, Encodes))
    value, parts = Reconstruction()(model, {"x": x}, 0)
    value.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert parts["reconstruction"] == -value
    sample = model.sample(Noise(range(4)))
    assert sample.shape == (4, *spec.shape) and sample.dtype == torch.uint8 and sample.max() <= 1


@torch.no_grad()
def test_layers_are_those_of_the_equation() -> None:
    """Of two: h_1 sees x~ and the h_2 of before, h_2 the h_1 of now, with noise before and after tanh."""
    model = make((4, 6), noise=0.7)
    x, h = STATES[:5], [torch.randn(5, 4).double(), torch.randn(5, 6).double()]
    e = torch.randn(5, 12).double()
    logits, (first, second) = model.step(x, h, Chance(torch.ones(5, D), torch.ones(5, D), e))
    (low, high), (b0, b1, b2) = model.weights, model.biases
    wanted = torch.tanh(x @ low.T + h[1] @ high + b1)
    torch.testing.assert_close(first, wanted)
    torch.testing.assert_close(second, torch.tanh(wanted @ high.T + b2 + 0.7 * e[:, :6]) + 0.7 * e[:, 6:])
    torch.testing.assert_close(logits, wanted @ low + b0)


@torch.no_grad()
def test_corruption_sets_so_many_values_to_a_coin() -> None:
    model = make(corruption=0.4)
    u = torch.rand(20_000, D).double()
    for x in (torch.zeros_like(u), torch.ones_like(u)):
        changed = (model.corrupt(x, u) != x).double().mean().item()
        assert changed == pytest.approx(0.2, abs=0.01)
    assert make(corruption=0.0).corrupt(STATES, u[: 2**D]).equal(STATES)


@pytest.mark.parametrize("hidden", [(5,), (5, 4)])
def test_one_step_is_denoising_and_more_go_on_from_what_was_drawn(hidden) -> None:
    """Against the same walk by hand, whose first step is the denoising error whatever the others are."""
    model, x = make(hidden, walkback=3), examples(50)
    torch.manual_seed(1)
    found = model.reconstruction(x)
    torch.manual_seed(1)
    state, h, errors = x.flatten(1).double(), model.start(50), []
    for _ in range(3):
        chance = model._chance(50)
        logits, h = model.step(state, h, chance)
        errors.append(torch.distributions.Bernoulli(logits=logits).log_prob(x.flatten(1).double()).sum(1))
        state = (chance.draw >= 1 - logits.sigmoid()).double().detach()
    torch.testing.assert_close(found, torch.stack(errors).mean(0))
    if len(hidden) == 1:
        torch.manual_seed(1)
        model.walkback = 1
        torch.testing.assert_close(model.reconstruction(x), errors[0])


def test_what_is_drawn_on_the_way_takes_no_gradient() -> None:
    """The target of each step is x, and the way there is given: of one layer the steps' gradients are of denoisings."""
    model, x = make(walkback=2), examples(50)
    torch.manual_seed(1)
    model.reconstruction(x).sum().backward()
    found = model.weights[0].grad.clone()
    model.zero_grad()
    torch.manual_seed(1)
    one, two = model._chance(50), model._chance(50)
    logits, _ = model.step(x.flatten(1).double(), model.start(50), one)
    between = model.draw(logits, one.draw).detach()
    again, _ = model.step(between, model.start(50), two)
    target = x.flatten(1)
    error = sum(model.likelihood.log_prob(each[:, None], target) for each in (logits, again))
    (error.sum() / 2).backward()
    torch.testing.assert_close(found, model.weights[0].grad)


def test_training_begins_at_the_means_of_the_data_and_keeps_them() -> None:
    spec = Spec("image", (1, 1, 40), 2)
    model = make(spec=spec).train()
    batches = [(torch.rand(30, *spec.shape) < 0.2).to(torch.uint8) for _ in range(3)]
    for place, x in enumerate(batches):
        model.reconstruction(x)
        if place == 0:
            torch.testing.assert_close(model.biases[0].sigmoid(), (x.flatten(1).sum(0) + 0.5).double() / 31)
            before = model.biases[0].detach().clone()
    assert model.biases[0].equal(before)
    torch.testing.assert_close(model.mean, torch.cat(batches).flatten(1).double().mean(0))
    model.eval().reconstruction(batches[0])
    assert model.seen == 90


@torch.no_grad()
def test_the_chain_is_that_of_its_transitions() -> None:
    model, count = make(spread=0.5, corruption=0.3), 4000
    matrix, start = transitions(model), torch.where(STATES == 1, model.mean, 1 - model.mean).prod(1)
    torch.testing.assert_close(matrix.sum(1), torch.ones(2**D).double())
    times = (0, 1, 2, 7)
    chain = model.chain(Noise(range(count)), times)
    for time, x in zip(times, chain, strict=True):
        p = start @ torch.linalg.matrix_power(matrix, time)
        assert count * ((shares(x) - p).square() / p).sum() < 127 + 5 * (2 * 127) ** 0.5, time
    assert variation(p, start) > 0.3  # it came a long way


@pytest.mark.parametrize("walkback", [1, 2, 4])
def test_its_stationary_distribution_comes_near_to_the_data(walkback) -> None:
    """As near as independent bits, given x~, let it; the more steps back, the more often x~ is of the other mode."""
    torch.manual_seed(0)
    model = GSN(BITS, (32,), walkback, corruption=0.2).double()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, 600)
    for _ in range(600):
        x = STATES[torch.multinomial(DATA, 256, replacement=True)].view(-1, *BITS.shape).to(torch.uint8)
        optimizer.zero_grad()
        Reconstruction()(model, {"x": x}, 0)[0].backward()
        optimizer.step()
        schedule.step()
    stationary = torch.linalg.matrix_power(transitions(model), 100_000)[0]
    means = (DATA[:, None] * STATES).sum(0)
    independent = torch.where(STATES == 1, means, 1 - means).prod(1)
    assert variation(stationary, DATA) < variation(independent, DATA) / 5


@torch.no_grad()
@pytest.mark.parametrize("hidden", [(5,), (5, 4)])
def test_a_chain_is_a_function_of_its_stream_alone(hidden) -> None:
    model = make(hidden, Spec("image", (1, 4, 5), 2), steps=45).float()
    here = model.chain(Noise([3, 1, 4]), (1, 30, 45))
    torch.manual_seed(7)
    assert here.equal(model.chain(Noise([9, 4, 3, 1]), (1, 30, 45))[:, [2, 3, 1]])
    assert here[1].equal(model.chain(Noise([3, 1, 4]), (30,))[0])  # however far it goes
    assert here[2].equal(model.sample(Noise([3, 1, 4])))


@torch.no_grad()
def test_temperature_divides_the_logits() -> None:
    model = make(steps=30)
    cold = model.chain(Noise(range(200)), (29, 30), temperature=1e-9)
    every = model.step(STATES, model.start(len(STATES)), silence(len(STATES)))[0]
    modes = {tuple(row) for row in (every > 0).int().tolist()}
    assert {tuple(row) for row in cold[1].flatten(1).int().tolist()} <= modes


@pytest.mark.parametrize(
    "wrong",
    [
        {"walkback": 0},
        {"hidden": (4, 4), "walkback": 1},
        {"hidden": ()},
        {"hidden": (0,)},
        {"steps": 0},
        {"corruption": 1.5},
        {"noise": -1.0},
    ],
)
def test_what_cannot_be_is_said(wrong) -> None:
    with pytest.raises(ConfigError, match=r"model\."):
        GSN(BITS, **({"hidden": (4,)} | wrong))
    with pytest.raises(ConfigError, match="binarize=static"):
        GSN(Spec("image", (1, 2, 2), 17))


def test_configs_say_what_it_takes() -> None:
    with pytest.raises(ConfigErrors, match=r"data\.levels=2"):
        validate.check(["model=gsn", "data=digits", "data.levels=17"])
    with pytest.raises(ConfigErrors, match="did you mean 'reconstruction'"):
        validate.check(["model=gsn", "data=digits", "loss=nll"])
    config = validate.check(["model=gsn", "data=digits", "model.hidden=[8]"]).config
    module = build_module(config, Spec("image", (1, 8, 8), 2), build(config["trainer"]), 1)
    assert module.validation_nats({"x": examples(4, Spec("image", (1, 8, 8), 2))}) is None


def test_from_the_command_line_to_the_picture_of_its_chain(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    few = ["trainer.max_steps=3", "trainer.max_epochs=null", "model.hidden=[8,8]", "model.steps=6", "logger=none"]
    assert cli.main(["train", "model=gsn", "data=digits", *few, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    assert cli.main(["sample", f"run={tmp_path / 'run'}", "task=chain", "n=2"]) == 0
    made = np.load(Run(tmp_path / "run").path / "samples" / "chain.npz")
    assert made["chains"].shape[:1] == (2,) and made["chains"].shape[2:] == (1, 8, 8)
