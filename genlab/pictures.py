"""The picture of examples that suits their kind."""

from pathlib import Path

from torch import Tensor

from genlab.spec import Spec


def save_picture(x: Tensor, spec: Spec, path: Path, columns: int | None = None) -> None:
    """A grid of images, or a scatter of the first two dimensions of vectors, as a PNG at ``path``."""
    if spec.kind == "image":
        from genlab.images import save_grid

        save_grid(path, x, spec, columns)
    else:
        from genlab.plots import scatter

        scatter(path, {"samples": x[:, :2]})
