"""Semi-supervised VAEs: bounds against sums and against the truth, who learns from labels, analogies."""

import math
from functools import partial
from itertools import product

import pytest
import torch
from torch.nn.functional import cross_entropy

from genlab import validate
from genlab.errors import ConfigError, ConfigErrors
from genlab.likelihoods.gaussian import Gaussian
from genlab.losses.semi_supervised import SemiSupervised
from genlab.models.base import Bound, Classifies, Encodes, Samples, Varies, Weighs
from genlab.models.vae import conv, mlp
from genlab.models.vae.ssl import SemiSupervisedVAE
from genlab.models.vae.ssl_stacked import StackedVAE
from genlab.models.vae.vae import VAE
from genlab.noise import Noise
from genlab.spec import Spec, to_signed

TINY = Spec("image", (1, 2, 2), 2, classes=("a", "b", "c"))
DIGITS = Spec("image", (1, 8, 8), 17, classes=tuple("0123456789"))
ALL = torch.tensor(list(product((0, 1), repeat=4)), dtype=torch.uint8).view(-1, 1, 2, 2)
LOG_K = math.log(3)


def one(spec=TINY, latent=2, net=mlp, **more):
    """M2, its weights away from where they start."""
    torch.manual_seed(0)
    nets = (partial(part, width=12) for part in (net.Encoder, net.Decoder, net.Encoder))
    return stirred(SemiSupervisedVAE(spec, *nets, latent=latent, **more))


def stacked(spec=TINY):
    torch.manual_seed(0)
    nets = partial(mlp.Encoder, width=12), partial(mlp.Decoder, width=12)
    above = partial(SemiSupervisedVAE, encoder=nets[0], decoder=nets[1], classifier=nets[0], latent=2)
    above = partial(above, likelihood=partial(Gaussian, scale=1.0))  # a narrow one would have bounds far and wide
    return stirred(StackedVAE(spec, partial(VAE, encoder=nets[0], decoder=nets[1], latent=2), above))


def stirred(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


def batch(spec=DIGITS, count=6, known=2):
    """Of which the class of the first is known, and as many labelled examples."""
    x = torch.randint(spec.levels, (2, count, *spec.shape), dtype=torch.uint8)
    y = torch.arange(count) % len(spec.classes)
    told = torch.where(torch.arange(count) < known, y, -1)
    return {"x": x[0], "y": told, "x_labelled": x[1], "y_labelled": y}


@torch.no_grad()
def truth(model):
    """log p(x, y) of all examples and classes, by a sum over a grid of z, (16, 3)."""
    line = torch.linspace(-6, 6, 121)
    z = torch.cartesian_prod(line, line)
    prior = model.given.log_prior(z) + 2 * math.log(0.1)
    found = []
    for y in range(3):
        params = model.given.decoder(torch.cat([z, torch.eye(3)[y].expand(len(z), 3)], 1))
        found.append([(model.given.likelihood.log_prob(params, x.expand(len(z), 1, 2, 2)) + prior) for x in ALL])
    return torch.stack([torch.stack(rows).logsumexp(1) for rows in found], 1) - LOG_K


@pytest.mark.parametrize("make", [one, stacked])
def test_what_it_can_do(make):
    model, x = make(DIGITS).eval(), batch()["x"]
    assert all(isinstance(model, able) for able in (Samples, Bound, Encodes, Classifies, Varies, Weighs))
    assert model.supervised and model.classify(x).shape == (6, 10)
    assert model.encode(x).shape == (6, 2) and torch.equal(
        model.encode(x), model.encode(x, model.classify(x).argmax(1))
    )
    assert model.decode(model.encode(x), torch.arange(6)).shape == x.shape
    assert model.bound(x).shape == model.bound(x, k=7).shape == (6,) and model.log_weights(x, k=7).shape == (7, 6)
    made = model.sample(Noise(range(4)), torch.tensor([3, 3, 1, 0]))
    assert made.dtype == torch.uint8 and made.max() < 17
    again = model.sample(Noise([9, 1]), torch.tensor([0, 3]))
    assert torch.equal(made[1], again[1])


def test_u_is_the_sum_over_classes():
    """Means of many draws of each term, summed by hand, where the classifier is known."""
    model = one().eval()
    with torch.no_grad():
        x = ALL[[3, 6]]
        q = model.classify(x).softmax(1)
        many = x.repeat(4000, 1, 1, 1)
        each = [model.labelled_bound(many, torch.full((len(many),), y)).view(-1, 2) for y in range(3)]
        by_hand = sum(q[:, y] * (part.mean(0) - q[:, y].log()) for y, part in enumerate(each))
        found = model.bound(many).view(-1, 2)
        error = (found.var(0) / 4000 + sum(part.var(0) for part in each) / 4000).sqrt()
        assert ((found.mean(0) - by_hand).abs() < 4 * error).all()
        unknown = model.joint_bound(many, torch.full((len(many),), -1)).view(-1, 2)
        assert ((unknown.mean(0) - by_hand).abs() < 4 * error).all()


def test_bounds_are_below_the_truth_and_reach_it():
    model, exact = one().eval(), truth(one())
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-3)
    with torch.no_grad():
        many = ALL.repeat(2000, 1, 1, 1)
        for y in range(3):
            joint = model.labelled_bound(many, torch.full((len(many),), y)).view(-1, 16)
            assert (joint.mean(0) < exact[:, y] + 4 * (joint.var(0) / 2000).sqrt()).all()
        whole, weighted = (model.bound(many, k=k).view(-1, 16) for k in (1, 10))
        error = (whole.var(0) / 2000 + weighted.var(0) / 2000).sqrt()
        assert (whole.mean(0) < weighted.mean(0) + 4 * error).all()
        assert (weighted.mean(0) < exact.logsumexp(1) + 4 * error).all()
        torch.testing.assert_close(model.bound(ALL, k=50_000), exact.logsumexp(1), rtol=0, atol=0.2)


@torch.no_grad()
def test_two_layers_are_bounded_and_reached_likewise():
    """exp(log_weights) has the mean p(x), so over all examples it sums to one."""
    model = stacked().eval()
    weights = model.log_weights(ALL.repeat(500, 1, 1, 1), k=40).exp().view(-1, 16)
    error = (weights.var(0) / len(weights)).sum().sqrt()
    assert (weights.mean(0).sum() - 1).abs() < 4 * error < 0.2
    many = ALL.repeat(1000, 1, 1, 1)
    bound = model.bound(many).view(-1, 16)
    assert (bound.mean(0) < weights.mean(0).log() + 4 * (bound.var(0) / 1000).sqrt() + 0.05).all()
    unknown = model.joint_bound(many, torch.full((len(many),), -1)).view(-1, 16)
    assert ((unknown.mean(0) - bound.mean(0)).abs() < 5 * (2 * bound.var(0) / 1000).sqrt()).all()


def test_with_a_label_it_is_the_conditional_vae_of_the_same_nets():
    model, made = one(DIGITS), batch()
    torch.manual_seed(1)
    found = model.labelled_bound(made["x_labelled"], made["y_labelled"])
    torch.manual_seed(1)
    conditional = model.given.bound(made["x_labelled"], made["y_labelled"])
    torch.testing.assert_close(found, conditional - math.log(10))


@pytest.mark.parametrize("make", [one, stacked])
def test_the_loss_is_the_bounds_and_the_classifier_of_labelled_examples(make):
    model, made = make(DIGITS).eval(), batch()
    torch.manual_seed(1)
    value, parts = SemiSupervised(alpha=0.3)(model, made, 0)
    torch.manual_seed(1)
    bound = model.joint_bound(made["x"], made["y"]).mean()
    classes = cross_entropy(model.classify(made["x_labelled"]), made["y_labelled"])
    torch.testing.assert_close(value, 0.3 * classes - bound)
    torch.testing.assert_close(parts["classes"], classes.detach())


def test_known_classes_teach_no_classifier_but_by_its_own_term():
    """In L q(y | x) is absent; in U it is not."""
    model, made = one(DIGITS), batch()
    reached = {}
    for name, y in {"known": made["y_labelled"], "mixed": made["y"]}.items():
        model.zero_grad()
        model.joint_bound(made["x"], y).sum().backward()
        reached[name] = any(p.grad is not None and p.grad.any() for p in model.classifier.parameters())
    assert reached == {"known": False, "mixed": True}
    model.zero_grad()
    torch.manual_seed(1)
    known = {"x": made["x"], "y": made["y_labelled"]}
    SemiSupervised()(model, known, 0)[0].backward()
    found = [p.grad.clone() for p in model.classifier.parameters()]
    model.zero_grad()
    (0.1 * cross_entropy(model.classify(made["x"]), made["y_labelled"])).backward()
    for gradient, parameter in zip(found, model.classifier.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_examples_whose_class_is_known_have_l_and_the_others_u():
    """The gradient of an example without a label reaches all classes' decoders; of one with a label its own alone."""
    model, made = one(DIGITS), batch(known=3)
    first = model.given.decoder.layers[0].weight
    own, spread = (
        torch.autograd.grad(model.joint_bound(made["x"], made["y"])[row], first)[0][:, -10:].abs().sum(0)
        for row in (2, 4)
    )
    assert own.nonzero().flatten().tolist() == [2] and (spread > 0).all()


def test_layers_learn_each_from_its_own_bound():
    model, made = stacked(DIGITS), batch()
    torch.manual_seed(1)
    model.joint_bound(made["x"], made["y"]).sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in model.first.named_parameters()}
    model.zero_grad()
    torch.manual_seed(1)
    code, log_q = model.first.draw(model.first.infer(made["x"]))
    own = model.first.log_likelihood(made["x"], code[0]) + model.first.log_prior(code[0]) - log_q[0]
    own.sum().backward()
    for name, parameter in model.first.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
    SemiSupervised()(model, made, 0)[0].backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


def test_two_clusters_and_a_label_each_are_enough():
    """Points of two Gaussians, of which one each is labelled: all follow their cluster."""
    torch.manual_seed(0)
    spec = Spec("vector", (2,), classes=("left", "right"))
    y = torch.arange(200) % 2
    x = 0.3 * torch.randn(200, 2) + torch.tensor([2.0, 0.0]) * (y[:, None] * 2 - 1)
    nets = (partial(part, width=16) for part in (mlp.Encoder, mlp.Decoder, mlp.Encoder))
    model = SemiSupervisedVAE(spec, *nets, latent=1, likelihood=partial(Gaussian, scale=0.4))
    told = torch.where(torch.arange(200) < 2, y, -1)
    whole = {"x": x, "y": told, "x_labelled": x[:2], "y_labelled": y[:2]}
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-2), SemiSupervised(1.0)
    for step in range(300):
        value, _ = loss(model, whole, step)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (model.classify(x).argmax(1) == y).float().mean() > 0.97


@pytest.mark.parametrize("make", [one, stacked])
def test_analogies_are_all_classes_of_one_code(make):
    model = make(DIGITS).eval()
    with torch.no_grad():
        strips = model.variations(Noise([5, 6, 7]), 4)
        z = Noise([5, 6, 7]).normal(2)
    assert strips["class"].shape == (3, 10, 1, 8, 8)
    torch.testing.assert_close(strips["class"][1, 4], model.decode(z[1:2], torch.tensor([4]))[0])


def test_convolutions_will_do():
    model, made = one(DIGITS, net=conv), batch()
    SemiSupervised()(model, made, 0)[0].backward()
    assert all(parameter.grad.any() for parameter in model.parameters())
    torch.testing.assert_close(model.classify(made["x"]), model.classifier(to_signed(made["x"], 17)))


def test_what_cannot_be_is_said():
    with pytest.raises(ConfigError, match="classes"):
        one(Spec("image", (1, 2, 2), 2))
    with pytest.raises(ConfigError, match="classes"):
        stacked(Spec("image", (1, 2, 2), 2))
    with pytest.raises(ConfigError, match=r"loss\.alpha"):
        SemiSupervised(-1.0)
    with pytest.raises(ConfigErrors, match="joint_bound"):
        validate.check(["model=vae", "data=digits", "loss=semi_supervised"])
    for preset in ("ssl_vae", "ssl_vae_stacked"):
        assert validate.check([f"model={preset}", "data=digits", "data.labelled=50"]).config["data"]["labelled"] == 50
