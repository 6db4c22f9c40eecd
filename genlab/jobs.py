"""Jobs of a sweep, each in a clean process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from genlab.errors import GenlabError, broken_off
from genlab.run import Run

PASSED_ON = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}
"""Signals that end a sweep, and what its job is sent for each."""


PARENT = "GENLAB_SWEEP"
"""Environment variable with the process that started a job."""
SHARED = "GENLAB_SHARED"
"""Environment variable with the process that shares a sweep's jobs out among workers of its own."""
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


@contextlib.contextmanager
def sharing() -> Iterator[None]:
    """Within the block workers run jobs side by side. Ctrl-C, which a terminal sends to all, and which goes on to the
    workers where it is sent to this process alone, ends the block once every worker's job has saved; a second time, or
    before there is a worker, at once. (A job that gets it twice within a second takes it for one.)

    Workers inherit that it waits, lest it breaks one off that is being started; ``listening`` hears of it. Here a
    thread that does nothing else receives it, and Python tells this one.

    Raises:
        KeyboardInterrupt: it came.
    """
    resource_tracker.ensure_running()  # by now, for it lets signals through when it has started
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        workers = [worker.pid for worker in multiprocessing.active_children() if worker.pid is not None]
        if asked or not workers:
            raise KeyboardInterrupt
        asked.append(number)
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, number)

    ended = threading.Event()
    threading.Thread(target=ended.wait, daemon=True).start()
    before = signal.signal(signal.SIGINT, ask)
    os.environ[SHARED] = str(os.getpid())
    try:
        with held():
            yield
    except Exception as error:  # of a worker, or of what starts them, that it broke off all the same
        if not asked and not broken_off(error):
            raise
        asked.append(signal.SIGINT)
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)
        del os.environ[SHARED]
    if asked:
        raise KeyboardInterrupt


def a_worker() -> bool:
    """Whether this process is one of the workers of ``sharing``, whose interruption must not end the others."""
    return os.environ.get(SHARED, str(os.getpid())) != str(os.getpid())


HELD = {signal.SIGINT}


@contextlib.contextmanager
def held(when: bool = True) -> Iterator[None]:
    """Within the block Ctrl-C waits. Libraries that are broken off while they are imported fail later, in ways of their
    own. And where ranks are started, it reaches every process of a terminal, and one that died of it would take the
    others with it unsaved: it waits until they can answer it, after their first step. Ranks inherit that it waits."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD if when else ())  # which raises what has just come
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def listening(when: bool = True) -> Iterator[None]:
    """Within the block Ctrl-C is heard, one that has waited, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD if when else ())  # which raises what has waited
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_job(folder: str | Path) -> float | None:
    """Train the run in ``folder`` by ``genlab train run=<folder>`` in a new process, and wait for it.

    The process starts from the folder alone: no state of Hydra's, of a launcher's or of an earlier job's reaches it,
    and ranks of a distributed job are started from there by the same command.

    Returns:
        The objective of the run, its best validation figure, for a sweeper; None where it has none.

    Raises:
        GenlabError: the job failed; the message is its last error.
        KeyboardInterrupt: it was interrupted, or this process was; the job has saved.
    """
    command = [sys.executable, "-m", "genlab", "train", f"run={folder}"]
    # A scheduler's variables describe the job that launched us, not the ranks of this one.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    environment[PARENT] = str(os.getpid())
    process: subprocess.Popen[bytes] | None = None
    received: list[int] = []

    def pass_on(number: int, frame: Any = None) -> None:
        if not received:  # the job says more once it has saved
            print(f"{signal.Signals(number).name}: waiting for the job in {folder} to save", file=sys.stderr)
        received.append(number)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, PASSED_ON[signal.Signals(number)])  # the job and its ranks

    with answered_by(pass_on):
        # In a group of its own Ctrl-C reaches it through us alone, and so once, as does a signal sent to us alone.
        with held():  # which the job inherits, until it can answer
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, process_group=0)
        for number in list(received):  # while it was being started
            pass_on(number)
        code = process.wait()
    if received or code == 130:
        raise KeyboardInterrupt
    run = Run(folder)
    if code != 0:
        reason = run.info.get("error") or f"ended with {f'exit code {code}' if code > 0 else ending(-code)}"
        raise GenlabError(f"{folder}: {reason}")
    return run.info.get("best")


def heed_parent() -> None:
    """In a job: answer Ctrl-C from now on, and be sent SIGTERM, which saves and stops, when the sweep that started it
    dies, by whatever death.

    By Linux's own means, of which elsewhere there are none: there a sweep that is killed leaves its job running.
    """
    parent = os.environ.pop(PARENT, None)
    if parent is None:
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before that
        os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def answered_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Within the block ``handler`` is called for signals that would end this process. One that is ignored, or that a
    scheduler's launcher answers in its own way, is left to that."""
    usual = (signal.SIG_DFL, signal.default_int_handler)
    ours = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in PASSED_ON if ours and signal.getsignal(number) in usual}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def ending(number: int) -> str:
    """The name of the signal that ended a process."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
