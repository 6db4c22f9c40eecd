"""A torch module of the user's as extractor."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from genlab.errors import ConfigError, GenlabError
from genlab.extractors.base import WHOLE, Features, fit, read_state
from genlab.presets import groups
from genlab.spec import Spec


class Module(nn.Module):
    """Any net that takes images (B, C, H, W) in [0, 1] and returns features (B, D), or features and logits (B, K).

    ``extractor=module extractor.net._target_=mine.Net extractor.weights=mine.safetensors plugins=[mine]``

    It is shown images of the data's own number of channels in evaluation mode. D and K are found by showing it two
    black ones.

    Args:
        spec: of the images that it will be shown; the net gets it, if its constructor has a ``spec`` without a default.
        net: the net, or what lacks nothing but the spec to make it.
        weights: its state dict, a .safetensors file, or a .pth that holds nothing but tensors; None: as it was made.
        name: stands in the names of its figures: ``fid_<name>``.
        size: height and width that images are resized to first, by averaging over areas; None: as they are.
    """

    name: str = "module"
    rounding: ClassVar[str] = WHOLE

    def __init__(
        self,
        spec: Spec,
        net: nn.Module | Callable[..., nn.Module] | None = None,
        weights: str | None = None,
        name: str = "module",
        size: int | None = None,
    ):
        super().__init__()
        if not re.fullmatch(r"\w+", name):
            raise ConfigError("extractor.name", name, "stands in names of figures: letters, digits and _ only")
        if name != type(self).name and name in groups()["extractor"]:
            raise ConfigError("extractor.name", name, "is an extractor of genlab's; figures of yours take another name")
        if size is not None and size < 1:
            raise ConfigError("extractor.size", size, "is at least 1")
        self.name, self.size, self.levels = name, size, spec.levels
        self.resize = WHOLE if size is None else f"averaged over areas to {size}x{size}"
        self.net = made(net, spec)
        if weights:
            state, _ = read_state(Path(weights).expanduser(), name)
            fit(self.net, state, name, weights)
        self.requires_grad_(False).eval()
        self.hash = fingerprint(self.net, size)
        try:
            seen = self(torch.zeros(2, *spec.shape, dtype=torch.uint8))
        except GenlabError:
            raise
        except Exception as error:  # whatever a net of the user's may raise
            reason = f"cannot look at images {spec.shape}: {' '.join(str(error).split())[:160]}"
            raise ConfigError("extractor.net", type(self.net).__name__, reason) from error
        self.dimensions, self.classes = seen.features.shape[1], seen.logits.shape[1]
        if not self.dimensions:
            raise ConfigError("extractor.net", type(self.net).__name__, "returns no features")

    @staticmethod
    def refuses(spec: Spec) -> str:
        """It is shown images."""
        return "" if spec.kind == "image" and spec.levels else "a module looks at images with integer levels"

    @staticmethod
    def suits(spec: Spec) -> bool:
        """Nobody knows what for: it must be named."""
        return False

    def forward(self, x: Tensor) -> Features:
        """Features (B, D) and logits (B, K)."""
        assert self.levels is not None  # refused before
        x = x.float() / max(self.levels - 1, 1)
        if self.size is not None:
            x = functional.adaptive_avg_pool2d(x, self.size)
        found = self.net(x)
        pair = found if isinstance(found, (tuple, list)) and len(found) == 2 else (found, x.new_empty(len(x), 0))
        for part in pair:
            if not (isinstance(part, Tensor) and part.is_floating_point() and part.ndim == 2 and len(part) == len(x)):
                told = f"{part.dtype} {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
                reason = f"returns {told} for {len(x)} images, not features ({len(x)}, D) or a pair of them and logits"
                raise ConfigError("extractor.net", type(self.net).__name__, reason)
        return Features(*pair)


def made(net: nn.Module | Callable[..., nn.Module] | None, spec: Spec) -> nn.Module:
    """The net itself.

    Raises:
        ConfigError: there is none, or it lacks more than the spec.
    """
    if net is None:
        reason = "name a torch module: extractor.net._target_=mine.Net plugins=[mine]"
        raise ConfigError("extractor.net", None, reason)
    if isinstance(net, functools.partial):
        title = getattr(net.func, "__name__", "net")
        lacking = [
            name
            for name, parameter in inspect.signature(net).parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        if lacking != ["spec"]:
            raise ConfigError("extractor.net", title, f"lacks {', '.join(name for name in lacking if name != 'spec')}")
        net = net(spec=spec)
    if not isinstance(net, nn.Module):
        raise ConfigError("extractor.net", type(net).__name__, "is no torch module")
    return net


def fingerprint(net: nn.Module, size: int | None) -> str:
    """Of a net's structure, attributes and tensors, and of what images are resized to."""
    kind = type(net)
    found = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__} {net} {size}".encode())
    tensors = {**net.state_dict(), **dict(net.named_buffers())}  # and those that a state dict leaves out
    every = [(f"{title}.{key}", value) for title, part in net.named_modules() for key, value in own(part)]
    for name, value in [*tensors.items(), *every]:
        told(found, name, value)
    return found.hexdigest()[:12]


def own(module: nn.Module) -> list[tuple[str, Any]]:
    """Attributes that a module's class has set, as a number that its output is multiplied by."""
    usual = vars(nn.Module())
    return [(key, value) for key, value in sorted(vars(module).items()) if key not in usual]


def told(found: Any, name: str, value: Any) -> None:
    """Tell a hash of a value. Of objects that are neither tensors nor plain, it takes what they are alone."""
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if isinstance(value, functools.partial):
        value = {"func": value.func, "args": value.args, **value.keywords}
    if isinstance(value, (set, frozenset)):
        value = dict.fromkeys(sorted(map(repr, value)))
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        value = dict(enumerate(value.ravel()))
    if isinstance(value, Mapping):
        for key, item in value.items():
            told(found, f"{name}.{key}", item)
    elif isinstance(value, Tensor):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    elif isinstance(value, np.ndarray):
        found.update(f"{name} {value.dtype} {value.shape}".encode())
        found.update(np.ascontiguousarray(value).data)
    elif value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        found.update(f"{name} {value!r}".encode())
    else:
        what = value if isinstance(value, (type, FunctionType)) else type(value)
        found.update(f"{name} {what.__module__}.{what.__qualname__}".encode())
