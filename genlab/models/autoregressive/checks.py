"""What causal nets refuse, each in one place: data, kernels and numbers of maps."""

from __future__ import annotations

from genlab.errors import ConfigError
from genlab.spec import Spec


def check_images(spec: Spec, why: str) -> None:
    """Raises:
    ConfigError: the data are no images.
    """
    if spec.kind != "image":
        raise ConfigError("data", spec.kind, f"this model is of images, {why}", "pixelcnn")


def check_kernels(**kernels: int) -> None:
    """Raises:
    ConfigError: an edge length leaves no centre, or nothing before it.
    """
    for key, size in kernels.items():
        if size < 3 or size % 2 == 0:
            raise ConfigError(f"model.{key}", size, "must be odd and at least 3, so that it has a centre and a past")


def check_maps(groups: int, **maps: int) -> None:
    """Raises:
    ConfigError: a layer has fewer feature maps than there are image channels to share them.
    """
    for key, number in maps.items():
        if number < groups:
            raise ConfigError(f"model.{key}", number, f"must be at least {groups}, one map for each image channel")
