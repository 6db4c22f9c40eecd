"""Hybrid flows: one pass for both sides, weights that mean what they say, three kinds of blocks."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from genlab.errors import ConfigError
from genlab.losses.hybrid import Hybrid
from genlab.models.base import Bound, Classifies, Density, Encodes, Samples
from genlab.models.flow.hybrid_flow import BLOCKS, hybrid_flow
from genlab.spec import Spec

TINY = Spec("image", (1, 4, 4), levels=5, classes=("a", "b", "c"))
SMALL = {"blocks": 2, "width": 6, "head": 8}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def started(block):
    """With activation normalisation set by a batch, and weights away from zero."""
    model = hybrid_flow(TINY, block, **SMALL)
    model.bound(examples(32)["x"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


def examples(count=8):
    return {"x": torch.randint(5, (count, 1, 4, 4)).to(torch.uint8), "y": torch.randint(3, (count,))}


@pytest.mark.parametrize("block", BLOCKS)
def test_what_it_can_do(block):
    model, batch = started(block).eval(), examples()
    assert all(isinstance(model, ability) for ability in (Bound, Classifies, Encodes, Samples))
    assert not isinstance(model, Density)
    assert model.classify(batch["x"]).shape == (8, 3) and model.exact
    assert torch.equal(model.decode(model.encode(batch["x"])), batch["x"])


@pytest.mark.parametrize("block", BLOCKS)
def test_scores_are_the_bound_and_the_logits_of_one_draw(block):
    model, batch = started(block).eval(), examples()
    torch.manual_seed(3)
    bound, logits = model.scores(batch["x"])
    torch.manual_seed(3)
    torch.testing.assert_close(bound, model.bound(batch["x"]))
    assert (logits - model.classify(batch["x"])).abs().max() < 2  # at another place of the same cell
    assert (bound < 0).all()


@pytest.mark.parametrize(("weight", "meant"), [(None, 1 / 16), (0.0, 0.0), (1.0, 1.0), (0.3, 0.3)])
def test_the_loss_is_the_weighted_sum_of_its_parts(weight, meant):
    model, batch = started("coupling").eval(), examples()
    value, parts = Hybrid(weight)(model, batch, 0)
    assert value.item() == pytest.approx((meant * parts["nll"] + parts["classes"]).item(), rel=1e-5)
    assert parts["nll"].item() > 0 and 0 <= parts["accuracy"].item() <= 1


def test_a_mere_classifier_gets_no_gradient_from_the_density():
    model, batch = started("convolution").eval(), examples()
    torch.manual_seed(4)
    Hybrid(0.0)(model, batch, 0)[0].backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    torch.manual_seed(4)
    logits = model.scores(batch["x"])[1]
    cross_entropy(logits, batch["y"]).backward()
    for name, parameter in model.named_parameters():
        if name in found:
            torch.testing.assert_close(found[name], parameter.grad)


@pytest.mark.parametrize("block", BLOCKS)
def test_it_learns_both(block):
    """Two kinds of images, told apart by their brightness, each cheap to code."""
    torch.manual_seed(1)
    model = hybrid_flow(TINY, block, **SMALL)
    y = torch.arange(32) % 2
    x = (y.view(-1, 1, 1, 1) * 3 + torch.randint(2, (32, 1, 4, 4))).to(torch.uint8)
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-2), Hybrid(1 / 16)
    for step in range(35):
        value, parts = loss(model, {"x": x, "y": y}, step)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        optimizer.zero_grad()
        if step == 0:
            first = parts["nll"].item()
    assert parts["accuracy"].item() == 1
    assert parts["nll"].item() < first - 4 and parts["nll"].item() > math.log(32)  # the entropy of so many examples


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: hybrid_flow(TINY, "residuals"), "model.block"),
        (lambda: hybrid_flow(Spec("vector", (2,))), "data"),
        (lambda: hybrid_flow(Spec("image", (1, 5, 5), levels=5, classes=("a", "b"))), "data"),
        (lambda: Hybrid(-1.0), "loss.weight"),
    ],
)
def test_wrong_options_are_named(make, key):
    with pytest.raises(ConfigError) as error:
        make()
    assert error.value.key == key
