"""Feature extractors: frozen classifiers whose features and logits stand for an image in FID and the Inception Score.

A score carries the extractor in its name (``fid_digits``), for scores of two extractors have nothing to do with each
other. ``scripts/train_extractor`` trains those that ship with the package, so they need no download. A new one is one
file here and one YAML in ``conf/extractor``.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from safetensors.torch import load
from torch import Tensor, nn

from genlab.errors import GenlabError
from genlab.spec import Spec


class Features(NamedTuple):
    """What an extractor sees in a batch: ``features`` (B, D) and ``logits`` (B, K)."""

    features: Tensor
    logits: Tensor


class Extractor(Protocol):
    """A frozen classifier; its first constructor argument is the ``Spec`` of the images it is shown."""

    name: str
    """Added to the name of every figure that it takes part in."""

    dimensions: int
    """Number D of features."""

    classes: int
    """Number K of logits; 0 where it has none."""

    hash: str
    """Of its weights and of how images are prepared for it: part of the protocol of such a figure."""

    @staticmethod
    def refuses(spec: Spec) -> str:
        """Why it has nothing to say about such examples; empty where it has."""
        ...

    @staticmethod
    def suits(spec: Spec) -> bool:
        """Whether it is taken where none is named: it was trained on such data, and nothing need be downloaded."""
        ...

    def __call__(self, x: Tensor) -> Features:
        """Features (B, D) and logits (B, K) of integer levels ``x``, (B, C, H, W)."""
        ...


class Shared(nn.Module):
    """An extractor asked in turn by several metrics about the same batch: it looks once.

    Args:
        extractor: asked when the batch is another one, or has been written to.
    """

    def __init__(self, extractor: Extractor):
        super().__init__()
        self.extractor = extractor
        self.name, self.hash = extractor.name, extractor.hash
        self.dimensions, self.classes = extractor.dimensions, extractor.classes
        self._last: tuple[Tensor, int, Features] | None = None

    def forward(self, x: Tensor) -> Features:
        """Features and logits of ``x``."""
        if self._last is None or self._last[0] is not x or self._last[1] != x._version:
            with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                self.know(x, self.extractor(x))
        assert self._last is not None
        return self._last[2]

    def know(self, x: Tensor, found: Features) -> None:
        """Take ``found`` for what it would see in ``x``."""
        self._last = (x, x._version, found)


def read_weights(name: str, weights: str | None, net: nn.Module) -> str:
    """Load a safetensors file, the bundled one of extractor ``name`` unless another is given; its hash.

    Raises:
        GenlabError: it cannot be read, or is not of this net.
    """
    try:
        raw = Path(weights).expanduser().read_bytes() if weights else bundled(name)
    except OSError as error:
        raise GenlabError(f"weights of extractor {name}: {weights or name}: {error.strerror}") from None
    try:
        net.load_state_dict(load(raw))
    except Exception as error:  # safetensors raises its own kinds for a damaged file, torch another for a wrong one
        reason = " ".join(str(error).split())[:160]
        raise GenlabError(f"weights of extractor {name} are damaged or of another net: {reason}") from None
    return hashlib.sha256(raw).hexdigest()[:12]


def bundled(name: str) -> bytes:
    """The weights file that the package ships for the extractor ``name``."""
    return importlib.resources.files("genlab.extractors").joinpath(f"weights/{name}.safetensors").read_bytes()
