"""The logger of a config: Weights and Biases, TensorBoard, or none beside metrics.csv."""

from __future__ import annotations

import contextlib
import io
import netrc
import os
from typing import Any

from genlab.build import build
from genlab.run import Run, rank, title


def loggers(run: Run) -> list[Any]:
    """The logger of the config, writing into the run; wandb offline where there is no key, so that it never asks."""
    node = dict(run.config.get("logger") or {})
    if "_target_" not in node or rank() != 0:
        return []
    if node["_target_"].endswith("WandbLogger"):
        os.environ.setdefault("WANDB_SILENT", "true")
        node.setdefault("offline", not wandb_key())
        made = build(node, save_dir=str(run.path), name=title(run.config), id=run.info.get("wandb"))
        # offline there is nothing to be told, and Lightning passes wandb an argument that it warns of
        with contextlib.redirect_stderr(io.StringIO()) if node["offline"] else contextlib.nullcontext():
            started = made.experiment
        started.config.update(run.config, allow_val_change=True)
        run.note(wandb=started.id)
        return [made]
    return [build(node, save_dir=str(run.path))]


def wandb_key() -> bool:
    """Whether wandb would find a key without asking."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        return any("wandb" in host for host in netrc.netrc().hosts)
    return False
