"""Laws of every causal net: its Jacobian, the sum of its probabilities, cached sampling against calls on whole images.

PixelCNN++, which a first batch initialises, has tests of its own.
"""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Layout
from genlab.models.autoregressive.diagonal_bilstm import DiagonalBiLSTM, diagonal_bilstm
from genlab.models.autoregressive.gated_pixelcnn import GatedPixelCNN, gated_pixelcnn
from genlab.models.autoregressive.image_transformer import Transformer, image_transformer
from genlab.models.autoregressive.made import MaskedPerceptron, made
from genlab.models.autoregressive.multiscale_pixel_rnn import MultiScale, multiscale_pixel_rnn
from genlab.models.autoregressive.nade import Nade, nade
from genlab.models.autoregressive.pixel_rnn import PixelRNN
from genlab.models.autoregressive.pixelcnn import PixelCNN, pixelcnn
from genlab.models.autoregressive.raster_rnn import Recurrence, raster_rnn
from genlab.models.autoregressive.row_lstm import RowLSTM, row_lstm
from genlab.models.autoregressive.sequence import Sequence
from genlab.nn.made import MADE
from genlab.nn.made_steps import Steps
from genlab.noise import Noise
from genlab.spec import Spec

NETS = {
    "pixelcnn": lambda layout: PixelCNN(layout, 24, 2, 5, 60, 0.1),
    "pixelcnn, no blocks": lambda layout: PixelCNN(layout, 24, 0, 3, 60),
    "pixelcnn, 7 x 7": lambda layout: PixelCNN(layout, 24, 1, 7, 60),
    "gated_pixelcnn": lambda layout: GatedPixelCNN(layout, 24, 2, 5, 3, 60, 0.1),
    "gated_pixelcnn, one layer": lambda layout: GatedPixelCNN(layout, 24, 1, 3, 7, 60),
    "made": lambda layout: MaskedPerceptron(layout, (11, 40), "tanh", dropout=0.1),
    "made, no hidden layer": lambda layout: MaskedPerceptron(layout, (), direct=False),
    "nade": lambda layout: Nade(layout, 7, "tanh", dropout=0.1),
    "raster_rnn": lambda layout: Sequence(layout, 6, Recurrence(6, "lstm", 2, 0.1)),
    "raster_rnn, gru": lambda layout: Sequence(layout, 6, Recurrence(6, "gru", 1, 0.1)),
    "image_transformer": lambda layout: Sequence(layout, 8, Transformer(8, 2, 2, None, 0.1)),
    "row_lstm": lambda layout: PixelRNN(layout, RowLSTM, 13, 2, 5, 50, 0.1),
    "diagonal_bilstm": lambda layout: PixelRNN(layout, DiagonalBiLSTM, 13, 2, 3, 50, 0.1),
    "image_transformer, window": lambda layout: Sequence(layout, 8, Transformer(8, 2, 4, 4, 0.1)),
    "multiscale_pixel_rnn": lambda layout: MultiScale(layout, "row", 13, 1, 1, 5, 50, 0.1, 2, 5),
    "multiscale_pixel_rnn, diagonal": lambda layout: MultiScale(layout, "diagonal", 13, 1, 1, 3, 50, 0.1, 3, 5),
}
MODELS = {
    "pixelcnn": lambda spec, **options: pixelcnn(spec, 7, 1, 5, 11, **options),
    "gated_pixelcnn": lambda spec, **options: gated_pixelcnn(spec, 7, 2, 3, 5, 11, **options),
    "made": lambda spec, **options: made(spec, (20,), **options),
    "nade": lambda spec, **options: nade(spec, 9, **options),
    "raster_rnn": lambda spec, **options: raster_rnn(spec, 7, **options),
    "image_transformer": lambda spec, **options: image_transformer(spec, 8, 2, 2, **options),
    "row_lstm": lambda spec, **options: row_lstm(spec, 5, 1, head=7, **options),
    "diagonal_bilstm": lambda spec, **options: diagonal_bilstm(spec, 5, 1, 3, head=7, **options),
    "multiscale_pixel_rnn": lambda spec, **options: multiscale_pixel_rnn(
        spec, "row", 5, 1, 1, 3, 7, stride=2, maps=3, **options
    ),
}
LAYOUTS = [
    Layout((1, 4, 5), 1, 2),
    Layout((3, 3, 3), 3, 2),
    Layout((3, 3, 3), 1, 4),  # the distribution of a whole pixel
    Layout((2, 3, 2), 2, 1, conditions=3),
    Layout((1, 1, 6), 1, 3),
    Layout((1, 5, 1), 1, 1, conditions=2),
]


def make(name: str, layout: Layout) -> nn.Module:
    """In float64, with weights large enough that parameters are far from constant."""
    torch.manual_seed(1)
    net = NETS[name](layout).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(1.7 * parameter + 0.1 * torch.randn_like(parameter))
    return net


def conditions(layout: Layout, count: int) -> Tensor | None:
    if not layout.conditions:
        return None
    return torch.randn(1, layout.conditions, generator=torch.Generator().manual_seed(3)).double().expand(count, -1)


def size_of(layout: Layout) -> int:
    return torch.Size(layout.shape).numel()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", NETS)
def test_parameters_depend_on_what_comes_before_and_on_nothing_else(name, layout, training):
    """The Jacobian over (row, column, part) is strictly lower triangular; in evaluation the pixel to the left is seen
    whole, and the parts before in the pixel itself."""
    net = make(name, layout).train(training)
    (C, H, W), G = layout.shape, layout.groups

    S = H * W * G
    x = torch.rand(1, C, H, W, dtype=torch.float64) * 2 - 1
    copies = x.repeat(S, 1, 1, 1).requires_grad_()  # part t of copy t, so that all rows are had by one call
    params = net(copies, conditions(layout, S))
    assert params.shape == (S, G * layout.parameters, H, W)
    parts = params.unflatten(1, (G, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3)  # (copy, part, Q)
    weights = torch.rand(layout.parameters, dtype=torch.float64) + 0.5
    (gradient,) = torch.autograd.grad(((parts @ weights).diagonal()).sum(), copies)
    influence = gradient.permute(0, 2, 3, 1).reshape(S, S, C // G).abs().sum(2)
    sequence = getattr(net, "sequence", torch.arange(H * W))  # that of pixels
    sequence = (sequence[:, None] * G + torch.arange(G)).flatten()
    influence = influence[sequence][:, sequence]
    assert influence.triu().eq(0).all()
    if not training and not hasattr(net, "sequence"):
        for i, j, g in product(range(H), range(W), range(G)):
            t = G * (i * W + j)
            assert influence[t + g, t - G * (j > 0) : t + g].gt(0).all()


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", NETS)
@torch.no_grad()
def test_generate_asks_with_the_parameters_of_a_call_on_the_whole_image(name, layout):
    """Once for each part: so that what is drawn is what the plain loop, one call for each part, would draw."""
    net, count = make(name, layout), 3
    (C, H, W), G = layout.shape, layout.groups
    images, asked = torch.zeros(count, C, H, W, dtype=torch.float64), {}

    def draw(params: Tensor, rows: Tensor, columns: Tensor, group: int) -> Tensor:
        value = torch.sin(9 * params.sum(2, keepdim=True) + torch.arange(C // G))  # as erratic as noise
        for k, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            assert (i, j, group) not in asked
            asked[i, j, group] = params[k]
            images[:, group * (C // G) : (group + 1) * (C // G), i, j] = value[k]
        return value

    c = conditions(layout, count)
    net.generate(draw, count, c)
    assert len(asked) == H * W * G
    whole = net(images, c).unflatten(1, (G, -1))
    for (i, j, group), params in asked.items():
        assert torch.allclose(params, whole[:, group, :, i, j], atol=1e-10)


@pytest.mark.parametrize(
    ("shape", "order"), [((1, 3, 4), "random"), ((3, 2, 2), "raster"), ((2, 2, 3), "column"), ((1, 4, 3), "reverse")]
)
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_probabilities_of_all_binary_images_sum_to_one(name, shape, order):
    torch.manual_seed(1)
    model = MODELS[name](Spec("image", shape, 2), order=order).double().eval()
    images = torch.tensor(list(product((0, 1), repeat=12)), dtype=torch.uint8).view(-1, *shape)
    probability = model.log_prob(images).exp()
    assert probability.sum().item() == pytest.approx(1, abs=1e-9)
    assert probability.max() > 1.1 * probability.min()  # and not because it is uniform


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_samples_are_those_of_the_plain_loop(name):
    torch.manual_seed(1)
    model: AutoRegressive = MODELS[name](Spec("image", (2, 3, 3), 5), order="column").double().eval()
    u = Noise([3, 8]).uniform(1, 2, 3, 3).permute(0, 1, 2, 4, 3).flatten(2)  # the model draws where it lays values out
    x = torch.zeros(2, 2, 3, 3, dtype=torch.uint8)
    for place in model.order.tolist():
        params = model(x).flatten(2)[:, :, place, None]
        x.flatten(1)[:, place] = model.likelihood.sample(params, u[:, :, place, None])[:, 0]
    assert torch.equal(model.sample(Noise([3, 8])), x)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_gets_a_gradient(name):
    model = MODELS[name](Spec("image", (3, 4, 4), 4, classes=("a", "b")), conditional=True).train()
    x = torch.randint(4, (6, 3, 4, 4), dtype=torch.uint8)
    (-model.log_prob(x, torch.arange(6) % 2)).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize(("widths", "direct"), [((), False), ((5,), True), ((9, 12), False)])
@torch.no_grad()
def test_a_made_in_any_order_is_stepped_through_at_the_cost_of_a_call(widths, direct):
    torch.manual_seed(1)
    order = [2, 0, 3, 1]
    net = MADE(4, 3, widths, context=2, order=order, activation="tanh", direct=direct, together=2).double()
    x, c = torch.randn(5, 8, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    whole, steps = net(x, c), Steps(net, 5, c)
    for dimension in order:
        assert torch.allclose(steps.parameters(), whole[:, :, dimension])
        steps.see(x[:, 2 * dimension : 2 * dimension + 2])
