"""Laws of the flows after an encoder's Gaussian and of the priors of codes: densities, bounds, what x tells them."""

from functools import partial

import pytest
import torch
from test_laws import outcomes
from test_vae import SPECS, LinearGaussian, examples, make
from torch import Tensor, nn

from genlab.check import BROKEN, HOLDS, UNFIT
from genlab.errors import ConfigError
from genlab.losses.elbo import ELBO
from genlab.losses.iwae import IWAE
from genlab.models.vae import mlp, posteriors, priors
from genlab.models.vae.vae import VAE
from genlab.noise import Noise
from genlab.spec import Spec

FLOWS = {
    "planar": partial(posteriors.planar, steps=3),
    "radial": partial(posteriors.radial, steps=3),
    "iaf": partial(posteriors.iaf, steps=2, widths=(16,)),
    "realnvp": partial(posteriors.realnvp, steps=2, width=16),
}
PRIORS = {
    "standard_normal": priors.standard_normal,
    "autoregressive": partial(priors.autoregressive, steps=2, widths=(16,)),
    "vampprior": partial(priors.vampprior, components=7),
}
CONTEXT = 6


def stirred(module: nn.Module, by: float = 0.3) -> None:
    """Away from the identity, as which flows start."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by * torch.randn_like(parameter))


def grid(reach: float = 9.0, points: int = 400) -> tuple[Tensor, float]:
    """Points of a square in the plane, and the area that each stands for."""
    line = torch.linspace(-reach, reach, points, dtype=torch.float64)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


def with_flow(name: str) -> LinearGaussian:
    """A linear Gaussian model whose posterior, of other weights for each x, is bent by a flow."""
    linear = LinearGaussian()
    torch.manual_seed(3)
    model = linear.model
    model.flow, model.context = FLOWS[name](2, CONTEXT).double(), CONTEXT
    stirred(model.flow, 0.15)
    first = model.encoder.layers[0]
    model.encoder.layers[0] = wider = nn.Linear(5, 4 + CONTEXT, dtype=torch.float64)
    with torch.no_grad():
        wider.weight[:4], wider.bias[:4] = first.weight, first.bias
    return linear


@torch.no_grad()
@pytest.mark.parametrize("name", FLOWS)
def test_the_density_of_a_draw_is_that_of_the_way_back_and_integrates_to_one(name: str) -> None:
    model = with_flow(name).model
    inferred = model.infer(torch.randn(1, 5, dtype=torch.float64))
    gaussian = torch.distributions.Normal(inferred.mean, (inferred.log_variance / 2).exp())

    def log_q(z: Tensor) -> Tensor:
        start, log_det = model.flow.inverse(z, inferred.context.expand(len(z), -1))
        return gaussian.log_prob(start).sum(1) + log_det

    z, found = model.draw(inferred, 50)
    torch.testing.assert_close(found[:, 0], log_q(z[:, 0]), rtol=1e-6, atol=1e-6)
    points, area = grid(points=900)
    assert float(log_q(points).exp().sum()) * area == pytest.approx(1, abs=2e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", FLOWS)
def test_bounds_are_below_the_exact_likelihood_and_reach_it(name: str) -> None:
    linear = with_flow(name)
    x = linear.exact.sample((4,))
    truth = linear.exact.log_prob(x)
    elbo, many = (linear.model.bound(x.repeat(2000, 1), k=k).view(-1, 4) for k in (1, 20))
    error = (elbo.var(0) / 2000 + many.var(0) / 2000).sqrt()
    assert (elbo.mean(0) + 3 * error < many.mean(0)).all() and (many.mean(0) < truth + 3 * error).all()
    torch.testing.assert_close(linear.model.bound(x, k=100_000), truth, rtol=0, atol=0.05)


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_told_of_the_example(name: str) -> None:
    torch.manual_seed(0)
    flow, z = FLOWS[name](4, CONTEXT), torch.randn(2, 4)
    stirred(flow)
    c = torch.randn(2, CONTEXT, requires_grad=True)
    y, log_det = flow(z, c)
    for value in (y.square().sum(), log_det.sum()):
        (gradient,) = torch.autograd.grad(value, c, retain_graph=True)
        assert (gradient.abs().sum(1) > 0).all()
    assert not flow(z, c.flip(0))[0].equal(y)


def with_prior(name: str, spec: Spec = SPECS[0]) -> VAE:
    model = make(spec, prior_model=PRIORS[name])
    if isinstance(model.prior, nn.Module):
        stirred(model.prior)
    return model


@torch.no_grad()
@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_integrates_to_one_and_samples_are_of_it(name: str) -> None:
    torch.manual_seed(0)
    model = VAE(SPECS[0], partial(mlp.Encoder, width=16), partial(mlp.Decoder, width=16), 2, prior_model=PRIORS[name])
    stirred(model, 0.1)
    points, area = grid()
    density = model.log_prior(points.float()).double().exp()
    assert float(density.sum()) * area == pytest.approx(1, abs=2e-3)
    z = model.prior.sample(Noise(range(4000)))
    for power in (z, z.square()):  # moments of samples are those of the density
        wanted = (density[:, None] * (points if power is z else points.square())).sum(0) * area
        error = power.double().std(0) / len(z) ** 0.5
        assert ((power.double().mean(0) - wanted).abs() < 5 * error).all()
    cold = model.prior.sample(Noise(range(500)), temperature=1e-3)
    assert cold.var(0).sum() < z.var(0).sum()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("flow", [None, *FLOWS])
@pytest.mark.parametrize("objective", [ELBO(), IWAE(3)], ids=["elbo", "iwae"])
def test_all_of_it_trains(flow: str | None, prior: str, objective: ELBO | IWAE) -> None:
    torch.manual_seed(0)
    model = make(SPECS[0], prior_model=PRIORS[prior], posterior_flow=FLOWS.get(flow), context=CONTEXT)
    stirred(model, 0.05)
    loss, parts = objective(model, {"x": examples(SPECS[0])}, 0)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert parts["elbo"].isclose(parts["reconstruction"] - parts["kl"])


@torch.no_grad()
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("flow", [None, *FLOWS])
def test_what_it_costs_is_what_the_bound_has_paid(flow: str | None, prior: str) -> None:
    torch.manual_seed(0)
    model = make(SPECS[0], prior_model=PRIORS[prior], posterior_flow=FLOWS.get(flow), context=CONTEXT)
    stirred(model, 0.05)
    x = examples(SPECS[0], 3).repeat(4000, 1, 1, 1)
    kl, weights = model.divergence(x).sum(1).view(-1, 3), model.log_weights(x).view(-1, 3)
    reconstruction = model.terms(x)[0].view(-1, 3)
    difference = reconstruction - kl - weights
    assert (difference.mean(0).abs() < 4 * (difference.std(0) / 4000**0.5)).all()
    closed = flow is None and prior == "standard_normal"
    assert model.divergence(x[:3]).shape == ((3, 3) if closed else (3, 1))
    mean, log_variance = model.posterior(x[:3])
    z, _ = model.draw(model.infer(x[:3]), 4000)
    assert ((z.mean(0) - mean).abs() < 0.5 * z.std(0)).all()
    assert (z.var(0).log() - log_variance).abs().max() < 1.2


def test_the_doubly_reparameterised_gradient_is_refused_behind_a_flow() -> None:
    model = make(SPECS[0], posterior_flow=FLOWS["iaf"], context=CONTEXT)
    with pytest.raises(ConfigError, match="reparameterised"):
        IWAE(2, "dreg")(model, {"x": examples(SPECS[0])}, 0)


@pytest.mark.parametrize("make_flow", [posteriors.planar, posteriors.radial, posteriors.iaf, posteriors.realnvp])
def test_without_steps_there_is_no_flow(make_flow) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        make_flow(4, 8, steps=0)


@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_a_conditional_one_is_told_the_class_everywhere(net: str) -> None:
    spec = Spec("image", (1, 8, 8), 17, classes=tuple("abc"))
    model, x, y = make(spec, net, conditional=True).eval(), examples(spec, 2), torch.tensor([0, 2])
    other = torch.tensor([1, 2])
    with pytest.raises(ConfigError, match="label"):
        model.bound(x)
    infer, sample = model.infer(x, y).mean, model.sample(Noise([1, 2]), y)
    assert not infer[0].equal(model.infer(x, other).mean[0]) and infer[1].equal(model.infer(x, other).mean[1])
    decoded = model.decode(infer, y)
    assert not decoded[0].equal(model.decode(infer, other)[0])
    assert sample.shape == x.shape and model.bound(x, y, k=3).shape == (2,)
    with pytest.raises(ConfigError, match="labels"):
        make(SPECS[0], net, conditional=True)


@pytest.mark.parametrize("word", ["posterior=planar", "posterior=iaf", "prior=autoregressive", "prior=vampprior"])
def test_a_vae_of_integer_data_obeys_every_law_with_its_flows_and_priors(word):
    found = outcomes("vae", "digits", f"model.{word}")
    assert not {law: text for law, (verdict, text) in found.items() if verdict == BROKEN}
    assert found["bijections invert"][0] == (UNFIT if word == "prior=vampprior" else HOLDS)
