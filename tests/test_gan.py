"""GANs: the laws of their losses, the sizes of their nets, and who learns in whose turn."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from genlab.errors import ConfigError
from genlab.losses.least_squares import LeastSquares
from genlab.losses.minimax import Minimax
from genlab.losses.non_saturating import NonSaturating
from genlab.losses.wasserstein import Wasserstein
from genlab.models.base import Game, Samples
from genlab.models.gan import dcgan, mlp, resnet
from genlab.models.gan.gan import GAN
from genlab.noise import Noise
from genlab.penalties.clip import Clip
from genlab.penalties.gradient import Gradient
from genlab.spec import Spec

PLANE = Spec("vector", (2,))
DIGITS = Spec("image", (1, 8, 8), 17)
BINARY = Spec("image", (1, 28, 28), 2)
CIFAR = Spec("image", (3, 32, 32), 256)
LOSSES = [Minimax(), NonSaturating(), LeastSquares(), Wasserstein()]


def make(spec, net=mlp, latent=6, width=4, norm=None):
    torch.manual_seed(0)
    return GAN(
        spec,
        partial(net.Generator, width=width, norm="batch"),
        partial(net.Discriminator, width=width, norm=norm),
        latent,
    )


def batch(spec, count=8):
    if spec.levels is None:
        return {"x": torch.randn(count, *spec.shape)}
    return {"x": torch.randint(spec.levels, (count, *spec.shape), dtype=torch.uint8)}


def size(net):
    return sum(p.numel() for p in net.parameters())


# ---- losses on two known distributions, p = (1, 2, 5) / 8 and q = (4, 3, 1) / 8, each drawn exactly ----
P, Q = torch.tensor([1.0, 2, 5], dtype=torch.float64) / 8, torch.tensor([4.0, 3, 1], dtype=torch.float64) / 8


def drawn(values, law):
    """Critic values on eight examples that follow ``law`` exactly."""
    return values.repeat_interleave((law * 8).long())


def test_minimax_at_its_best_critic_is_log_4_minus_2_js():
    best = torch.log(P / Q).requires_grad_()
    value = Minimax().critic(drawn(best, P), drawn(best, Q))
    middle = (P + Q) / 2
    js = ((P * (P / middle).log()).sum() + (Q * (Q / middle).log()).sum()) / 2
    assert value.item() == pytest.approx(math.log(4) - 2 * js.item())
    (slope,) = torch.autograd.grad(value, best)
    assert slope.abs().max() < 1e-12


@pytest.mark.parametrize(
    "loss, best",
    [
        (LeastSquares(), P / (P + Q)),
        (LeastSquares(real=1, fake=-1, aim=0), (P - Q) / (P + Q)),
        (NonSaturating(), torch.log(P / Q)),
    ],
)
def test_critic_optimum(loss, best):
    best = best.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss.critic(drawn(best, P), drawn(best, Q)), best)
    assert slope.abs().max() < 1e-12


def test_least_squares_generator_is_pearson_chi_squared():
    """With real - aim = 1 and real - fake = 2, 2 C(G) = E_(p+q)[(d* - c)^2] is Pearson's distance of p + q from 2q."""
    loss, best = LeastSquares(real=1, fake=-1, aim=0), (P - Q) / (P + Q)
    pearson = ((2 * Q - (P + Q)).square() / (P + Q)).sum().item()
    both = 2 * (loss.generator(drawn(best, Q)) + loss.generator(drawn(best, P)))
    assert both.item() == pytest.approx(pearson)


def test_generator_slopes():
    """What moves the generator: D for minimax, 1 - D for non-saturating, one everywhere for Wasserstein."""
    d = torch.linspace(-30, 30, 13, dtype=torch.float64, requires_grad=True)

    def slope(loss):
        return torch.autograd.grad(loss.generator(d), d)[0] * len(d)

    torch.testing.assert_close(slope(Minimax()), -torch.sigmoid(d))
    torch.testing.assert_close(slope(NonSaturating()), torch.sigmoid(d) - 1)
    torch.testing.assert_close(slope(LeastSquares()), d - 1)
    torch.testing.assert_close(slope(Wasserstein()), -torch.ones_like(d))


def test_losses_are_finite_at_extreme_logits():
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    for loss in (Minimax(), NonSaturating()):
        value = loss.critic(far, far) + loss.generator(far)
        assert value.isfinite() and torch.autograd.grad(value, far)[0].isfinite().all()


def test_wasserstein_is_the_distance_under_the_best_critic():
    """Two point masses apart by 3 on a line: d(x) = x is the best 1-Lipschitz critic."""
    assert Wasserstein().critic(torch.full((4,), 5.0), torch.full((4,), 2.0)).item() == -3


# ---- nets ----
@pytest.mark.parametrize("net", [mlp, dcgan, resnet])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 128, 128), (3, 32, 48)])
def test_nets_size_themselves(net, shape):
    spec = Spec("image", shape, 256)
    generator, critic = net.Generator(spec, 5, width=2), net.Discriminator(spec, width=2)
    x = generator(torch.randn(2, 5))
    assert x.shape == (2, *shape) and x.abs().max() <= 1
    assert critic(x).shape == (2,)


@pytest.mark.parametrize("net", [dcgan, resnet])
@pytest.mark.parametrize("spec", [PLANE, Spec("image", (1, 27, 27), 256)])
def test_convolutions_refuse_what_they_cannot_draw(net, spec):
    with pytest.raises(ConfigError, match=r"model\.net"):
        net.Generator(spec, 5)
    with pytest.raises(ConfigError, match=r"model\.net"):
        net.Discriminator(spec)


@pytest.mark.parametrize("side, base, layers", [(8, 2, 2), (28, 7, 2), (32, 4, 3), (64, 4, 4), (128, 4, 5), (96, 6, 4)])
def test_smallest_map(side, base, layers):
    generator = dcgan.Generator(Spec("image", (1, side, side), 256), 5, width=2)
    assert next(m for m in generator.layers if isinstance(m, nn.Unflatten)).unflattened_size[1:] == (base, base)
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in generator.layers) == layers


def test_sizes_of_wgan_gp_on_cifar():
    """Linear 128 -> 4*4*512, 5x5 to 256, 128, 3; norms have two numbers a feature and take the bias's place."""
    generator = 128 * 8192 + 2 * 8192
    generator += 25 * 512 * 256 + 2 * 256 + 25 * 256 * 128 + 2 * 128 + 25 * 128 * 3 + 3
    critic = (25 * 3 * 128 + 128) + (25 * 128 * 256 + 256) + (25 * 256 * 512 + 512) + (8192 + 1)
    assert size(dcgan.Generator(CIFAR, 128, width=128)) == generator == 5_171_331
    assert size(dcgan.Discriminator(CIFAR, width=128, norm=None)) == critic == 4_114_689


def test_sizes_of_dcgan_at_64():
    """Linear 100 -> 4*4*1024, 5x5 to 512, 256, 128, 3; the critic 128, 256, 512, 1024, its first layer without norm."""
    spec = Spec("image", (3, 64, 64), 256)
    generator = 100 * 16384 + 2 * 16384 + 25 * 128 * 3 + 3
    generator += sum(25 * 2 * n * n + 2 * n for n in (512, 256, 128))
    critic = 25 * 3 * 128 + 128 + sum(25 * n * n // 2 + 2 * n for n in (256, 512, 1024)) + 16384 + 1
    assert size(dcgan.Generator(spec, 100)) == generator
    assert size(dcgan.Discriminator(spec)) == critic


def test_sizes_of_the_residual_nets_on_cifar():
    """Generator: linear, three blocks of norm 256, 3x3, norm 256, 3x3, 1x1, then norm and 3x3. Critic: an image block
    of 3x3, 3x3, 1x1, a halving block of 3x3, 3x3, 1x1, two blocks of 3x3, 3x3, then linear."""
    conv, point = 9 * 128 * 128 + 128, 128 * 128 + 128
    generator = 128 * 2048 + 2048 + 3 * (2 * 256 + 2 * conv + point) + 256 + 9 * 128 * 3 + 3
    critic = (9 * 3 * 128 + 128) + conv + (3 * 128 + 128) + (2 * conv + point) + 4 * conv + 129
    assert size(resnet.Generator(CIFAR, 128)) == generator == 1_204_483
    assert size(resnet.Discriminator(CIFAR)) == critic == 1_053_825


def test_maxout_is_the_largest_piece():
    critic = mlp.Discriminator(PLANE, width=3, depth=1, activation="maxout")
    x = torch.randn(4, 2)
    (first, _), last = critic.layers, critic.head.linear
    largest = (x @ first.weight.T + first.bias).view(4, 3, 5).max(2).values
    torch.testing.assert_close(critic(x), last(largest).squeeze(1))


def test_initial_weights_have_the_scale_of_their_paper():
    net = dcgan.Generator(CIFAR, 128, width=32)
    assert net.layers[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    net = resnet.Discriminator(CIFAR, width=64)
    block = net.blocks[1]
    assert block.conv1.weight.std().item() == pytest.approx(math.sqrt(4 / (2 * 9 * 64)), rel=0.05)
    assert block.shortcut.weight.std().item() == pytest.approx(math.sqrt(2 / (2 * 64)), rel=0.05)


# ---- the game ----
@pytest.mark.parametrize("net, spec", [(mlp, PLANE), (mlp, DIGITS), (dcgan, DIGITS), (resnet, DIGITS), (dcgan, BINARY)])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_every_parameter_of_the_player_learns_in_its_turn(net, spec, loss):
    model = make(spec, net)
    players = model.players()
    assert isinstance(model, Game) and isinstance(model, Samples) and list(players) == ["critic", "generator"]
    for player, (module,) in players.items():
        model.zero_grad()
        value, parts = model.turn(player, batch(spec), loss, Gradient() if player == "critic" else None)
        value.backward()
        assert all(not part.requires_grad and part.isfinite() for part in parts.values())
        still = [
            name
            for name, parameter in module.named_parameters()
            if parameter.grad is None or (parameter.dim() > 1 and not parameter.grad.any())
        ]
        assert not still


def test_critic_turn_leaves_the_generator_alone():
    model = make(DIGITS, dcgan)
    value, parts = model.turn("critic", batch(DIGITS), Wasserstein(), Gradient())
    value.backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert value.item() == pytest.approx((parts["critic"] + parts["penalty"]).item())
    assert parts["critic"].item() == pytest.approx((parts["critic_fake"] - parts["critic_real"]).item())


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_one_call_on_both_is_exact(norm):
    """Values are those of two calls, whether or not the net makes one: batch norm must not mix real and generated."""
    model = make(DIGITS, dcgan, norm=norm)
    real, fake = torch.randn(8, 1, 8, 8), 3 + torch.randn(8, 1, 8, 8)
    expected = model.critic(real), model.critic(fake)
    for value, other in zip(model.critic.rate(real, fake), expected, strict=True):
        torch.testing.assert_close(value, other)


def test_penalty_is_in_full_precision_under_autocast():
    seen = []

    class Spy(Gradient):
        def term(self, critic, real, fake):
            seen.extend((real.dtype, fake.dtype, critic(real).dtype))
            return super().term(critic, real, fake)

    model = make(DIGITS)
    with torch.autocast("cpu", torch.bfloat16):
        value, _ = model.turn("critic", batch(DIGITS), Wasserstein(), Spy())
        x = torch.randn(2, 1, 8, 8)
        assert model.critic.net(x).dtype == torch.bfloat16
        assert model.critic(x).dtype == torch.float32  # what losses and penalties see
    value.backward()
    assert seen == [torch.float32] * 3


def test_penalty_without_a_term():
    _, parts = make(PLANE).turn("critic", batch(PLANE), Wasserstein(), Clip())
    assert "penalty" not in parts


@pytest.mark.parametrize("net, spec", [(mlp, PLANE), (mlp, DIGITS), (dcgan, BINARY), (resnet, DIGITS)])
def test_samples_depend_on_their_own_seed_alone(net, spec):
    model = make(spec, net).eval()
    many = model.sample(Noise(range(9)))
    assert many.shape == (9, *spec.shape) and not many.requires_grad
    torch.testing.assert_close(model.sample(Noise([7, 2])), many[[7, 2]])
    assert len(many.flatten(1).float().unique(dim=0)) > 1
    still = model.sample(Noise(range(3)), temperature=0.0)
    assert torch.equal(still[0], still[1])
    if spec.levels is not None:
        assert many.dtype == torch.uint8 and many.max() < spec.levels


def test_samples_round_to_the_nearest_level():
    """A generator that returns the scaled data returns the data."""

    class Fixed(nn.Module):
        def __init__(self, spec, latent):
            super().__init__()

        def forward(self, z):
            return torch.linspace(-1, 1, 17).expand(len(z), 17)

    spec = Spec("vector", (17,), 17)
    model = GAN(spec, Fixed, partial(mlp.Discriminator, width=2), 3)
    assert model.sample(Noise([0])).tolist() == [list(range(17))]


def test_wasserstein_gp_learns_a_shifted_gaussian():
    """The mean of N((2, -1), 0.5^2 I) is found from a start at the origin."""
    torch.manual_seed(0)
    model = make(PLANE, width=32, latent=2)
    loss, penalty = Wasserstein(), Gradient(0.1)
    optimizers = {
        player: torch.optim.Adam(module.parameters(), 3e-3, betas=(0.5, 0.9), fused=True)
        for player, (module,) in model.players().items()
    }
    centre = torch.tensor([2.0, -1.0])
    for _ in range(150):
        for player in ("critic", "critic", "generator"):
            data = {"x": centre + 0.5 * torch.randn(64, 2)}
            value, _ = model.turn(player, data, loss, penalty if player == "critic" else None)
            optimizers[player].zero_grad()
            value.backward()
            optimizers[player].step()
    samples = model.eval().sample(Noise(range(500)))
    torch.testing.assert_close(samples.mean(0), centre, atol=0.3, rtol=0)
