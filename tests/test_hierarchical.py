"""Laws of the hierarchical VAE: bounds in order, codes of a level, priors that are causal and cost what they say."""

import pytest
import torch
from test_vae import SPECS, examples
from torch import Tensor

from genlab.errors import ConfigError
from genlab.losses.elbo import ELBO
from genlab.losses.iwae import IWAE
from genlab.models.base import Bound, Diverges, Encodes, Hierarchical, Samples, Weighs
from genlab.models.vae.hierarchical import HierarchicalVAE
from genlab.models.vae.latent_layer import LatentLayer
from genlab.noise import Noise
from genlab.spec import Spec

IMAGES = [spec for spec in SPECS if spec.kind == "image"]
PRIORS = ["factorised", "autoregressive"]


def make(spec: Spec = SPECS[0], prior: str = "factorised", by: float = 0.1, **options) -> HierarchicalVAE:
    torch.manual_seed(0)
    given = {"latent": 3, "maps": 2, "grids": 2, "width": 8} | options
    model = HierarchicalVAE(spec, latent_prior=prior, **given)
    with torch.no_grad():
        for parameter in model.parameters():  # cells and priors start at zero
            parameter.add_(by * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("spec", IMAGES, ids=str)
def test_every_size_trains_samples_and_encodes(spec: Spec, prior: str) -> None:
    model, x = make(spec, prior), examples(spec)
    assert all(isinstance(model, able) for able in (Samples, Bound, Encodes, Hierarchical, Diverges, Weighs))
    for objective in (ELBO(free_bits=0.1), IWAE(3)):
        model.zero_grad()
        loss, parts = objective(model, {"x": x}, 0)
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
        assert parts["elbo"].isclose(parts["reconstruction"] - parts["kl"])
    sample = model.eval().sample(Noise(range(3)))
    assert sample.shape == (3, *spec.shape) and sample.dtype == x.dtype
    assert model.decode(model.encode(x)).shape == x.shape and model.encode(x).shape == (5, 3)


@torch.no_grad()
def test_sample_depends_on_its_seed_alone() -> None:
    for prior in PRIORS:
        model = make(prior=prior).eval()
        here, there = model.sample(Noise([3, 1, 4])), model.sample(Noise([9, 4, 3, 26]))
        assert here[0].equal(there[2]) and here[2].equal(there[1])


@torch.no_grad()
@pytest.mark.parametrize("prior", PRIORS)
def test_bounds_are_ordered_and_cost_is_what_the_weights_say(prior: str) -> None:
    model = make(prior=prior).eval()
    x = examples(SPECS[0], 2).repeat(1500, 1, 1, 1)
    found = {k: model.bound(x, k=k).view(-1, 2) for k in (1, 5, 25)}
    error = sum(each.var(0) / 1500 for each in found.values()).sqrt()
    means = [each.mean(0) for each in found.values()]
    assert (means[0] < means[1] + 3 * error).all() and (means[1] < means[2] + 3 * error).all()
    assert (means[0] + 3 * error < means[2]).all()
    single = model.log_weights(x).view(-1, 2)
    spread = (single.var(0) / 1500 + found[1].var(0) / 1500).sqrt()
    assert ((single.mean(0) - means[0]).abs() < 4 * spread).all()
    assert model.divergence(x[:2]).shape == (2, model.levels)


@torch.no_grad()
def test_a_layer_that_learns_nothing_costs_nothing() -> None:
    model = make()
    for stage in model.down:
        for layer in stage.layers():
            for parameter in layer.seen.parameters():
                parameter.zero_()
    assert model.divergence(examples(SPECS[0])).abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("autoregressive", [False, True])
def test_the_prior_of_a_map_is_that_of_the_values_it_generates(autoregressive: bool) -> None:
    """z = f(epsilon) is triangular with d z / d epsilon = sigma: log p(z) = log N(epsilon) - sum of log sigma."""
    torch.manual_seed(0)
    layer = LatentLayer(4, 2, 3, autoregressive).double()
    for parameter in layer.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    h, epsilon = torch.randn(1, 4, 3, 3, dtype=torch.float64), torch.randn(1, 2, 3, 3, dtype=torch.float64)
    z = layer.generate(h, epsilon)

    def flat(noise: Tensor) -> Tensor:
        return layer.generate(h, noise.view(1, 2, 3, 3)).flatten()

    columns = []
    for place in range(18):  # generate writes into its result, so by differences
        step = torch.zeros(18, dtype=torch.float64)
        step[place] = 1e-5
        columns.append((flat(epsilon.flatten() + step) - flat(epsilon.flatten() - step)) / 2e-5)
    jacobian = torch.stack(columns, 1)
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(epsilon).sum() - torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(layer.log_prior(z, h)[0], wanted, rtol=1e-6, atol=1e-6)
    order = torch.arange(18).view(2, 9).T.flatten()  # raster, both channels of a position together
    positions = jacobian[order][:, order].view(9, 2, 9, 2).abs().sum((1, 3))
    assert positions.triu(1).max() < 1e-9
    assert (positions.tril(-1).max() > 1e-3) == autoregressive


@torch.no_grad()
def test_levels_add_what_the_ones_above_left_out() -> None:
    model, x = make(grids=2, layers=2, by=0.2).eval(), examples(SPECS[0], 3)
    assert model.levels == 3
    codes = {level: model.ascend(x, level) for level in (1, 2, 3)}
    assert [codes[level].shape[1] for level in (3, 2, 1)] == [3, 3 + 32, 3 + 64]
    assert codes[1][:, :3].equal(codes[3]) and codes[1][:, :35].equal(codes[2])
    backs = [model.descend(codes[level], level) for level in (1, 2, 3)]
    assert not backs[0].allclose(backs[1]) and not backs[1].allclose(backs[2])


@pytest.mark.parametrize("wrong", [{"grids": 0}, {"grids": 9}, {"maps": 0}, {"latent": 0}, {"width": 0}, {"layers": 0}])
def test_what_cannot_be_is_said(wrong) -> None:
    with pytest.raises(ConfigError, match=r"model\."):
        HierarchicalVAE(SPECS[0], **wrong)


def test_gradients_that_need_one_layer_are_refused() -> None:
    with pytest.raises(ConfigError, match="reparameterised"):
        IWAE(2, "dreg")(make(), {"x": examples(SPECS[0])}, 0)
