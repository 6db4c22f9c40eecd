"""Laws of the PixelCNN beside those of test_causal_nets: the wavefront samples what the plain loop samples."""

from itertools import product

import pytest
import torch
from torch import Tensor

from genlab.errors import ConfigError
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.pixelcnn import pixelcnn
from genlab.nn.masked import MaskedConv2d, channel_groups
from genlab.noise import Noise
from genlab.spec import Spec


@torch.no_grad()
def sample_by_full_passes(model: AutoRegressive, noise: Noise, temperature: float = 1.0) -> Tensor:
    """The plain loop, a forward pass over the whole image for each value: what the wavefront must agree with."""
    channels, height, width = model.spec.shape
    u = noise.uniform(model.likelihood.draws, channels, height, width)
    dtype = u.dtype if model.spec.levels is None else torch.long
    x = torch.zeros(len(noise), channels, height, width, dtype=dtype, device=u.device)
    for i in range(height):
        for j in range(width):
            for channel in range(channels):
                params = model(x)[:, :, channel, i, j, None]
                x[:, channel, i, j] = model.likelihood.sample(params, u[:, :, channel, i, j, None], temperature)[:, 0]
    return x


def make(
    shape: tuple[int, ...], levels: int | None = 4, channels: int = 7, blocks: int = 2, **options
) -> AutoRegressive:
    """A small net in float64, in eval mode, with weights large enough that its conditionals are far from uniform."""
    torch.manual_seed(1)
    model = pixelcnn(Spec("image", shape, levels), channels, blocks, head=11, **options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.7)
    return model


class Recording:
    """A likelihood that keeps the parameters it is asked to sample from, and what it draws."""

    def __init__(self, likelihood):
        self.likelihood, self.asked, self.drawn = likelihood, [], []
        self.outputs, self.draws = likelihood.outputs, likelihood.draws

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        self.asked.append(params)
        self.drawn.append(self.likelihood.sample(params, u, temperature))
        return self.drawn[-1]


@pytest.mark.parametrize(
    ("shape", "levels", "options"),
    [
        ((1, 8, 8), 17, {}),
        ((1, 5, 9), 2, {"kernel": 5}),
        ((1, 6, 2), 4, {"kernel": 3}),
        ((1, 5, 1), 4, {}),
        ((1, 1, 6), 4, {}),
        ((3, 6, 7), 4, {}),
        ((3, 4, 5), 256, {"likelihood": "discretised_logistic"}),
        ((2, 7, 4), 2, {"kernel": 3, "blocks": 0}),
        ((3, 4, 4), None, {"likelihood": "gaussian"}),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_wavefront_equals_the_plain_loop(shape, levels, options, temperature):
    """The same parameters at every pixel, hence the same samples from the same noise."""
    model = make(shape, levels, **options)
    plain = sample_by_full_passes(model, Noise([3, 5, 8]), temperature)
    recording = model.likelihood = Recording(model.likelihood)
    x = model.sample(Noise([3, 5, 8]), temperature=temperature)
    assert x.shape == (3, *shape)
    assert torch.allclose(x.double(), plain.double(), atol=1e-5)
    assert levels is None or x.dtype == torch.uint8

    channels, height, width = shape
    full = model(x).detach()
    asked = iter(recording.asked)
    skew = model.net.first.reach + 1
    for t in range(skew * (height - 1) + width):
        wave = [(i, t - skew * i) for i in range(height) if 0 <= t - skew * i < width]
        for channel in range(channels if wave else 0):
            params = next(asked).view(len(wave), 3, -1)
            for (i, j), cached in zip(wave, params, strict=True):
                assert torch.allclose(cached, full[:, :, channel, i, j], atol=1e-9)
    assert next(asked, None) is None


def test_float32_parameters_of_a_deep_net_agree_to_1e_5():
    torch.manual_seed(0)
    model = pixelcnn(Spec("image", (1, 12, 12), 16), channels=32, blocks=15, head=32).eval()
    recording = model.likelihood = Recording(model.likelihood)
    x = model.sample(Noise([0, 1]))
    waves = [[(i, t - 4 * i) for i in range(12) if 0 <= t - 4 * i < 12] for t in range(56)]
    rows, columns = zip(*[pixel for wave in waves for pixel in wave], strict=True)
    cached = torch.cat([params.view(-1, 2, 16) for params in recording.asked])  # (H W, B, P)
    full = model(x).detach()[:, :, 0, list(rows), list(columns)].permute(2, 0, 1)
    assert (cached - full).abs().max() < 1e-5


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 3, 4)])
def test_log_prob_of_samples_is_the_sum_of_the_conditionals_they_were_drawn_from(shape):
    model = make(shape)
    likelihood = model.likelihood
    recording = model.likelihood = Recording(likelihood)
    x = model.sample(Noise([0, 1]))
    drawn = zip(recording.asked, recording.drawn, strict=True)
    total = sum(likelihood.log_prob(params, value).view(-1, 2).sum(0) for params, value in drawn)
    model.likelihood = likelihood
    assert torch.allclose(model.log_prob(x), total)


def test_samples_follow_the_distribution():
    model = make((1, 2, 2), levels=2, blocks=1)
    images = torch.tensor(list(product((0, 1), repeat=4)), dtype=torch.uint8).view(-1, 1, 2, 2)
    expected = model.log_prob(images).exp().detach()
    count = 4000
    code = (model.sample(Noise(range(count))).flatten(1).long() * torch.tensor([8, 4, 2, 1])).sum(1)
    found = code.bincount(minlength=16) / count
    error = (expected * (1 - expected) / count).sqrt()
    assert ((found - expected).abs() < 5 * error).all()


def test_sample_depends_on_its_own_seed_and_temperature_sharpens():
    model = make((1, 6, 6), levels=5)
    alone, among = model.sample(Noise([7])), model.sample(Noise([1, 7, 2]))
    assert torch.equal(alone[0], among[1])
    assert not torch.equal(among[0], among[1])
    cold = model.sample(Noise(range(8)), temperature=0.1)
    assert model.log_prob(cold).mean() > model.log_prob(model.sample(Noise(range(8)))).mean()


def test_masked_entries_of_a_weight_have_no_effect():
    layer = MaskedConv2d(6, 9, 5, "B", groups=3)
    x = torch.randn(2, 6, 4, 7)
    before = layer(x)
    with torch.no_grad():
        layer.weight.add_(torch.randn_like(layer.weight) * (1 - layer.mask))
    assert before.shape == (2, 9, 4, 7)
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize(("channels", "groups"), [(128, 3), (3, 3), (768, 3), (5, 4), (8, 1)])
def test_groups_are_contiguous_and_near_equal(channels, groups):
    group = channel_groups(channels, groups)
    sizes = group.bincount(minlength=groups)
    assert group.diff().ge(0).all()
    assert sizes.max() - sizes.min() <= 1
    assert sizes.sum() == channels


def test_the_paper_s_cifar10_net_has_the_paper_s_layers():
    model = pixelcnn(Spec("image", (3, 32, 32), 256))
    kernels = [(m.kernel, m.kind, m.inputs, m.outputs) for m in model.modules() if isinstance(m, MaskedConv2d)]
    block = [(1, "B", 256, 128), (3, "B", 128, 128), (1, "B", 128, 256)]
    assert kernels == [(7, "A", 3, 256), *block * 15, (1, "B", 256, 1024), (1, "B", 1024, 768)]


def test_what_it_cannot_model_is_refused():
    with pytest.raises(ConfigError, match="images and points"):
        pixelcnn(Spec("text", (2,)))
    with pytest.raises(ConfigError, match=r"model\.kernel=4"):
        pixelcnn(Spec("image", (1, 8, 8), 2), kernel=4)
    with pytest.raises(ConfigError, match=r"model\.channels=2"):
        pixelcnn(Spec("image", (3, 8, 8), 2), channels=2)
