"""A checkpoint is plain containers and tensors: read with ``weights_only=True``, built from the config it carries."""

from __future__ import annotations

import pickle
import shutil
import struct
import textwrap
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genlab import __version__
from genlab.build import build_part, refused, untrusted
from genlab.errors import CheckpointError, ConfigError
from genlab.files import atomic
from genlab.models.base import Game, averaged
from genlab.run import option
from genlab.spec import Spec
from genlab.validation.contradictions import nodes
from genlab.validation.mistakes import check_node
from genlab.weights import amiss


@dataclass(frozen=True)
class Loaded:
    """A model as it samples and scores, of the checkpoint ``path``: averaged weights where there are any, in evaluation
    mode."""

    model: nn.Module
    spec: Spec
    config: dict[str, Any]
    step: int
    averaged: bool
    version: str
    path: str


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
        told = "the disk is full" if full else in_words(error) or type(error).__name__
        reason = getattr(error, "strerror", None) or told
    if reason:  # raised out here: with the error goes torch's writer, which holds the room that the partial file took
        raise CheckpointError(f"{path}: cannot write the checkpoint: {reason}")


def read(path: str | Path) -> dict[str, Any]:
    """The plain contents of a checkpoint file.

    Raises:
        CheckpointError: it is missing, damaged, or holds anything but plain containers and tensors.
        ConfigError: its config names something that no run is made of, of whatever part.
    """
    path = Path(path)
    if not path.is_file():
        there = "a folder" if path.is_dir() else "a pipe or a device"
        raise CheckpointError(f"{path}: {f'{there}, and no checkpoint' if path.exists() else 'no such checkpoint'}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of what torch then refuses
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
    harmless(path, state["genlab"].get("config"))
    return state


def others(path: Path) -> str:
    """What there is in place of a damaged checkpoint."""
    kept = [*sorted(path.parent.glob("step_*.ckpt"))[-1:], path.with_name("best.ckpt"), path.with_name("last.ckpt")]
    whole = [other.name for other in kept if other != path and other.is_file() and zipfile.is_zipfile(other)]
    return f"; beside it: {', '.join(whole)}" if whole else "; there is no other beside it"


class Card(NamedTuple):
    """What a checkpoint says of itself.

    Args:
        version: of genlab that wrote it; unknown where it does not say so.
        config: of its run.
        spec: of the data that its model is for.
        step: of training.
    """

    version: str
    config: dict[str, Any]
    spec: Spec
    step: int


def card_of(path: str | Path, state: Mapping[str, Any]) -> Card:
    """What the contents of a file say of it.

    Raises:
        CheckpointError: they lack something, or say it amiss.
    """
    about = state["genlab"]
    version = str(about.get("version", "unknown"))
    with blamed(path, version):
        for key in ("config", "spec", "step"):
            if key not in about:
                raise ValueError(f"lacks `{key}`")
        config, step = about["config"], about["step"]
        if not isinstance(config, dict):
            raise ValueError("its config is no mapping")
        if type(step) is not int or step < 0:
            raise ValueError(f"its step is {step}")
        try:
            return Card(version, config, Spec.from_dict(about["spec"]), step)
        except ValueError as error:
            raise ValueError(f"its spec: {error}") from None


def load(path: str | Path, device: str | torch.device = "cpu") -> Loaded:
    """The model of a checkpoint file, wherever the file lies.

    Raises:
        CheckpointError: as ``read``; what it says of itself is damaged; its weights do not fit the model that its
            config describes, or are not finite; its average is not of what training averages.
        ConfigError: its config names something that is not there, or not trusted, of whatever part of a run.
    """
    state = read(path)
    about = card_of(path, state)
    with blamed(path, about.version):
        model = described(path, about)
        if "state_dict" not in state:
            raise ValueError("lacks `state_dict`")
        weights = of_model(state["state_dict"])
        if reason := amiss(weights, model.state_dict()):
            raise ValueError(reason)
        average = state.get("average") or {}
        if average and (reason := amiss(average, averaged(model), "its average")):
            raise ValueError(reason)
        if not average and (decay := option(about.config, "trainer.ema")) is not None:
            raise ValueError(f"lacks the average of its weights, and trainer.ema={decay} keeps one")
        first: dict[int, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):  # one of several names has the average
            if (known := first.setdefault(id(parameter), name)) in average:
                weights[name] = average[known]
        model.load_state_dict(weights)
    model = model.to(device).eval()
    return Loaded(model, about.spec, about.config, about.step, bool(average), about.version, str(path))


def harmless(path: str | Path, config: Any) -> None:
    """Take nothing from a checkpoint whose config names what no run is made of, be it in a part that is not wanted.

    Raises:
        ConfigError: there is such a name.
    """
    for key, node in nodes(config):
        if refused(target := str(node["_target_"])):
            raise ConfigError(f"{key}._target_", target, untrusted(target), "", said_in(path))


def tensors(path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint file by name, averaged ones where there are any, whatever model they are of.

    Raises:
        CheckpointError: as ``read``; or they are none, or not finite.
    """
    state = read(path)
    with blamed(path, str(state["genlab"].get("version"))):
        if "state_dict" not in state:
            raise ValueError("lacks `state_dict`")
        raw, average = of_model(state["state_dict"]), state.get("average") or {}
        if reason := amiss(raw, raw) or amiss(average, average, "its average"):
            raise ValueError(reason)
    return raw | average


def described(path: str | Path, about: Card) -> nn.Module:
    """The model that a checkpoint's config describes, freshly initialised.

    Raises:
        ConfigError: it names something that is not trusted or not there.
        ValueError: it describes none, and why.
    """
    node = about.config.get("model")
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        raise ValueError("its config has no model")
    try:
        model = build_part("model", node, said_in(path), spec=about.spec)
        if isinstance(model, nn.Module):
            prepare(model, about.config, said_in(path))
    except ConfigError:
        raise
    except Exception as error:
        wrong = next((str(slip) for key, inner in nodes({"model": node}) for slip in check_node(key, inner)), "")
        raise ValueError(f"its config describes no model: {wrong or in_words(error)}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"its config describes no model: {node['_target_']} is none")
    return model


def of_model(weights: Any) -> Any:
    """The model's share of what a way of training holds, by its own names; what is no mapping as it is."""
    if not isinstance(weights, Mapping):
        return weights
    ours = {key: value for key, value in weights.items() if not isinstance(key, str) or key.startswith("model.")}
    return {key.removeprefix("model.") if isinstance(key, str) else key: value for key, value in ours.items()}


@contextmanager
def blamed(path: str | Path, version: str) -> Iterator[None]:
    """Whatever a file's content ends in is a fault of the file.

    Raises:
        CheckpointError: in place of any error but a ConfigError, which says more.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        other = "" if version == __version__ else f" (written by genlab {version}, and this is {__version__})"
        raise CheckpointError(f"{path}: {in_words(error)}{other}") from error  # GENLAB_DEBUG=1 shows it


def in_words(error: Exception) -> str:
    """An error's message, where it is one in words, in at most some 160 characters, no word cut."""
    kind = "" if isinstance(error, (RuntimeError, ValueError)) else f"{type(error).__name__}: "
    return kind + textwrap.shorten(str(error), 160, placeholder=" ...")


def said_in(path: str | Path) -> str:
    """Where the config of a checkpoint stands, for errors in it."""
    return f"config in {path}"


def prepare(model: nn.Module, config: dict[str, Any], source: str = "") -> None:
    """Let the penalty reparametrise the critic, where it does, so that parameter names are those of training."""
    penalty = config.get("penalty")
    if penalty and isinstance(model, Game):
        preparing = build_part("penalty", penalty, source)
        for module in next(iter(model.players().values())):
            preparing.prepare(module)
