"""``genlab sample``: examples of a trained model, as a picture and as numbers."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genlab import ranks
from genlab.agreement import agreed
from genlab.build import trust
from genlab.checkpoint import load
from genlab.choices import tasks
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.files import atomic
from genlab.pictures import save_picture
from genlab.run import Run
from genlab.validation.requests import parse_seeds

MANY = 64
"""Examples, where neither n nor seeds say how many; a task may have another number, by this name."""


def main(options: Mapping[str, Any], as_json: bool = False) -> int:
    """Sample from ``run`` or ``ckpt``; write ``<task>.png`` and the numbers, ``samples.npz`` of a grid and
    ``<task>.npz`` of another task; labels are -1 where there are none.

    Raises:
        ConfigError: an option does not fit the model.
    """
    trust(*(options.get("plugins") or ()))
    task, there = options["task"], tasks()
    if task not in there:
        raise ConfigError("task", task, f"no such task; there are {', '.join(there)}", nearest(task, there))
    if not options["temperature"] > 0:
        raise ConfigError("temperature", options["temperature"], "must be a positive number")
    path, folder, run = locate(options)
    writable(folder)
    with ranks.group(options.get("devices") or 1, options.get("device") or "auto") as device:
        loaded, told = agreed(load(path, device), run)
        for line in told if ranks.first() else ():
            print(f"{path}: {line}", file=sys.stderr)
        page = importlib.import_module(f"genlab.tasks.{task}")
        n = options["n"] if options["n"] is not None else getattr(page, "MANY", MANY)
        seeds = parse_seeds(options.get("seeds"), n)
        made = page.make(loaded, seeds, options, device)
    if not ranks.first():
        return 0
    picture = folder / f"{task}.png"
    numbers = folder / ("samples.npz" if task == "grid" else f"{task}.npz")
    try:
        with atomic(numbers) as partial, open(partial, "wb") as file:
            arrays: dict[str, Any] = {"samples": made.x.numpy(), "seeds": np.asarray(seeds), **made.arrays}
            count = len(arrays["samples"])
            arrays["labels"] = np.full(count, -1) if made.labels is None else made.labels.numpy()
            np.savez_compressed(file, **arrays)
        if made.draw is None:  # after the numbers, of which a full disk may leave the picture to be made again
            save_picture(made.x, loaded.spec, picture, made.columns, groups=made.groups, titles=made.titles)
        else:
            made.draw(picture)
    except OSError as error:
        raise GenlabError(f"{folder}: cannot write there: {error.strerror or error}") from None
    if as_json:
        about = {"picture": str(picture), "samples": str(numbers), "n": count, "step": loaded.step}
        print(json.dumps(about))
    else:
        print(f"{count} samples of step {loaded.step}: {picture}  {numbers}")
    return 0


def writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be written, before anything is sampled.

    Raises:
        GenlabError: it is one.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "Permission denied" if there.is_dir() else f"{os.path.relpath(there)} is a file"
        raise GenlabError(f"{folder}: cannot write there: {reason}; out=<folder> puts the samples elsewhere")


def locate(options: Mapping[str, Any]) -> tuple[Path, Path, Run | None]:
    """The checkpoint file, the folder that the results go to, and the run, if one is given.

    Raises:
        ConfigError: neither a run nor a checkpoint file is given.
        GenlabError: the run's folder is damaged.
    """
    out = options.get("out")
    if options.get("run"):
        runs = Run.find([str(options["run"])])
        if len(runs) > 1:
            raise ConfigError("run", options["run"], f"{len(runs)} runs are there; sample takes one", str(runs[0].path))
        run, named = runs[0], str(options.get("ckpt") or "best")
        path = Path(named) if named.endswith(".ckpt") else run.checkpoint(named)
        run.intact()
        return path, Path(out) if out else run.samples, run
    if options.get("ckpt"):
        return Path(options["ckpt"]), Path(out) if out else Path("samples"), None
    raise ConfigError("run", "", "give run=<folder> or ckpt=<file>")
