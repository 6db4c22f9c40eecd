"""The ``genlab`` command: verbs, flags, help, errors and exit codes. Only the standard library until a verb runs.

Exit codes: 0 done, 1 failed while running, 2 command line or config wrong, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence

from genlab import __version__
from genlab.cli.launch import SweepError, admit, train
from genlab.cli.line import Line, take_apart
from genlab.cli.verbs import VERBS, overview
from genlab.errors import ConfigError, ConfigErrors, GenlabError, UsageError, broken_off, nearest


def main(arguments: list[str] | None = None) -> int:
    """Run one command line, this process's own if none is given; the exit code."""
    # Threads that spin while they wait made two busy processes on two cores ten times slower; these sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    code = answer(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed now, it would only spoil what libraries do at exit
    return code


def answer(arguments: list[str]) -> int:
    """Run one command line and tell what it ended in; the exit code."""
    try:
        return run(arguments)
    except KeyboardInterrupt:
        return interrupted()
    except Exception as error:
        if broken_off(error):
            return interrupted()
        if debugging() and not isinstance(error, BrokenPipeError):
            raise
        return end(error)


def interrupted() -> int:
    """Tell of a Ctrl-C; the exit code."""
    print("interrupted", file=sys.stderr)
    return 130


def end(error: Exception) -> int:
    """Tell of an error; the exit code."""
    if isinstance(error, GenlabError):
        complain(error)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left must not fail again at exit
        return 1
    if isinstance(error, OSError):
        lost = "what was to be printed: " if error.errno == errno.ENOSPC else ""  # files say where they are
        where = f"{error.filename}: " if error.filename else lost
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    from genlab.plugins import told

    print(f"error: {told(error)}   (GENLAB_DEBUG=1 shows where)", file=sys.stderr)
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
            rows.append((f"{problem.setting}:", f"{problem.reason}{hint}", problem.source))
        else:
            told = str(problem) if isinstance(problem, SweepError) else " ".join(str(problem).split())
            rows.append((told, "", ""))
    print("\n".join(laid_out(rows, terminal_width())), file=sys.stderr)


def terminal_width() -> int | None:
    """Columns of the terminal that errors go to; None where they go elsewhere."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return None


LONG_KEY, LONG_REASON = 40, 60  # longer ones push aside what stands after them, instead of every line's


def laid_out(rows: list[tuple[str, str, str]], width: int | None) -> list[str]:
    """Lines of (key, reason, source), in columns as wide as the longest cell that is not long.

    Where the terminal is too narrow for them, sources come right after the reasons, and of the command line, which
    stands above, nothing is said.
    """
    long_key = min(LONG_KEY, width // 3) if width else LONG_KEY
    keys = max([len(key) for key, _, _ in rows if len(key) <= long_key], default=0) if len(rows) > 1 else 0
    reasons = max([len(reason) for _, reason, _ in rows if len(reason) <= LONG_REASON], default=0)
    sources = max([len(source) for _, _, source in rows], default=0)
    narrow = width is not None and len("error:  ") + keys + reasons + len("   ()") + sources > width
    if narrow or len(rows) == 1:
        reasons = 0
    lines = []
    for key, reason, source in rows:
        line = f"error: {key:{keys}} {reason:{reasons}}"
        whole = f"{line}   ({source})" if source else line
        obvious = source == "command line" and width is not None and (narrow or len(whole) > width)
        lines.append(line.rstrip() if obvious else whole.rstrip())
    return lines


def run(arguments: list[str]) -> int:
    """Dispatch to a verb; the exit code."""
    if arguments[:1] == ["help"]:  # of a verb, if one is named
        arguments = [*arguments[1:2], "--help"]
    if not arguments or arguments[0] in ("--help", "-h"):
        print(overview())
        return 0
    name, rest = arguments[0], arguments[1:]
    if name in ("--version", "-V") or "--version" in rest:
        print(f"genlab {__version__}")
        return 0
    if name == "__complete":
        from genlab.cli.completion import candidates

        print("\n".join(candidates(*rest)))
        return 0
    if name not in VERBS:
        what = "flag" if name.startswith("-") else "verb"
        hint = nearest(name, [*VERBS, "--help", "--version"])
        raise UsageError(f"{name}: no such {what}" + (f"; did you mean '{hint}'?" if hint else "; see genlab --help"))
    if "--help" in rest or "-h" in rest or rest == ["help"]:
        print(f"genlab {name}: {VERBS[name].summary}\n\n{VERBS[name].usage}")
        return 0
    line = take_apart(name, rest)
    if name == "train" and "--json" in line.flags and "--dry-run" not in line.flags:
        line.wrong.append(UsageError("--json: of what --dry-run finds; add that, too"))
    if line.wrong:
        raise ConfigErrors([*line.wrong, *beside(name, line)])
    if name == "train":
        return train(line)
    return {"check": check, "list": show, "completion": complete}.get(name, measure)(name, line)


def beside(verb: str, line: Line) -> Sequence[ConfigError | UsageError]:
    """What is wrong with the words of a line of which a flag is wrong, too; nothing where its folders are needed."""
    resumed = verb == "train" and any(word.startswith("run=") for word in line.words)
    if verb in ("list", "completion") or resumed or any("--config-dir" in str(error) for error in line.wrong):
        return []
    try:
        if verb in ("train", "check"):
            from genlab import validate

            validate.check(line.words, line.folders, multirun=True)
        else:
            from genlab.cli import options

            options.options(verb, line.words, line.folders)
    except ConfigErrors as error:
        return [one for one in error.problems if getattr(one, "value", "?") not in ("", None)]  # what a flag may say
    return []


def measure(verb: str, line: Line) -> int:
    """``genlab sample``, ``eval`` and ``report``: options from their config, then their page."""
    from genlab.cli import options as choices

    words = [*line.words, *(["force=true"] if "--force" in line.flags else [])]
    options = choices.options(verb, words, line.folders)
    from importlib import import_module

    from genlab.jobs import held

    with held():
        page = import_module({"sample": "genlab.sample", "eval": "genlab.evaluate", "report": "genlab.report"}[verb])
    code: int = page.main(options, "--json" in line.flags)
    return code


def check(verb: str, line: Line) -> int:
    """``genlab check``: compose as training does, then the laws."""
    from genlab import validate

    for word in line.words:
        if word.partition("=")[0] == "run":
            raise UsageError(f"{word}: genlab check takes no run but a config: model=realnvp data=moons")
    checked = validate.check(line.words, line.folders, advice="genlab check takes one")
    admit(checked.plugins)
    from genlab.check import main

    return main(checked.config, as_json="--json" in line.flags)


def show(verb: str, line: Line) -> int:
    """``genlab list``."""
    from genlab.catalogue import main

    named = [word for word in line.words if word.startswith("plugins=")]
    if named:
        from genlab.validation.words import listed

        admit([name for word in named for name in listed(word.partition("=")[2])])
    words = [word for word in line.words if word not in named]
    if words == ["refused"]:
        from genlab import combinations

        combinations.main(line.folders, as_json="--json" in line.flags)
    else:
        main(words, line.folders, as_json="--json" in line.flags)
    return 0


def complete(verb: str, line: Line) -> int:
    """``genlab completion``."""
    from genlab.cli.completion import script

    print(script(" ".join(line.words)))
    return 0
