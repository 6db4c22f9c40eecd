"""Laws of PixelRNN: what its layers see, the paper's sizes, and completion of a subsampled image."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.models.autoregressive.base import Layout
from genlab.models.autoregressive.diagonal_bilstm import DiagonalBiLSTM, diagonal_bilstm
from genlab.models.autoregressive.multiscale_pixel_rnn import multiscale_pixel_rnn
from genlab.models.autoregressive.pixel_rnn import PixelRNN, lstm_unit
from genlab.models.autoregressive.row_lstm import RowLSTM, row_lstm
from genlab.noise import Noise
from genlab.spec import Spec
from genlab.tasks.complete import before

CIFAR10, MNIST = Spec("image", (3, 32, 32), 256), Spec("image", (1, 28, 28), 2)


def context(layer: nn.Module, i: int, j: int, height: int = 5, width: int = 7) -> Tensor:
    """Which input pixels the layer's output at (i, j) depends on, (H, W)."""
    x = torch.randn(height, width, 1, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer.double()(x)[i, j].sum(), x)
    return gradient.abs().sum((2, 3)) > 0


@pytest.mark.parametrize(("i", "j"), [(0, 0), (0, 6), (2, 3), (4, 1), (4, 5)])
def test_a_row_lstm_sees_a_triangle(i, j):
    """Its own pixel, the one to the left, and above that one more pixel to either side for every row."""
    torch.manual_seed(0)
    rows, columns = torch.arange(5)[:, None], torch.arange(7)
    up = i - rows
    expected = (up >= 0) & (columns >= j - up - 1) & (columns <= j + up)
    assert torch.equal(context(RowLSTM(2, 3, 1), i, j), expected)


@pytest.mark.parametrize(("i", "j"), [(0, 0), (0, 6), (2, 3), (4, 1), (4, 5)])
def test_a_diagonal_bilstm_sees_all_rows_above(i, j):
    torch.manual_seed(0)
    rows, columns = torch.arange(5)[:, None], torch.arange(7)
    expected = (rows < i) | ((rows == i) & (columns <= j))
    assert torch.equal(context(DiagonalBiLSTM(2, 3, 1), i, j), expected)


def test_the_one_value_that_a_diagonal_net_is_blind_to():
    """The last of the row above, where the first convolution does not reach it."""
    torch.manual_seed(0)
    height, width = 4, 6
    net = PixelRNN(Layout((1, height, width), 1, 1), DiagonalBiLSTM, 6, 1, 3, 60).double()
    x = torch.randn(height * width, 1, height, width, dtype=torch.float64)
    x = x[:1].repeat(height * width, 1, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).flatten(1).diagonal().sum(), x)
    unseen = {(int(t), int(s)) for t, s in (gradient.flatten(1) == 0).tril(-1).nonzero()}
    assert unseen == {(width * i + j, width * i - 1) for i in range(1, height) for j in range(width - 2)}


def test_a_unit_is_that_of_torch():
    torch.manual_seed(0)
    theirs = nn.LSTMCell(4, 3)
    x, h, c = torch.randn(5, 4), torch.randn(5, 3), torch.randn(5, 3)
    i, f, g, o = (x @ theirs.weight_ih.t() + theirs.bias_ih + h @ theirs.weight_hh.t() + theirs.bias_hh).chunk(4, 1)
    for mine, expected in zip(lstm_unit(torch.cat([o, f, i, g], 1), c), theirs(x, (h, c)), strict=True):
        assert torch.allclose(mine, expected, atol=1e-6)


def weights(h: int, layers: int, recurrence: int, values: int, head: int, outputs: int) -> int:
    """Parameters of a net whose first convolution is 7 x 7, stored without the rows below its centre."""
    first = (4 * 7 * values + 1) * 2 * h
    return first + layers * (recurrence + (h + 1) * 2 * h) + (2 * h + 1) * head + (head + 1) * outputs


@pytest.mark.parametrize(
    ("spec", "h", "layers", "head", "outputs"),
    [(CIFAR10, 128, 12, 1024, 768), (MNIST, 16, 7, 32, 1), (MNIST, 32, 1, 32, 1)],
)
def test_sizes_are_the_papers(spec, h, layers, head, outputs):
    """Table 1, and the MNIST nets of table 4: 12 layers of 128 maps, 7 of 16, one of 32; the preset is the first."""
    options = {} if spec is CIFAR10 else {"channels": h, "layers": layers, "head": head}
    row = 4 * h * (2 * 2 * h + 1) + 3 * h * 4 * h  # two taps of three are left of K_is, three of K_ss
    diagonal = 2 * (4 * h * (2 * h + 1) + 2 * h * 4 * h)  # two directions: 1 x 1, and 2 x 1
    for build, recurrence in ((row_lstm, row), (diagonal_bilstm, diagonal)):
        model = build(spec, **options)
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count == weights(h, layers, recurrence, spec.shape[0], head, outputs)


@torch.no_grad()
def test_completions_of_a_small_image_follow_the_conditional_distribution():
    torch.manual_seed(0)
    model = multiscale_pixel_rnn(Spec("image", (1, 2, 3), 2), "diagonal", 6, 1, 1, 3, 8, stride=2, maps=4).eval()
    for parameter in model.parameters():
        parameter.mul_(2)
    known = torch.zeros(2, 3, dtype=torch.bool)
    known[::2, ::2] = True
    assert before(model, known.float()[None, None])
    hidden = torch.tensor(list(product((0, 1), repeat=4)), dtype=torch.uint8)
    images = torch.ones(16, 1, 2, 3, dtype=torch.uint8)
    images[:, 0, ~known] = hidden
    expected = model.log_prob(images).softmax(0)
    count = 3000
    made = model.complete(images[:1].expand(count, -1, -1, -1), known.expand(count, -1, -1), Noise(range(count)))
    assert (made[:, 0, known] == 1).all()
    code = (made[:, 0, ~known].long() * torch.tensor([8, 4, 2, 1])).sum(1)
    error = (expected * (1 - expected) / count).sqrt()
    assert ((code.bincount(minlength=16) / count - expected).abs() < 5 * error).all()
    assert expected.max() > 2 * expected.min()


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="this model is of images, whose rows"):
        row_lstm(Spec("vector", (2,)))
    with pytest.raises(ConfigError, match=r"model\.kernel=4"):
        row_lstm(MNIST, kernel=4)
    with pytest.raises(ConfigError, match=r"model\.channels=2"):
        diagonal_bilstm(CIFAR10, channels=2)
    with pytest.raises(ConfigError, match=r"model\.stride=1"):
        multiscale_pixel_rnn(MNIST, stride=1)
    with pytest.raises(ConfigError, match=r"model\.recurrence=diag"):
        multiscale_pixel_rnn(MNIST, "diag")
