"""The picture of examples, or of a density, that suits their kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from genlab.spec import Spec


def save_picture(
    x: Tensor,
    spec: Spec,
    path: Path,
    columns: int | None = None,
    real: Tensor | None = None,
    groups: Sequence[int] = (),
) -> None:
    """A grid of images, a scatter of two dimensions of vectors beside ``real`` ones, or histograms, as a PNG."""
    if spec.kind == "image":
        from genlab.images import save_grid

        save_grid(path, x, spec, columns, groups)
        return
    from genlab import plots

    if spec.dimensions == 1:
        plots.histograms(path, ({} if real is None else {"data": real}) | {"samples": x})
    else:
        plots.scatter(path, ({} if real is None else {"data": real[:2000, :2]}) | {"samples": x[:, :2]})


def save_density(model: Any, x: Tensor, real: Tensor, path: Path) -> None:
    """The density of a model of the plane over the frame of ``real`` data, beside its samples ``x`` and the data."""
    from genlab.plots import density

    device = next(model.parameters()).device
    density(path, lambda points: model.log_prob(points.to(device)).cpu(), real, x)


def save_strips(strips: Mapping[str, Tensor], spec: Spec, path: Path) -> None:
    """Strips of images with titles, one below the other, as a PNG; of each (rows, columns, C, H, W)."""
    from genlab.images import grid
    from genlab.plots import sheets

    sheets(path, {name: grid(strip.flatten(0, 1), spec, strip.shape[1]) for name, strip in strips.items()})
