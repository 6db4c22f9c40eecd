"""A checkpoint is plain containers and tensors: read with ``weights_only=True``, built from the config it carries."""

from __future__ import annotations

import pickle
import shutil
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genlab import __version__
from genlab.build import build
from genlab.errors import CheckpointError, ConfigError
from genlab.models.base import Game
from genlab.run import atomic
from genlab.spec import Spec


@dataclass(frozen=True)
class Loaded:
    """A model as it samples and scores: averaged weights where there are any, in evaluation mode."""

    model: nn.Module
    spec: Spec
    config: dict[str, Any]
    step: int
    averaged: bool


UNREADABLE = (
    RuntimeError, OSError, EOFError, zipfile.BadZipFile, struct.error,
    LookupError, ValueError, TypeError, AttributeError, AssertionError, ArithmeticError,
)  # fmt: skip
"""What reading a damaged file ends in. Of what is no archive at all, torch makes a pickle of its first days, and a text
that is read as one pops empty stacks and looks up names that are none."""


def card(config: dict[str, Any], spec: Spec, step: int) -> dict[str, Any]:
    """What a checkpoint says of itself, so that the file alone samples on another machine."""
    return {"version": __version__, "config": config, "spec": spec.to_dict(), "step": step}


def write(path: Path, state: dict[str, Any]) -> None:
    """Save under a temporary name and rename.

    Raises:
        CheckpointError: it cannot be written (a full disk, say); what stood there before is untouched.
    """
    full, reason = False, ""
    try:
        with atomic(path) as partial:
            try:
                torch.save(state, partial)
            except RuntimeError:  # torch's archive writer says no more than that a write failed
                full = shutil.disk_usage(path.parent).free < 1 << 20
                raise
    except (OSError, RuntimeError) as error:
        told = "the disk is full" if full else " ".join(str(error).split())[:160] or type(error).__name__
        reason = getattr(error, "strerror", None) or told
    if reason:  # raised out here: with the error goes torch's writer, which holds the room that the partial file took
        raise CheckpointError(f"{path}: cannot write the checkpoint: {reason}")


def read(path: str | Path) -> dict[str, Any]:
    """The plain contents of a checkpoint file.

    Raises:
        CheckpointError: it is missing, damaged, or holds anything but plain containers and tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        with zipfile.ZipFile(path) as archive:
            spoilt = archive.testzip()  # torch does not look at the checksums that it wrote
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: holds more than tensors and plain containers; refused, nothing was run"
        ) from None
    except UNREADABLE as error:
        told = "no checkpoint, or damaged, or cut short"  # of one that is cut, torch may say EINVAL
        told = str(error.strerror) if isinstance(error, PermissionError) else told
        raise CheckpointError(f"{path}: {told}{others(path)}") from None
    if spoilt is not None:
        raise CheckpointError(f"{path}: damaged: {spoilt} is not as it was written{others(path)}")
    if not isinstance(state, dict) or not isinstance(state.get("genlab"), dict):
        raise CheckpointError(f"{path}: not a checkpoint of genlab")
    return state


def others(path: Path) -> str:
    """What there is in place of a damaged checkpoint."""
    kept = [*sorted(path.parent.glob("step_*.ckpt"))[-1:], path.with_name("best.ckpt"), path.with_name("last.ckpt")]
    whole = [other.name for other in kept if other != path and zipfile.is_zipfile(other)]
    return f"; beside it: {', '.join(whole)}" if whole else "; there is no other beside it"


def load(path: str | Path, device: str | torch.device = "cpu") -> Loaded:
    """The model of a checkpoint file, wherever the file lies.

    Raises:
        CheckpointError: as ``read``; what it says of itself is damaged; its weights do not fit the model that its
            config describes, or are NaN.
        ConfigError: its config names something that is not trusted or not there.
    """
    state = read(path)
    about = state["genlab"]
    with blamed(path, "what it says of itself is damaged", about):
        spec, described, step = Spec.from_dict(about["spec"]), about["config"]["model"], int(about["step"])
        if step < 0:
            raise ValueError(f"step {step}")
    with blamed(path, "its config describes no model", about):
        try:
            model = build(described, spec=spec)
            prepare(model, about["config"])
        except ConfigError as error:
            key = f"model.{error.key}" if error.key.endswith("_target_") else error.key
            raise ConfigError(key, error.value, error.reason, error.suggestion, f"config in {path}") from None
        if not isinstance(model, nn.Module):
            raise TypeError(f"{described['_target_']} is none")
    with blamed(path, "its weights do not fit its config", about):
        parameters = state["state_dict"].items()
        weights = {key[len("model.") :]: value for key, value in parameters if key.startswith("model.")}
        weights |= state.get("average") or {}
        first: dict[int, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):  # one of several names has the average
            if (known := first.setdefault(id(parameter), name)) in weights:
                weights[name] = weights[known]
        model.load_state_dict(weights)
    spoilt = [name for name, value in model.state_dict().items() if bool(value.isnan().any())]
    if spoilt:  # so would be its samples, and rounded to levels nobody would see
        raise CheckpointError(f"{path}: {spoilt[0]} is NaN, so nothing is made of it; its training diverged")
    return Loaded(model.to(device).eval(), spec, about["config"], step, bool(state.get("average")))


@contextmanager
def blamed(path: str | Path, what: str, about: dict[str, Any]) -> Iterator[None]:
    """Whatever a file's content ends in is a fault of the file.

    Raises:
        CheckpointError: in place of any error but a ConfigError, which says more.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        written = about.get("version")
        other = "" if written == __version__ else f" (written by genlab {written}, and this is {__version__})"
        raise CheckpointError(f"{path}: {what}: {kind}{' '.join(str(error).split())[:160]}{other}") from None


def prepare(model: nn.Module, config: dict[str, Any]) -> None:
    """Let the penalty reparametrise the critic, where it does, so that parameter names are those of training."""
    penalty = config.get("penalty")
    if penalty and isinstance(model, Game):
        preparing = build(penalty)
        for module in next(iter(model.players().values())):
            preparing.prepare(module)
