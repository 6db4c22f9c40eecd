"""``genlab train``: from a command line to a run folder, and on to its training."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.cli.line import Line
from genlab.errors import ConfigErrors, GenlabError, UsageError, nearest

if TYPE_CHECKING:
    from genlab.validate import Checked


class SweepError(GenlabError):
    """Jobs of a sweep failed: a line for each, beneath the first."""


def train(line: Line) -> int:
    """``genlab train``: check, make the run folder, train from it."""
    resumed = [word for word in line.words if word.partition("=")[0] == "run"]
    if resumed:
        return resume(resumed, line)
    from genlab import config, plugins, submit, validate

    asked = {flag.partition("=")[0] for flag in line.hydra}
    shows = asked & {"--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"}
    multirun = bool(asked & {"-m", "--multirun"})
    if (of_shown := asked & {"--resolve", "--package", "-p"}) and not asked & {"--cfg", "-c"}:
        raise UsageError(f"{min(of_shown)}: of what --cfg job shows; add that, too")
    if shows and multirun:
        raise UsageError(f"{min(shows)}: shows one job; leave out --multirun")
    if shows:
        return look(line)
    checked = validate.check(line.words, line.folders, multirun=multirun)
    admit(checked.plugins)
    if "--dry-run" in line.flags:
        return dry_run([job.config for job in checked.jobs], line)
    name, place = ("hydra.sweep.dir", checked.jobs[0].sweep) if multirun else ("hydra.run.dir", checked.jobs[0].folder)
    overrides = [*checked.overrides, *config.search_path(line.words, line.folders)]
    if not any(word.startswith(f"{name}=") for word in line.words):
        place = submit.claim(place, name)
        overrides.append(f"{name}='{place}'")
    if len(checked.jobs) > 1:  # jobs are named by what tells them apart
        keys = ",".join(f"'{key}'" for key in checked.constant)
        overrides.append(f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")
    before = submit.states(Path(place)) if multirun else {}
    if multirun:
        submit.unlike(Path(place), {name: job.config for name, job in zip(checked.names, checked.jobs, strict=True)})
    then = (
        f"{f'genlab eval run={typed(place)} {plugins.word(checked.plugins)}'.rstrip()}    genlab report {typed(place)}"
    )
    from genlab.jobs import sharing

    workers = multirun and checked.jobs[0].launcher == "joblib"
    try:
        with sharing() if workers else contextlib.nullcontext():
            folder = submit.submit(overrides, line.hydra)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename:
            raise
        raise GenlabError(f"{place}: cannot be written: {error.strerror}") from None  # Hydra's multirun.yaml
    except KeyboardInterrupt:
        if multirun:
            print(*how_far(checked, line, place), f"of what there is: {then}", sep="\n", file=sys.stderr, flush=True)
        raise
    if not multirun:
        return go(shown(folder)) if folder else 0
    print(then, flush=True)
    if failed := submit.failures(Path(place), before):
        listed = "\n".join(f"  {job}: {' '.join(reason.split())}" for job, reason in failed.items())
        jobs = "1 job" if len(failed) == 1 else f"{len(failed)} jobs"
        raise SweepError(f"{jobs} of {place} failed\n{listed}")
    if submit.unfinished:
        raise GenlabError("; ".join(submit.unfinished))
    return 0


def how_far(checked: Checked, line: Line, place: str) -> list[str]:
    """What has become of each job of an interrupted sweep, and the command that goes on with it in its folder."""
    from genlab import submit

    words = [word for word in line.words if not word.startswith("hydra.sweep.dir=")]
    folders = [word for folder in line.folders for word in ("--config-dir", folder)]
    again = shlex.join(["genlab", "train", *line.hydra, *folders, *words, f"hydra.sweep.dir={place}"])
    told: list[str] = []
    if len(checked.jobs) > 1:
        configs = {name: job.config for name, job in zip(checked.names, checked.jobs, strict=True)}
        with contextlib.suppress(GenlabError):  # of a run that is damaged; that it was interrupted matters more
            told = submit.standing(Path(place), configs, checked.beyond)
    return [*told, f"go on with: {again}"]


def look(line: Line) -> int:
    """Hydra's answer to ``--cfg`` and the like. A config to be looked at need not be right, only such that Hydra can
    make it.

    Raises:
        GenlabError: it cannot, or there is no such package.
    """
    from genlab import config, submit, validate
    from genlab.validation.mistakes import has
    from genlab.validation.words import quoted

    words, wrong = list(map(quoted, line.words)), None
    try:
        checked = validate.check(line.words, line.folders, multirun=True)
        words = checked.overrides
        after = dict(zip(line.hydra, line.hydra[1:], strict=False))
        package = after.get("--package", after.get("-p", "_global_"))
        if not package.startswith(("_", "hydra")) and not has(checked.config, package):
            near = nearest(package, checked.config)
            told = f"; did you mean '{near}'?" if near else f"; there are {', '.join(checked.config)}"
            raise UsageError(f"--package={package}: no such part of the config{told}")
    except ConfigErrors as error:
        if any(str(problem).startswith("hydra.") for problem in error.problems):
            raise  # Hydra makes its own objects even to show a config
        wrong = error
    try:
        submit.submit([*words, *config.search_path(line.words, line.folders)], line.hydra)
    except GenlabError as error:
        raise wrong or error from None
    return 0


def resume(resumed: list[str], line: Line) -> int:
    """``genlab train run=FOLDER``: from the folder alone, without Hydra."""
    from genlab.cli.resume import check
    from genlab.jobs import heed_parent
    from genlab.run import Run, alone, rank

    heed_parent()
    folders = {word.partition("=")[2] for word in resumed}
    if len(folders) > 1 or "" in folders:
        raise UsageError("run=: one folder of a run is wanted, run=outputs/vae")
    if line.hydra:
        raise UsageError(f"{line.hydra[0]}: a run that exists is what its config.yaml says; leave this flag out")
    (folder,) = folders
    changes = [word for word in line.words if word not in resumed]
    if "--dry-run" in line.flags:
        return dry_run([check(folder, changes).config], line, Run(folder).info.get("step"))
    run = Run(folder)
    with alone(run):  # what another process trains is not changed under its feet
        before, step = (run.config, run.info), run.info.get("step")
        checked = check(folder, changes, record=rank() == 0)
    admit(checked.plugins)

    def untouched() -> bool:
        """Nothing was trained by the changes."""
        return bool(changes) and run.info.get("step") == step and rank() == 0

    try:
        code = go(folder)
    except Exception:
        if untouched():
            told = {key: value for key, value in Run(folder).info.items() if key in ("status", "error")}
            with contextlib.suppress(OSError):
                run.restore(before[0], before[1] | told)
        raise
    if code == 0 and untouched():
        run.restore(*before)
    return code


def dry_run(configs: list[dict[str, Any]], line: Line, done: int | None = None) -> int:
    """What each config would train, on stdout; of a run, how many steps are done."""
    from genlab.assembly import describe

    described = [describe(config) | ({"trained": f"{done} steps so far"} if done else {}) for config in configs]
    if "--json" in line.flags:
        print(json.dumps(described if len(described) > 1 else described[0], indent=1))
        return 0
    for number, about in enumerate(described):
        if number:
            print()
        for key, value in about.items():
            if isinstance(value, dict):
                value = ", ".join(f"{name} {number:,}" for name, number in value.items())
            print(f"{key:<11} {value}")
    return 0


def shown(folder: Path) -> str:
    """As one would type it from here."""
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative


def typed(place: str) -> str:
    """A path as one would type it in a shell."""
    return shlex.quote(str(place))


def go(folder: str) -> int:
    """Train the run; the process looks from now on as if it had been called for just that, as ranks will be."""
    sys.argv = [sys.argv[0], "train", f"run={folder}"]
    from genlab.run import Run

    try:
        from genlab.jobs import held

        with held():
            from genlab.train import main

        return main(folder)
    except KeyboardInterrupt:
        run = Run(folder)
        if run.info.get("status") == "created":
            run.note(status="interrupted")
            print(f"stopped before the first step; start with: genlab train run={typed(folder)}", flush=True)
        raise
    except Exception as error:
        run = Run(folder)
        if run.info.get("status") == "created":  # it failed before training began
            from genlab.plugins import told

            with contextlib.suppress(OSError):  # on a full disk the error that led here matters more
                run.note(status="failed", error=told(error))
        raise


def admit(plugins: list[str]) -> None:
    """Trust packages the user named, in this process and in those it starts."""
    if plugins:
        from genlab.build import trust
        from genlab.cli.resume import PLUGINS
        from genlab.plugins import packages

        trust(*packages(plugins))
        os.environ[PLUGINS] = os.pathsep.join(dict.fromkeys(plugins))
