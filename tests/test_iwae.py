"""Laws of the importance-weighted bound: its order and its limit, its gradient two ways, and what training makes of it.

Of linear Gaussian models in float64, of which log p(x) is known.
"""

import math
from functools import partial

import pytest
import torch
from test_laws import narrow
from test_vae import SPECS, LinearGaussian, examples, make
from torch import Tensor
from torch.distributions import Normal

from genlab import validate
from genlab.assembly import build_module
from genlab.build import build
from genlab.errors import ConfigError
from genlab.losses.elbo import ELBO
from genlab.losses.iwae import IWAE
from genlab.metrics.likelihood import Likelihood
from genlab.models.vae.vae import VAE
from genlab.spec import Spec

SCALE = 0.5


def off_the_posterior() -> LinearGaussian:
    """Where the encoder is not at its best, so that its gradient has a mean and weights are far from equal."""
    linear = LinearGaussian()
    torch.manual_seed(8)
    with torch.no_grad():
        layer = linear.model.encoder.layers[0]
        layer.weight.add_(0.05 * torch.randn_like(layer.weight))
        layer.bias.add_(0.3)
    return linear


def by_hand(model: VAE, x: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """log p(x, z_i) - log q(z_i | x), (k, B), by torch's distributions, z_i, and the noise that it came of."""
    torch.manual_seed(seed)
    mean, log_variance = model.encoder.layers[0](x).chunk(2, 1)
    epsilon = torch.randn(k, *mean.shape, dtype=torch.float64)
    z = mean + (log_variance / 2).exp() * epsilon
    decoded = model.decoder.layers[0](z)
    log_joint = Normal(decoded, SCALE).log_prob(x).sum(2) + Normal(0.0, 1.0).log_prob(z).sum(2)
    return log_joint - Normal(mean, (log_variance / 2).exp()).log_prob(z).sum(2), z, epsilon


def gradients(model: VAE, value: Tensor, retain: bool = False) -> dict[str, Tensor]:
    named = dict(model.named_parameters())
    return dict(zip(named, torch.autograd.grad(value, [*named.values()], retain_graph=retain), strict=True))


def of_the_loss(loss: IWAE, model: VAE, x: Tensor, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The bound that the loss has found, and its gradient."""
    torch.manual_seed(seed)
    value, _ = loss(model, {"x": x}, 0)
    return -value.detach(), gradients(model, -value)


@torch.no_grad()
def test_bounds_are_ordered_and_reach_the_exact_likelihood() -> None:
    """ELBO = log p(x) - KL(q || posterior), which is one number here; E[IWAE_k] rises from it to log p(x)."""
    torch.manual_seed(2)
    linear = LinearGaussian()
    x = linear.exact.sample((4,))
    truth = linear.exact.log_prob(x).mean().item()
    weight = linear.model.decoder.layers[0].weight
    precision = torch.eye(2, dtype=torch.float64) + weight.T @ weight / SCALE**2
    q = (1.5 * precision.inverse().diagonal()).diag()
    kl = float((precision @ q).trace() - 2 - precision.logdet() - q.logdet()) / 2
    found = {}
    for k in (1, 5, 50):
        means = torch.stack([-IWAE(k)(linear.model, {"x": x.repeat(100, 1)}, 0)[0] for _ in range(50)])
        found[k] = means.mean().item(), means.std().item() / math.sqrt(len(means))
    assert kl > 0.1
    assert found[1][0] == pytest.approx(truth - kl, abs=4 * found[1][1]) and found[1][1] < kl / 20
    assert found[1][0] + 4 * found[1][1] < found[5][0] and found[5][0] + 4 * found[5][1] < found[50][0]
    assert found[50][0] < truth + 3 * found[50][1]
    gaps = [truth - found[k][0] for k in (5, 50)]
    assert gaps[1] < 0.2 * gaps[0]  # as 1 / k, in the end
    assert -IWAE(50_000)(linear.model, {"x": x}, 0)[0].item() == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize("gradient", ["reparameterised", "dreg"])
@pytest.mark.parametrize("k", [1, 7])
def test_the_mean_over_draws_is_inside_the_logarithm_that_over_examples_outside(k: int, gradient: str) -> None:
    linear = off_the_posterior()
    x = linear.exact.sample((3,))
    log_weights, _, _ = by_hand(linear.model, x, k, seed=3)
    wanted = log_weights.exp().mean(0).log().mean()
    for model in (linear.model.train(), linear.model.eval()):
        found, _ = of_the_loss(IWAE(k, gradient), model, x, seed=3)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    outside, inside = log_weights.mean(), log_weights.exp().mean().log()
    assert abs(wanted - inside) > 0.1 and (k == 1 or wanted - outside > 0.1)


def test_with_one_draw_it_is_the_monte_carlo_elbo_in_value_and_gradient() -> None:
    """And the ELBO with its KL in closed form has the same expectation and, under the same noise, reconstruction."""
    linear = off_the_posterior()
    x = linear.exact.sample((3,))
    log_weights, _, _ = by_hand(linear.model, x, 1, seed=4)
    found, gradient = of_the_loss(IWAE(1), linear.model, x, seed=4)
    torch.testing.assert_close(found, log_weights.mean())
    for name, wanted in gradients(linear.model, log_weights.mean()).items():
        torch.testing.assert_close(gradient[name], wanted, rtol=1e-10, atol=1e-12)
    parts = []
    for loss in (IWAE(1), ELBO()):
        torch.manual_seed(5)
        parts.append(loss(linear.model, {"x": x}, 0)[1])
    assert set(parts[0]) == set(parts[1]) == {"elbo", "reconstruction", "kl"}
    torch.testing.assert_close(parts[0]["reconstruction"], parts[1]["reconstruction"])
    torch.manual_seed(5)
    many = IWAE(50_000)(linear.model, {"x": x}, 0)[1]
    torch.testing.assert_close(many["kl"], parts[1]["kl"], rtol=0.01, atol=0)
    torch.testing.assert_close(many["elbo"], many["reconstruction"] - many["kl"])


def test_its_gradient_is_the_self_normalised_weighted_sum() -> None:
    linear = off_the_posterior()
    x = linear.exact.sample((3,))
    log_weights, _, _ = by_hand(linear.model, x, 5, seed=6)
    weights = (log_weights.exp() / log_weights.exp().sum(0)).detach()
    assert weights.max() > 0.5 and weights.min() < 0.05  # far from equal ones
    sums = {name: torch.zeros_like(parameter) for name, parameter in linear.model.named_parameters()}
    for i in range(5):
        for b in range(3):
            for name, each in gradients(linear.model, log_weights[i, b], retain=True).items():
                sums[name] += weights[i, b] * each / 3
    _, found = of_the_loss(IWAE(5), linear.model, x, seed=6)
    for name, wanted in sums.items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-10, atol=1e-12)


def test_the_doubly_reparameterised_gradient_is_its_formula() -> None:
    """sum_i v_i^2 (d log w_i / d z_i) (d z_i / d phi) for the encoder; the decoder's is that of the plain one."""
    linear = off_the_posterior()
    x = linear.exact.sample((3,))
    log_weights, z, _ = by_hand(linear.model, x, 5, seed=7)
    shares = log_weights.detach().softmax(0)
    with torch.no_grad():
        mean, log_variance = linear.model.posterior(x)
        decoded, weight = linear.model.decoder.layers[0](z), linear.model.decoder.layers[0].weight
        by_z = (x - decoded) @ weight / SCALE**2 - z + (z - mean) / log_variance.exp()
    wanted = gradients(linear.model.encoder, (shares.square().unsqueeze(2) * by_z * z).sum() / 3)
    _, found = of_the_loss(IWAE(5, "dreg"), linear.model, x, seed=7)
    _, plain = of_the_loss(IWAE(5), linear.model, x, seed=7)
    for name, each in found.items():
        if name.startswith("encoder."):
            torch.testing.assert_close(each, wanted[name.removeprefix("encoder.")], rtol=1e-10, atol=1e-12)
            assert (each - plain[name]).abs().max() > 1e-3
        else:
            torch.testing.assert_close(each, plain[name], rtol=1e-10, atol=1e-12)


class WithoutTheSquare(IWAE):
    """The gradient of Roeder et al. for more than one draw, which has another expectation."""

    def __call__(self, model, batch, step):
        _, log_prob, log_ratio = model.draws(batch["x"], None, self.k, held=True)
        return -((log_prob + log_ratio).logsumexp(0) - math.log(self.k)).mean(), {}


def encoder_gradients(loss: IWAE, linear: LinearGaussian, x: Tensor, calls: int) -> Tensor:
    """Of some calls, each of other draws, (calls, parameters)."""
    rows = []
    for seed in range(calls):
        _, found = of_the_loss(loss, linear.model, x, seed)
        rows.append(torch.cat([each.flatten() for name, each in found.items() if name.startswith("encoder.")]))
    return torch.stack(rows)


def test_both_gradients_of_the_encoder_have_one_expectation() -> None:
    """Means over 60 000 draws of five; without the square they are found to differ."""
    linear = off_the_posterior()
    x = linear.exact.sample((3,)).repeat(50, 1)
    plain, dreg, biased = (
        encoder_gradients(loss, linear, x, 400) for loss in (IWAE(5), IWAE(5, "dreg"), WithoutTheSquare(5))
    )
    mean, error = plain.mean(0), plain.std(0) / 20
    assert (mean.abs() / error).max() > 30  # there is something to be found
    for found, same in ((dreg, True), (biased, False)):
        off = (found.mean(0) - mean).abs() / (error.square() + found.var(0) / 400).sqrt()
        assert (off.max() < 3) == same and (same or off.max() > 10), off.max()


def test_the_doubly_reparameterised_gradient_varies_less_near_the_optimum() -> None:
    """The more so, the more draws; with all variances 1.5 times the posterior's."""
    linear = LinearGaussian()
    x = linear.exact.sample((3,))
    ratio = {}
    for k in (1, 5, 50):
        plain, dreg = (
            encoder_gradients(IWAE(k, word), linear, x, 200).var(0).sum().item() for word in ("reparameterised", "dreg")
        )
        ratio[k] = dreg / plain
    assert ratio[50] < ratio[5] < ratio[1] < 1 and ratio[50] < 0.1, ratio


@pytest.mark.parametrize("k", [1, 5])
def test_it_vanishes_where_q_is_the_posterior(k: int) -> None:
    """A decoder of orthogonal columns has a posterior of independent dimensions; the plain gradient is noise there."""
    linear = LinearGaussian()
    layers = linear.model.decoder.layers[0], linear.model.encoder.layers[0]
    with torch.no_grad():
        layers[0].weight.copy_(torch.linalg.qr(layers[0].weight)[0] * torch.tensor([1.0, 2.0]))
        variance = 1 / (1 + layers[0].weight.square().sum(0) / SCALE**2)
        to_mean = variance[:, None] * layers[0].weight.T / SCALE**2
        layers[1].weight.copy_(torch.cat([to_mean, torch.zeros_like(to_mean)]))
        layers[1].bias.copy_(torch.cat([-to_mean @ layers[0].bias, variance.log()]))
    x = linear.exact.sample((3,))
    assert encoder_gradients(IWAE(k, "dreg"), linear, x, 3).abs().max() < 1e-12
    assert encoder_gradients(IWAE(k), linear, x, 3).abs().amax(1).min() > 1e-2


@pytest.mark.parametrize("gradient", ["reparameterised", "dreg"])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_size_trains_by_it(spec: Spec, gradient: str) -> None:
    model, x = make(spec), examples(spec)
    value, parts = IWAE(3, gradient)(model, {"x": x}, 0)
    value.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert set(parts) == {"elbo", "reconstruction", "kl", "iwae"} and parts["iwae"] > parts["elbo"]
    assert not any(part.requires_grad for part in parts.values())
    torch.manual_seed(9)
    with torch.no_grad():
        value, parts = IWAE(3, gradient)(model.eval(), {"x": x}, 0)
        torch.manual_seed(9)
        torch.testing.assert_close(-value, model.bound(x, k=3).mean())
    assert value == -parts["iwae"]


def test_validation_is_by_the_bound_that_is_trained() -> None:
    """By one draw, a model trained by many would be kept for what it was not trained for."""
    config = validate.check(["model=vae", "data=digits", "loss=iwae", "loss.k=40"]).config
    module = build_module({**config, "model": narrow(config["model"])}, SPECS[0], build(config["trainer"]), 1)
    x = examples(SPECS[0])
    score = partial(module.model.eval().bound, x, None)
    found = []
    for figure in (lambda: -module.validation_nats({"x": x}), lambda: score(40), lambda: score(1)):
        torch.manual_seed(1)
        found.append(figure())
    assert found[0].equal(found[1]) and not found[0].equal(found[2])


def test_no_draw_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss\.k=0"):
        IWAE(0)


@torch.no_grad()
def test_the_figures_of_a_bound_are_in_order_and_add_up() -> None:
    linear = off_the_posterior()
    x = linear.exact.sample((2000,))
    metric, rate = Likelihood(linear.model.spec, k=100, bounds=[5, 20]), linear.model.divergence(x).sum(1).mean().item()
    metric.update({"x": x}, "test", linear.model)
    found = metric.compute()
    values = [found[name].value for name in ("negative_elbo", "nats_5", "nats_20", "nats")]
    assert values == sorted(values, reverse=True) and values[-1] > -linear.exact.log_prob(x).mean() - 0.02
    assert math.isclose(found["gap"].value, values[0] - values[-1], abs_tol=1e-9)
    assert math.isclose(found["distortion"].value + rate, values[0], rel_tol=1e-9)
    torch.manual_seed(1)
    again = torch.stack([linear.model.bound(x, k=5) for _ in range(20)]).mean()
    assert abs(again + found["nats_5"].value) < 0.02 and found["nats_5"].protocol["of"] == 5
    with pytest.raises(ConfigError, match="bounds of 2 to 99"):
        Likelihood(linear.model.spec, k=100, bounds=[100])
