"""Penalties: their values where they are known by hand, and the mistakes that are common elsewhere."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import pad

from genlab import checkpoint
from genlab.build import build
from genlab.errors import ConfigError
from genlab.losses.hinge import Hinge
from genlab.losses.wasserstein import Wasserstein
from genlab.models.gan import dcgan, mlp, resnet
from genlab.models.gan.gan import GAN
from genlab.penalties.base import Penalty, slopes
from genlab.penalties.clip import Clip
from genlab.penalties.consistency import Consistency
from genlab.penalties.dragan import DRAGAN
from genlab.penalties.gradient import Gradient
from genlab.penalties.r1 import R1
from genlab.penalties.r1_r2 import R1R2
from genlab.penalties.r2 import R2
from genlab.penalties.spectral_norm import SpectralNorm, normalised
from genlab.penalties.sum import Sum
from genlab.presets import file_of, groups, read
from genlab.spec import Spec

SHAPES = [(6,), (1, 4, 4), (3, 4, 2)]
TERMS = [Gradient(), R1(), R2(), R1R2(), DRAGAN(), Consistency()]
PLANE = Spec("vector", (2,))
DIGITS = Spec("image", (1, 8, 8), 17)


def linear(shape, norm):
    """A critic w.x with |w| = norm."""
    w = torch.randn(shape, dtype=torch.float64)
    w *= norm / w.norm()
    return lambda x: (x * w).flatten(1).sum(1)


def examples(shape, count=5):
    return torch.randn(2, count, *shape, dtype=torch.float64)


# ---- the gradient penalty ----
def has_the_norm_over_all_axes(penalty, shape):
    """The slope of a linear critic is |w| over all axes together, wherever it is taken, of each example by itself."""
    for norm in (0.25, 1.0, 3.0):
        real, fake = examples(shape)
        assert penalty.term(linear(shape, norm), real, fake).item() == pytest.approx(10 * (norm - 1) ** 2)


def has_one_epsilon_for_each_example(penalty, shape):
    """Interpolates lie on the straight lines between pairs, each at a place of its own, all places alike."""
    real, fake = examples(shape, 64)
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    penalty.term(critic, real, fake)
    place = ((seen[0] - fake) / (real - fake)).flatten(1)
    torch.testing.assert_close(place, place[:, :1].expand_as(place), atol=1e-6, rtol=0)
    assert place.min() >= 0 and place.max() <= 1
    assert place[:, 0].std().item() == pytest.approx(12**-0.5, abs=0.08)


def is_the_mean_over_examples(penalty, shape):
    """For d(x) = |x|^2 / 2 the slope at x is |x|: with real = fake the interpolate is known."""
    x = torch.zeros(3, *shape, dtype=torch.float64)
    x.flatten(1)[:, 0] = torch.tensor([1.0, 2.0, 5.0])
    term = penalty.term(lambda v: v.square().flatten(1).sum(1) / 2, x, x)
    assert term.item() == pytest.approx(10 * (0 + 1 + 16) / 3)


def teaches_the_critic(penalty, shape):
    """The term has a gradient in the critic's weights, and none in what the generator made."""
    critic = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 8), nn.Tanh(), nn.Linear(8, 1))
    real, fake = torch.randn(4, *shape), torch.randn(4, *shape, requires_grad=True)
    penalty.term(critic, real, fake).backward()
    assert critic[1].weight.grad.abs().sum() > 0
    assert fake.grad is None and not real.requires_grad


LAWS = [
    has_the_norm_over_all_axes,
    has_one_epsilon_for_each_example,
    is_the_mean_over_examples,
    teaches_the_critic,
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("law", LAWS)
def test_gradient_penalty(law, shape):
    law(Gradient(weight=10.0), shape)


class Mistaken(Penalty):
    """A gradient penalty with one thing wrong."""

    def __init__(self, wrong):
        self.wrong = wrong

    def term(self, critic, real, fake):
        one = [1] * (real.dim() - 1)
        size = {"one epsilon a batch": (1, *one), "one epsilon a pixel": real.shape}.get(self.wrong, (len(real), *one))
        mix = torch.rand(size, dtype=real.dtype)
        fake = fake if self.wrong == "generator not detached" else fake.detach()
        x = mix * real + (1 - mix) * fake
        x = x if x.requires_grad else x.requires_grad_()
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=self.wrong != "graph not kept")
        if self.wrong == "norm over channels":
            return 10 * (slope.norm(dim=1) - 1).square().mean()
        if self.wrong == "norm over the batch":
            return 10 * (slope.norm() - 1).square()
        if self.wrong == "norm squared":
            return 10 * (slope.flatten(1).square().sum(1) - 1).square().mean()
        return 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ("one epsilon a batch", has_one_epsilon_for_each_example),
        ("one epsilon a pixel", has_one_epsilon_for_each_example),
        ("norm over channels", has_the_norm_over_all_axes),
        ("norm squared", has_the_norm_over_all_axes),
        ("norm over the batch", is_the_mean_over_examples),
        ("graph not kept", teaches_the_critic),
        ("generator not detached", teaches_the_critic),
    ],
)
def test_the_known_mistakes_break_the_laws(wrong, law):
    shape = (3, 4, 2)
    law(Mistaken("nothing"), shape)
    with pytest.raises((AssertionError, RuntimeError)):
        law(Mistaken(wrong), shape)


@pytest.mark.parametrize(
    ("shape", "weight"), [((1, 4, 4), 10), ((2,), 0.1), ((8,), 0.1), ((9,), 10), ((784 + 50,), 10)]
)
def test_weights_of_the_paper(shape, weight):
    """Ten on images, a tenth on points of the plane, alone, packed by four or with a code; flat images are images."""
    assert Gradient().term(linear(shape, 2.0), *examples(shape)).item() == pytest.approx(weight)


def test_target_and_sides():
    real, fake = examples((6,))
    steep, shallow = linear((6,), 3.0), linear((6,), 0.25)
    assert Gradient(weight=1.0, target=2.5).term(steep, real, fake).item() == pytest.approx(0.25)
    assert Gradient(weight=1.0, one_sided=True).term(steep, real, fake).item() == pytest.approx(4.0)
    assert Gradient(weight=1.0, one_sided=True).term(shallow, real, fake).item() == 0
    assert read(file_of("penalty", "gradient_one_sided"))["one_sided"] is True


@pytest.mark.parametrize("weight", [0.1, 1.0, 10.0])
def test_a_linear_critic_shows_the_distance_and_what_the_weight_adds(weight):
    """Its best slope is 1 + W / (2 weight); without the penalty it shows W + W^2 / (2 weight), less it, less twice it:
    W + W^2 / (4 weight) and W."""
    distance = 0.7
    fake = torch.randn(16, 1, dtype=torch.float64)
    real = fake + distance
    slope = torch.tensor(1 + distance / (2 * weight), dtype=torch.float64, requires_grad=True)
    critic = lambda x: slope * x.squeeze(1)  # noqa: E731
    loss, term = Wasserstein().critic(critic(real), critic(fake)), Gradient(weight).term(critic, real, fake)
    assert torch.autograd.grad(loss + term, slope, retain_graph=True)[0].item() == pytest.approx(0, abs=1e-9)
    for times, over in ((0, 2 * weight), (1, 4 * weight), (2, math.inf)):
        assert (-loss - times * term).item() == pytest.approx(distance + distance**2 / over)


def test_a_trained_critic_has_the_slope_the_way_and_the_distance_of_the_transport():
    """Of N(0, s^2 I) and the same a shift apart W1 is the shift, and a best critic rises against it with slope one.

    Weight 10 and W = 0.5: by what a linear critic shows, the slope is 1.025 at best, and the distance 2.5 % too great.
    """
    torch.manual_seed(0)
    shift, std, steps = torch.tensor([0.3, 0.4]), 0.1, 300
    critic, penalty, loss = (
        mlp.Discriminator(PLANE, width=32, depth=2, activation="silu"),
        Gradient(10.0),
        Wasserstein(),
    )
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.03, steps)

    def draw(count):
        return std * torch.randn(count, 2), std * torch.randn(count, 2) + shift

    for _ in range(steps):
        real, fake = draw(256)
        value = loss.critic(critic(real), critic(fake)) + penalty.term(critic, real, fake)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    real, fake = draw(4000)
    slope = slopes(critic, torch.lerp(real, fake, torch.rand(4000, 1))).detach()
    length = slope.norm(dim=1)
    assert (length - 1).abs().max() < 0.1
    assert (slope @ -shift / shift.norm() / length).min() > 0.99
    with torch.no_grad():
        shown = -loss.critic(critic(real), critic(real + shift)).item()
    assert shown == pytest.approx(shift.norm().item(), rel=0.05)


# ---- the other terms ----
@pytest.mark.parametrize("penalty", TERMS, ids=lambda penalty: type(penalty).__name__)
@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
def test_terms_reach_the_critic_and_nothing_else(penalty, shape):
    teaches_the_critic(penalty, shape)


@pytest.mark.parametrize("kind", [Gradient, R1, R2, R1R2, DRAGAN])
def test_lazy_terms_have_the_same_mean(kind):
    real, fake = examples((6,))
    critic = linear((6,), 3.0)
    lazy, eager = kind(weight=2.0, every=4), kind(weight=2.0)
    assert lazy.every == 4 and lazy.twice
    assert lazy.term(critic, real, fake).item() == pytest.approx(4 * eager.term(critic, real, fake).item())


def test_r1_of_a_linear_critic_is_known():
    real, fake = examples((3, 4, 2))
    assert R1(weight=10.0).term(linear((3, 4, 2), 3.0), real, fake).item() == pytest.approx(45)


def test_r1_is_of_real_and_r2_of_generated_examples():
    """For d(x) = |x|^2 / 2 the squared slope is |x|^2."""
    real, fake = torch.full((4, 3, 2, 2), 1.0), torch.full((4, 3, 2, 2), 2.0)
    critic = lambda x: x.square().flatten(1).sum(1) / 2  # noqa: E731
    found = [kind(weight=2.0).term(critic, real, fake).item() for kind in (R1, R2, R1R2)]
    assert found == pytest.approx([12, 48, 60])


def test_dragan_looks_around_the_data():
    """Where it takes the slope: real examples and Gaussian noise of half their standard deviation, and no fakes."""
    real, seen = 3 + 2 * torch.randn(4000, 6), []

    def critic(x):
        seen.append(x.detach())
        return 3 * x[:, 0]

    term = DRAGAN(weight=10.0).term(critic, real, torch.full_like(real, math.nan))
    assert term.item() == pytest.approx(40)
    noise = seen[0] - real
    assert noise.mean().item() == pytest.approx(0, abs=0.03) and noise.std().item() == pytest.approx(1, abs=0.03)
    assert (noise.abs() > 2).float().mean().item() == pytest.approx(0.0455, abs=0.01)


def test_consistency_of_a_linear_critic_of_points_is_known():
    """Its value changes by w.e, of variance noise^2 |w|^2."""
    real = torch.randn(20_000, 6, dtype=torch.float64)
    term = Consistency(weight=2.0, noise=0.5, every=3).term(linear((6,), 3.0), real, real)
    assert term.item() == pytest.approx(2 * 3 * 0.25 * 9, rel=0.05)


def test_consistency_asks_nothing_of_a_critic_that_does_not_mind():
    real = torch.randn(6, 1, 8, 8)
    assert Consistency(shift=0).term(lambda x: x.flatten(1).sum(1), real, real).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("flip", "shift", "reach"), [(True, None, 2), (False, 3, 3), (True, 0, 0)])
def test_images_are_mirrored_and_moved_by_whole_pixels(flip, shift, reach):
    """Each is one of all that there can be, found by hand, and all that there can be occur; every one is drawn anew."""
    image = torch.randn(2, 16, 20)
    padded = pad(image[None], [reach] * 4, mode="reflect")[0]
    possible = []
    for row in range(2 * reach + 1):
        for column in range(2 * reach + 1):
            moved = padded[:, row : row + 16, column : column + 20]
            possible += [moved, moved.flip(2)] if flip else [moved]
    seen = Consistency(flip=flip, shift=shift).change(image.expand(800, -1, -1, -1))
    which = (seen.flatten(1)[:, None] == torch.stack(possible).flatten(1)).all(2)
    assert (which.sum(1) == 1).all() and which.any(0).all()


# ---- several at once ----
def test_a_sum_has_all_the_terms_and_all_the_projections():
    real, fake = examples((6,))
    critic = linear((6,), 3.0)
    both = Sum({"r1": R1(2.0), "r2": R2(4.0), "clip": Clip(0.1)})
    assert both.term(critic, real, fake).item() == pytest.approx(R1R2(6.0).term(critic, real, fake).item() / 2)
    assert both.twice and both.every == 1
    layer = nn.Linear(6, 1)
    both.project(layer)
    assert layer.weight.abs().max() <= 0.1
    assert Sum({"clip": Clip()}).term(critic, real, fake) is None and not Sum({"clip": Clip()}).twice


def test_lazy_terms_of_a_sum_are_due_together():
    assert Sum({"r1": R1(every=16), "r2": R2(every=16), "norm": SpectralNorm()}).every == 16
    with pytest.raises(ConfigError, match=r"penalty\.terms"):
        Sum({"r1": R1(every=16), "r2": R2()})
    with pytest.raises(ConfigError, match=r"penalty\.terms"):
        Sum({})


@pytest.mark.parametrize("name", [name for name in groups()["penalty"] if "_target_" in read(file_of("penalty", name))])
def test_every_penalty_is_built_from_its_file(name):
    critic = mlp.Discriminator(DIGITS, width=4)
    penalty = build(read(file_of("penalty", name)))
    penalty.prepare(critic)
    term = penalty.term(critic, torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8))
    assert term is None or (term.isfinite() and term.requires_grad)
    penalty.project(critic)


def test_clipping_is_a_projection_onto_the_box():
    critic = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 1))
    before = [p.detach().clone() for p in critic.parameters()]
    penalty = Clip(0.1)
    assert penalty.term(critic, torch.randn(2, 3), torch.randn(2, 3)) is None
    penalty.project(critic)
    for old, new in zip(before, critic.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old.clamp(-0.1, 0.1))
        assert new.requires_grad
    once = [p.detach().clone() for p in critic.parameters()]
    penalty.project(critic)
    assert all(torch.equal(a, b) for a, b in zip(once, critic.parameters(), strict=True))


def test_no_penalty_changes_nothing():
    critic = nn.Linear(3, 1)
    before = critic.weight.detach().clone()
    none = Penalty()
    none.prepare(critic)
    none.project(critic)
    assert none.term(critic, torch.randn(2, 3), torch.randn(2, 3)) is None
    assert torch.equal(before, critic.weight)


# ---- spectral normalisation ----
class Every(nn.Module):
    """A layer of each kind that is normalised, and what is not."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 16)
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 3), nn.GroupNorm(1, 12), nn.ReLU(), nn.ConvTranspose2d(12, 5, 4, 2), nn.Flatten()
        )
        self.head = nn.Linear(5 * 6 * 6, 1, bias=False)

    def forward(self, x):
        h = self.body(self.table(x.flatten(1)[:, 0].abs().long() % 10).view(-1, 1, 4, 4))
        return self.head(h).squeeze(1)


def norms(net):
    """Largest singular value of each reshaped weight, by SVD: C_out x (C_in k k)."""
    found = []
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            weight = layer.weight.detach()
            weight = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
            found.append(torch.linalg.matrix_norm(weight.flatten(1), 2).item())
    return found


def train(critic, penalty, steps, rate=1e-3):
    """Steps of a hinge critic; what the norms were after each."""
    optimizer, seen = torch.optim.Adam(critic.parameters(), rate, betas=(0.0, 0.9)), []
    for _ in range(steps):
        value = Hinge().critic(critic(2 + torch.randn(16, 1, 8, 8)), critic(torch.randn(16, 1, 8, 8)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        penalty.project(critic)
        seen.append(norms(critic))
    return torch.tensor(seen)


@pytest.mark.parametrize(
    ("net", "rate"),
    [
        (partial(mlp.Discriminator, DIGITS, width=64, depth=2), 1e-3),
        (partial(dcgan.Discriminator, DIGITS, width=16, norm=None), 1e-3),
        (partial(dcgan.Discriminator, DIGITS, width=64, norm=None), 2e-4),
        (partial(resnet.Discriminator, DIGITS, width=16), 1e-3),
        (Every, 1e-3),
    ],
)
def test_spectral_norms_are_one_from_the_first_step_on(net, rate):
    torch.manual_seed(0)
    critic, penalty = net(), SpectralNorm()
    before = norms(critic)
    penalty.prepare(critic)
    assert norms(critic) == pytest.approx([1.0] * len(before), abs=1e-4) and max(abs(n - 1) for n in before) > 0.05
    seen = train(critic, penalty, 15, rate)
    assert seen.shape == (15, len(before)) and (seen - 1).abs().max() < 1e-2


def test_a_critic_that_is_normalised_is_lipschitz():
    """Linear layers of norm one and activations of slope at most one make no slope above one."""
    critic, penalty = mlp.Discriminator(DIGITS, width=64, depth=3), SpectralNorm()
    penalty.prepare(critic)
    train(critic, penalty, 10, rate=1e-2)
    assert slopes(critic, torch.randn(200, 1, 8, 8)).norm(dim=1).max() <= 1.03


def test_the_singular_vectors_move_with_steps_and_with_nothing_else():
    critic, penalty, x = Every(), SpectralNorm(), torch.randn(4, 1, 8, 8)
    penalty.prepare(critic)
    before = copy.deepcopy(critic.state_dict())
    first = critic(x)
    for mode in (True, False, True):
        torch.testing.assert_close(critic.train(mode)(x), first)
    assert all(torch.equal(before[name], value) for name, value in critic.state_dict().items())
    train(critic.train(), penalty, 1)
    assert not any(
        torch.equal(before[name], value) for name, value in critic.state_dict().items() if name.endswith(".v")
    )


def test_the_singular_vectors_are_constants_of_the_gradient():
    """dL/dW = (G - <G, W / sigma> u v^T) / sigma for a gradient G in the normalised weight (eq. 12 of the paper)."""
    layer = nn.Linear(7, 5, bias=False)
    SpectralNorm().prepare(layer)
    found, pull = normalised(layer), torch.randn(5, 7)
    (layer.weight * pull).sum().backward()
    weight = layer.parametrizations.weight.original
    sigma = torch.linalg.matrix_norm(weight.detach(), 2)
    along = (pull * weight.detach() / sigma).sum() * torch.outer(found.u, found.v)
    torch.testing.assert_close(weight.grad, (pull - along) / sigma)


def test_one_vector_is_the_power_method_of_the_paper():
    """On weights that stay, it comes to what torch's own has after as many iterations."""
    torch.manual_seed(0)
    layer, penalty = nn.Linear(9, 6), SpectralNorm(vectors=1)
    penalty.prepare(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original.add_(0.1 * torch.randn(6, 9))
    found = normalised(layer)
    u, v, weight = found.u.clone(), found.v.clone(), layer.parametrizations.weight.original.detach()
    for _ in range(3):
        penalty.project(layer)
        u = nn.functional.normalize(weight @ nn.functional.normalize(weight.T @ u, dim=0), dim=0)
        v = nn.functional.normalize(weight.T @ u, dim=0)
        torch.testing.assert_close((found.u, found.v), (u, v))
    with pytest.raises(ConfigError, match=r"penalty\.vectors"):
        SpectralNorm(vectors=0)


def test_normalised_critics_survive_copies_and_files(tmp_path):
    """A copy, and a fresh model that is prepared and loaded, rate alike; preparing again changes nothing."""
    penalty, x = SpectralNorm(), torch.randn(4, 1, 8, 8)
    config = {"penalty": {"_target_": "genlab.penalties.spectral_norm.SpectralNorm"}}
    make = lambda: GAN(DIGITS, partial(mlp.Generator, width=4), partial(resnet.Discriminator, width=8), 3)  # noqa: E731
    model = make()
    checkpoint.prepare(model, config)
    assert all(normalised(layer) is None for layer in model.generator.modules())
    train(model.critic.net, penalty, 3)
    expected = model.critic.net(x)
    torch.save(model.state_dict(), tmp_path / "weights")

    fresh = make()
    checkpoint.prepare(fresh, config)
    fresh.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    copied = copy.deepcopy(model)
    for other in (fresh, copied):
        torch.testing.assert_close(other.critic.net(x), expected)
        checkpoint.prepare(other, config)
        torch.testing.assert_close(other.critic.net(x), expected)
        assert {*other.state_dict()} == {*model.state_dict()}
    names = {name for name, _ in model.critic.net.named_parameters()}
    torch.manual_seed(1)
    train(copied.critic.net, penalty, 2)
    torch.manual_seed(1)
    train(fresh.critic.net, penalty, 2)
    torch.testing.assert_close(copied.critic.net(x), fresh.critic.net(x))  # no state is left behind
    torch.testing.assert_close(model.critic.net(x), expected)  # nor shared
    assert {name for name, _ in copied.critic.net.named_parameters()} == names


def test_weights_are_normalised_in_full_precision_under_autocast():
    critic, penalty = mlp.Discriminator(DIGITS, width=64), SpectralNorm()
    penalty.prepare(critic)
    with torch.autocast("cpu", torch.bfloat16):
        train(critic, penalty, 3)
        assert critic(torch.randn(2, 1, 8, 8)).dtype == torch.bfloat16
        seen = [layer.weight for layer in critic.modules() if isinstance(layer, nn.Linear)]
    assert all(weight.dtype == torch.float32 for weight in seen)
    assert norms(critic) == pytest.approx([1.0] * len(seen), abs=1e-3)


def test_a_penalty_on_a_normalised_critic_reaches_its_weights():
    critic = mlp.Discriminator(DIGITS, width=8)
    both = Sum({"norm": SpectralNorm(), "r1": R1()})
    both.prepare(critic)
    both.term(critic, torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8)).backward()
    grads = [p.grad for name, p in critic.named_parameters() if name.endswith("original")]
    assert grads and all(grad is not None and grad.any() for grad in grads)
