"""Laws of output distributions: they sum to one, samples follow them, gradients are finite."""

import math

import pytest
import torch

from genlab.errors import ConfigError
from genlab.likelihoods import BY_NAME, default_likelihood, make_likelihood
from genlab.likelihoods.base import Likelihood
from genlab.likelihoods.bernoulli import Bernoulli
from genlab.likelihoods.categorical import Categorical
from genlab.likelihoods.discretised_logistic import DiscretisedLogistic
from genlab.likelihoods.gaussian import Gaussian
from genlab.spec import Spec

LIKELIHOODS: list[Likelihood] = [
    Bernoulli(2),
    Categorical(5),
    Categorical(256),
    *(DiscretisedLogistic(levels) for levels in (2, 17, 256)),
    *(Gaussian(levels) for levels in (2, 17, 256)),
    Gaussian(256, scale=0.05),
    Gaussian(None),
]
DISCRETE = [
    likelihood for likelihood in LIKELIHOODS if not (isinstance(likelihood, Gaussian) and not likelihood.levels)
]


def name(likelihood: Likelihood) -> str:
    return f"{type(likelihood).__name__}-{getattr(likelihood, 'levels', 2)}"


def levels_of(likelihood: Likelihood) -> int:
    return getattr(likelihood, "levels", 2)


def parameters(likelihood: Likelihood, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """One pixel under many parameters, (N, P, 1): locations in and far outside the data, log-scales from -7 to 5."""
    if likelihood.outputs <= 2:
        location = torch.linspace(-3, 3, 41, dtype=dtype)
        log_scale = torch.linspace(-7, 5, 25, dtype=dtype)
        return torch.cartesian_prod(location, log_scale)[:, : likelihood.outputs].unsqueeze(2)
    spread = torch.logspace(-2, 1.5, 50, dtype=dtype).view(-1, 1, 1)
    return spread * torch.randn(50, likelihood.outputs, 1, dtype=dtype)


def every_level(likelihood: Likelihood, params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each of N parameters with each level: (N * levels, P, 1) and (N * levels, 1)."""
    levels = levels_of(likelihood)
    return params.repeat_interleave(levels, 0), torch.arange(levels).repeat(len(params)).unsqueeze(1)


@pytest.mark.parametrize("likelihood", DISCRETE, ids=name)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
def test_sums_to_one(likelihood: Likelihood, dtype: torch.dtype, tolerance: float) -> None:
    params = parameters(likelihood, dtype)
    total = likelihood.log_prob(*every_level(likelihood, params)).view(len(params), -1).exp().sum(1)
    assert (total - 1).abs().max() < tolerance


def test_density_integrates_to_one() -> None:
    x = torch.linspace(-30, 30, 60001, dtype=torch.float64).unsqueeze(1)
    params = torch.tensor([0.7, math.log(1.3)], dtype=torch.float64).view(1, 2, 1).expand(len(x), -1, -1)
    assert Gaussian(None).log_prob(params, x).exp().sum() * 1e-3 == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=name)
def test_gradients_are_finite_and_right(likelihood: Likelihood) -> None:
    params = parameters(likelihood, torch.float32)
    levels = levels_of(likelihood)
    x = torch.randint(levels, (len(params), 1)) if levels else 4 * torch.randn(len(params), 1)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = params.detach().clone().to(dtype).requires_grad_()
        likelihood.log_prob(leaf, x).sum().backward()
        gradients.append(leaf.grad.double())
    assert gradients[0].isfinite().all()
    # 1e-2: a level scaled in float32 is off by 1e-7, which the smallest scale of e^-7 multiplies by a million
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("likelihood", [lik for lik in LIKELIHOODS if levels_of(lik) != 256], ids=name)
def test_gradient_is_the_derivative(likelihood: Likelihood) -> None:
    params = parameters(likelihood)[::41].clamp(min=-6.5).requires_grad_()  # a clamp of log s has a corner at -7
    x = torch.arange(len(params)).remainder(levels_of(likelihood) or 3).unsqueeze(1)
    assert torch.autograd.gradcheck(lambda leaf: likelihood.log_prob(leaf, x), params)


@pytest.mark.parametrize("likelihood", DISCRETE, ids=name)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_probabilities(likelihood: Likelihood, temperature: float) -> None:
    """At quantiles (i + 1/2) / N a level of probability p comes up N p times, give or take one."""
    count = 20000
    params = parameters(likelihood)[::37]
    cooled, fixed = params.clone(), isinstance(likelihood, Gaussian) and likelihood.scale
    if isinstance(likelihood, (Bernoulli, Categorical)):
        cooled /= temperature
    elif likelihood.outputs == 2:
        cooled[:, 1] = cooled[:, 1].clamp(min=-7) + math.log(temperature)
    # the floor of the scale must not be met again by the cooled one
    judge = type(likelihood)(levels_of(likelihood), floor=-20.0) if likelihood.outputs == 2 else likelihood
    if fixed:
        judge = Gaussian(levels_of(likelihood), scale=fixed * temperature)
    levels = levels_of(likelihood)
    u = ((torch.arange(count, dtype=torch.float64) + 0.5) / count).view(1, 1, count)
    for one, cold in zip(params, cooled, strict=True):
        x = likelihood.sample(one.unsqueeze(0).expand(1, -1, count), u, temperature)
        assert x.shape == (1, count) and x.dtype == torch.uint8
        frequency = torch.bincount(x.flatten().long(), minlength=levels) / count
        expected = judge.log_prob(*every_level(judge, cold.unsqueeze(0))).exp()
        # two: sampling scales in float32, which may carry a quantile over the border of a bin
        assert (frequency - expected).abs().max() < 2.5 / count
        assert (x.long().flatten().diff() >= 0).all()


def test_continuous_samples_are_the_quantiles() -> None:
    count = 1000
    u = (torch.arange(count, dtype=torch.float64) + 0.5).view(1, 1, count) / count
    params = torch.tensor([2.0, math.log(0.3)], dtype=torch.float64).view(1, 2, 1).expand(1, 2, count)
    expected = torch.distributions.Normal(2.0, 0.3 * 0.5).icdf(u[0])
    torch.testing.assert_close(Gaussian(None).sample(params, u, temperature=0.5), expected)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=name)
def test_extreme_quantiles_and_temperatures_give_data(likelihood: Likelihood) -> None:
    params = parameters(likelihood, torch.float32)
    levels = levels_of(likelihood)
    for u in (0.0, 1 - 2**-24):
        for temperature in (0.0, 1.0):
            x = likelihood.sample(params, torch.full((len(params), 1, 1), u), temperature)
            assert x.float().isfinite().all()
            assert not levels or x.max().item() < levels


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=name)
def test_any_shape_and_independent_dimensions(likelihood: Likelihood) -> None:
    levels = levels_of(likelihood)
    for shape in ((1,), (3,), (3, 4, 5)):
        params = torch.randn(6, likelihood.outputs, *shape)
        x = torch.randint(levels, (6, *shape)) if levels else torch.randn(6, *shape)
        u = torch.rand(6, likelihood.draws, *shape)
        assert likelihood.sample(params, u).shape == likelihood.mean(params).shape == (6, *shape)
        whole = likelihood.log_prob(params, x)
        pixels = likelihood.log_prob(params.reshape(6, likelihood.outputs, -1).transpose(1, 2).flatten(0, 1)
                                     .unsqueeze(2), x.reshape(-1, 1)).view(6, -1).sum(1)  # fmt: skip
        torch.testing.assert_close(whole, pixels)


@pytest.mark.parametrize("likelihood", [Bernoulli(2), Categorical(5), Categorical(256), Gaussian(None)], ids=name)
def test_mean_is_the_expectation(likelihood: Likelihood) -> None:
    params = parameters(likelihood)[::9]
    if levels_of(likelihood):
        levels = torch.arange(levels_of(likelihood), dtype=torch.float64)
        expected = likelihood.log_prob(*every_level(likelihood, params)).view(len(params), -1).exp() @ levels
    else:
        expected = params[:, 0].flatten()
    torch.testing.assert_close(likelihood.mean(params).flatten(), expected)


@pytest.mark.parametrize("likelihood", [DiscretisedLogistic(256), Gaussian(256)], ids=name)
def test_mean_of_a_narrow_bell_within_the_data_is_the_expectation(likelihood: Likelihood) -> None:
    params = torch.tensor([[0.1, -4.0], [-0.5, -3.5]], dtype=torch.float64).unsqueeze(2)
    levels = torch.arange(256, dtype=torch.float64)
    expected = likelihood.log_prob(*every_level(likelihood, params)).view(2, -1).exp() @ levels
    torch.testing.assert_close(likelihood.mean(params).flatten(), expected, rtol=0, atol=1e-3)


def test_default_is_the_usual_choice() -> None:
    chosen = {levels: type(default_likelihood(levels)) for levels in (2, 17, 32, 33, 256, None)}
    assert chosen == {2: Bernoulli, 17: Categorical, 32: Categorical, 33: DiscretisedLogistic,
                      256: DiscretisedLogistic, None: Gaussian}  # fmt: skip


def test_choice_by_name_or_class() -> None:
    binary = Spec("image", (3, 8, 8), 2)
    assert {type(make_likelihood(word, binary, 3)) for word in BY_NAME} == set(BY_NAME.values())
    assert isinstance(make_likelihood(Categorical, binary), Categorical)
    assert isinstance(make_likelihood(None, binary), Bernoulli)


@pytest.mark.parametrize(
    ("word", "levels"), [("bernoulli", 256), ("bernoulli", None), ("categorical", None), ("discretised_logistic", None)]
)
def test_refuses_data_it_is_not_for(word: str, levels: int | None) -> None:
    with pytest.raises(ConfigError, match=f"model.likelihood={word}"):
        make_likelihood(word, Spec("vector", (2,), levels))


def test_suggests_a_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'bernoulli'"):
        make_likelihood("bernouli", Spec("vector", (2,), 2))
