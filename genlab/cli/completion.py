"""Tab completion: verbs, groups and their options, keys, values and flags, read from ``conf/`` and from source.

Neither torch nor Hydra is imported, so that an answer comes before one has waited for it.
"""

from __future__ import annotations

import ast
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from genlab.catalogue import HIDDEN, choices, contents, options, over, picks, settled
from genlab.choices import SPLITS, tasks
from genlab.cli.line import FOLDER_FLAGS
from genlab.cli.verbs import HYDRA_FLAGS, HYDRA_VALUES, INFORMED, SHOWN, VERBS
from genlab.errors import GenlabError, UsageError, nearest
from genlab.presets import conf_folder, file_of, groups, plural, read
from genlab.signatures import signature
from genlab.tables import FORMATS
from genlab.validation.fits import admitted_words
from genlab.validation.launchers import installed
from genlab.validation.requests import measured

SCRIPTS = {
    "bash": """_genlab() {
  local IFS=$'\\n' word="${COMP_LINE:0:COMP_POINT}"; word="${word##* }"
  COMPREPLY=($(genlab __complete "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
  [[ "${COMPREPLY[0]}" == *[=/.] ]] && compopt -o nospace
  if [[ "$COMP_WORDBREAKS" == *=* && "$word" == *=* ]]; then COMPREPLY=("${COMPREPLY[@]#"${word%=*}="}"); fi
}
complete -o default -F _genlab genlab""",
    "zsh": """_genlab() {
  local -a found; found=(${(f)"$(genlab __complete "${words[1,CURRENT]}" 2>/dev/null)"})
  compadd -Q -S '' -- ${(M)found:#*[=/.]}
  compadd -Q -- ${found:#*[=/.]}
  (( $#found )) || _files
}
compdef _genlab genlab""",
    "fish": "complete -c genlab -a '(genlab __complete (commandline -cp | string collect) 2>/dev/null)'",
}
GROUPS = ("model", "data", "loss", "penalty", "optimizer", "trainer", "logger", "experiment")
FOLDERS = ("run", "out", "init_from", "data.path", "data.root", "hydra.run.dir", "hydra.sweep.dir")
"""Keys whose values are folders."""
HYDRA_KEYS = (
    "hydra/launcher=",
    "hydra/sweeper=",
    "hydra/callbacks=",
    "hydra.launcher.",
    "hydra.sweeper.",
    "hydra.run.dir=",
    "hydra.sweep.dir=",
)
"""Of Hydra's own keys those that the README has."""


class Typed(NamedTuple):
    """What of a command line is typed.

    Args:
        verb: its first word.
        words: ``key=value`` and the like, without flags.
        folders: of ``--config-dir``.
        flag: that the last word is the value of, if it is one's.
        last: the word that is being typed.
    """

    verb: str
    words: list[str]
    folders: list[str]
    flag: str
    last: str

    @property
    def chosen(self) -> dict[str, str]:
        """Values by key or group, the first of several of a sweep."""
        pairs = (word.lstrip("+").partition("=") for word in self.words)
        return {key: value.partition(",")[0] for key, equals, value in pairs if equals}


def script(shell: str) -> str:
    """The script for a shell.

    Raises:
        UsageError: no such shell.
    """
    if shell not in SCRIPTS:
        hint = nearest(shell, SCRIPTS)
        mended = f"; did you mean '{hint}'?" if hint else ""
        raise UsageError(f"{f'completion {shell}'.strip()}: there are bash, zsh and fish{mended}")
    return SCRIPTS[shell]


def candidates(line: str) -> list[str]:
    """Words that may stand where a command line, typed so far, breaks off."""
    try:
        words = shlex.split(line)[1:]
    except ValueError:
        return []
    last = words.pop() if words and not line.endswith(" ") else ""
    if not words:
        offered = [*VERBS, "--help", "--version"]
    elif words[0] not in VERBS:
        offered = []
    else:
        try:
            offered = of_verb(taken_apart(words[0], words[1:], last))
        except (GenlabError, OSError):
            offered = []
    return sorted({word for word in offered if word.startswith(last)})


def taken_apart(verb: str, typed: list[str], last: str) -> Typed:
    """The words after a verb, flags and their values apart."""
    words, own, flag = [], [], ""
    valued = (*FOLDER_FLAGS, *((*HYDRA_VALUES, "--info", "-i") if verb == "train" else ()))
    for word in typed:
        name, equals, value = word.partition("=")
        if (flag or name) in FOLDER_FLAGS and (flag or equals):
            own.append(word if flag else value)
        elif not flag and not word.startswith("-"):
            words.append(word)
        flag = word if word in valued and not flag else ""
    return Typed(verb, words, [folder for folder in own if Path(folder).is_dir()], flag, last)


def of_verb(typed: Typed) -> list[str]:
    """Words that may follow a verb."""
    verb, last = typed.verb, typed.last
    name, equals, value = last.partition("=")
    if typed.flag:
        return of_flag(typed.flag, last)
    if last.startswith("-"):
        return [f"{name}={word}" for word in of_flag(name, value)] if equals else flags(verb)
    if verb == "completion":
        return list(SCRIPTS)
    if equals:
        before, comma, _ = value.rpartition(",")
        words = [f"{name}={before}{comma}{word}" for word in values_of(typed, name.lstrip("+"))]
        return words or (folders(last) if name in FOLDERS else [])
    if "." in last:
        plus = last[: len(last) - len(last.lstrip("+"))]
        return [f"{plus}{word}" for word in keys_of(typed, last.lstrip("+"))] + [*HYDRA_KEYS] * (verb == "train")
    if verb == "list":
        listed = [group for group in groups(typed.folders) if "/" not in group and group not in HIDDEN]
        return [*(f"{group}=" for group in listed), *map(plural, listed)]
    known = [group for group in groups(typed.folders) if group in GROUPS]
    if verb in ("train", "check"):
        return keys(verb, known, typed.chosen)
    own = [key for key in read(conf_folder() / f"{verb}.yaml") if key != "defaults"]
    within = [f"{key}." for key in own if key in known and key in typed.chosen]
    return [*(f"{key}=" for key in own), *within, *folders(last)]


def keys(verb: str, known: list[str], chosen: Mapping[str, str]) -> list[str]:
    """What may begin a word of ``genlab train`` and ``check``."""
    if verb == "train" and "run" in chosen:
        return ["trainer.", "plugins="]
    own = ["training.", *(f"{key}=" for key in read(conf_folder() / "train.yaml") if key not in ("defaults", "hydra"))]
    both = [f"{group}{end}" for group in known for end in "=."] + own
    return both + ["run=", *HYDRA_KEYS] * (verb == "train")


def flags(verb: str) -> list[str]:
    """Flags of a verb; of train Hydra's, too."""
    ours = [*VERBS[verb].flags, "--help"]
    if verb == "completion":
        return ours
    return [*ours, "--config-dir", *(HYDRA_FLAGS + HYDRA_VALUES + ("--info",) if verb == "train" else ())]


def of_flag(flag: str, value: str) -> list[str]:
    """Values of a flag."""
    if flag in (*FOLDER_FLAGS, "--config-path", "-cp"):
        return folders(value)
    if flag in ("--package", "-p"):
        return [group for group in groups() if group in GROUPS]
    if flag in ("--info", "-i"):
        return list(INFORMED)
    return list(SHOWN) if flag in ("--cfg", "-c") else []


def values_of(typed: Typed, key: str) -> list[str]:
    """Words that may stand after ``key=``, as far as they are known."""
    if typed.verb in ("sample", "eval", "report"):
        if words := words_of(typed, key):
            return words
    elif key.startswith("hydra/"):
        return list(installed().get(key, {})) or groups(typed.folders).get(key, [])
    elif key in GROUPS or typed.verb == "list":
        return groups(typed.folders).get(key, [])
    group, _, name = key.rpartition(".")
    nets = choices(contents("model", model(typed), typed.folders)) if group == "model" else {}
    if key in nets:
        return nets[key]
    known = signature(str(node_of(typed, group).get("_target_", ""))) if group else None
    argument = known.arguments.get(name) if known else None
    if argument is None:
        return ["true", "false"] if key == "compile" else []
    simple = isinstance(argument.annotation, ast.Name) and argument.annotation.id == "bool"
    return ["true", "false"] if simple else admitted_words(argument.annotation)


def words_of(typed: Typed, option: str) -> list[str]:
    """Words that an option of a verb other than train takes; empty where they are not known."""
    of_sample = {"task": tasks(), "ckpt": ["best", "last"]}
    of_eval = {"ckpt": ["best", "last", "all"], "split": [*SPLITS], "real": ["auto", "none", *SPLITS]}
    if typed.verb == "report":
        return list(FORMATS) if option == "format" else []
    if option == "metrics" and typed.verb == "eval":
        return measured(typed.folders, typed.chosen.get("extractor.name", ""))
    if option in ("data", "extractor") and typed.verb == "eval":
        return groups(typed.folders).get(option, [])
    if option == "device":
        return ["auto", "cpu", "cuda"]
    return (of_sample if typed.verb == "sample" else of_eval).get(option, [])


def model(typed: Typed) -> str:
    """The model that is chosen, or would be without a word."""
    return typed.chosen.get("model", "wgan_gp")


def node_of(typed: Typed, path: str) -> Mapping[str, Any]:
    """The node at a dotted path, of the options typed so far; empty where there is none."""
    group, *rest = path.split(".")
    if group == "hydra":
        plugins = installed().get("/".join([group, *rest]), {})
        return {"_target_": plugins.get(typed.chosen.get("/".join([group, *rest]), "basic"), "")}
    taken = {"data": "digits", "trainer": "default", "logger": "wandb", "model": model(typed)}
    taken |= picks(file_of("model", model(typed), typed.folders), typed.folders) | typed.chosen
    within = "model" if group == "training" else group
    if within not in taken:
        return {}
    content: Any = contents(within, taken[within], typed.folders)
    if within == "model":
        content = over(content, {"model": {"net": typed.chosen["model.net"]}} if "model.net" in typed.chosen else {})
        content = settled(content, content).get(group, {})
    for part in rest:
        content = content.get(part, {}) if isinstance(content, Mapping) else {}
    return content if isinstance(content, Mapping) else {}


def keys_of(typed: Typed, key: str) -> list[str]:
    """Keys of the group that ``key`` begins with, for the options typed so far."""
    prefix = key.rpartition(".")[0]
    content = node_of(typed, prefix)
    names = dict.fromkeys([*content, *options(content)])
    ends = {name: "." if isinstance(content.get(name), Mapping) else "=" for name in names if name != "_target_"}
    return [f"{prefix}.{name}{end}" for name, end in ends.items()]


def folders(last: str) -> list[str]:
    """Folders that are runs or lead to some, after ``run=`` or bare."""
    key, equals, value = last.rpartition("=")
    place = Path(value).parent if value and not value.endswith("/") else Path(value or ".")
    try:
        found = [path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []
    names = [str(path) if (path / "run.yaml").is_file() else f"{path}/" for path in found]
    return [f"{key}{equals}{name}" for name in names]
