"""A command line taken apart into words and flags. Only the standard library."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from genlab.cli.verbs import HYDRA_FLAGS, HYDRA_VALUES, INFORMED, SHOWN, VERBS
from genlab.errors import UsageError, nearest

FOLDER_FLAGS = ("--config-dir", "-cd")


class Line(NamedTuple):
    """A command line taken apart.

    Attributes:
        words: everything that is no flag.
        flags: ours, ``--dry-run`` and ``--json``.
        hydra: Hydra's, values included, for Hydra to read again.
        folders: of ``--config-dir``, those that are there.
        wrong: flags that there are not, and values that flags do not take.
    """

    words: list[str]
    flags: set[str]
    hydra: list[str]
    folders: list[str]
    wrong: list[UsageError]


def take_apart(verb: str, arguments: list[str]) -> Line:
    """Words and flags apart."""
    line = Line([], set(), [], [], [])
    hydra = verb == "train"
    known = {*VERBS[verb].flags, "--config-dir", "--help", *(HYDRA_FLAGS + HYDRA_VALUES + ("--info",) if hydra else ())}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        flag, equals, value = argument.partition("=")
        if not argument.startswith("-") or argument == "-":
            line.words.append(argument)
        elif argument in VERBS[verb].flags:
            line.flags.add(argument)
        elif flag in FOLDER_FLAGS or (hydra and flag in HYDRA_VALUES):
            value = value if equals else rest.pop(0) if rest else ""
            if not value:
                line.wrong.append(UsageError(f"{flag}: it needs a value"))
            elif flag in ("--cfg", "-c") and value not in SHOWN:
                line.wrong.append(UsageError(f"{flag}={value}: there are {', '.join(SHOWN)}"))
            elif flag in FOLDER_FLAGS and not Path(value).is_dir():
                line.wrong.append(UsageError(f"--config-dir={value}: no such folder"))
            elif flag in FOLDER_FLAGS:
                line.folders.append(value)
            else:
                line.hydra.extend([flag, value])
        elif hydra and flag in ("--info", "-i"):
            value = value if equals else rest.pop(0) if rest and rest[0] in INFORMED else "all"
            if value not in INFORMED:
                line.wrong.append(UsageError(f"{argument}: there are {', '.join(INFORMED)}"))
            line.hydra.append(f"--info={value}")
        elif hydra and argument in HYDRA_FLAGS:
            line.hydra.append(argument)
        else:
            if not equals and rest and "=" not in rest[0] and not rest[0].startswith("-"):
                value = rest.pop(0)  # it belongs to the flag
            hint = as_word(verb, flag, value or "...") or (nearest(flag, known) if len(flag) > len("-x") else "")
            advice = f"; did you mean '{hint}'?" if hint else f"; see genlab {verb} --help"
            line.wrong.append(UsageError(f"{argument}: genlab {verb} has no such flag{advice}"))
    return line


def as_word(verb: str, flag: str, value: str) -> str:
    """``key=value`` for a flag that is the name of an option or a group, as in other programs; empty for others."""
    from genlab.presets import conf_folder, groups, read

    name = flag.lstrip("-").replace("-", "_")
    page = conf_folder() / f"{'train' if verb == 'check' else verb}.yaml"
    known = {*groups(), *(["run"] if verb == "train" else [])} if verb in ("train", "check", "list") else set()
    known |= {*read(page)} - {"defaults"} if page.is_file() else set()
    return f"{name}={value}" if name.partition(".")[0] in known else ""
