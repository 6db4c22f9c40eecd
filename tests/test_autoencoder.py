"""Laws of the auto-encoder: what it minimises, where linear nets end, and what its codes are not."""

from functools import partial

import pytest
import torch
from test_vae import SPECS, examples
from torch import Tensor

from genlab import validate
from genlab.assembly import build_module
from genlab.build import build
from genlab.errors import ConfigErrors
from genlab.losses.reconstruction import Reconstruction
from genlab.models.base import Bound, Density, Encodes, Posterior, Samples
from genlab.models.vae import conv, mlp
from genlab.models.vae.autoencoder import AutoEncoder
from genlab.noise import Noise
from genlab.spec import Spec


def make(spec: Spec, net: str = "mlp", latent: int = 3, **options) -> AutoEncoder:
    nets = {"mlp": mlp, "conv": conv}[net]
    torch.manual_seed(0)
    smaller = {"width": 16} | ({"channels": 4} if net == "conv" else {})
    return AutoEncoder(spec, partial(nets.Encoder, **smaller), partial(nets.Decoder, **smaller), latent, **options)


@pytest.mark.parametrize("net", ["mlp", "conv"])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_size_trains_samples_and_encodes(spec: Spec, net: str) -> None:
    if net == "conv" and spec.kind != "image":
        return
    model, x = make(spec, net), examples(spec)
    assert isinstance(model, Samples) and isinstance(model, Encodes)
    assert not isinstance(model, (Density, Bound, Posterior))  # it knows nothing of p(x)
    value, parts = Reconstruction()(model, {"x": x}, 0)
    value.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert parts["reconstruction"] == -value and not parts["reconstruction"].requires_grad
    sample = model.sample(Noise(range(5)))
    assert sample.shape == x.shape and sample.dtype == x.dtype
    with torch.no_grad():
        decoded = model.decode(Noise(range(5)).normal(3))
    assert (sample - decoded).abs().max() <= (0 if spec.levels is None else 0.5)
    assert model.encode(x).shape == (5, 3) and model.decode(model.encode(x)).shape == x.shape


def test_its_error_is_that_of_what_is_decoded() -> None:
    """Of integer data -log p(x | z) of all dimensions, of continuous data half the squared error and a constant."""
    model, x = make(SPECS[0]), examples(SPECS[0])
    with torch.no_grad():
        logits = model.decoder(model.encode(x)).movedim(1, -1)
        chosen = torch.distributions.Categorical(logits=logits).log_prob(x.long()).flatten(1).sum(1)
        torch.testing.assert_close(model.reconstruction(x), chosen)
    model, x = make(Spec("vector", (4,))), torch.randn(5, 4)
    with torch.no_grad():
        error = (x - model.decode(model.encode(x))).square().sum(1)
        found = -model.reconstruction(x) - error / 2
    torch.testing.assert_close(found, torch.full((5,), 2 * torch.log(torch.tensor(2 * torch.pi)).item()))


def principal(x: Tensor, latent: int) -> Tensor:
    """Squared error that as many principal components leave, the mean over examples."""
    return torch.linalg.svdvals(x - x.mean(0))[latent:].square().sum() / len(x)


@pytest.mark.parametrize("latent", [1, 3])
def test_linear_nets_end_in_the_principal_components(latent: int) -> None:
    torch.manual_seed(0)
    spec, x = Spec("vector", (6,)), torch.randn(200, 6).double() @ torch.randn(6, 6).double() + 3
    nets = (partial(net, depth=0) for net in (mlp.Encoder, mlp.Decoder))
    model = AutoEncoder(spec, *nets, latent=latent).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2000, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value, _ = Reconstruction()(model, {"x": x}, 0)
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        error = (x - model.decode(model.encode(x))).square().sum(1).mean()
    assert principal(x, latent) > 1
    torch.testing.assert_close(error, principal(x, latent), rtol=1e-4, atol=0)


def test_temperature_multiplies_the_codes() -> None:
    model, seen = make(Spec("vector", (2,))), []
    model.decoder.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    model.sample(Noise(range(3)))
    model.sample(Noise(range(3)), temperature=0.25)
    torch.testing.assert_close(seen[1], 0.25 * seen[0])


def test_it_is_trained_without_a_likelihood_and_has_no_figure_of_one() -> None:
    config = validate.check(["model=autoencoder", "data=moons"]).config
    module = build_module(config, Spec("vector", (2,)), build(config["trainer"]), 1)
    assert module.validation_nats({"x": torch.randn(5, 2)}) is None
    with pytest.raises(ConfigErrors, match="did you mean 'reconstruction'"):
        validate.check(["model=autoencoder", "data=moons", "loss=nll"])
