"""Laws of inference by each example's own ascent, on linear Gaussian models whose best posterior is known."""

from functools import partial

import pytest
import torch
from test_iwae import off_the_posterior
from test_vae import SPECS, LinearGaussian, examples, make
from torch import Tensor

from genlab.errors import ConfigError, GenlabError
from genlab.likelihoods.gaussian import Gaussian
from genlab.losses.elbo import ELBO
from genlab.metrics.likelihood import Likelihood
from genlab.metrics.refined import Refined
from genlab.models.base import Refines
from genlab.models.vae import mlp
from genlab.models.vae.ascent import ascend, rise
from genlab.models.vae.inferred import Inferred
from genlab.models.vae.svi import SVI
from genlab.models.vae.vae import VAE
from genlab.spec import Spec

SCALE = 0.5


def best(model: VAE, x: Tensor) -> Inferred:
    """Of all N(mu, sigma^2) that with the highest bound: mu of the true posterior, sigma_j^2 = 1 / precision_jj."""
    layer = model.decoder.layers[0]
    precision = torch.eye(2, dtype=torch.float64) + layer.weight.T @ layer.weight / SCALE**2
    mean = (x - layer.bias) @ layer.weight @ precision.inverse() / SCALE**2
    return Inferred(mean, -precision.diagonal().log().expand_as(mean))


@pytest.mark.parametrize("gradient", ["reparameterised", "reinforce"])
def test_it_ends_at_the_best_gaussian_wherever_it_starts(gradient) -> None:
    torch.manual_seed(0)
    linear = LinearGaussian()
    x = linear.exact.sample((6,))
    start = Inferred(torch.zeros(6, 2, dtype=torch.float64), torch.zeros(6, 2, dtype=torch.float64))
    with torch.no_grad():
        wanted = best(linear.model, x)
        found = ascend(linear.model, start, x, steps=600, rate=0.05, draws=20, gradient=gradient)
        torch.testing.assert_close(found.mean, wanted.mean, rtol=0, atol=0.15)
        torch.testing.assert_close(found.log_variance, wanted.log_variance, rtol=0, atol=0.45)
    assert not found.mean.requires_grad


def test_both_gradients_have_one_mean_and_the_score_function_the_larger_variance() -> None:
    torch.manual_seed(0)
    linear = LinearGaussian()
    x = linear.exact.sample((1,))
    at = Inferred(*(part + 0.3 for part in best(linear.model, x)[:2]))
    found = {}
    for gradient in ("reparameterised", "reinforce"):
        many = [part.repeat(40_000, 1).requires_grad_() for part in at[:2]]
        value = rise(linear.model, Inferred(*many), x.repeat(40_000, 1), draws=2, gradient=gradient).sum()
        each = torch.cat(torch.autograd.grad(value, many), 1)
        found[gradient] = each.mean(0), each.var(0)
    error = sum(variance / 40_000 for _, variance in found.values()).sqrt()
    assert ((found["reparameterised"][0] - found["reinforce"][0]).abs() < 4 * error).all()
    assert (found["reinforce"][1] > 3 * found["reparameterised"][1]).all()
    # grad of E_q[log p(x, z) - log q] by mu is precision (m - mu), for log p(x, z) is quadratic in z
    layer = linear.model.decoder.layers[0]
    precision = torch.eye(2, dtype=torch.float64) + layer.weight.T @ layer.weight / SCALE**2
    exact = (best(linear.model, x).mean - at.mean) @ precision
    assert ((found["reparameterised"][0][:2] - exact).abs() < 4 * error[:2]).all()


def test_a_refined_posterior_has_the_higher_bound_still_below_the_truth() -> None:
    torch.manual_seed(0)
    linear = off_the_posterior()
    plain, refined = Likelihood(linear.model.spec, k=20), Refined(linear.model.spec, k=20, refine=200)
    x = linear.exact.sample((200,))
    assert isinstance(linear.model, Refines)
    with torch.no_grad():
        for metric in (plain, refined):
            metric.update({"x": x}, "test", linear.model)
        amortised, found = plain.compute(), refined.compute()
        truth = -linear.exact.log_prob(x).mean().item()
    assert found["refined_elbo"].value < amortised["negative_elbo"].value - 0.1
    # of many draws the narrower posterior of the best ELBO may have the lower bound: its tails are missed
    assert min(amortised["nats"].value, found["refined_nats"].value) > truth - 0.02
    assert {*found} == {*Refined.figures} and found["refined_nats"].protocol["refine"] == 200


def test_refining_is_asked_for() -> None:
    assert "refine=200" in Refined(SPECS[0]).refuses(SPECS[0]) and not Refined(SPECS[0], refine=5).refuses(SPECS[0])
    with pytest.raises(GenlabError, match="refine=-1"):
        Refined(SPECS[0], refine=-1)


def test_refining_works_through_a_flow_and_leaves_no_gradient_behind() -> None:
    from genlab.models.vae import posteriors

    model = make(SPECS[0], posterior_flow=partial(posteriors.iaf, widths=(8,)), context=4)
    with torch.inference_mode():
        refined = model.refine(examples(SPECS[0]), steps=3)
    assert not torch.allclose(refined.mean, model.infer(examples(SPECS[0])).mean)
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ConfigError, match="flow"):
        rise(model, refined, examples(SPECS[0]), draws=2, gradient="reinforce")


def test_examples_do_not_know_of_each_other() -> None:
    model, x = make(SPECS[0]), examples(SPECS[0], 3)
    start = Inferred(torch.zeros(3, 3), torch.full((3, 3), -9.0))  # so narrow that noise is next to nothing
    found = [ascend(model, start, other, steps=5) for other in (x, x.flip(0))]
    torch.testing.assert_close(found[0].mean, found[1].mean.flip(0), rtol=0, atol=0.05)
    assert (found[0].mean[0] - found[0].mean[2]).abs().max() > 0.05


def small(spec: Spec, **options) -> SVI:
    torch.manual_seed(0)
    return SVI(spec, partial(mlp.Decoder, width=16), latent=3, steps=5, **options)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("gradient", ["reparameterised", "reinforce"])
def test_a_decoder_alone_trains(spec: Spec, gradient) -> None:
    model = small(spec, gradient=gradient, draws=2)
    x = examples(spec)
    loss, _ = ELBO()(model, {"x": x}, 0)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
        assert name.startswith("decoder")
    assert model.encode(x).shape == (5, 3) and model.bound(x, k=7).shape == (5,)


def test_its_bound_rises_with_its_steps() -> None:
    torch.manual_seed(0)
    linear = LinearGaussian()
    svi = SVI(Spec("vector", (5,)), partial(mlp.Decoder, depth=0), 2, partial(Gaussian, scale=SCALE)).double()
    svi.decoder = linear.model.decoder
    x = linear.exact.sample((300,))
    bounds = []
    for steps in (1, 10, 100):
        svi.steps = steps
        bounds.append(svi.bound(x).mean().item())
    assert bounds[0] < bounds[1] < bounds[2] < linear.exact.log_prob(x).mean().item()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"draws": 0}, {"gradient": "reinforce", "draws": 1}])
def test_what_cannot_be_is_said(wrong) -> None:
    with pytest.raises(ConfigError, match=r"model\."):
        SVI(SPECS[0], mlp.Decoder, **wrong)
