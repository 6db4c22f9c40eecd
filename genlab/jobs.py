"""Jobs of a sweep, each in a clean process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from genlab.errors import GenlabError
from genlab.run import Run


def run_job(folder: str | Path) -> float | None:
    """Train the run in ``folder`` by ``genlab train run=<folder>`` in a new process, and wait for it.

    The process starts from the folder alone: no state of Hydra's, of a launcher's or of an earlier job's reaches it,
    and ranks of a distributed job are started from there by the same command.

    Returns:
        The objective of the run, its best validation figure, for a sweeper; None where it has none.

    Raises:
        GenlabError: the job failed; the message is its last error.
        KeyboardInterrupt: it was interrupted.
    """
    command = [sys.executable, "-m", "genlab", "train", f"run={folder}"]
    # A scheduler's variables describe the job that launched us, not the ranks of this one.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # the same Ctrl-C has reached it: it ends its step and saves
        raise
    run = Run(folder)
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        reason = run.info.get("error") or f"ended with exit code {code}"
        raise GenlabError(f"{folder}: {reason}")
    return run.info.get("best")
