"""Pictures of two-dimensional data: samples as a scatter, a model's density as a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from genlab.errors import GenlabError
from genlab.metrics.integral import integrate
from genlab.run import atomic

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # told apart by every eye (Paul Tol)


def scatter(path: str | Path, sets: Mapping[str, Tensor]) -> None:
    """Panels side by side, one for each named set of points (N, 2), on common axes.

    Args:
        path: of the PNG.
        sets: title to points; axes are those of the first set, so that strays do not shrink the picture.
    """
    first = next(iter(sets.values()))
    low, high = _frame(first)
    figure, axes = _panels(len(sets))
    for number, (title, points) in enumerate(sets.items()):
        points = points.detach().cpu()
        size = 200 / max(len(points), 1) ** 0.5
        axes[number].scatter(
            points[:, 0], points[:, 1], s=min(size, 16), c=COLOURS[number % len(COLOURS)], alpha=0.6, linewidths=0
        )
        _finish(axes[number], title, low, high)
    _save(figure, path)


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
    _finish(axes[0], f"density (integral {total:.3f})", low, high)
    for number, (title, points) in enumerate((("samples", samples), ("data", data)), start=1):
        points = points.detach().cpu()[:5000]
        axes[number].scatter(points[:, 0], points[:, 1], s=3, c=COLOURS[number - 1], alpha=0.5, linewidths=0)
        _finish(axes[number], title, low, high)
    _save(figure, path)
    return total


def _frame(points: Tensor, margin: float = 0.15) -> tuple[Tensor, Tensor]:
    """Corners of a square around the points."""
    points = points.detach().cpu().double()
    low, high = points.amin(0), points.amax(0)
    half = (0.5 + margin) * (high - low).amax().clamp(min=1e-6)
    return (low + high) / 2 - half, (low + high) / 2 + half


def _panels(count: int) -> tuple[Figure, Any]:
    figure = Figure(figsize=(4 * count, 4.2), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _finish(axes: Any, title: str, low: Tensor, high: Tensor) -> None:
    axes.set_title(title)
    axes.set_aspect("equal")
    axes.set_xlim(float(low[0]), float(high[0]))
    axes.set_ylim(float(low[1]), float(high[1]))


def _save(figure: Figure, path: str | Path) -> None:
    try:
        with atomic(Path(path)) as partial:
            figure.savefig(partial, format="png")
    except OSError as error:
        raise GenlabError(f"{path}: cannot write the picture: {error.strerror or error}") from None
