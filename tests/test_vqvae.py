"""The vector-quantised VAE: codes against brute force, and its bounds against sums over all of them."""

import math
from functools import partial
from itertools import product

import pytest
import torch
from test_vae import SPECS, examples
from torch import Tensor

from genlab import checkpoint, cli, validate
from genlab.assembly import build_module
from genlab.build import build
from genlab.check import BROKEN, examine
from genlab.errors import ConfigError, ConfigErrors, GenlabError
from genlab.losses.nll import NLL
from genlab.losses.vector_quantised import VectorQuantised
from genlab.metrics.codes import Codes
from genlab.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from genlab.models.autoregressive.pixelcnn import PixelCNN
from genlab.models.base import Bound, Density, Encodes, Quantises, Samples, Watched
from genlab.models.vae.vqvae import VQVAE, Codebook
from genlab.models.vae.vqvae_prior import VQVAEPrior
from genlab.noise import Noise
from genlab.run import Run
from genlab.spec import Spec

IMAGES = [spec for spec in SPECS if spec.kind == "image"]
TINY = Spec("image", (1, 4, 4), 2)  # 2 x 2 codes of three are 81 grids
NETS = {
    "gated": partial(GatedPixelCNN, channels=6, layers=2, kernel=3, first=3, head=8),
    "plain": partial(PixelCNN, channels=6, blocks=1, kernel=3, head=8),
}


def make(spec: Spec = TINY, net: str = "", **options) -> VQVAE:
    """With a codebook that is spread out."""
    torch.manual_seed(0)
    given = {"codes": 3, "maps": 2, "width": 6, "blocks": 1, "stages": 1} | options
    model = VQVAEPrior(spec, NETS[net], embedding=4, **given) if net else VQVAE(spec, **given)
    model.codebook.revive(torch.randn(50, model.maps))
    return model


def every(codes: int, places: int) -> Tensor:
    """All grids of codes, (grids, 1, 2, places / 2)."""
    return torch.tensor(list(product(range(codes), repeat=places))).view(-1, 1, 2, places // 2)


@pytest.mark.parametrize("codebook", ["ema", "loss"])
@pytest.mark.parametrize("spec", IMAGES, ids=str)
def test_every_size_trains_samples_and_encodes(spec: Spec, codebook: str) -> None:
    model, x = make(spec, codes=7, stages=2, codebook=codebook), examples(spec)
    assert all(isinstance(model, able) for able in (Samples, Bound, Encodes, Quantises)) and not isinstance(
        model, Density
    )
    value, parts = VectorQuantised()(model, {"x": x}, 0)
    value.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert ("codebook.vectors" in dict(model.named_parameters())) == (codebook == "loss")
    assert set(parts) == {"reconstruction", "commitment", "perplexity"} and 1 <= parts["perplexity"] <= 7.001
    model.eval()
    assert model.grid == tuple(size // 4 for size in spec.shape[1:])
    sample = model.sample(Noise(range(5)))
    assert sample.shape == x.shape and sample.dtype == x.dtype
    assert model.encode(x).shape == (5, model.latent) and model.decode(model.encode(x)).shape == x.shape
    assert model.bound(x).shape == (5,)


def test_the_nearest_vector_is_that_of_all_distances() -> None:
    book = Codebook(40, 5).double()
    book.vectors.copy_(torch.randn(40, 5))
    z = 0.5 + torch.randn(500, 5).double()
    found = book.nearest(z)
    distances = (z[:, None] - book.vectors).square().sum(2)
    assert found.equal(distances.argmin(1)) and len(found.unique()) > 10
    assert book.nearest(book.vectors).equal(torch.arange(40))


def test_the_gradient_goes_straight_through() -> None:
    """What reaches z is what reaches the vectors in its place, which the decoder sees to the bit."""
    model, x, seen = make().eval(), examples(TINY), {}
    model.decoder.register_forward_pre_hook(lambda module, arguments: seen.update(e=arguments[0]))
    model.encoder.register_forward_hook(lambda module, arguments, result: seen.update(z=result))
    found = model.quantisation(x)
    e, z = seen["e"], seen["z"]
    by_e, by_z = torch.autograd.grad(found.log_prob.sum(), [e, z], retain_graph=True)
    assert by_e.equal(by_z) and by_z.any()
    assert e.detach().flatten(1).equal(model.encode(x))
    (committed,) = torch.autograd.grad(found.commitment.sum(), z, retain_graph=True)
    torch.testing.assert_close(committed, 2 * (z - e).detach())
    assert not found.codebook.requires_grad  # it learns by averages


def test_terms_are_those_of_the_paper() -> None:
    model, x = make(codebook="loss").eval(), examples(TINY)
    found = model.quantisation(x)
    z = model.encoder(2 * x.float() - 1)
    error = (z.flatten(1) - model.encode(x)).square().sum(1)
    torch.testing.assert_close(found.codebook, error)
    torch.testing.assert_close(found.commitment, error)
    value, parts = VectorQuantised(beta=0.25)(model, {"x": x}, 0)
    torch.testing.assert_close(value, (1.25 * error - found.log_prob).mean())
    found.codebook.sum().backward()
    assert model.codebook.vectors.grad.any() and all(p.grad is None for p in model.encoder.parameters())
    shares = model.codes(x).flatten().bincount(minlength=3) / 20
    torch.testing.assert_close(parts["perplexity"], torch.exp(torch.distributions.Categorical(shares).entropy()))


def clusters(count: int) -> Tensor:
    centres = torch.tensor([[5.0, 0.0], [0.0, 5.0], [-5.0, -5.0]])
    return (centres[:, None] + 0.3 * torch.randn(3, count, 2)).flatten(0, 1)


@pytest.mark.parametrize("learnt", ["ema", "loss"])
def test_a_codebook_comes_to_the_means_of_clusters(learnt: str) -> None:
    torch.manual_seed(0)
    book, z = Codebook(3, 2, learnt, decay=0.9), clusters(200)
    book.vectors.detach().copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    book.counts.fill_(200.0)
    optimizer = torch.optim.SGD([book.vectors], 1e-3) if learnt == "loss" else None
    for _ in range(200):
        book.revive(z)
        codes = book.nearest(z)
        if optimizer is not None:
            optimizer.zero_grad()
            (z - book(codes)).square().sum().backward()
            optimizer.step()
        book.learn(z, codes)
    torch.testing.assert_close(book.vectors.detach(), z.view(3, 200, 2).mean(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(book.counts, torch.full((3,), 200.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("learnt", ["ema", "loss"])
def test_codes_out_of_use_start_anew_where_the_batch_is(learnt: str) -> None:
    torch.manual_seed(0)
    book, z = Codebook(8, 2, learnt, dead=0.05, decay=0.5), clusters(50)
    book.revive(z)  # all of them, in the first batch
    assert all((z == vector).all(1).any() for vector in book.vectors)
    before = book.vectors.detach().clone()
    book.revive(z)
    assert book.vectors.equal(before)  # and not again
    with torch.no_grad():
        book.vectors[2] += 1000.0
        if learnt == "ema":
            book.sums[2] += 1000.0 * book.counts[2]
    for _ in range(6):
        book.learn(z, book.nearest(z))
    assert book.counts[2] < 0.05 * len(z) / 8
    book.revive(z)
    assert book.vectors[2].norm() < 10 and book.counts[2] == len(z) / 8
    book.learn(z, book.nearest(z))
    assert book.vectors.norm(dim=1).max() < 10  # by its average, too


@torch.no_grad()
def test_with_the_uniform_prior_the_bound_is_the_reconstruction_less_n_log_k() -> None:
    model, x = make(Spec("image", (1, 8, 8), 17), codes=5).eval(), examples(Spec("image", (1, 8, 8), 17))
    wanted = model.log_likelihood(x, model.codes(x)) - 16 * math.log(5)
    torch.testing.assert_close(model.bound(x), wanted)
    assert model.bound(x, k=7).equal(model.bound(x))
    torch.testing.assert_close(model.quantisation(x).log_prob, model.log_likelihood(x, model.codes(x)))


@torch.no_grad()
@pytest.mark.parametrize("net", ["", "gated", "plain"])
def test_the_bound_is_one_term_of_the_sum_over_all_codes(net: str) -> None:
    """p(k) sums to 1 over all grids, and log p(x) = log sum_k p(x | k) p(k) is above the bound."""
    model, x, grids = make(net=net).eval(), examples(TINY, 6), every(3, 4)
    log_p = model.log_prior(grids).double()
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    each = torch.stack([model.log_likelihood(one.expand(len(grids), -1, -1, -1), grids) for one in x]) + log_p
    own = model.codes(x)
    place = (own.flatten(1) @ torch.tensor([27, 9, 3, 1])).tolist()
    bound = model.bound(x).double()
    torch.testing.assert_close(bound, each[range(6), place])
    assert (bound < each.logsumexp(1)).all()
    if net:
        assert log_p.std() > 1e-3  # it is not the uniform one


@torch.no_grad()
@pytest.mark.parametrize("net", ["gated", "plain"])
def test_codes_are_drawn_as_the_prior_has_them(net: str) -> None:
    model, grids = make(net=net).eval(), every(3, 4)
    for parameter in model.prior.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    p, count = model.log_prior(grids).exp(), 6000
    drawn = model.draw_codes(Noise(range(count))).long().flatten(1) @ torch.tensor([27, 9, 3, 1])
    shares = drawn.bincount(minlength=81) / count
    assert count * ((shares - p).square() / p).sum() < 80 + 5 * 160**0.5
    cold = model.draw_codes(Noise(range(5)), temperature=1e-9)
    assert cold.equal(cold[:1].expand_as(cold))


@torch.no_grad()
@pytest.mark.parametrize("net", ["", "gated", "plain"])
def test_sample_depends_on_its_seed_alone(net: str) -> None:
    model = make(Spec("image", (3, 16, 16), 256), net, codes=9).eval()
    here, there = model.sample(Noise([3, 1, 4])), model.sample(Noise([9, 4, 3, 26]))
    assert here[0].equal(there[2]) and here[2].equal(there[1]) and not here[0].equal(here[1])


@torch.no_grad()
def test_a_prior_may_know_the_class() -> None:
    spec = Spec("image", (1, 4, 4), 2, classes=("a", "b"))
    model, x, grids = make(spec, "gated", conditional=True).eval(), examples(spec, 4), every(3, 4)
    y = torch.tensor([0, 1, 0, 1])
    assert not torch.allclose(model.bound(x, y), model.bound(x, 1 - y))
    for label in (0, 1):
        given = torch.full((81,), label)
        assert model.log_prior(grids, given).exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert model.conditional and model.sample(Noise(range(4)), y).shape == x.shape
    assert model.sample(Noise(range(4))).shape == x.shape


def test_a_step_of_the_prior_leaves_the_rest_alone() -> None:
    model, x = make(net="gated").train(), examples(TINY)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    passes = []
    model.encoder.register_forward_hook(lambda module, arguments, result: passes.append(result.requires_grad))
    value, _ = NLL()(model, {"x": x}, 0)
    value.backward()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, weight_decay=0.1)
    optimizer.step()
    assert passes == [False]
    for name, now in model.state_dict().items():
        assert now.equal(before[name]) != name.startswith("prior."), name
    own = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert own and all(name.startswith("prior.") for name in own)
    assert isinstance(model, Watched)
    told: list[float] = []
    model.watch = told.append
    model.sample(Noise(range(2)))
    assert told[-1] == 1


def test_the_bound_alone_teaches_no_codebook_and_says_so() -> None:
    with pytest.raises(ConfigError, match=r"loss=nll.*vector_quantised"):
        NLL()(make().train(), {"x": examples(TINY)}, 0)
    with pytest.raises(ConfigErrors, match="did you mean 'vector_quantised'"):
        validate.check(["model=vqvae", "data=digits", "loss=elbo"])
    with pytest.raises(ConfigErrors, match="did you mean 'nll'"):
        validate.check(["model=vqvae_prior", "data=digits", "loss=elbo"])
    with pytest.raises(ConfigError, match=r"loss=vector_quantised.*nll"):
        VectorQuantised()(make(net="gated").train(), {"x": examples(TINY)}, 0)


@pytest.mark.parametrize(
    "wrong", [{"codes": 1}, {"maps": 0}, {"width": 0}, {"stages": 0}, {"decay": 1.0}, {"dead": -0.1}]
)
def test_what_cannot_be_is_said(wrong) -> None:
    with pytest.raises(ConfigError, match=r"model\."):
        make(**wrong)
    with pytest.raises(ConfigError, match="images"):
        make(Spec("vector", (2,)))


SMALL = ["model.codes=6", "model.maps=2", "model.width=8", "logger=none", "data=digits"]
PRIOR = [*SMALL, "model.prior.channels=8", "model.prior.layers=2", "model.prior.head=8"]


def weights(run: Run) -> dict[str, Tensor]:
    return checkpoint.tensors(run.checkpoint())


def test_two_commands(tmp_path, monkeypatch, capsys) -> None:
    """Codes, then a prior of them: of the first run's tensors no bit changes, and without them there is nothing."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    one, two = tmp_path / "one", tmp_path / "two"
    steps = "trainer.max_epochs=null", "trainer.max_steps=4"
    assert cli.main(["train", "model=vqvae", *SMALL, *steps, f"hydra.run.dir={one}"]) == 0
    start = ["train", "model=vqvae_prior", *PRIOR, *steps]
    assert cli.main([*start, f"hydra.run.dir={tmp_path / 'none'}"]) == 2
    assert "init_from" in capsys.readouterr().err
    wider = [*start, "model.width=12", f"init_from={one}", f"hydra.run.dir={tmp_path / 'wider'}"]
    assert cli.main(wider) == 2
    assert "encoder" in capsys.readouterr().err
    assert cli.main([*start, f"init_from={one}", f"hydra.run.dir={two}"]) == 0
    first, second = weights(Run(one)), weights(Run(two))
    assert all(second[name].equal(value) for name, value in first.items())
    assert {name.partition(".")[0] for name in set(second) - set(first)} == {"prior"}
    assert cli.main(["train", f"run={two}", "trainer.max_steps=6"]) == 0  # goes on from its own
    for run in (one, two):
        assert cli.main(["eval", f"run={run}", "n=40", "metrics=bpd,reconstruction"]) == 0
        assert "<=" in capsys.readouterr().out
        assert cli.main(["sample", f"run={run}", "task=reconstruct", "n=3"]) == 0


@pytest.mark.parametrize("name", ["vqvae", "vqvae_prior"])
def test_laws_hold(name: str) -> None:
    config = validate.check([f"model={name}", *(SMALL if name == "vqvae" else PRIOR)]).config
    assert not [outcome for outcome in examine(config) if outcome.verdict == BROKEN]
    module = build_module(config, Spec("image", (1, 8, 8), 17), build(config["trainer"]), 1)
    with torch.no_grad():
        assert module.validation_nats({"x": examples(Spec("image", (1, 8, 8), 17))}).shape == (5,)


@torch.no_grad()
def test_the_use_of_a_codebook_is_measured_over_all_examples() -> None:
    model, x = make(codes=6).eval(), examples(TINY, 30)
    model.codebook.counts.zero_()
    model.codebook.revive(model._rows(x))
    metric = Codes()
    for part in x.split(7):
        metric.update({"x": part}, "test", model)
    found = metric.compute()
    shares = model.codes(x).flatten().bincount(minlength=6) / 120
    assert found["codes_used"].value == (shares > 0).sum() > 1
    assert found["perplexity"].value == pytest.approx(torch.distributions.Categorical(shares).entropy().exp().item())
    assert found["perplexity"].protocol == {"n": 30, "codes": 6}
    with pytest.raises(GenlabError, match="no example"):
        Codes().compute()
