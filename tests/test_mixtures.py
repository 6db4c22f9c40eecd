"""Laws of mixtures as output distributions: they sum to one, samples follow them, channels are coupled as told.

What every output distribution obeys stands in ``test_likelihoods.py``.
"""

import math
from itertools import product

import pytest
import torch
from test_laws import outcomes
from torch import Tensor

from genlab import validate
from genlab.check import BROKEN, HOLDS
from genlab.errors import ConfigError, ConfigErrors
from genlab.likelihoods import BY_NAME, make_likelihood
from genlab.likelihoods.coupled_logistic_mixture import CoupledLogisticMixture
from genlab.likelihoods.discretised_logistic import DiscretisedLogistic
from genlab.likelihoods.gaussian import Gaussian
from genlab.likelihoods.gaussian_mixture import GaussianMixture
from genlab.likelihoods.logistic_mixture import LogisticMixture
from genlab.models.autoregressive.pixelcnn import pixelcnn
from genlab.noise import Noise
from genlab.spec import Spec

COLOUR = Spec("image", (3, 8, 8), 256)

MIXTURES = {LogisticMixture: DiscretisedLogistic, GaussianMixture: Gaussian}
LEVELS = (2, 5, 17, 256)


def parameters(count: int, components: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """One dimension under many mixtures, (N, 3 K, 1): scales from e^-7 to e^5, means in and far outside the data."""
    chance = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(count, components, generator=chance, dtype=dtype)
    locations = 2 * torch.randn(count, components, generator=chance, dtype=dtype)
    log_scales = torch.linspace(-7, 5, count * components, dtype=dtype)[
        torch.randperm(count * components, generator=chance)
    ].view(count, -1)
    return torch.cat([logits, locations, log_scales], 1).unsqueeze(2)


def of_pixels(likelihood: CoupledLogisticMixture, count: int, spread: float = 1.0) -> Tensor:
    """(N, P, 1)."""
    chance = torch.Generator().manual_seed(0)
    return spread * torch.randn(count, likelihood.outputs, 1, generator=chance, dtype=torch.float64)


def every_pixel(levels: int, channels: int) -> Tensor:
    """(levels^C, C, 1)."""
    return torch.tensor(list(product(range(levels), repeat=channels)), dtype=torch.uint8).unsqueeze(2)


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
def test_sums_to_one(mixture, levels, dtype, tolerance):
    params = parameters(120, 3, dtype)
    x = torch.arange(levels).repeat(len(params)).unsqueeze(1)
    log_prob = mixture(levels, 3).log_prob(params.repeat_interleave(levels, 0), x)
    assert (log_prob.view(len(params), -1).exp().sum(1) - 1).abs().max() < tolerance


@pytest.mark.parametrize("mixture", MIXTURES)
def test_density_integrates_to_one(mixture):
    x = torch.linspace(-300, 300, 600001, dtype=torch.float64).unsqueeze(1)
    params = torch.tensor([0.3, -1.0, 0.7, -4.0, math.log(1.3), -2.0], dtype=torch.float64).view(1, 6, 1)
    total = mixture(None, 2).log_prob(params.expand(len(x), -1, -1), x).exp().sum() * 1e-3
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("levels", [17, None])
def test_of_one_component_is_that_component(mixture, levels):
    params = parameters(50, 1)
    x = torch.arange(50).remainder(17).unsqueeze(1) if levels else torch.randn(50, 1, dtype=torch.float64)
    if mixture is LogisticMixture and not levels:
        location, scale = params[:, 1], params[:, 2].exp()
        base = torch.distributions.TransformedDistribution(
            torch.distributions.Uniform(torch.zeros_like(scale), torch.ones_like(scale)),
            [
                torch.distributions.SigmoidTransform().inv,
                torch.distributions.AffineTransform(location, scale),
            ],
        )
        near = location + scale * torch.randn_like(x)
        expected = base.log_prob(near).flatten()
        torch.testing.assert_close(mixture(levels, 1).log_prob(params, near), expected)
    else:
        expected = MIXTURES[mixture](levels).log_prob(params[:, 1:], x)
        torch.testing.assert_close(mixture(levels, 1).log_prob(params, x), expected)


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_probabilities(mixture, levels, temperature):
    """Over a grid of n x n of the two uniform numbers a level has its probability, to the width of the grid's cells."""
    n = 400
    axis = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    u = torch.cartesian_prod(axis, axis).t()[None]  # (1, 2, n n)
    judge = mixture(levels, 3, floor=-20.0)  # the floor of the scale must not be met again by the cooled one
    for one in parameters(12, 3).split(1):
        x = mixture(levels, 3).sample(one.expand(1, -1, n * n), u, temperature)
        assert x.shape == (1, n * n) and x.dtype == torch.uint8
        logits, location, log_scale = one.chunk(3, 1)
        cold = torch.cat([logits / temperature, location, log_scale + math.log(temperature)], 1)
        expected = judge.log_prob(cold.expand(levels, -1, -1), torch.arange(levels).unsqueeze(1)).exp()
        frequency = torch.bincount(x.flatten().long(), minlength=levels) / n**2
        assert (frequency - expected).abs().max() < 5 / n


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("levels", [2, 17, 256, None])
def test_gradients_are_finite_and_right(mixture, levels):
    params = parameters(300, 4, torch.float32)
    x = torch.randint(levels, (300, 1)) if levels else 4 * torch.randn(300, 1)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = params.clone().to(dtype).requires_grad_()
        mixture(levels, 4).log_prob(leaf, x).sum().backward()
        gradients.append(leaf.grad.double())
    assert gradients[0].isfinite().all()
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=2e-2)
    leaf = parameters(8, 4).clamp(min=-6.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda leaf: mixture(levels, 4).log_prob(leaf, x[:8]), leaf)


@pytest.mark.parametrize("word", ["logistic_mixture", "gaussian_mixture"])
@pytest.mark.parametrize("levels", [2, 256, None])
def test_any_shape_extreme_quantiles_and_means(word, levels):
    likelihood = make_likelihood(word, Spec("image", (3, 2, 2), levels))
    params = parameters(6 * 60, likelihood.components, torch.float32).view(6, 60, -1).transpose(1, 2)
    params = params.unflatten(2, (3, 4, 5))
    x = torch.randint(levels, (6, 3, 4, 5)) if levels else torch.randn(6, 3, 4, 5)
    assert likelihood.log_prob(params, x).isfinite().all()
    for temperature, u in product((0.0, 1.0), (0.0, 1 - 2**-24)):
        drawn = likelihood.sample(params, torch.full((6, 2, 3, 4, 5), u), temperature)
        assert drawn.shape == (6, 3, 4, 5) and drawn.float().isfinite().all()
        assert not levels or drawn.max().item() < levels
    cold = likelihood.sample(params, torch.rand(6, 2, 3, 4, 5), 0.0)
    sharp = params.clone()
    sharp[:, : likelihood.components] *= 1e6
    torch.testing.assert_close(cold.float(), likelihood.mean(sharp), atol=0.51 if levels else 1e-4, rtol=0)


@pytest.mark.parametrize(("levels", "channels"), [(2, 1), (2, 3), (5, 3), (5, 2), (3, 4)])
@pytest.mark.parametrize("spread", [1.0, 6.0])
def test_whole_pixels_sum_to_one(levels, channels, spread):
    likelihood = CoupledLogisticMixture(levels, channels, 3)
    pixels = every_pixel(levels, channels)
    for params in of_pixels(likelihood, 5, spread).split(1):
        total = likelihood.log_prob(params.expand(len(pixels), -1, -1), pixels).exp().sum()
        assert total.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("levels", [5, 256, None])
def test_whole_pixels_have_the_probability_of_the_paper(levels):
    """Equations 2 and 3 for red, green and blue, written out for one pixel at a time."""
    K, likelihood = 3, CoupledLogisticMixture(levels, 3, 3)
    params = of_pixels(likelihood, 40)
    chance = torch.Generator().manual_seed(1)
    x = torch.randint(levels or 9, (40, 3, 1), generator=chance)
    x = x if levels else x.double() / 4 - 1
    single = LogisticMixture(levels, 1)

    def log_channel(mean: float, log_scale: float, value: Tensor) -> float:
        one = torch.tensor([0.0, mean, log_scale], dtype=torch.float64).view(1, 3, 1)
        return single.log_prob(one, value.view(1, 1)).item()

    found = likelihood.log_prob(params, x)
    for row in range(40):
        logits, m, s, coefficients = params[row, :, 0].view(-1, K).split([1, 3, 3, 3])
        pixel = x[row, :, 0]
        r, g, _ = (2 * pixel.double() / (levels - 1) - 1 if levels else pixel).tolist()
        total = 0.0
        for k in range(K):
            alpha, beta, gamma = (math.tanh(c) for c in coefficients[:, k].tolist())
            locations = (m[0, k].item(), m[1, k].item() + alpha * r, m[2, k].item() + beta * r + gamma * g)
            terms = [log_channel(locations[c], s[c, k].item(), pixel[c]) for c in range(3)]
            total += logits[0].softmax(0)[k].item() * math.exp(sum(terms))
        assert found[row].item() == pytest.approx(math.log(total), rel=1e-9)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_conditionals_are_quotients_of_marginals(channels):
    levels = 4
    likelihood = CoupledLogisticMixture(levels, channels, 3)
    pixels = every_pixel(levels, channels)
    params = of_pixels(likelihood, 1).expand(len(pixels), -1, -1)
    p = likelihood.log_prob(params, pixels).exp().view([levels] * channels)
    conditionals = likelihood.conditionals(params, pixels)
    assert conditionals.shape == (len(pixels), 9, channels, 1)
    for channel in range(channels):
        log_prob = LogisticMixture(levels, 3).log_prob(conditionals[:, :, channel], pixels[:, channel])
        of_first = p.flatten(channel + 1).sum(-1) if channel + 1 < channels else p
        quotient = of_first / of_first.sum(-1, keepdim=True)
        quotient = quotient.view(*of_first.shape, *[1] * (channels - channel - 1)).expand_as(p)
        torch.testing.assert_close(log_prob.exp().view_as(p), quotient)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_of_whole_pixels_follow_the_probabilities(temperature):
    levels, n = 3, 60
    likelihood = CoupledLogisticMixture(levels, 2, 2)
    axis = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    u = torch.cartesian_prod(axis, axis, axis).t()[None]
    pixels = every_pixel(levels, 2)
    for params in of_pixels(likelihood, 6).split(1):
        x = likelihood.sample(params.expand(1, -1, n**3), u, temperature)
        assert x.shape == (1, 2, n**3) and x.dtype == torch.uint8
        logits, means, log_scales, coefficients = params.view(1, -1, 2).split([1, 2, 2, 1], 1)
        parts = (logits / temperature, means, log_scales + math.log(temperature), coefficients)
        cold = torch.cat([part.flatten(1) for part in parts], 1).unsqueeze(2)
        expected = likelihood.log_prob(cold.expand(len(pixels), -1, -1), pixels).exp()
        frequency = torch.bincount((x[0, 0].long() * levels + x[0, 1]).flatten(), minlength=levels**2) / n**3
        assert (frequency - expected).abs().max() < 4 / n


def test_whole_pixels_have_finite_gradients_at_extremes():
    for levels, spread in product((2, 256, None), (1.0, 10.0)):
        likelihood = CoupledLogisticMixture(levels, 3)
        params = of_pixels(likelihood, 400, spread).float().requires_grad_()
        x = torch.randint(levels, (400, 3, 1)) if levels else 4 * torch.randn(400, 3, 1)
        log_prob = likelihood.log_prob(params, x)
        log_prob.sum().backward()
        assert log_prob.isfinite().all() and params.grad.isfinite().all()
        for temperature, u in product((0.0, 1.0), (0.0, 1 - 2**-24)):
            drawn = likelihood.sample(params.detach(), torch.full((400, 4, 1), u), temperature)
            assert drawn.float().isfinite().all() and (not levels or drawn.max().item() < levels)
        assert likelihood.mean(params.detach()).shape == (400, 3, 1)
    leaf = of_pixels(CoupledLogisticMixture(5, 3, 2), 6).requires_grad_()
    pixels = torch.randint(5, (6, 3, 1))
    assert torch.autograd.gradcheck(lambda leaf: CoupledLogisticMixture(5, 3, 2).log_prob(leaf, pixels), leaf)


@pytest.mark.parametrize("likelihood", ["coupled_logistic_mixture", "logistic_mixture"])
def test_a_net_of_whole_pixels_is_a_distribution_and_samples_it(likelihood):
    torch.manual_seed(0)
    model = pixelcnn(Spec("image", (3, 1, 3), 2), 6, 1, 3, 8, likelihood=likelihood).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
        images = torch.tensor(list(product((0, 1), repeat=9)), dtype=torch.uint8).view(-1, 3, 1, 3)
        p = model.log_prob(images).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-9)
    count = 6000
    x = model.sample(Noise(range(count))).flatten(1).long()
    found = (x * 2 ** torch.arange(8, -1, -1)).sum(1).bincount(minlength=512) / count
    chi_square = (count * (found - p).square() / p).sum().item()
    assert abs(chi_square - 511) < 5 * math.sqrt(2 * 511) + 100  # rare images have heavy tails


def test_what_they_are_not_for_is_refused():
    assert set(BY_NAME) >= {"logistic_mixture", "coupled_logistic_mixture", "gaussian_mixture"}
    with pytest.raises(ConfigError, match="whole pixels"):
        make_likelihood("coupled_logistic_mixture", COLOUR)
    with pytest.raises(ConfigError, match="whole pixels"):
        make_likelihood(CoupledLogisticMixture, COLOUR)
    assert make_likelihood("coupled_logistic_mixture", COLOUR, 3).outputs == 100
    with pytest.raises(ConfigError, match="at least one component"):
        LogisticMixture(256, 0)
    for words in (["model=vae", "data=mnist"], ["model=pixelcnn", "data=moons"]):
        with pytest.raises((ConfigError, ConfigErrors), match="whole pixels"):
            validate.check([*words, "model.likelihood=coupled_logistic_mixture"])
    for words in (["model=vae", "data=mnist"], ["model=pixelcnn", "data=cifar10"]):
        validate.check([*words, "model.likelihood=logistic_mixture"])
    validate.check(["model=pixelcnn", "data=cifar10", "model.likelihood=coupled_logistic_mixture"])


@pytest.mark.parametrize(
    ("preset", "data", "likelihood"),
    [
        ("vae", "digits", "logistic_mixture"),
        ("pixelcnn", "moons", "gaussian_mixture"),
        ("pixelcnn", "moons", "logistic_mixture"),
    ],
)
def test_models_obey_the_laws_with_them(preset, data, likelihood):
    found = outcomes(preset, data, f"model.likelihood={likelihood}")
    assert not {law: text for law, (verdict, text) in found.items() if verdict == BROKEN}
    if data == "moons":
        assert found["the density integrates to one"][0] == found["no density beats the entropy"][0] == HOLDS
