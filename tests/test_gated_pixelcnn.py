"""Laws of the Gated PixelCNN beside those of test_causal_nets: no blind spot, gates, and sampling as the plain loop."""

from itertools import product

import pytest
import torch
from test_pixelcnn import Recording, sample_by_full_passes
from torch import Tensor

from genlab.errors import ConfigError
from genlab.laws.bijections import jacobians
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.gated_pixelcnn import GatedPixelCNN, Layer, gated_pixelcnn
from genlab.nn.masked import channel_groups
from genlab.nn.masked_row import RowConv2d
from genlab.noise import Noise
from genlab.spec import Spec

NINE = tuple(map(str, range(9)))


def make(shape: tuple[int, ...], levels: int | None = 4, **options) -> AutoRegressive:
    """A small net in float64, in eval mode, with conditionals far from uniform."""
    torch.manual_seed(1)
    options = {"channels": 7, "layers": 3, "kernel": 3, "first": 3, "head": 11} | options
    model = gated_pixelcnn(Spec("image", shape, levels, NINE), **options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model


@pytest.mark.parametrize(("channels", "layers"), [(1, 4), (2, 3), (3, 3)])
def test_a_value_sees_all_that_is_before_it_within_reach_and_nothing_else(channels, layers):
    """No blind spot: rows above as far to the right as to the left, by as much as a layer adds for each."""
    height, width = 4, 7
    model = make((channels, height, width), layers=layers, channels=30, head=60)

    def in_order(x: Tensor) -> tuple[Tensor, Tensor]:  # (B, D), in the order of generation, to sums of parameters
        params = model.net(x.view(-1, height, width, channels).permute(0, 3, 1, 2))
        sums = params.unflatten(1, (channels, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3) @ weights
        return sums, x.new_zeros(len(x))

    weights = torch.rand(model.likelihood.outputs, dtype=torch.float64) + 0.5
    matrices, _ = jacobians(in_order, torch.rand(1, height * width * channels, dtype=torch.float64) * 2 - 1)
    influence = matrices[0].abs().view(height, width, channels, height, width, channels).tolist()
    for i, j, c in product(range(height), range(width), range(channels)):
        for above, column, other in product(range(height), range(width), range(channels)):
            before = (above, column, other) < (i, j, c)
            up, aside = i - above, abs(j - column)
            seen = before and up <= layers and aside <= layers  # a layer adds one in each direction
            assert (influence[i][j][c][above][column][other] > 0) == seen, (i, j, c, above, column, other)


@pytest.mark.parametrize(("channels", "groups"), [(128, 3), (7, 3), (5, 4), (4, 1)])
def test_a_map_and_its_gate_are_of_one_group(channels, groups):
    layer = RowConv2d(channels, channels, 3, "B", groups)
    first, second = layer.mask.chunk(2)
    assert torch.equal(first, second)
    group = channel_groups(channels, groups)
    assert torch.equal(first[:, :, 0, -1], (group[None] <= group[:, None]).float())


@pytest.mark.parametrize(
    ("shape", "levels", "options"),
    [
        ((1, 8, 8), 17, {"first": 5}),
        ((1, 5, 7), 2, {"kernel": 5, "first": 7}),
        ((1, 5, 1), 4, {}),
        ((1, 1, 6), 4, {"layers": 1}),
        ((3, 5, 4), 4, {"kernel": 5}),
        ((3, 4, 5), 256, {"likelihood": "discretised_logistic"}),
        ((2, 4, 3), 2, {"layers": 1}),
        ((3, 4, 4), None, {"likelihood": "gaussian_mixture"}),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_rows_and_pixels_equal_the_plain_loop(shape, levels, options, temperature):
    """The same parameters at every pixel, hence the same samples from the same noise."""
    model = make(shape, levels, **options)
    plain = sample_by_full_passes(model, Noise([3, 5]), temperature)
    recording = model.likelihood = Recording(model.likelihood)
    x = model.sample(Noise([3, 5]), temperature=temperature)
    assert x.shape == (2, *shape)
    assert torch.allclose(x.double(), plain.double(), atol=1e-5)
    asked = torch.stack([params[:, :, 0] for params in recording.asked])  # (H W C, B, P)
    full = model(x).detach().permute(3, 4, 2, 0, 1).flatten(0, 2)
    assert torch.allclose(asked, full, atol=1e-9)


def test_float32_parameters_of_a_deep_net_agree_to_1e_5():
    torch.manual_seed(0)
    model = gated_pixelcnn(Spec("image", (1, 12, 12), 16), channels=16, layers=12, head=32).eval()
    recording = model.likelihood = Recording(model.likelihood)
    x = model.sample(Noise([0, 1]))
    cached = torch.stack([params[:, :, 0] for params in recording.asked])
    assert (cached - model(x).detach()[:, :, 0].permute(2, 3, 0, 1).flatten(0, 1)).abs().max() < 1e-5


@pytest.mark.parametrize("likelihood", [None, "coupled_logistic_mixture"])
@pytest.mark.parametrize("order", ["reverse", "column", "random"])
def test_conditional_samples_in_any_order_are_drawn_from_the_conditionals(order, likelihood):
    """log p of a sample is the sum over the draws of what each had; and a class changes it."""
    model = make((3, 4, 3), 4, order=order, conditional=True, likelihood=likelihood)
    judge, y = model.likelihood, torch.tensor([2, 7])
    recording = model.likelihood = Recording(judge)
    x = model.sample(Noise([0, 1]), y)
    drawn = zip(recording.asked, recording.drawn, strict=True)
    total = sum(judge.log_prob(params, value) for params, value in drawn)
    model.likelihood = judge
    assert torch.allclose(model.log_prob(x, y), total)
    assert not torch.allclose(model.log_prob(x, y), model.log_prob(x, y + 1))


def test_a_condition_reaches_both_gates_of_both_stacks():
    model = make((1, 4, 4), conditional=True)
    layers = list(model.net.layers)
    assert all(isinstance(layer, Layer) and layer.tell_horizontal is not None for layer in layers)
    assert [layer.tell_vertical is not None for layer in layers] == [True, True, False]  # the last v is read by nobody
    x, y = torch.randint(0, 4, (3, 1, 4, 4), dtype=torch.uint8), torch.tensor([0, 4, 8])
    model.log_prob(x, y).sum().backward()
    for layer in layers:
        for tell in (layer.tell_horizontal, layer.tell_vertical):
            if tell is not None:
                assert all(half.abs().sum(0)[y].gt(0).all() for half in tell.weight.grad.chunk(2))


def test_signals_keep_their_size_down_the_vertical_stack():
    torch.manual_seed(0)
    net = gated_pixelcnn(Spec("image", (1, 28, 28), 256), channels=64, layers=12, head=8).net
    v = torch.rand(8, 1, 28, 28) * 2 - 1
    powers = []
    for layer in net.layers:
        a = layer.look(torch.nn.functional.pad(v, (0, 0, layer.reach, 0)))
        powers.append(a[:, :, 12:].var().item())
        v = torch.tanh(a.chunk(2, 1)[0]) * torch.sigmoid(a.chunk(2, 1)[1])
    assert powers[-1] > 0.3 * powers[1]


def test_the_preset_has_the_sizes_that_the_paper_tells():
    """20 layers of 384 maps, 5 x 5: 117 million parameters."""
    net: GatedPixelCNN = gated_pixelcnn(Spec("image", (3, 32, 32), 256)).net
    p, k = 384, 5
    layer = p * (3 * k) * 2 * p + 2 * p  # vertical
    layer += (2 * p) ** 2  # link
    layer += p * 3 * 2 * p + 2 * p + p * p + p  # horizontal, and 1 x 1
    first = 3 * (4 * 7) * 2 * p + 2 * p + (2 * p) ** 2 + 3 * 4 * 2 * p + 2 * p + p * p + p
    head = p * 1024 + 1024 + 1024 * 768 + 768
    assert sum(parameter.numel() for parameter in net.parameters()) == first + 19 * layer + head == 116_899_072


def test_what_it_cannot_model_is_refused():
    with pytest.raises(ConfigError, match="is of images"):
        gated_pixelcnn(Spec("vector", (2,)))
    for key, value in (("kernel", 4), ("first", 1), ("layers", 0), ("channels", 2), ("head", 2)):
        with pytest.raises(ConfigError, match=f"model.{key}={value}"):
            gated_pixelcnn(Spec("image", (3, 8, 8), 2), **{key: value})
