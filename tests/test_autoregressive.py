"""Laws of auto-regressive models whatever their net: orders, conditions, completion; by PixelCNNs."""

from itertools import product

import numpy as np
import pytest
import torch
from runs import DIGITS, make_run

from genlab import config, sample
from genlab.build import build
from genlab.errors import ConfigError
from genlab.models.autoregressive.order import ORDERS, Order
from genlab.models.autoregressive.pixelcnn import pixelcnn
from genlab.models.base import Completes, Density, Samples, Watched
from genlab.noise import Noise
from genlab.spec import Spec
from genlab.tasks.complete import before

CLASSES = ("one", "two", "three")


def make(shape=(1, 3, 4), levels=2, **options):
    """A small net in float64 whose conditionals are far from uniform."""
    torch.manual_seed(1)
    options = {"channels": 6, "blocks": 2, "head": 8, "kernel": 5, **options}
    model = pixelcnn(Spec("image", shape, levels, CLASSES), **options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def all_images(shape):
    return torch.tensor(list(product((0, 1), repeat=int(np.prod(shape)))), dtype=torch.uint8).view(-1, *shape)


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_is_a_permutation_and_restore_undoes_it(name):
    order = Order(name, (2, 3, 4))
    x = torch.randn(5, 2, 3, 4)
    laid = order.lay(x)
    assert laid.shape[1:] == order.shape
    assert torch.equal(order.restore(laid), x)
    # what the net reads in raster order, the channels of a pixel together, are the values in their order
    assert torch.equal(laid.permute(0, 2, 3, 1).flatten(1), x.flatten(1)[:, order.values()])


def test_orders_are_what_their_names_say():
    x = torch.arange(6).view(1, 2, 3)
    read = {name: Order(name, (1, 2, 3)).lay(x).flatten().tolist() for name in ORDERS}
    assert read["raster"] == [0, 1, 2, 3, 4, 5]
    assert read["reverse"] == [5, 4, 3, 2, 1, 0]
    assert read["column"] == [0, 3, 1, 4, 2, 5]
    assert sorted(read["random"]) == read["raster"] != read["random"]
    with pytest.raises(ConfigError, match="did you mean 'column'"):
        Order("colum", (1, 2, 3))


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("shape", [(1, 3, 4), (2, 2, 3)])
def test_every_order_makes_a_distribution_that_is_causal_in_it(name, shape):
    model = make(shape, order=name)
    x = all_images(shape)
    assert model.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-9)
    place = {int(value): i for i, value in enumerate(model.order)}
    one = x[37 % len(x)][None]
    before = model(one).flatten(2)
    moved = torch.zeros(one.numel(), one.numel(), dtype=torch.bool)
    for changed in range(one.numel()):
        other = one.clone().flatten()
        other[changed] = 1 - other[changed]
        now = model(other.view_as(one)).flatten(2)
        for value in range(one.numel()):
            moved[value, changed] = bool((now - before)[0, :, value].abs().max() > 1e-12)
    for value, changed in product(range(one.numel()), repeat=2):
        assert not moved[value, changed] or place[changed] < place[value]
    assert moved.any(1).sum() == one.numel() - 1  # all but the first see something


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("conditional", [False, True])
def test_samples_have_the_probability_that_they_were_drawn_with(name, conditional):
    """Sampling many of a tiny image finds the probabilities that log_prob gives, in each order and class."""
    shape = (1, 2, 2)
    model = make(shape, order=name, conditional=conditional)
    count = 3000
    y = torch.full((count,), 2) if conditional else None
    x = all_images(shape)
    expected = model.log_prob(x, None if y is None else y[: len(x)]).exp().detach()
    drawn = model.sample(Noise(range(count)), y)
    code = (drawn.flatten(1).long() * torch.tensor([8, 4, 2, 1])).sum(1)
    found = code.bincount(minlength=16) / count
    assert ((found - expected).abs() < 5 * (expected * (1 - expected) / count).sqrt() + 1e-4).all()


def test_conditions_matter_and_are_asked_for():
    model = make(conditional=True)
    x = all_images((1, 3, 4))[:5]
    probabilities = [model.log_prob(x, torch.full((5,), label)) for label in range(3)]
    assert not torch.allclose(probabilities[0], probabilities[1])
    with pytest.raises(ConfigError, match="every example needs a label"):
        model.log_prob(x)
    drawn = model.sample(Noise(range(40)))  # classes are drawn
    assert torch.equal(drawn, model.sample(Noise(range(40))))


def test_conditional_images_sum_to_one_in_every_class():
    model = make(conditional=True, shape=(3, 1, 3))
    x = all_images((3, 1, 3))
    for label in range(3):
        total = model.log_prob(x, torch.full((len(x),), label)).exp().sum().item()
        assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", ORDERS)
def test_a_completion_keeps_what_is_known_and_follows_the_conditional_distribution(name):
    shape = (1, 2, 3)
    model = make(shape, order=name)
    first = model.order[:3]
    known = torch.zeros(6, dtype=torch.bool)
    known[first] = True
    x = all_images(shape)
    given = x[21]
    agree = (x.flatten(1)[:, first] == given.flatten()[first]).all(1)
    joint = model.log_prob(x).exp().detach()
    expected = torch.where(agree, joint, 0) / joint[agree].sum()
    count = 3000
    drawn = model.complete(given.expand(count, *shape), known.view(1, 2, 3).expand(count, 2, 3), Noise(range(count)))
    assert (drawn.flatten(1)[:, first] == given.flatten()[first]).all()
    code = (drawn.flatten(1).long() * 2 ** torch.arange(5, -1, -1)).sum(1)
    found = code.bincount(minlength=64) / count
    assert ((found - expected).abs() < 5 * (expected * (1 - expected) / count).sqrt() + 1e-4).all()


def test_completing_all_is_copying_and_completing_nothing_is_sampling():
    model = make((3, 4, 5), levels=7)
    x = torch.randint(0, 7, (4, 3, 4, 5), dtype=torch.uint8)
    shown = torch.ones(4, 4, 5, dtype=torch.bool)
    assert torch.equal(model.complete(x, shown, Noise(range(4))), x)
    assert torch.equal(model.complete(x, ~shown, Noise(range(4))), model.sample(Noise(range(4))))


def test_what_it_can_do_and_what_it_tells_while_it_does():
    model = make((3, 4, 5), levels=7)
    for ability in (Samples, Density, Completes, Watched):
        assert isinstance(model, ability)
    told = []
    model.watch = told.append
    model.sample(Noise([0, 1]))
    assert told == sorted(told) and told[-1] == pytest.approx(1)


def test_points_are_images_of_one_row():
    torch.manual_seed(0)
    model = pixelcnn(Spec("vector", (2,)), channels=8, blocks=1, kernel=3, head=8).eval()
    x = model.sample(Noise(range(5)))
    assert x.shape == (5, 2) and x.dtype == torch.float32
    axis = torch.linspace(-12, 12, 401)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).flatten(0, 1)
    assert (model.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2).item() == pytest.approx(1, abs=0.02)


# genlab sample task=complete

PIXELCNN = {"_target_": "genlab.models.autoregressive.pixelcnn.pixelcnn", "channels": 4, "blocks": 1, "head": 4}


def completed(run, *words):
    assert sample.main(config.compose("sample", [f"run={run.path}", "task=complete", *words]).config) == 0
    return np.load(run.samples / "complete.npz")


@pytest.mark.parametrize("order", ["raster", "column"])
def test_half_is_what_is_generated_last(tmp_path, capsys, order):
    run = make_run(tmp_path / "run", PIXELCNN | {"order": order}, DIGITS)
    made = completed(run, "n=3")
    shown = made["masks"][0, 0]
    assert shown.sum() == 32 and (shown[:4] if order == "raster" else shown[:, :4]).all()
    originals, samples = made["originals"], made["samples"]
    assert samples.shape == (3, 4, 1, 8, 8)
    keep = np.broadcast_to(made["masks"][:, None] > 0, samples.shape)
    assert (samples[keep] == np.broadcast_to(originals[:, None], samples.shape)[keep]).all()
    assert (samples[:, 0] != samples[:, 1]).any()
    assert "comes after" not in capsys.readouterr().err
    assert (run.samples / "complete.png").exists()


def test_a_completion_depends_on_its_seed_alone(tmp_path):
    run = make_run(tmp_path / "run", PIXELCNN, DIGITS)
    many, alone = completed(run, "n=5")["samples"][3], completed(run, "seeds=3")["samples"][0]
    assert (many == alone).all()


def test_an_example_is_completed_as_one_of_its_own_class_unless_another_is_asked_for(tmp_path):
    run = make_run(tmp_path / "run", PIXELCNN | {"conditional": True}, DIGITS)
    own = build(DIGITS).split("test").y[:5]
    assert completed(run, "n=5")["labels"].tolist() == own.tolist() != list(range(5))
    assert completed(run, "n=5", "y=3")["labels"].tolist() == [3] * 5


def test_a_hole_with_known_pixels_behind_it_is_told(tmp_path, capsys):
    run = make_run(tmp_path / "run", PIXELCNN, DIGITS)
    completed(run, "mask=centre", "n=2")
    assert "mask=centre: some of what is shown comes after what is hidden" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"mask=center: .*did you mean 'centre'"):
        completed(run, "mask=center")


def test_what_is_shown_comes_first_in_all_masks_or_it_does_not():
    model, masks = make(order="column"), torch.ones(3, 1, 3, 4)
    masks[0] = 0
    masks[1, 0, :, 2:] = 0
    assert before(model, masks)
    masks[2, 0, 0, 0] = 0
    assert not before(model, masks)


def test_models_without_an_order_do_not_complete(tmp_path):
    with pytest.raises(ConfigError, match="VAE generates all values at once"):
        completed(make_run(tmp_path / "run"))
