"""Laws of PixelCNN++: it is causal, it is a distribution, a first batch initialises it, it samples as a plain loop."""

import copy
import math
from itertools import product

import pytest
import torch
from test_pixelcnn import Recording
from torch import Tensor

from genlab.errors import ConfigError
from genlab.laws.bijections import jacobians
from genlab.likelihoods.coupled_logistic_mixture import CoupledLogisticMixture
from genlab.likelihoods.logistic_mixture import LogisticMixture
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.pixelcnnpp import pixelcnnpp
from genlab.nn import shifted
from genlab.nn.shifted import ShiftedConv2d
from genlab.noise import Noise
from genlab.spec import Spec

NINE = tuple(map(str, range(9)))


def make(shape: tuple[int, ...], levels: int | None = 4, **options) -> AutoRegressive:
    """A small net in float64, in eval mode, initialised by random images."""
    torch.manual_seed(1)
    model = pixelcnnpp(
        Spec("image", shape, levels, NINE), **{"filters": 6, "blocks": 1, "scales": 2} | options
    ).double()
    x, y = torch.randint(0, levels or 2, (16, *shape)), torch.arange(16) % 9
    model.train().log_prob(x if levels else x.double(), y if model.conditional else None)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.2 * torch.rand_like(parameter))
    return model.eval()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("shape", "scales"), [((1, 5, 6), 1), ((1, 4, 6), 3), ((1, 5, 7), 2), ((2, 4, 5), 2)])
def test_a_pixel_sees_the_pixels_before_it_and_nothing_else(shape, scales, training):
    channels, height, width = shape
    model = make(shape, scales=scales, filters=12, blocks=2).train(training)

    def in_order(x: Tensor) -> tuple[Tensor, Tensor]:  # (B, H W C) to sums of a pixel's parameters, for each channel
        params = model.net(x.view(-1, height, width, channels).permute(0, 3, 1, 2))
        sums = (params.flatten(2) * weights).sum(1)
        return sums.repeat_interleave(channels, 1), x.new_zeros(len(x))

    size = height * width * channels
    weights = torch.randn(model.likelihood.outputs, 1, dtype=torch.float64)
    matrices, _ = jacobians(in_order, torch.rand(1, size, dtype=torch.float64) * 2 - 1)
    influence = matrices[0, ::channels].abs().view(height * width, -1, channels).sum(2)
    assert influence.triu().eq(0).all()
    if not training:  # all that comes before, for so small an image is within reach
        assert influence.tril(-1).gt(0).sum() == (height * width) * (height * width - 1) // 2


@pytest.mark.parametrize("shape", [(1, 3, 3), (1, 2, 4), (1, 1, 5), (3, 1, 3), (2, 2, 2)])
@pytest.mark.parametrize("scales", [1, 3])
def test_probabilities_of_all_binary_images_sum_to_one(shape, scales):
    model = make(shape, levels=2, scales=scales)
    images = torch.tensor(list(product((0, 1), repeat=math.prod(shape))), dtype=torch.uint8).view(-1, *shape)
    probability = model.log_prob(images).exp().detach()
    assert probability.sum().item() == pytest.approx(1, abs=1e-9)
    assert probability.max() > 2 * probability.min()


@torch.no_grad()
def sample_by_full_passes(model: AutoRegressive, noise: Noise, y: Tensor | None, temperature: float) -> Tensor:
    """The plain loop, in the model's order: a pass over the whole image for each pixel."""
    _, height, width = model.path.shape
    u = noise.uniform(model.likelihood.draws, 1, height, width)[:, :, 0]
    x = torch.zeros(len(noise), *model.path.shape, dtype=torch.float64 if model.spec.levels is None else torch.long)
    c = model._conditions(y)
    for i, j in product(range(height), range(width)):
        params = model.net(model.scale(x), c)[:, :, i, j, None]
        x[:, :, i, j] = model.likelihood.sample(params, u[:, :, i, j, None], temperature).view(len(noise), -1).to(x)
    return model.path.restore(x)


@pytest.mark.parametrize(
    ("shape", "levels", "options"),
    [
        ((1, 8, 8), 17, {"scales": 3, "blocks": 2}),
        ((1, 5, 7), 2, {"scales": 3}),
        ((1, 6, 1), 4, {}),
        ((1, 1, 6), 4, {"scales": 1}),
        ((3, 4, 5), 256, {}),
        ((3, 5, 3), 4, {"order": "column", "conditional": True}),
        ((1, 4, 4), 4, {"order": "random", "likelihood": "categorical"}),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_streams_equal_the_plain_loop(shape, levels, options, temperature):
    """The same parameters at every pixel, hence the same samples from the same noise."""
    model = make(shape, levels, **options)
    y = torch.tensor([3, 7]) if model.conditional else None
    plain = sample_by_full_passes(model, Noise([3, 5]), y, temperature)
    likelihood = model.likelihood
    recording = model.likelihood = Recording(likelihood)
    x = model.sample(Noise([3, 5]), y, temperature)
    assert x.shape == (2, *shape)
    assert torch.allclose(x.double(), plain.double(), atol=1e-9)
    asked = torch.stack([params[:, :, 0] for params in recording.asked])  # (H W, B, P)
    full = model.net(model.scale(model.path.lay(x)), model._conditions(y)).detach().permute(2, 3, 0, 1).flatten(0, 1)
    assert torch.allclose(asked, full, atol=1e-9)
    total = sum(likelihood.log_prob(p, d) for p, d in zip(recording.asked, recording.drawn, strict=True))
    model.likelihood = likelihood
    assert torch.allclose(model.log_prob(x, y), total)


def test_float32_parameters_of_a_deep_net_agree_to_1e_5():
    torch.manual_seed(0)
    model = pixelcnnpp(Spec("image", (1, 8, 8), 16), filters=16, blocks=5)
    model.train().log_prob(torch.randint(0, 16, (16, 1, 8, 8)))
    recording = model.eval().likelihood = Recording(model.likelihood)
    x = model.sample(Noise([0, 1]))
    full = model(x).detach()[:, :, 0].permute(2, 3, 0, 1).flatten(0, 1)
    cached = torch.stack([params[:, :, 0] for params in recording.asked])
    assert (cached - full).abs().max() < 1e-5 * full.abs().max().clamp(min=1)


def outputs(model: AutoRegressive, x: Tensor) -> dict[ShiftedConv2d, Tensor]:
    """What each layer makes of images as they are, without dropout."""
    found: dict[ShiftedConv2d, Tensor] = {}
    layers = [layer for layer in model.modules() if isinstance(layer, ShiftedConv2d)]
    hooks = [layer.register_forward_hook(lambda m, _, y: found.__setitem__(m, y.detach())) for layer in layers]
    model(x)
    for hook in hooks:
        hook.remove()
    return found


def test_the_first_batch_of_training_gives_every_layer_its_mean_and_deviation():
    torch.manual_seed(0)
    model = pixelcnnpp(Spec("image", (3, 8, 8), 256), filters=8, blocks=2, dropout=0.0).double()
    x = torch.randint(0, 256, (12, 3, 8, 8))
    untouched = copy.deepcopy(model.state_dict())
    model.eval().log_prob(x)
    assert all(torch.equal(value, untouched[name]) for name, value in model.state_dict().items())
    model.train().log_prob(x)
    assert model.net.initialised.item() == 1
    for layer, y in outputs(model, x).items():
        assert y.mean((0, 2, 3)).abs().max() < 1e-9
        assert (y.std((0, 2, 3), correction=0) - layer.gain).abs().max() < 1e-9


def test_no_later_batch_initialises_again_nor_does_one_after_loading():
    spec = Spec("image", (1, 8, 8), 16)
    torch.manual_seed(0)
    model = pixelcnnpp(spec, filters=8, blocks=1, scales=2)
    first, second = torch.randint(0, 16, (2, 8, 1, 8, 8))
    model.train().log_prob(first)
    state = copy.deepcopy(model.state_dict())
    for another in (model, copy.deepcopy(model), pixelcnnpp(spec, filters=8, blocks=1, scales=2)):
        another.load_state_dict(state)
        another.train().log_prob(second)
        assert all(torch.equal(value, state[name]) for name, value in another.state_dict().items())


def test_ranks_initialise_by_their_batches_together(monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(8, 3, 5, 5, dtype=torch.float64) * 2 + 1
    whole = ShiftedConv2d(3, 4, (2, 3), right=1).double()
    part = copy.deepcopy(whole)
    whole.adapt(x)
    other = copy.deepcopy(part)
    other.scale.data.fill_(1)
    t = other(x[4:]).float()
    theirs = torch.stack([t.mean((0, 2, 3)), t.square().mean((0, 2, 3))])
    monkeypatch.setattr(shifted.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(shifted.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(shifted.dist, "all_reduce", lambda moments: moments.add_(theirs.to(moments)))
    part.adapt(x[:4])
    torch.testing.assert_close(part.scale, whole.scale, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(part.bias, whole.bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_size_of_a_direction_is_of_no_account(transposed):
    torch.manual_seed(0)
    layer = ShiftedConv2d(3, 4, (2, 3), right=1, stride=2, transposed=transposed).double()
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    before = layer(x)
    assert before.shape == ((2, 4, 8, 12) if transposed else (2, 4, 2, 3))
    with torch.no_grad():
        layer.direction.mul_(torch.rand(4, dtype=torch.float64).view((1, 4, 1, 1) if transposed else (4, 1, 1, 1)) + 1)
    assert torch.allclose(layer(x), before)
    size = layer.weight().square().sum((0, 2, 3) if transposed else (1, 2, 3)).sqrt()
    assert torch.allclose(size, layer.scale)


@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 4, 4)])
def test_every_parameter_gets_a_gradient(shape):
    model = make(shape, conditional=True, filters=8).train()
    x, y = torch.randint(0, 4, (8, *shape), dtype=torch.uint8), torch.arange(8)
    (-model.log_prob(x, y)).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_the_paper_s_cifar10_net_has_the_released_net_s_size():
    """160 filters, five blocks a scale: 53.7 million parameters."""
    model = pixelcnnpp(Spec("image", (3, 32, 32), 256))
    F = 160

    def layer(inputs: int, outputs: int, places: int) -> int:
        return inputs * outputs * places + 2 * outputs  # V, g and b

    def block(places: int, beside: int) -> int:
        link = layer(2 * beside * F, F, 1) if beside else 0
        return layer(2 * F, F, places) + link + layer(2 * F, 2 * F, places)

    first = layer(4, F, 6) + layer(4, F, 3) + layer(4, F, 2)
    down = 15 * (block(6, 0) + block(4, 1))
    up = (5 + 6 + 6) * (block(6, 1) + block(4, 2))
    between = 2 * 2 * (layer(F, F, 6) + layer(F, F, 4))
    total = first + down + up + between + layer(F, 100, 1)
    assert sum(parameter.numel() for parameter in model.parameters()) == total == 53_659_080


def test_output_distributions_are_of_whole_pixels():
    assert isinstance(pixelcnnpp(Spec("image", (3, 4, 4), 256), 4, 1, 1).likelihood, CoupledLogisticMixture)
    assert isinstance(pixelcnnpp(Spec("image", (1, 4, 4), 256), 4, 1, 1).likelihood, LogisticMixture)
    with pytest.raises(ConfigError, match=r"likelihood=categorical.*coupled_logistic_mixture"):
        pixelcnnpp(Spec("image", (3, 4, 4), 256), 4, 1, 1, likelihood="categorical")
    with pytest.raises(ConfigError, match="is of images"):
        pixelcnnpp(Spec("vector", (2,)))
    with pytest.raises(ConfigError, match=r"model\.blocks=0"):
        pixelcnnpp(Spec("image", (1, 4, 4), 256), blocks=0)
