"""Pictures in the plane: scatters, densities, posteriors, warped grids, a critic's surface. White, for print too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from torch import Tensor

from genlab.files import picture
from genlab.metrics.integral import integrate

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # told apart by every eye (Paul Tol)
TEN = (*COLOURS, "#222222", "#cc5500", "#8855cc", "#999999")  # for as many classes
MARKERS = ("o", "s", "^", "D")
OF = {"data": COLOURS[0], "samples": COLOURS[1]}  # in every picture alike


def scatter(path: str | Path, sets: Mapping[str, Tensor]) -> None:
    """Panels side by side, one for each named set of points (N, 2), on common axes.

    Args:
        path: of the PNG.
        sets: title to points; axes hold all of the first set and, up to twice its extent, nearly all of the others, so
            that strays do not shrink the picture; their share is told.
    """
    first, *others = (points.detach().cpu().double() for points in sets.values())
    low, high = _frame(torch.cat([first, *(_without_strays(points, *_frame(first, 0.5)) for points in others)]))
    figure, axes = _panels(len(sets))
    for number, (title, points) in enumerate(sets.items()):
        outside = ((points.cpu() < low) | (points.cpu() > high)).any(1).double().mean()
        _dots(axes[number], points, OF.get(title, COLOURS[number % len(COLOURS)]))
        _finish(axes[number], f"{title}, {outside:.1%} outside" if outside else title, low, high)
    save(figure, path)


def histograms(path: str | Path, sets: Mapping[str, Tensor], bins: int = 100) -> None:
    """The densities of named sets of numbers (N, 1), one over the other, as histograms.

    Args:
        path: of the PNG.
        sets: title to numbers; the bins cover the first set with a margin, so that strays do not shrink the picture.
        bins: how many.
    """
    first = next(iter(sets.values())).flatten()
    low, high = float(first.min()), float(first.max())
    margin = (high - low) / 10 or 1.0
    edges = np.linspace(low - margin, high + margin, bins + 1)
    figure, axes = _panels(1, size=5.0)
    for number, (title, numbers) in enumerate(sets.items()):
        counts, _ = np.histogram(numbers.flatten().numpy(), edges)
        heights = counts / max(len(numbers), 1) / (edges[1] - edges[0])
        drawn = {"fill": False, "linewidth": 1.5} if number else {"fill": True, "alpha": 0.5}
        axes[0].stairs(heights, edges, color=OF.get(title, COLOURS[number % len(COLOURS)]), label=title, **drawn)
    axes[0].set_ylabel("density")
    axes[0].legend(frameon=False)
    save(figure, path)


def density(
    path: str | Path, log_prob: Callable[[Tensor], Tensor], data: Tensor, samples: Tensor, cells: int = 200
) -> float:
    """Three panels: the density on a grid, samples of the model, the data; returns the density's integral on the grid.

    Args:
        path: of the PNG.
        log_prob: points (N, 2) to their log densities (N,).
        data: points (N, 2); the grid covers them with a margin.
        samples: points (N, 2) of the model.
        cells: of the grid along each axis.
    """
    low, high = _frame(data)
    total, values = integrate(log_prob, low, high, cells)
    figure, axes = _panels(3)
    axes[0].imshow(
        values.cpu(), origin="lower", extent=(float(low[0]), float(high[0]), float(low[1]), float(high[1])),
        cmap="viridis",
    )  # fmt: skip
    _finish(axes[0], f"density (integral in view {total:.3f})", low, high)
    for number, (title, points) in enumerate((("samples", samples), ("data", data)), start=1):
        _dots(axes[number], points[:5000], OF[title])
        _finish(axes[number], title, low, high)
    save(figure, path)
    return total


def classes(path: str | Path, points: Tensor, labels: Tensor | None, names: Sequence[str], title: str) -> None:
    """A scatter of points (N, 2), one colour and one marker a class; classes of one letter are their own markers.

    Args:
        path: of the PNG.
        points: (N, 2).
        labels: (N,) numbers of classes, or None.
        names: of the classes.
        title: of the picture.
    """
    figure, (axes,) = _panels(1, size=5.6)
    if labels is None:
        _dots(axes, points, COLOURS[0])
    letters = all(len(name) == 1 and name.isalnum() for name in names)
    size = min(36.0, max(9.0, 700 / max(len(points), 1) ** 0.5))
    for kind, name in enumerate(names) if labels is not None else ():
        x, y = points[labels == kind].T
        marker = f"${name}$" if letters else MARKERS[kind // len(TEN) % len(MARKERS)]
        axes.scatter(x, y, s=size, color=TEN[kind % len(TEN)], alpha=0.85, linewidths=0, marker=marker, label=name)
    axes.set_title(title)
    if labels is not None and 1 < len(names) <= 20:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=(60 / size) ** 0.5)
    save(figure, path)


def posteriors(
    path: str | Path,
    log_joint: Callable[[int, Tensor], Tensor],
    mean: Tensor,
    log_variance: Tensor,
    cells: int = 80,
) -> None:
    """A panel for each example: p(z | x) on a grid, and q's ellipses of one and two standard deviations.

    The frame holds 99 % of the true posterior, found on a coarse grid over [-4, 4]^2, and q. The title says the KL
    divergence of q from the posterior on the grid.

    Args:
        path: of the PNG.
        log_joint: number of an example and codes (N, 2) to log p(x, z), (N,).
        mean, log_variance: of q, (examples, 2).
        cells: of the grid along each axis.
    """
    figure, panels = _panels(len(mean), rows=-(-len(mean) // 4))
    for number, axes in enumerate(panels[: len(mean)]):
        centre, deviation = mean[number].double(), (log_variance[number].double() / 2).exp()
        low, high = _square(*_posterior_frame(partial(log_joint, number), centre, deviation))
        points, area = _cells(low, high, cells)
        log_p = log_joint(number, points.float()).double()
        log_p = log_p - log_p.logsumexp(0) - area.log()
        log_q = -(((points - centre) / deviation).square() / 2 + deviation.log() + math.log(2 * math.pi) / 2).sum(1)
        divergence = float((log_q.exp() * (log_q - log_p)).sum() * area)
        extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
        axes.imshow(log_p.exp().view(cells, cells), origin="lower", extent=extent, cmap="Blues", aspect="auto")
        for times in (1, 2):
            size = (2 * times * deviation).tolist()
            ellipse = Ellipse(centre.tolist(), *size, fill=False, color=COLOURS[1], linewidth=1.5)  # type: ignore[arg-type]
            axes.add_patch(ellipse)
        axes.set_title(f"KL(q, p) {divergence:.2f} nats")
        axes.locator_params(nbins=4)
        axes.set_aspect("equal")
        axes.set(xlabel="$z_1$", ylabel="$z_2$")
    for axes in panels[len(mean) :]:
        axes.set_axis_off()
    figure.suptitle("p(z | x) in blue; q(z | x), one and two standard deviations")
    save(figure, path)


def lines(path: str | Path, curves: Tensor, data: Tensor, title: str, ends: bool = False) -> None:
    """Families of curves over data, one colour a family.

    Args:
        path: of the PNG.
        curves: (families, curves, points, 2).
        data: (N, 2); the frame is theirs.
        title: of the picture.
        ends: mark the first and the last point of each curve.
    """
    low, high = _frame(data)
    figure, (axes,) = _panels(1, size=5.6)
    axes.scatter(data[:3000, 0], data[:3000, 1], s=3, c="#bbbbbb", linewidths=0)
    for number, family in enumerate(curves):
        for curve in family:
            x, y = curve.T
            axes.plot(x, y, color=COLOURS[number % len(COLOURS)], linewidth=0.8)
            if ends:
                axes.scatter(x[[0, -1]], y[[0, -1]], s=14, color=COLOURS[number % len(COLOURS)], zorder=3)
    _finish(axes, title, low, high)
    save(figure, path)


def ways(
    path: str | Path, paths: Tensor, data: Tensor, title: str, ends: tuple[str, str] = ("latent", "sample")
) -> None:
    """Ways over data, thin, with both of their ends marked.

    Args:
        path: of the PNG.
        paths: (N, points, 2), from a latent to data.
        data: (N, 2).
        title: of the picture.
        ends: what the first and the last points are.
    """
    first, last = paths[:, 0], paths[:, -1]
    low, high = _frame(torch.cat([data, _without_strays(paths.flatten(0, 1), *_frame(data, 1.0)).to(data)]), 0.05)
    figure, (axes,) = _panels(1, size=5.6)
    axes.scatter(data[:3000, 0], data[:3000, 1], s=3, c="#bbbbbb", linewidths=0)
    for x, y in paths.transpose(1, 2):
        axes.plot(x, y, color="#666666", linewidth=0.6, alpha=0.7)
    for title_of, points, colour in ((ends[0], first, COLOURS[0]), (ends[1], last, COLOURS[1])):
        axes.scatter(points[:, 0], points[:, 1], s=14, c=colour, linewidths=0, zorder=3, label=title_of)
    axes.legend(loc="upper right")
    _finish(axes, title, low, high)
    save(figure, path)


def surface(
    path: str | Path, values: Callable[[Tensor], Tensor], data: Tensor, samples: Tensor, cells: int = 160
) -> None:
    """Values over the plane as a map with level lines, under data and samples.

    Args:
        path: of the PNG.
        values: points (N, 2) to values (N,).
        data: points (N, 2); the frame is theirs.
        samples: points (N, 2) of the model.
        cells: of the map along each axis.
    """
    low, high = _frame(data)
    points, _ = _cells(low, high, cells)
    field = values(points.float()).double().view(cells, cells)
    figure, (axes,) = _panels(1, size=6.2)
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    pale = ListedColormap(colormaps["Greys"](np.linspace(0, 0.55, 256)))  # dots stand out from its darkest
    drawn = axes.imshow(field, origin="lower", extent=extent, cmap=pale)
    axes.contour(field, levels=12, extent=extent, colors="#00000055", linewidths=0.6, linestyles="solid")
    figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03, label="critic")
    axes.scatter(data[:2000, 0], data[:2000, 1], s=7, c=OF["data"], linewidths=0, label="data")
    axes.scatter(samples[:2000, 0], samples[:2000, 1], s=7, c=OF["samples"], alpha=0.8, linewidths=0, label="samples")
    axes.legend(loc="upper right", markerscale=2)
    _finish(axes, "values of the critic", low, high)
    save(figure, path)


def sheets(path: str | Path, pictures: Mapping[str, Any]) -> None:
    """Pictures below one another, each with its title and as wide as all.

    Args:
        path: of the PNG.
        pictures: title to an image of Pillow's.
    """
    shares = [image.height / image.width for image in pictures.values()]
    figure = Figure(figsize=(8, 8 * sum(shares) + 0.35 * len(shares)), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shares), 1, squeeze=False, height_ratios=shares).flatten()
    for one, (title, image) in zip(axes, pictures.items(), strict=True):
        one.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        one.set_title(title, loc="left", fontsize=10)
        one.axis("off")
    save(figure, path)


def profile(path: str | Path, values: Tensor, title: str) -> None:
    """Positive numbers, one a layer, on a logarithmic axis.

    Args:
        path: of the PNG.
        values: (L,).
        title: of the picture.
    """
    figure, (axes,) = _panels(1)
    axes.plot(range(len(values)), values.clamp(min=1e-30), color=COLOURS[0], marker="o", markersize=4)
    axes.set_yscale("log")
    axes.set_xlabel("layer, from the example on")
    axes.set_title(title)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.1), max(high, 10))  # what hardly changes looks flat
    save(figure, path)


def _dots(axes: Any, points: Tensor, colour: str) -> None:
    """Points, the smaller the more there are."""
    points = points.detach().cpu()
    size = min(16.0, 200 / max(len(points), 1) ** 0.5)
    axes.scatter(points[:, 0], points[:, 1], s=size, c=colour, alpha=0.6, linewidths=0)


def _cells(low: Tensor, high: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Middles of the cells of a box, (cells * cells, 2) row by row from below, and the area of one."""
    middles = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    x, y = (low[axis] + (high[axis] - low[axis]) * middles for axis in (0, 1))
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    return points, (high - low).double().prod() / cells**2


def _posterior_frame(log_joint: Callable[[Tensor], Tensor], centre: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """A box that holds q to three deviations and 99 % of the posterior on a coarse grid."""
    everywhere, _ = _cells(torch.full((2,), -4.0), torch.full((2,), 4.0), 80)
    weight, order = log_joint(everywhere.float()).double().softmax(0).sort(descending=True)
    held = everywhere[order[: int((weight.cumsum(0) < 0.99).sum()) + 1]]
    low = torch.minimum(held.amin(0) - 0.1, centre - 3 * deviation)
    return low, torch.maximum(held.amax(0) + 0.1, centre + 3 * deviation)


def _square(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest square around a frame: what is round looks round."""
    middle, half = (low + high) / 2, (high - low).max() / 2
    return middle - half, middle + half


def _without_strays(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The points of a box without the outermost hundredth on each of its sides."""
    held = points[((points >= low) & (points <= high)).all(1)]
    if not len(held):
        return held
    ends = held.quantile(torch.tensor([0.01, 0.99], dtype=held.dtype), dim=0)
    return held[((held >= ends[0]) & (held <= ends[1])).all(1)]


def _frame(points: Tensor, margin: float = 0.15) -> tuple[Tensor, Tensor]:
    """Corners of a square around the points."""
    points = points.detach().cpu().double()
    low, high = points.amin(0), points.amax(0)
    half = (0.5 + margin) * (high - low).amax().clamp(min=1e-6)
    return (low + high) / 2 - half, (low + high) / 2 + half


def _panels(count: int, rows: int = 1, size: float = 4.0) -> tuple[Figure, Any]:
    columns = -(-count // rows)
    figure = Figure(figsize=(size * columns, (size + 0.2) * rows), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False).flatten()


def _finish(axes: Any, title: str, low: Tensor, high: Tensor) -> None:
    axes.set_title(title)
    axes.set_aspect("equal")
    axes.set_xlim(float(low[0]), float(high[0]))
    axes.set_ylim(float(low[1]), float(high[1]))


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG, whole or not at all.

    Raises:
        PictureError: it cannot be written.
    """
    with picture(path) as partial:
        figure.savefig(partial, format="png")
