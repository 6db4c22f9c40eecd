"""Laws of the VAE and its losses: bounds in order and below the truth, every size of data, one seed one sample."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods.gaussian import Gaussian
from genlab.losses.elbo import ELBO
from genlab.losses.nll import NLL
from genlab.metrics.likelihood import Likelihood
from genlab.models.base import Bound, Density, Encodes, Samples
from genlab.models.vae import conv, mlp
from genlab.models.vae.vae import VAE
from genlab.noise import Noise
from genlab.spec import Spec

SPECS = [
    Spec("image", (1, 8, 8), 17),
    Spec("image", (1, 28, 28), 2),
    Spec("image", (3, 32, 32), 256),
    Spec("image", (1, 64, 64), 256),
    Spec("image", (3, 9, 13), 5),
    Spec("vector", (2,)),
]


def make(spec: Spec, net: str = "mlp", width: int = 16, **options) -> VAE:
    nets = {"mlp": mlp, "conv": conv}[net]
    torch.manual_seed(0)
    smaller = {"width": width} | ({"channels": 4} if net == "conv" else {})
    return VAE(spec, partial(nets.Encoder, **smaller), partial(nets.Decoder, **smaller), latent=3, **options)


def examples(spec: Spec, count: int = 5) -> Tensor:
    if spec.levels is None:
        return torch.randn(count, *spec.shape)
    return torch.randint(spec.levels, (count, *spec.shape), dtype=torch.uint8)


@pytest.mark.parametrize("net", ["mlp", "conv"])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_size_trains_samples_and_encodes(spec: Spec, net: str) -> None:
    if net == "conv" and spec.kind != "image":
        with pytest.raises(ConfigError, match=r"model\.net=conv"):
            make(spec, net)
        return
    model, x = make(spec, net), examples(spec)
    assert isinstance(model, Samples) and isinstance(model, Bound) and isinstance(model, Encodes)
    assert not isinstance(model, Density)
    loss, parts = ELBO()(model, {"x": x}, 0)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert set(parts) == {"elbo", "reconstruction", "kl"} and not any(part.requires_grad for part in parts.values())
    sample = model.sample(Noise(range(5)))
    assert sample.shape == x.shape and sample.dtype == x.dtype
    assert spec.levels is None or sample.max().item() < spec.levels
    assert model.encode(x).shape == (5, 3)
    assert model.decode(model.encode(x)).shape == x.shape
    assert model.bound(x, k=7).shape == (5,)


@pytest.mark.parametrize("word", ["bernoulli", "categorical", "gaussian", "discretised_logistic"])
def test_likelihood_by_name(word: str) -> None:
    model = make(SPECS[1], likelihood=word)
    assert model.bound(examples(SPECS[1]), k=3).isfinite().all()
    assert model.sample(Noise([0])).max() <= 1


def test_sample_depends_on_its_seed_alone() -> None:
    model = make(SPECS[2]).eval()
    forward = model.sample(Noise([3, 1, 4, 15]))
    elsewhere = model.sample(Noise([15, 9, 3, 26]))
    assert forward[0].equal(elsewhere[2]) and forward[3].equal(elsewhere[0])
    assert not forward[0].equal(forward[1])


def test_temperature_multiplies_the_standard_deviation_of_the_prior() -> None:
    model, noise = make(Spec("vector", (2,)), likelihood=partial(Gaussian, scale=1e-3)), partial(Noise, range(3))
    seen: list[Tensor] = []
    model.decoder.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    model.sample(noise())
    model.sample(noise(), temperature=0.25)
    torch.testing.assert_close(seen[1], 0.25 * seen[0])


def test_kl_is_that_of_the_monte_carlo_integral() -> None:
    model, x = make(Spec("vector", (4,)), width=64), 2 * torch.randn(3, 4)
    nn.init.normal_(model.encoder.layers[-1].weight, std=0.3)  # as they start, means are near 0 and variances near 1
    with torch.no_grad():
        mean, log_variance = model.posterior(x)
        posterior = torch.distributions.Normal(mean.double(), (log_variance.double() / 2).exp())
        z = posterior.sample((200_000,))
        log_ratio = posterior.log_prob(z) - torch.distributions.Normal(0.0, 1.0).log_prob(z)
        _, kl = model.terms(x)
    error = log_ratio.std(0) / math.sqrt(len(z))
    assert kl.max() > 0.1
    assert ((kl - log_ratio.mean(0)).abs() < 4 * error + 1e-6).all()


class LinearGaussian:
    """x = W z + b + s epsilon, so x ~ N(b, W W' + s^2 I): a VAE of two linear maps whose log p(x) is known."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        spec, scale = Spec("vector", (5,)), 0.5
        self.model = VAE(
            spec,
            partial(mlp.Encoder, depth=0),
            partial(mlp.Decoder, depth=0),
            latent=2,
            likelihood=partial(Gaussian, scale=scale),
        ).double()
        decoder, encoder = self.model.decoder.layers[0], self.model.encoder.layers[0]
        with torch.no_grad():
            decoder.weight.normal_()
            self.exact = torch.distributions.MultivariateNormal(
                decoder.bias, decoder.weight @ decoder.weight.T + scale**2 * torch.eye(5, dtype=torch.float64)
            )
            # the true posterior N(V W'(x - b) / s^2, V), V^-1 = I + W'W / s^2, but that the variances are 1.5 V_jj
            precision = torch.eye(2, dtype=torch.float64) + decoder.weight.T @ decoder.weight / scale**2
            covariance = precision.inverse()
            to_mean = covariance @ decoder.weight.T / scale**2
            encoder.weight.copy_(torch.cat([to_mean, torch.zeros_like(to_mean)]))
            encoder.bias.copy_(torch.cat([-to_mean @ decoder.bias, (1.5 * covariance.diagonal()).log()]))


@torch.no_grad()
def test_bounds_are_ordered_and_reach_the_exact_likelihood() -> None:
    """E[ELBO] <= E[IWAE_5] <= E[IWAE_50] <= log p(x), by three standard errors; IWAE_50000 is near it."""
    torch.manual_seed(2)
    linear = LinearGaussian()
    x = linear.exact.sample((4,))
    truth = linear.exact.log_prob(x)
    repeated = x.repeat(2000, 1)
    figures = {k: linear.model.bound(repeated, k=k).view(-1, 4) for k in (1, 5, 50)}
    means = {k: figure.mean(0) for k, figure in figures.items()}
    errors = {k: figure.std(0) / math.sqrt(2000) for k, figure in figures.items()}
    assert (means[1] + 3 * errors[1] < means[5]).all() and (means[5] + 3 * errors[5] < means[50]).all()
    assert (means[50] < truth + 3 * errors[50]).all()
    torch.testing.assert_close(linear.model.bound(x, k=50_000), truth, rtol=0, atol=0.02)


@torch.no_grad()
def test_importance_weighted_nats_converge_to_the_exact_ones_and_their_sample_size_to_its_share() -> None:
    """By the metric. With q(z | x) = N(m, Q) for a posterior N(m, V), E_q[(V / Q)^2] = c whatever x: the bound is
    (c - 1) / 2k below log p(x) for large k, and the effective sample size k / c."""
    torch.manual_seed(4)
    linear = LinearGaussian()
    x = linear.exact.sample((500,))
    exact = -float(linear.exact.log_prob(x).mean())
    weight = linear.model.decoder.layers[0].weight
    precision = torch.eye(2, dtype=torch.float64) + weight.T @ weight / 0.25
    q = (1.5 * precision.inverse().diagonal()).diag()
    chance = float(q.det().sqrt() * precision.det() / (2 * precision - q.inverse()).det().sqrt())
    gaps = {}
    for k in (1, 10, 100, 2000):
        metric = Likelihood(linear.model.spec, k=k)
        for part in x.split(125):
            metric.update({"x": part}, "test", linear.model)
        found = metric.compute()
        gaps[k] = found["nats"].value - exact
        if k > 1:
            spread = 4 * math.sqrt((chance - 1) / k / len(x)) + 1 / k**2
            assert gaps[k] == pytest.approx((chance - 1) / 2 / k, abs=spread) and found["nats"].mark == "<="
            assert 1 <= found["ess"].value <= k
    assert gaps[1] > gaps[10] > 0 and abs(gaps[2000]) < 0.01 < gaps[1] / 10
    assert found["ess"].value / 2000 == pytest.approx(1 / chance, rel=0.02)


@torch.no_grad()
def test_pieces_of_the_bound_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = make(SPECS[0]).eval(), examples(SPECS[0])
    torch.manual_seed(3)
    whole = model.bound(x, k=10)
    monkeypatch.setattr("genlab.models.vae.vae.NUMBERS_AT_ONCE", 3 * 17 * 64 * len(x))
    torch.manual_seed(3)
    torch.testing.assert_close(model.bound(x, k=10), whole)


def same_draw(loss: ELBO | NLL, model: VAE, x: Tensor, step: int = 0) -> tuple[float, dict[str, Tensor]]:
    torch.manual_seed(5)
    value, parts = loss(model, {"x": x}, step)
    return value.item(), parts


def test_elbo_bends_in_training_only() -> None:
    model, x = make(SPECS[0]), examples(SPECS[0])
    plain, parts = same_draw(ELBO(), model, x)
    reconstruction, kl = parts["reconstruction"].item(), parts["kl"].item()
    assert plain == pytest.approx(kl - reconstruction) == pytest.approx(-parts["elbo"].item())
    assert same_draw(ELBO(beta=4), model, x)[0] == pytest.approx(4 * kl - reconstruction)
    assert same_draw(ELBO(warmup=10), model, x, step=4)[0] == pytest.approx(0.5 * kl - reconstruction)
    assert same_draw(ELBO(warmup=10), model, x, step=400)[0] == pytest.approx(plain)
    assert kl < 3 * 2.5
    assert same_draw(ELBO(free_bits=2.5), model, x)[0] == pytest.approx(3 * 2.5 - reconstruction)
    model.eval()
    for loss in (ELBO(beta=4), ELBO(free_bits=2.5), ELBO(warmup=10), NLL()):
        assert same_draw(loss, model, x)[0] == pytest.approx(plain)


def test_nll_prefers_the_exact_likelihood() -> None:
    class Normal(nn.Module):
        exact = True

        def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            return -(x.square() + math.log(2 * math.pi)).sum(1) / 2

        def bound(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
            return self.log_prob(x) - 1

    x = torch.randn(7, 2)
    value, parts = NLL()(Normal(), {"x": x}, 0)
    torch.testing.assert_close(value, x.square().sum(1).mean() / 2 + math.log(2 * math.pi))
    assert parts["nll"] == value


@pytest.mark.parametrize("key", ["beta", "free_bits", "warmup"])
def test_elbo_refuses_negative_settings(key: str) -> None:
    with pytest.raises(ConfigError, match=f"loss.{key}=-1"):
        ELBO(**{key: -1})


def test_weights_start_with_the_variance_of_their_inputs_kept_or_as_torch_has_them() -> None:
    torch.manual_seed(0)
    spec = Spec("image", (1, 16, 16), 2)
    for start, variance in (("he", 2 / 256), ("torch", 1 / (3 * 256))):  # of uniform numbers within 1 / sqrt(inputs)
        first = mlp.Encoder(spec, 4, start=start).layers[0]
        assert math.isclose(first.weight.var().item(), variance, rel_tol=0.03)
        assert (first.bias.abs().max() == 0) == (start == "he")
    with pytest.raises(ConfigError, match="he and torch"):
        mlp.Decoder(spec, 2, 1, start="tourch")
