"""``genlab sample``: examples of a trained model, as a picture and as numbers."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genlab import ranks, tasks
from genlab.build import trust
from genlab.checkpoint import load
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.pictures import save_picture
from genlab.run import Run, atomic


def main(options: Mapping[str, Any], as_json: bool = False) -> int:
    """Sample from ``run`` or ``ckpt``; write ``<task>.png`` and the numbers, ``samples.npz`` of a grid and
    ``<task>.npz`` of another task; labels are -1 where there are none.

    Raises:
        ConfigError: an option does not fit the model.
    """
    trust(*(options.get("plugins") or ()))
    task, there = options["task"], known_tasks()
    if task not in there:
        raise ConfigError("task", task, f"no such task; there are {', '.join(there)}", nearest(task, there))
    if not options["temperature"] > 0:
        raise ConfigError("temperature", options["temperature"], "must be a positive number")
    path, folder = locate(options)
    with ranks.group(options.get("devices") or 1, options.get("device") or "auto") as device:
        loaded = load(path, device)
        seeds = parse_seeds(options.get("seeds"), options["n"])
        made = importlib.import_module(f"genlab.tasks.{task}").make(loaded, seeds, options, device)
    if not ranks.first():
        return 0
    picture = folder / f"{task}.png"
    numbers = folder / ("samples.npz" if task == "grid" else f"{task}.npz")
    try:
        if made.draw is None:
            save_picture(made.x, loaded.spec, picture, made.columns, groups=made.groups)
        else:
            made.draw(picture)
        with atomic(numbers) as partial, open(partial, "wb") as file:
            arrays: dict[str, Any] = {"samples": made.x.numpy(), "seeds": np.asarray(seeds), **made.arrays}
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


def known_tasks() -> list[str]:
    """Names of the tasks: the files of ``genlab/tasks``."""
    return sorted(path.stem for path in Path(tasks.__path__[0]).glob("*.py") if path.stem not in ("__init__", "base"))
