"""Feature extractors: frozen classifiers whose features and logits stand for an image in FID and the Inception Score.

A score carries the extractor in its name (``fid_digits``), for scores of two extractors have nothing to do with each
other. ``scripts/train_extractor`` trains those that ship with the package, so they need no download. A new one is one
file here and one YAML in ``conf/extractor``.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from safetensors.torch import load
from torch import Tensor, nn

from genlab.build import admitted
from genlab.errors import ConfigError, GenlabError
from genlab.plugins import code
from genlab.spec import Spec

TOLD = ("_target_", "weights", "name")  # keys of an extractor's config that its hash and its name tell
WHOLE = "none"  # images are shown as they are
WEIGHTS = Path(__file__).parent / "weights"  # those that the package ships
SUMS = "SHA256SUMS"  # of them, beside them, as ``sha256sum --check`` reads it


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
    """Of its weights: part of the protocol of such a figure."""

    resize: str
    """How images are brought to its size, ``none`` where they have it; part of the protocol, too."""

    rounding: str
    """How their levels are rounded for it, ``none`` where they are not."""

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
        node: the config that it was made by, of which its hash need not know all.

    The hash of a user's own is of the code of his packages, too; what that reads besides (files, other packages) it
    does not know. Features of real examples are kept by what the extractor makes of some of them, so they are its own.
    """

    def __init__(self, extractor: Extractor, node: Mapping[str, Any] | None = None):
        super().__init__()
        self.extractor = extractor
        made_with = {key: value for key, value in (node or {}).items() if key not in TOLD and value is not None}
        self.name, self.hash = extractor.name, extractor.hash
        theirs = written_in(extractor)
        if made_with or theirs:
            written = json.dumps([self.hash, made_with], sort_keys=True, default=str)
            found = hashlib.sha256(written.encode())
            found.update(code({*theirs, *admitted()}) if theirs else b"")
            self.hash = found.hexdigest()[:12]
        self.resize = getattr(extractor, "resize", WHOLE)  # not every extractor of a user's says
        self.rounding = getattr(extractor, "rounding", WHOLE)
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


def written_in(extractor: Extractor) -> set[str]:
    """Packages of a user's own that an extractor and the modules in it are written in."""
    parts = extractor.modules() if isinstance(extractor, nn.Module) else [extractor]
    return {type(part).__module__.partition(".")[0] for part in parts} - {"genlab", "torch"}


def read_weights(name: str, weights: str | None, net: nn.Module) -> str:
    """Load the file of weights given, or the bundled one of extractor ``name``; its hash.

    Raises:
        ConfigError: there is no such file.
        GenlabError: it cannot be read, or is not of this net, or the bundled one is not as it was made.
    """
    path = Path(weights).expanduser() if weights else WEIGHTS / f"{name}.safetensors"
    state, digest = read_state(path, name) if weights else read_state(path, name, made(path), "install genlab again")
    fit(net, state, name, path)
    return digest[:12]


def read_state(path: Path, title: str, expected: str = "", mend: str = "") -> tuple[dict[str, Tensor], str]:
    """Tensors by name, of a .safetensors file or of a state dict that torch saved; and the file's SHA-256.

    Args:
        path: the file.
        title: name of the extractor.
        expected: its SHA-256, where that is known.
        mend: what to do about a file that is none of the user's.

    Raises:
        ConfigError: there is no file where the user says.
        GenlabError: it cannot be read, its SHA-256 is not the expected one, or it holds anything but finite tensors;
            nothing in it is run.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        if mend:
            raise GenlabError(f"weights of extractor {title}: {path}: {error.strerror}; {mend}") from None
        raise ConfigError("extractor.weights", path, f"{error.strerror}, and extractor={title} needs it") from None
    digest = hashlib.sha256(raw).hexdigest()
    if expected not in ("", digest):
        raise GenlabError(f"{path}: damaged, expected sha256:{expected}, found sha256:{digest}; {mend}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of what torch then refuses
            safe = path.suffix == ".safetensors"
            state = load(raw) if safe else torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception:  # pickle, zipfile, torch and safetensors have many words for a damaged file
        state = None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        kinds = "a .safetensors file or a .pth with a state dict of tensors alone"
        raise GenlabError(f"weights of extractor {title}: {path}: damaged, or not {kinds}")
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise GenlabError(f"weights of extractor {title}: {path}: some of {name} are not finite")
    return state, digest


def fit(net: nn.Module, state: Mapping[str, Tensor], title: str, path: str | Path) -> None:
    """Load a net's weights, all of them and no others.

    Raises:
        GenlabError: they are of another net.
    """
    ours, theirs = ({name: tuple(value.shape) for name, value in one.items()} for one in (net.state_dict(), state))
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            there, here = (f"of shape {one[name]}" if name in one else "missing" for one in (theirs, ours))
            told = f"{name} is {there}, and here {here}"
            raise GenlabError(f"weights of extractor {title}: {path}: of another net: {told}")
    net.load_state_dict(state)


def made(path: Path) -> str:
    """The SHA-256 that a bundled file of weights had when it was made; empty where nobody wrote it down."""
    try:
        sums = dict(line.split()[::-1] for line in (WEIGHTS / SUMS).read_text().splitlines())
    except (OSError, ValueError):
        return ""
    return sums.get(path.name, "")
