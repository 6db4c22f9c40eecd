"""The ``genlab`` command: verbs, flags, help, errors and exit codes. Only the standard library until a verb runs.

Exit codes: 0 done, 1 failed while running, 2 command line or config wrong, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from genlab import __version__
from genlab.errors import ConfigError, ConfigErrors, GenlabError, UsageError, nearest
from genlab.verbs import HYDRA_FLAGS, HYDRA_VALUES, SHOWN, VERBS, overview


class Line(NamedTuple):
    """A command line taken apart.

    Attributes:
        words: everything that is no flag.
        flags: ours, ``--dry-run`` and ``--json``.
        hydra: Hydra's, values included, for Hydra to read again.
        folders: of ``--config-dir``.
    """

    words: list[str]
    flags: set[str]
    hydra: list[str]
    folders: list[str]


def main(arguments: list[str] | None = None) -> int:
    """Run one command line; the exit code."""
    # Threads that spin while they wait made two busy processes on two cores ten times slower; these sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return run(arguments)
    except GenlabError as error:
        if debugging():
            raise
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left must not fail again at exit
        return 1
    except OSError as error:
        if debugging():
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except Exception as error:
        if debugging():
            raise
        message = " ".join(str(error).split()) or "no message"
        print(f"error: {type(error).__name__}: {message}   (GENLAB_DEBUG=1 shows where)", file=sys.stderr)
        return 1


def debugging() -> bool:
    """Does the user want tracebacks?"""
    return os.environ.get("GENLAB_DEBUG", "0") not in ("", "0")


def complain(error: GenlabError) -> None:
    """Errors on stderr, one a line; several of a config in columns."""
    problems = error.problems if isinstance(error, ConfigErrors) else [error]
    rows = []
    for problem in problems:
        if isinstance(problem, ConfigError):
            hint = f"; did you mean '{problem.suggestion}'?" if problem.suggestion else ""
            rows.append((f"{problem.key}={problem.value}:", f"{problem.reason}{hint}", problem.source))
        else:
            told = str(problem) if isinstance(problem, SweepError) else " ".join(str(problem).split())
            rows.append((told, "", ""))
    widths = [max(len(row[column]) for row in rows) if len(rows) > 1 else 0 for column in (0, 1)]
    for key, reason, source in rows:
        origin = f"   ({source})" if source else ""
        print(f"error: {key:{widths[0]}} {reason:{widths[1]}}{origin}".rstrip(), file=sys.stderr)


def run(arguments: list[str]) -> int:
    """Dispatch to a verb; the exit code."""
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    name, rest = arguments[0], arguments[1:]
    if name in ("--version", "-V"):
        print(f"genlab {__version__}")
        return 0
    if name == "__complete":
        from genlab.completion import candidates

        print("\n".join(candidates(*rest)))
        return 0
    if name not in VERBS:
        what = "flag" if name.startswith("-") else "verb"
        hint = nearest(name, [*VERBS, "--help", "--version"])
        raise UsageError(f"{name}: no such {what}" + (f"; did you mean '{hint}'?" if hint else "; see genlab --help"))
    if "--help" in rest or "-h" in rest:
        print(f"genlab {name}: {VERBS[name].summary}\n\n{VERBS[name].usage}")
        return 0
    line = take_apart(name, rest)
    return {"train": train, "check": check, "list": show, "completion": completion}.get(name, measure)(name, line)


class SweepError(GenlabError):
    """Jobs of a sweep failed: a line for each, beneath the first."""


def take_apart(verb: str, arguments: list[str]) -> Line:
    """Words and flags apart.

    Raises:
        UsageError: an unknown flag, or one that lacks its value.
    """
    line = Line([], set(), [], [])
    hydra = verb == "train"
    known = {*VERBS[verb].flags, "--config-dir", "--help", *(HYDRA_FLAGS + HYDRA_VALUES + ("--info",) if hydra else ())}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if not argument.startswith("-") or argument == "-":
            line.words.append(argument)
        elif argument in VERBS[verb].flags:
            line.flags.add(argument)
        elif flag in ("--config-dir", "-cd") or (hydra and flag in HYDRA_VALUES):
            value = value if equals else next(rest, "")
            if not value:
                raise UsageError(f"{flag}: it needs a value")
            if flag in ("--cfg", "-c") and value not in SHOWN:
                raise UsageError(f"{flag}={value}: there are {', '.join(SHOWN)}")
            if flag in ("--config-dir", "-cd"):
                line.folders.append(value)
            else:
                line.hydra.extend([flag, value])
        elif hydra and (argument in HYDRA_FLAGS or flag in ("--info", "-i")):
            line.hydra.append(argument)
        else:
            hint = nearest(flag, known)
            raise UsageError(
                f"{argument}: genlab {verb} has no such flag"
                + (f"; did you mean '{hint}'?" if hint else f"; see genlab {verb} --help")
            )
    for folder in line.folders:
        if not Path(folder).is_dir():
            raise UsageError(f"--config-dir={folder}: no such folder")
    return line


def train(verb: str, line: Line) -> int:
    """``genlab train``: check, make the run folder, train from it."""
    resumed = [word for word in line.words if word.partition("=")[0] == "run"]
    if resumed:
        return resume(resumed, line)
    from genlab import config, validate
    from genlab.words import quoted

    asked = {flag.partition("=")[0] for flag in line.hydra}
    shows = asked & {"--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"}
    multirun = bool(asked & {"-m", "--multirun"})
    if shows and multirun:
        raise UsageError(f"{min(shows)}: shows one job; leave out --multirun")
    if shows:  # Hydra answers; a config to be looked at need not be right
        words = list(map(quoted, line.words))
        with contextlib.suppress(GenlabError):
            words = validate.check(line.words, line.folders, multirun=multirun).overrides
        config.train([*words, *config.search_path(line.words, line.folders)], line.hydra)
        return 0
    checked = validate.check(line.words, line.folders, multirun=multirun)
    admit(checked.plugins)
    if "--dry-run" in line.flags:
        return dry_run([job.config for job in checked.jobs], line)
    name, place = ("hydra.sweep.dir", checked.jobs[0].sweep) if multirun else ("hydra.run.dir", checked.jobs[0].folder)
    overrides = [*checked.overrides, *config.search_path(line.words, line.folders)]
    if not any(word.startswith(f"{name}=") for word in line.words):
        place = config.claim(place)
        overrides.append(f"{name}='{place}'")
    try:
        folder = config.train(overrides, line.hydra)
    except Exception:
        failed = config.failures(Path(place)) if multirun else {}
        if not failed or debugging():
            raise
        listed = "\n".join(f"  {job}: {' '.join(reason.split())}" for job, reason in failed.items())
        jobs = "1 job" if len(failed) == 1 else f"{len(failed)} jobs"
        raise SweepError(f"{jobs} of {place} failed\n{listed}") from None
    if multirun:
        print(f"genlab report {place}")
    return go(shown(folder)) if folder else 0


def resume(resumed: list[str], line: Line) -> int:
    """``genlab train run=FOLDER``: from the folder alone, without Hydra."""
    from genlab.resume import check

    folder = resumed[-1].partition("=")[2]
    changes = [word for word in line.words if word not in resumed]
    if "--dry-run" in line.flags:
        return dry_run([check(folder, changes).config], line)
    checked = check(folder, changes, record=True)
    admit(checked.plugins)
    return go(folder)


def dry_run(configs: list[dict[str, Any]], line: Line) -> int:
    """What each config would train, on stdout."""
    from genlab.train import describe

    described = [describe(config) for config in configs]
    if "--json" in line.flags:
        print(json.dumps(described if len(described) > 1 else described[0], indent=1))
        return 0
    for about in described:
        for key, value in about.items():
            if isinstance(value, dict):
                value = ", ".join(f"{name} {number:,}" for name, number in value.items())
            print(f"{key:<11} {value}")
    return 0


def shown(folder: Path) -> str:
    """As one would type it from here."""
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative


def go(folder: str) -> int:
    """Train the run; the process looks from now on as if it had been called for just that, as ranks will be."""
    sys.argv = [sys.argv[0], "train", f"run={folder}"]
    from genlab.run import Run
    from genlab.train import main

    try:
        return main(folder)
    except GenlabError as error:
        run = Run(folder)
        if run.info.get("status") == "created":  # it failed before training began
            run.note(status="failed", error=str(error))
        raise


def admit(plugins: list[str]) -> None:
    """Trust packages the user named, in this process and in those it starts."""
    if plugins:
        from genlab.build import trust
        from genlab.plugins import packages
        from genlab.resume import PLUGINS

        os.environ[PLUGINS] = os.pathsep.join(dict.fromkeys(plugins))
        trust(*packages(plugins))


def measure(verb: str, line: Line) -> int:
    """``genlab sample``, ``eval`` and ``report``: options from their config, then their page."""
    from genlab import options as choices

    options = choices.options(verb, line.words, line.folders)
    admit(options.get("plugins") or [])
    from importlib import import_module

    page = import_module({"sample": "genlab.sample", "eval": "genlab.evaluate", "report": "genlab.report"}[verb])
    code: int = page.main(options, "--json" in line.flags)
    return code


def check(verb: str, line: Line) -> int:
    """``genlab check``: compose as training does, then the laws."""
    from genlab import validate

    checked = validate.check(line.words, line.folders)
    admit(checked.plugins)
    from genlab.check import main

    return main(checked.config, as_json="--json" in line.flags)


def show(verb: str, line: Line) -> int:
    """``genlab list``."""
    from genlab.catalogue import main

    main(line.words, line.folders, as_json="--json" in line.flags)
    return 0


def completion(verb: str, line: Line) -> int:
    """``genlab completion``."""
    from genlab.completion import script

    print(script(line.words[0] if line.words else ""))
    return 0
