"""BiGAN and ALI: pairs that no critic tells apart, labels exchanged, who learns in whose turn; joint discriminators."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from genlab.errors import ConfigError
from genlab.losses.density_ratio import DensityRatio
from genlab.losses.least_squares import LeastSquares
from genlab.losses.minimax import Minimax
from genlab.losses.non_saturating import NonSaturating
from genlab.losses.wasserstein import Wasserstein
from genlab.models.base import Criticises, Encodes, Game, Posterior, Samples
from genlab.models.gan import ali_nets, dcgan, mlp, resnet
from genlab.models.gan.ali import ALI
from genlab.models.gan.bigan import BiGAN
from genlab.models.gan.joint import Discriminator
from genlab.noise import Noise
from genlab.penalties.gradient import Gradient
from genlab.penalties.r1 import R1
from genlab.spec import Spec

PLANE = Spec("vector", (2,))
DIGITS = Spec("image", (1, 8, 8), 17, classes=tuple("0123456789"))
FACES = Spec("image", (3, 8, 8), 256, attributes=("smiling", "bearded", "old"))
CIFAR = Spec("image", (3, 32, 32), 256)
CELEBA = Spec("image", (3, 64, 64), 256)
LOSSES = [Minimax(), NonSaturating(), LeastSquares(), Wasserstein(), DensityRatio()]


class Affine(nn.Module):
    """x A' + b of points, whatever else it is called with."""

    def __init__(self, matrix, shift):
        super().__init__()
        self.matrix, self.shift = nn.Parameter(matrix), nn.Parameter(shift)

    def forward(self, x, *_):
        return x @ self.matrix.T + self.shift


A, B = torch.tensor([[1.0, 0.5], [-0.3, 0.8]]), torch.tensor([1.0, -2.0])
INVERSE = torch.linalg.inv(A)


def matched(sign=1.0):
    """G(z) = A z + b and its inverse; of sign -1 the codes have the same law, but are those of other examples."""
    torch.manual_seed(0)
    return BiGAN(
        PLANE,
        lambda spec, latent: Affine(A.clone(), B.clone()),
        lambda spec, outputs: Affine(sign * INVERSE, -sign * INVERSE @ B),
        partial(Discriminator, width=64, depth=2, activation="softplus"),
        2,
    )


def points(count):
    return {"x": torch.randn(count, 2) @ A.T + B}


def make(kind=BiGAN, spec=DIGITS, net=mlp, pack=1, conditional=False, image=True, latent=5, **discriminator):
    torch.manual_seed(0)
    return kind(
        spec,
        partial(net.Generator, width=8, norm="batch"),
        partial(net.Discriminator, width=8),
        partial(
            Discriminator, image=partial(net.Discriminator, width=8, norm=None) if image else None, **discriminator
        ),
        latent,
        pack=pack,
        conditional=conditional,
    )


def batch(spec, count=12):
    if spec.levels is None:
        return {"x": torch.randn(count, *spec.shape)}
    y = torch.arange(count) % 10 if spec.classes else torch.randint(2, (count, len(spec.attributes)), dtype=torch.uint8)
    return {"x": torch.randint(spec.levels, (count, *spec.shape), dtype=torch.uint8), "y": y}


def trained_critic(model, steps=150):
    """The critic's loss on fresh pairs after it has learnt, the other player standing still."""
    optimizer = torch.optim.Adam(model.critic.parameters(), 5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model.turn("critic", points(512), NonSaturating(), None)[0].backward()
        optimizer.step()
    with torch.no_grad():
        return model.turn("critic", points(20_000), NonSaturating(), None)[0].item()


def test_no_critic_tells_the_pairs_of_an_inverse_apart():
    """D = 1/2 is best, log 4; codes of the same law that are not the inverse's are found out."""
    assert trained_critic(matched()) == pytest.approx(math.log(4), abs=0.02)
    assert trained_critic(matched(-1.0)) < 0.7


def test_the_players_find_the_inverse():
    """Linear nets: a generator from elsewhere and an encoder that is not its inverse come to be a pair."""
    torch.manual_seed(0)
    model = matched()
    with torch.no_grad():
        model.encoder.matrix.copy_(torch.eye(2))
        model.encoder.shift.zero_()
    optimizers = [
        torch.optim.Adam([p for part in parts for p in part.parameters()], rate, betas=(0.5, 0.9))
        for parts, rate in zip(model.players().values(), (1e-2, 5e-3), strict=True)
    ]
    for _ in range(600):
        for player, optimizer in zip(model.players(), optimizers, strict=True):
            model.zero_grad()
            model.turn(player, points(256), NonSaturating(), None)[0].backward()
            optimizer.step()
    x = points(1000)["x"]
    away = (model.decode(model.encode(x)) - x).square().sum(1).mean() / (x - x.roll(1, 0)).square().sum(1).mean()
    assert away.item() < 0.02


def test_both_turns_are_the_equation():
    """softplus(-d(x, E(x))) + softplus(d(G(z), z)) for the critic; the signs exchanged for the others."""
    model, x = matched(), points(64)["x"]
    for player, sign in (("critic", 1.0), ("generator", -1.0)):
        torch.manual_seed(3)
        value, parts = model.turn(player, {"x": x}, NonSaturating(), None)
        torch.manual_seed(3)
        z = torch.randn(64, 2)
        real = model.critic.net(x, (x - B) @ INVERSE.T)
        fake = model.critic.net(z @ A.T + B, z)
        torch.testing.assert_close(value, softplus(-sign * real).mean() + softplus(sign * fake).mean())
        assert parts[player] == value.detach()


def reached(model, player, loss=None, spec=DIGITS):
    """Modules with a gradient after a turn, with the others frozen as in training."""
    modules = model.players()
    mine = {id(p) for part in modules[player] for p in part.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in mine)
        parameter.grad = None
    model.turn(player, batch(spec), loss or NonSaturating(), None)[0].backward()
    return {
        name
        for name in ("critic", "generator", "encoder")
        for p in getattr(model, name).parameters()
        if p.grad is not None
    }


@pytest.mark.parametrize("kind", [BiGAN, ALI])
def test_who_learns_in_whose_turn(kind):
    model = make(kind)
    assert reached(model, "critic") == {"critic"}
    assert reached(model, "generator") == {"generator", "encoder"}


def test_generator_and_encoder_learn_each_from_its_own_pairs():
    """A critic blind to codes teaches the encoder nothing; one that is blind to examples teaches only it."""
    for blind, taught in (("code", "generator"), ("x", "encoder")):
        model = matched()

        class Blind(nn.Module):
            def __init__(self, what):
                super().__init__()
                self.what = what

            def forward(self, x, code):
                return (x if self.what == "code" else code).square().sum(1)

        model.critic.net = Blind(blind)
        model.turn("generator", points(32), NonSaturating(), None)[0].backward()
        for name in ("generator", "encoder"):
            grads = [p.grad for p in getattr(model, name).parameters()]
            assert any(grad is not None and grad.any() for grad in grads) == (name == taught)


@pytest.mark.parametrize("kind", [BiGAN, ALI])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("pack, penalty", [(1, Gradient()), (2, R1())], ids=["gradient", "packs, r1"])
def test_every_loss_and_penalty_reaches_every_parameter(kind, loss, pack, penalty):
    model = make(kind, pack=pack)
    for player, modules in model.players().items():
        model.zero_grad()
        value, parts = model.turn(player, batch(DIGITS), loss, penalty if player == "critic" else None)
        value.backward()
        assert all(part.isfinite() and not part.requires_grad for part in parts.values())
        for module in modules:
            assert not [name for name, p in module.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
            assert not [name for name, p in module.named_parameters() if p.dim() > 1 and not p.grad.any()]


@pytest.mark.parametrize("kind", [BiGAN, ALI])
@pytest.mark.parametrize("net, spec", [(mlp, PLANE), (mlp, DIGITS), (dcgan, FACES), (resnet, DIGITS)])
@pytest.mark.parametrize("conditional", [False, True])
def test_codes_and_examples(kind, net, spec, conditional):
    if conditional and spec is PLANE:
        return
    model = make(kind, spec, net, conditional=conditional, pack=2).eval()
    made = batch(spec)
    x, y = made["x"], made.get("y") if conditional else None
    assert isinstance(model, Game) and isinstance(model, Samples) and isinstance(model, Criticises)
    assert isinstance(model, Encodes) and isinstance(model, Posterior) == (kind is ALI)
    code = model.encode(x, y)
    assert code.shape == (12, 5) and model.criticise(x, y).shape == (12,)
    back = model.decode(code, y)
    assert back.shape == x.shape and back.dtype == x.dtype
    many = model.sample(Noise(range(12)), y)
    assert many.shape == x.shape and torch.equal(model.sample(Noise([7]), None if y is None else y[7:8])[0], many[7])


@pytest.mark.parametrize("net", [mlp, dcgan])
@pytest.mark.parametrize("spec", [DIGITS, FACES])
@pytest.mark.parametrize("pack", [1, 2])
def test_conditions_reach_all_three_nets(net, spec, pack):
    model, made = make(ALI, spec, net, pack, conditional=True).eval(), batch(spec)
    for player in model.players():
        model.turn(player, made, Wasserstein(), Gradient() if player == "critic" else None)[0].backward()
    x, y = made["x"], made["y"]
    other = y.clone()
    other[:2] = (y[:2] + 1) % (10 if spec.classes else 2)
    z, code = torch.randn(12, 5), torch.randn(12, 5)
    x1 = model.generate(z, model.given(y))
    for one, two in (
        (model.encode(x, y), model.encode(x, other)),
        (x1, model.generate(z, model.given(other))),
        tuple(model.critic((x1, code), model.given(labels))[:, None] for labels in (y, other)),
    ):
        changed = (one != two).flatten(1).any(1)
        assert changed[: 2 // pack if len(changed) < 12 else 2].all() and not changed[2:].any()
    with pytest.raises(ConfigError, match="label"):
        model.encode(x)


def test_a_drawn_code_has_the_posteriors_mean_and_deviation():
    model = make(ALI, PLANE, latent=2).eval()
    x = torch.randn(1, 2)
    mean, log_variance = model.posterior(x)
    codes = model.infer(x.expand(20_000, 2), None)
    torch.testing.assert_close(model.encode(x), mean)
    torch.testing.assert_close(codes.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(codes.std(0), torch.exp(log_variance / 2)[0], atol=0.03, rtol=0)


def test_mixed_precision_pairs():
    model = make(ALI)
    for player in model.players():
        with torch.autocast("cpu", torch.bfloat16):
            value, _ = model.turn(player, batch(DIGITS), NonSaturating(), Gradient() if player == "critic" else None)
        value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


# ---- joint discriminators ----
def test_without_a_net_of_x_examples_and_codes_are_joined_at_once():
    net = Discriminator(DIGITS, [(5,)], width=7, depth=1, activation="maxout2", given=3)
    x, z, given = torch.randn(4, 1, 8, 8), torch.randn(4, 5), torch.randn(4, 3)
    (first, _), last = net.joint[:2], net.joint[2]
    assert first.in_features == 64 + 5 + 3
    h = first(torch.cat((x.flatten(1), z, given), 1)).view(4, 7, 2).amax(2)
    torch.testing.assert_close(net(x, z, given), last(h)[:, 0])


def test_features_of_x_meet_features_of_the_code():
    net = Discriminator(DIGITS, [(5,)], partial(dcgan.Discriminator, width=4), 7, 1, code_width=6, code_depth=2)
    x, z = torch.randn(4, 1, 8, 8), torch.randn(4, 5)
    h = torch.cat((net.image.layers(x), net.code(z)), 1)
    assert h.shape == (4, 8 * 4 + 6)
    torch.testing.assert_close(net(x, z), net.joint(h)[:, 0])
    net(x, z).sum().backward()
    assert all(p.grad is not None for p in net.parameters())  # no last layer of x that nothing reaches


def test_dropout_is_of_units_and_of_what_comes_in():
    net = Discriminator(DIGITS, [(5,)], width=7, depth=2, code_depth=1, dropout=0.5, input_dropout=0.2)
    rates = sorted({id(part): part.p for part in net.modules() if isinstance(part, nn.Dropout)}.values())
    assert rates == [0.2, 0.5, 0.5, 0.5]  # the first of them of x and of the code
    calm = copy.deepcopy(net).eval()
    x, z = torch.randn(4, 1, 8, 8), torch.randn(4, 5)
    assert torch.equal(calm(x, z), calm(x, z)) and not torch.equal(net(x, z), net(x, z))


def test_initial_weights_are_those_asked_for():
    net = Discriminator(DIGITS, [(5,)], width=400, depth=2, std=0.02)
    assert net.joint[0].weight.std().item() == pytest.approx(0.02, rel=0.05) and not net.joint[0].bias.any()


# ---- the nets of ALI ----
def conv(inputs, outputs, kernel, bias=False):
    return inputs * outputs * kernel**2 + (outputs if bias else 0)


def size(net):
    return sum(p.numel() for p in net.parameters())


def test_sizes_of_ali_on_cifar():
    """Encoder 5x5/1 32, 4x4/2 64, 4x4/1 128, 4x4/2 256, 4x4/1 512, 1x1 512, 1x1 128; decoder 4x4/1 256, 4x4/2 128,
    4x4/1 64, 4x4/2 32, 5x5/1 32, 1x1 32, 1x1 3; D(x) as the encoder's first five, of two pieces and with biases, D(z)
    512, 512, D(x, z) 1024, 1024, 1. Batch norm has two numbers a channel."""
    plan = [(3, 32, 5), (32, 64, 4), (64, 128, 4), (128, 256, 4), (256, 512, 4)]
    encoder = sum(conv(*layer) + 2 * layer[1] for layer in [*plan, (512, 512, 1)]) + conv(512, 128, 1, bias=True)
    up = [(64, 256, 4), (256, 128, 4), (128, 64, 4), (64, 32, 4), (32, 32, 5), (32, 32, 1)]
    decoder = sum(conv(*layer) + 2 * layer[1] for layer in up) + conv(32, 3, 1, bias=True)
    critic = sum(conv(a, 2 * b, kernel, bias=True) for a, b, kernel in plan)
    dense = [(64, 512), (512, 512), (1024, 1024), (1024, 1024)]
    critic += sum(conv(a, 2 * b, 1, bias=True) for a, b in dense) + 1025
    assert size(ali_nets.Discriminator(CIFAR, point=True, outputs=128)) == encoder
    assert size(ali_nets.Generator(CIFAR, 64)) == decoder
    image = partial(ali_nets.Discriminator, norm=None, activation="maxout2")
    net = Discriminator(CIFAR, [(64,)], image, 1024, 2, 512, 2, activation="maxout2")
    assert size(net) == critic


@pytest.mark.parametrize("spec", [CIFAR, CELEBA])
def test_nets_of_ali_lead_to_one_pixel_and_back(spec):
    x = ali_nets.Generator(spec, 5, given=2)(torch.randn(2, 5), torch.randn(2, 2))
    assert x.shape == (2, *spec.shape) and x.abs().max() <= 1
    net = ali_nets.Discriminator(spec, norm_first=False, dropout=0.2, input_dropout=0.2, outputs=6, given=2)
    assert net.features(x).shape == (2, 512) and net(x, torch.randn(2, 2)).shape == (2, 6)
    with pytest.raises(ConfigError, match=r"32 x 32 or 64 x 64"):
        ali_nets.Generator(DIGITS, 5)
