"""Grids of images, scatters and density maps: what is in a picture, and where."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from genlab import plots
from genlab.errors import GenlabError
from genlab.images import LINE, PAPER, SMALLEST, UNTITLED, Titles, grid, save_grid
from genlab.metrics.integral import integrate
from genlab.spec import Spec


@pytest.mark.parametrize("shape, levels", [((1, 8, 8), 17), ((1, 28, 28), 2), ((3, 32, 32), 256)])
def test_every_pixel_is_a_square_in_its_place(shape, levels):
    x = torch.randint(0, levels, (7, *shape), generator=torch.Generator().manual_seed(0))
    picture = grid(x, Spec("image", shape, levels), columns=3)
    assert picture.mode == ("L" if shape[0] == 1 else "RGB")
    assert min(picture.size) >= SMALLEST
    gutter = 1 if shape[1] <= 16 else 2
    columns, rows = 3, 3
    factor = picture.width // (columns * (shape[2] + gutter) + gutter)
    assert picture.width == factor * (columns * (shape[2] + gutter) + gutter)
    assert picture.height == factor * (rows * (shape[1] + gutter) + gutter)
    for number in range(7):
        for row, column in ((0, 0), (3, 5), (shape[1] - 1, shape[2] - 1)):
            top = gutter + (number // columns) * (shape[1] + gutter) + row
            left = gutter + (number % columns) * (shape[2] + gutter) + column
            expected = tuple(round(int(value) * 255 / (levels - 1)) for value in x[number, :, row, column])
            for corner in (0, factor - 1):
                found = picture.getpixel((left * factor + corner, top * factor + corner))
                assert found == (expected[0] if shape[0] == 1 else expected)
    assert picture.getpixel((0, 0)) == (PAPER if shape[0] == 1 else (PAPER,) * 3)


@pytest.mark.parametrize("groups, gaps", [((), []), ((3,), [3]), ((2, 4), [2]), ((1, 2), [1, 3, 4])])
def test_groups_in_a_row_stand_apart(groups, gaps):
    picture = grid(torch.zeros(6, 1, 8, 8, dtype=torch.uint8), Spec("image", (1, 8, 8), 17), 6, groups)
    row = np.asarray(picture)[picture.height // 2] == PAPER
    edges = np.flatnonzero(np.diff(row.astype(int)))[1:-1].reshape(-1, 2)  # of the gutters between
    widths = edges[:, 1] - edges[:, 0]
    assert [place + 1 for place, width in enumerate(widths) if width > widths.min()] == gaps


def test_titles_stand_over_their_columns_and_beside_their_rows():
    x, spec = torch.zeros(8, 1, 8, 8, dtype=torch.uint8), Spec("image", (1, 8, 8), 17)
    titles = Titles([("a title that is longer than one of the images is wide", 1), ("b", 3)], ["one", "two"], "c")
    bare, framed = (np.asarray(grid(x, spec, 4, (1, 3), titles=some)) for some in (UNTITLED, titles))
    top, left = LINE, framed.shape[1] - np.asarray(grid(x, spec, 4, (1, 3), Titles(titles.above))).shape[1]
    inner = framed[top:, left:]
    assert len(inner) > len(bare)  # since the title of one column is long
    black = np.flatnonzero(inner[len(inner) // 4] == 0)  # columns of images
    edges = np.flatnonzero(np.diff(black) > 1)
    first = black[0], black[edges[0]] + 1
    ink = np.flatnonzero((framed[:top, left:] < 128).any(0))
    a, b = ink[ink < first[1]], ink[ink >= first[1]]
    assert first[0] <= a.min() and a.max() < first[1] and len(b)
    assert abs((b.min() + b.max()) / 2 - (black[edges[0] + 1] + black[-1]) / 2) < 3  # in the middle of its three
    beside = np.flatnonzero((framed[top:, :left] < 128).any(1))
    assert (beside < len(inner) // 2).any() and (beside > len(inner) // 2).any()


def test_a_grid_is_written_whole_or_not_at_all(tmp_path):
    x, spec = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), Spec("image", (1, 8, 8), 17)
    save_grid(tmp_path / "samples" / "grid.png", x, spec)
    with Image.open(tmp_path / "samples" / "grid.png") as picture:
        assert picture.format == "PNG"
    (tmp_path / "file").write_text("")
    with pytest.raises(GenlabError, match="cannot write"):
        save_grid(tmp_path / "file" / "grid.png", x, spec)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["grid.png"]


def test_a_grid_of_vectors_is_refused():
    with pytest.raises(GenlabError, match="vector"):
        grid(torch.zeros(4, 2), Spec("vector", (2,)))


def normal(points):
    return -points.square().sum(1) / 2 - math.log(2 * math.pi)


def test_a_density_integrates_to_one_and_half_of_it_to_a_half():
    total, values = integrate(normal, torch.tensor([-8.0, -8.0]), torch.tensor([8.0, 8.0]))
    assert total == pytest.approx(1, abs=1e-4)
    assert values.shape == (200, 200)
    half, _ = integrate(normal, torch.tensor([0.0, -8.0]), torch.tensor([8.0, 8.0]))
    assert half == pytest.approx(0.5, abs=1e-4)


def test_a_density_map_has_x_to_the_right():
    def right(points):
        return -(points - torch.tensor([2.0, 0.0])).square().sum(1)

    _, values = integrate(right, torch.tensor([-4.0, -4.0]), torch.tensor([4.0, 4.0]), cells=8)
    row, column = divmod(int(values.argmax()), 8)
    assert column in (5, 6) and row in (3, 4)


def test_a_scatter_shows_the_samples_beside_the_data_and_tells_the_strays(tmp_path, monkeypatch):
    """Axes hold the data and all but a hundredth of samples up to twice their extent; what is farther is a share."""
    told = []
    monkeypatch.setattr(plots, "_finish", lambda axes, title, low, high: told.append((title, low, high)))
    data = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    samples = torch.cat([1.5 * data - 0.25, torch.tensor([[50.0, 0.5]]).expand(20, 2)])
    plots.scatter(tmp_path / "scatter.png", {"data": data, "samples": samples})
    (_, low, high), (title, *frame) = told
    assert title == f"samples, {20 / 1020:.1%} outside" and torch.equal(frame[0], low) and torch.equal(frame[1], high)
    assert (low < -0.2).all() and (high > 1.2).all() and (high - low < 3).all()


def test_plots_are_pictures(tmp_path):
    points = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    plots.scatter(tmp_path / "scatter.png", {"data": points, "samples": points + 1})
    assert plots.density(tmp_path / "density.png", normal, points, points, cells=50) == pytest.approx(1, abs=0.02)
    for name, panels in (("scatter", 2), ("density", 3)):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width == 440 * panels
            assert len(np.unique(np.asarray(picture.convert("L")))) > 50
