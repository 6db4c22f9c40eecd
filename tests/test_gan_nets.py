"""Nets of the GANs: sizes of the papers, gates, attention, conditions in normalisations, similarities in a batch."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from genlab.errors import ConfigError
from genlab.losses.wasserstein import Wasserstein
from genlab.models.gan import dcgan, mlp, resnet, resnet101, sngan
from genlab.models.gan.critic import Critic
from genlab.models.gan.gan import GAN
from genlab.models.gan.layers import ConditionalNorm, Gated, Maxout
from genlab.models.gan.minibatch import MinibatchDiscrimination
from genlab.nn.attention import SelfAttention
from genlab.spec import Spec

CIFAR = Spec("image", (3, 32, 32), 256, classes=tuple("abcdefghij"))
BEDROOMS = Spec("image", (3, 64, 64), 256)
MNIST = Spec("image", (1, 28, 28), 256, classes=tuple("0123456789"))
DIGITS = Spec("image", (1, 8, 8), 17, classes=tuple("0123456789"))


def size(net):
    return sum(p.numel() for p in net.parameters())


def conv(inputs, outputs, kernel, bias=True):
    return inputs * outputs * kernel**2 + (outputs if bias else 0)


def test_sizes_of_spectral_normalisation():
    """Table 3: 128 -> 4*4*512, 4x4 to 256, 128, 64 with batch norm, 3x3 to 3; and 64, 64/2 ... 256/2, 512."""
    generator = 128 * 8192 + 8192 + conv(64, 3, 3)
    generator += sum(conv(2 * maps, maps, 4, bias=False) + 2 * maps for maps in (256, 128, 64))
    critic = conv(3, 64, 3) + conv(64, 64, 4) + conv(64, 128, 3) + conv(128, 128, 4) + conv(128, 256, 3)
    critic += conv(256, 256, 4) + conv(256, 512, 3) + 512 * 16 + 1
    assert size(sngan.Generator(CIFAR, 128)) == generator == 3_811_907
    assert size(sngan.Discriminator(CIFAR)) == critic == 2_935_873


def test_sizes_of_residual_spectral_normalisation():
    """Released code: 256 maps and three blocks up; 128 maps, two blocks down, two plain, a last layer without bias."""
    block = 2 * (conv(256, 256, 3) + 2 * 256) + conv(256, 256, 1)
    generator = 128 * 4096 + 4096 + 3 * block + 2 * 256 + conv(256, 3, 3)
    critic = conv(3, 128, 3) + conv(128, 128, 3) + conv(3, 128, 1) + 2 * conv(128, 128, 3) + conv(128, 128, 1)
    critic += 2 * 2 * conv(128, 128, 3) + 128
    assert size(resnet.Generator(CIFAR, 128, width=256)) == generator == 4_276_739
    assert size(resnet.Discriminator(CIFAR, width=128, pool="sum", bias=False)) == critic == 1_053_824


def test_sizes_of_dcgan_at_64_pixels():
    """Figure 1: 100 -> 4x4x1024 -> 512 -> 256 -> 128 -> 3, 5x5 kernels."""
    widths = (1024, 512, 256, 128)
    generator = 100 * 16384 + 2 * 16384 + conv(128, 3, 5)
    generator += sum(conv(a, b, 5, bias=False) + 2 * b for a, b in pairwise(widths))
    critic = conv(3, 128, 5) + 16 * 1024 + 1
    critic += sum(conv(a, 2 * a, 5, bias=False) + 4 * a for a in (128, 256, 512))
    assert size(dcgan.Generator(BEDROOMS, 100, width=128)) == generator == 18_885_763
    assert size(dcgan.Discriminator(BEDROOMS, width=128)) == critic == 17_232_897


def test_sizes_of_infogan_on_mnist():
    """Chen et al. 2016, table 1: 74 -> 1024 -> 7x7x128 -> 64 -> 1, and 64 -> 128 -> 1024 -> 1, 4x4 kernels."""
    generator = 74 * 1024 + 2 * 1024 + 1024 * 6272 + 2 * 6272 + conv(128, 64, 4, bias=False) + 2 * 64 + conv(64, 1, 4)
    critic = conv(1, 64, 4) + conv(64, 128, 4, bias=False) + 2 * 128 + 6272 * 1024 + 2 * 1024 + 1024 + 1
    assert size(dcgan.Generator(MNIST, 74, width=64, kernel=4, dense=1024)) == generator
    assert size(dcgan.Discriminator(MNIST, width=64, kernel=4, dense=1024)) == critic


@pytest.mark.parametrize("activation", ["gated", "maxout"])
def test_dense_layers_fit_any_activation_and_are_what_the_head_sees(activation):
    generator = dcgan.Generator(DIGITS, 5, width=4, dense=6, activation=activation)
    critic = dcgan.Discriminator(DIGITS, width=4, dense=6, activation=activation)
    x = generator(torch.randn(3, 5))
    assert critic.features(x).shape == (3, 6) and critic(x).shape == (3,)
    assert critic.hidden(x).shape == dcgan.Discriminator(DIGITS, width=4, activation=activation).hidden(x).shape


def layers_of(net):
    """Layers with weights that lie on the longest way through."""
    return sum(
        isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and not name.endswith("shortcut")
        for name, part in net.named_modules()
    )


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 32, 32), (1, 8, 8)])
def test_101_layers_are_101(shape):
    spec = Spec("image", shape, 256)
    assert layers_of(resnet101.Generator(spec, 5, width=4)) == layers_of(resnet101.Discriminator(spec, width=4)) == 101


def test_plain_blocks_of_101_layers_are_those_of_the_script():
    assert resnet101.plain(33, 4) == [6, 6, 6, 6, 5]


def test_constant_width_has_one_width():
    net = dcgan.Generator(BEDROOMS, 5, width=8, norm=None, constant=True)
    assert [m.in_channels for m in net.modules() if isinstance(m, nn.ConvTranspose2d)] == [8, 8, 8, 8]


@pytest.mark.parametrize("net", [mlp, dcgan])
@pytest.mark.parametrize("activation", ["gated", "tanh", "maxout"])
def test_any_activation_fits(net, activation):
    generator = net.Generator(DIGITS, 5, width=4, norm="batch", activation=activation)
    critic = net.Discriminator(DIGITS, width=4, activation=activation)
    assert critic(generator(torch.randn(3, 5))).shape == (3,)


def test_gates():
    x = torch.randn(2, 6)
    torch.testing.assert_close(Gated()(x), torch.sigmoid(x[:, :3]) * torch.tanh(x[:, 3:]))
    assert Gated.pieces == 2 and Maxout().pieces == 5


@pytest.mark.parametrize("net", [sngan, resnet101])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 128, 128)])
def test_nets_size_themselves(net, shape):
    spec = Spec("image", shape, 256)
    small = {"blocks": 6} if net is resnet101 else {}
    generator, critic = net.Generator(spec, 5, width=4, **small), net.Discriminator(spec, width=4, **small)
    x = generator(torch.randn(2, 5))
    assert x.shape == (2, *shape) and x.abs().max() <= 1
    assert critic(x).shape == (2,)
    with pytest.raises(ConfigError):
        net.Generator(Spec("vector", (2,)), 5)


def test_attention_is_the_weighted_mean_of_values():
    """Against the sum written out, at a gamma that lets it through."""
    torch.manual_seed(0)
    net, x = SelfAttention(16), torch.randn(2, 16, 4, 4)
    assert torch.equal(net(x), x)
    nn.init.ones_(net.gamma)

    def pooled(maps):
        return nn.functional.max_pool2d(maps, 2).flatten(2)

    weights = torch.einsum("bcq,bck->bqk", net.query(x).flatten(2), pooled(net.key(x))).softmax(2)
    mean = torch.einsum("bqk,bck->bcq", weights, pooled(net.value(x))).unflatten(2, (4, 4))
    torch.testing.assert_close(net(x), x + net.out(mean), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", [dcgan, resnet])
def test_attention_stands_at_the_side_asked_for(net):
    for made in (net.Generator(CIFAR, 5, width=8, attention=16), net.Discriminator(CIFAR, width=8, attention=16)):
        sides: list = []
        for layer in made.modules():
            if isinstance(layer, SelfAttention):
                layer.register_forward_hook(lambda _, inputs, __, sides=sides: sides.append(inputs[0].shape[2:]))
        made(torch.randn(2, 5) if isinstance(made, net.Generator) else torch.randn(2, 3, 32, 32))
        assert sides == [(16, 16)]
    with pytest.raises(ConfigError, match="attention"):
        net.Generator(CIFAR, 5, width=8, attention=17)


def test_conditional_norm_scales_and_shifts_by_condition():
    norm = ConditionalNorm(3, 2)
    with torch.no_grad():
        norm.gain.copy_(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
        norm.shift.copy_(torch.tensor([[0.0, 0, 0], [1, 1, 1]]))
    x, given = torch.randn(8, 3, 4, 4), torch.eye(2).repeat(4, 1)
    plain = nn.BatchNorm2d(3, affine=False)(x)
    known = plain * norm.gain.repeat(4, 1)[..., None, None] + norm.shift.repeat(4, 1)[..., None, None]
    torch.testing.assert_close(norm(x, given), known)


@pytest.mark.parametrize("net", [mlp, dcgan, resnet, sngan, resnet101])
def test_conditions_in_normalisations(net):
    """Another class moves an example, and the latent is not lengthened."""
    torch.manual_seed(0)
    small = {"blocks": 5} if net is resnet101 else {}
    game = GAN(
        DIGITS,
        partial(net.Generator, width=8, norm="conditional", **small),
        partial(net.Discriminator, width=8, **small),
        6,
        conditional=True,
    )
    for part in game.modules():
        if isinstance(part, ConditionalNorm):
            nn.init.normal_(part.shift)
    z, y = torch.randn(4, 6), torch.tensor([0, 1, 2, 3])
    one, other = (game.generate(z, labels) for labels in (y, y.flip(0)))
    assert (one - other).abs().amax((1, 2, 3)).min() > 1e-4
    first = next(m for m in game.generator.modules() if isinstance(m, nn.Linear))
    assert first.in_features == 6
    with pytest.raises(ConfigError, match="conditions"):
        net.Generator(DIGITS, 6, norm="conditional")


def test_minibatch_similarities_are_those_of_the_equation():
    torch.manual_seed(0)
    layer, h = MinibatchDiscrimination(4, kernels=3, size=2), torch.randn(5, 4)
    m = (h @ layer.compared.weight.T).view(5, 3, 2).detach()
    for i in range(5):
        for b in range(3):
            known = sum(math.exp(-(m[i, b] - m[j, b]).abs().sum().item()) for j in range(5) if j != i) / 4
            assert layer(h)[i, 4 + b].item() == pytest.approx(known, rel=1e-4)
    alike = layer(h[:1].expand(5, 4))
    torch.testing.assert_close(alike[:, 4:], torch.ones(5, 3))


def test_minibatches_of_real_and_generated_examples_are_not_mixed():
    torch.manual_seed(0)
    critic = Critic(mlp.Discriminator(DIGITS, width=8, minibatch=4))
    real, fake = torch.randn(6, 1, 8, 8), torch.zeros(6, 1, 8, 8)
    on_real, on_fake = critic.rate(real, fake)
    torch.testing.assert_close(on_real, critic(real))
    torch.testing.assert_close(on_fake, critic(fake))
    value, _ = critic.turn(real, fake, Wasserstein(), None)
    value.backward()
    assert critic.net.head.minibatch.compared.weight.grad.abs().sum() > 0
