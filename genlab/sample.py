"""``genlab sample``: examples of a trained model, as a picture and as numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genlab import ranks
from genlab.build import build, trust
from genlab.checkpoint import Loaded, load
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.models.base import Decodes, Density, Encodes, Samples
from genlab.noise import Noise
from genlab.pictures import save_density, save_picture
from genlab.run import Run, atomic
from genlab.spec import Spec

CHUNK = 64
"""Examples computed together: always so many, the last chunk padded, so that no example depends on its neighbours'
number (matrix products of other sizes round differently)."""


def main(options: Mapping[str, Any], as_json: bool = False) -> int:
    """Sample from ``run`` or ``ckpt``; write ``<task>.png`` and the numbers, ``samples.npz`` of a grid and
    ``<task>.npz`` of another task; labels are -1 where there are none.

    Raises:
        ConfigError: an option does not fit the model.
    """
    trust(*(options.get("plugins") or ()))
    if not options["temperature"] > 0:
        raise ConfigError("temperature", options["temperature"], "must be a positive number")
    path, folder = locate(options)
    with ranks.group(options.get("devices") or 1, options.get("device") or "auto") as device:
        loaded = load(path, device)
        seeds = parse_seeds(options.get("seeds"), options["n"])
        task = options["task"]
        if task not in TASKS:
            raise ConfigError("task", task, f"no such task; there are {', '.join(TASKS)}", nearest(task, TASKS))
        made = TASKS[task](loaded, seeds, options, device)
    if not ranks.first():
        return 0
    picture = folder / f"{task}.png"
    numbers = folder / ("samples.npz" if task == "grid" else f"{task}.npz")
    try:
        if made.density_of is None:
            save_picture(made.x, loaded.spec, picture, made.columns)
        else:
            save_density(loaded.model, made.x, made.density_of, picture)
        with atomic(numbers) as partial, open(partial, "wb") as file:
            arrays: dict[str, Any] = {"samples": made.x.numpy(), "seeds": np.asarray(seeds), **(made.arrays or {})}
            count = len(arrays["samples"])
            arrays["labels"] = np.full(count, -1) if made.labels is None else made.labels.numpy()
            np.savez_compressed(file, **arrays)
    except OSError as error:
        raise GenlabError(f"{folder}: cannot write there: {error.strerror or error}") from None
    if as_json:
        about = {"picture": str(picture), "samples": str(numbers), "n": count, "step": loaded.step}
        print(json.dumps(about))
    else:
        print(f"{count} samples of step {loaded.step}: {picture}  {numbers}")
    return 0


class Made(NamedTuple):
    """What a task made.

    Args:
        x: examples in data space, as the picture shows them.
        labels: theirs.
        columns: how many stand in a row of the picture.
        density_of: real data: the picture is then the model's density over their frame.
        arrays: for samples.npz, in place of what stands there usually, or beside it.
    """

    x: Tensor
    labels: Tensor | None = None
    columns: int | None = None
    density_of: Tensor | None = None
    arrays: dict[str, np.ndarray] | None = None


def locate(options: Mapping[str, Any]) -> tuple[Path, Path]:
    """The checkpoint file, and the folder that the results go to.

    Raises:
        ConfigError: neither a run nor a checkpoint file is given.
    """
    out = options.get("out")
    if options.get("run"):
        runs = Run.find([str(options["run"])])
        if len(runs) > 1:
            raise ConfigError("run", options["run"], f"{len(runs)} runs are there; sample takes one", str(runs[0].path))
        return runs[0].checkpoint(options.get("ckpt") or "best"), Path(out) if out else runs[0].samples
    if options.get("ckpt"):
        return Path(options["ckpt"]), Path(out) if out else Path("samples")
    raise ConfigError("run", "", "give run=<folder> or ckpt=<file>")


def parse_seeds(text: Any, n: int) -> list[int]:
    """``0-63``, ``1,5,9``, a number or a list; None: 0 to n - 1.

    Raises:
        ConfigError: it cannot be read.
    """
    if text is None:
        if n < 1:
            raise ConfigError("n", n, "must be at least 1")
        return list(range(n))
    parts = text if isinstance(text, Sequence) and not isinstance(text, str) else str(text).split(",")
    seeds: list[int] = []
    for part in parts:
        low, dash, high = str(part).strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()) or (dash and int(high) < int(low)):
            raise ConfigError("seeds", text, "write 0-63, or 1,5,9, or both: 0-7,16")
        seeds += range(int(low), int(high if dash else low) + 1)
    return seeds


def generate(model: nn.Module, seeds: Sequence[int], labels: Tensor | None, temperature: float, device: Any) -> Tensor:
    """One example a seed, this rank's share computed here and the others' gathered; on the CPU."""
    if not isinstance(model, Samples):
        raise ConfigError("task", "grid", f"{type(model).__name__} does not sample")
    made = []
    share = ranks.share(len(seeds), CHUNK)
    with torch.no_grad():
        for start in range(share.start, share.stop, CHUNK):
            part = list(seeds[start : min(start + CHUNK, share.stop)])
            padded = part + [part[-1]] * (CHUNK - len(part))
            y = None
            if labels is not None:
                y = labels[start : start + len(part)]
                y = torch.cat([y, y[-1:].expand(CHUNK - len(part))]).to(device)
            made.append(model.sample(Noise(padded, device), y, temperature)[: len(part)].cpu())
    return ranks.gather(torch.cat(made) if made else None)


def class_labels(spec: Spec, y: Any, count: int) -> Tensor | None:
    """Labels for ``count`` samples: the class ``y`` (a number or a name), several in turn, or all in turn.

    Raises:
        ConfigError: the data have no such class.
    """
    if y is None:
        return torch.arange(count) % len(spec.classes) if spec.classes else None
    wanted = y if isinstance(y, Sequence) and not isinstance(y, str) else str(y).split(",")
    numbers = []
    for name in map(str, wanted):
        if name in spec.classes:
            numbers.append(spec.classes.index(name))
        elif name.isdigit() and int(name) < len(spec.classes):
            numbers.append(int(name))
        else:
            reason = f"the classes are {', '.join(spec.classes) or 'none'}"
            raise ConfigError("y", y, reason, nearest(name, spec.classes))
    return torch.tensor([numbers[index % len(numbers)] for index in range(count)])


def chosen_labels(loaded: Loaded, options: Mapping[str, Any], count: int) -> Tensor | None:
    """``class_labels`` of a conditional model by the option ``y``, else None.

    Raises:
        ConfigError: a class is asked for, and the model knows none.
    """
    if getattr(loaded.model, "conditional", False):
        return class_labels(loaded.spec, options.get("y"), count)
    if options.get("y") is not None:
        raise ConfigError("y", options["y"], f"{type(loaded.model).__name__} of this run is not class-conditional")
    return None


def grid(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Samples, in rows."""
    labels = chosen_labels(loaded, options, len(seeds))
    return Made(generate(loaded.model, seeds, labels, options["temperature"], device), labels)


def interpolate(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Rows of ten: from the code of one seed to that of the next along a great circle.

    sin((1 - t) w) / sin(w) z1 + sin(t w) / sin(w) z2, w the angle between them (White 2016, arXiv 1609.04468): the
    straight line between Gaussian codes passes where the model has never been trained. In samples.npz, ``seeds`` (N, 2)
    are the two ends of each sample's row and ``t`` (N) how far along it is.
    """
    model, steps = loaded.model, 10
    if not isinstance(model, Decodes):
        raise ConfigError("task", "interpolate", f"{type(model).__name__} has no latent code to decode")
    if len(seeds) < 2:
        raise ConfigError("seeds", len(seeds), "interpolation takes at least two")
    codes = Noise(seeds, device).normal(model.latent)
    rows = []
    labels = chosen_labels(loaded, options, len(seeds) // 2)
    for one, two in zip(codes[0::2], codes[1::2], strict=False):
        cosine = torch.nn.functional.cosine_similarity(one, two, 0).clamp(-0.9999, 0.9999)
        angle = torch.arccos(cosine)
        t = torch.linspace(0, 1, steps, device=codes.device)[:, None]
        rows.append((torch.sin((1 - t) * angle) * one + torch.sin(t * angle) * two) / torch.sin(angle))
    ends = np.asarray(seeds[: 2 * len(rows)]).reshape(-1, 2).repeat(steps, 0)
    arrays = {"seeds": ends, "t": np.tile(np.linspace(0, 1, steps), len(rows))}
    y = None if labels is None else labels.repeat_interleave(steps)
    parts = [None] * len(rows) if y is None else y.to(device).split(steps)
    with torch.no_grad():
        x = torch.cat([model.decode(row, part).cpu() for row, part in zip(rows, parts, strict=True)])
    return Made(x, y, columns=steps, arrays=arrays)


def reconstruct(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Pairs side by side: a test example, and what is left of it after encoding and decoding. A seed is an index.

    In samples.npz, ``samples`` are what is left and ``originals`` the examples.
    """
    if not isinstance(loaded.model, Encodes):
        raise ConfigError("task", "reconstruct", f"{type(loaded.model).__name__} does not encode")
    data = build(loaded.config["data"])
    data.prepare()
    test = data.split("test")
    model, rows = loaded.model, torch.as_tensor([seed % len(test.x) for seed in seeds])
    x, y = test.x[rows], test.y[rows] if test.y is not None and getattr(model, "conditional", False) else None
    back = []
    with torch.no_grad():
        for start in range(0, len(x), CHUNK):
            part = None if y is None else y[start : start + CHUNK].to(device)
            back.append(model.decode(model.encode(x[start : start + CHUNK].to(device), part), part).cpu())
    left = torch.cat(back)
    arrays = {"samples": left.numpy(), "originals": x.numpy()}
    return Made(torch.stack([x, left], 1).flatten(0, 1), y, 2 * min(6, len(seeds)), arrays=arrays)


def density(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """Of a model of the plane: its density, samples and the test data."""
    if not isinstance(loaded.model, Density) or loaded.spec.dimensions != 2:
        reason = f"it takes an exact density in the plane, not {type(loaded.model).__name__} on {loaded.spec.kind} data"
        raise ConfigError("task", "density", reason)
    data = build(loaded.config["data"])
    data.prepare()
    return grid(loaded, seeds, options, device)._replace(density_of=data.split("test").x)


TASKS = {"grid": grid, "interpolate": interpolate, "reconstruct": reconstruct, "density": density}
