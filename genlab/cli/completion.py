"""Tab completion: verbs, groups and their options, keys and flags, all read from ``conf/`` and from source."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab.catalogue import options, picks
from genlab.cli.verbs import VERBS
from genlab.errors import GenlabError, UsageError, nearest
from genlab.presets import conf_folder, file_of, groups, read
from genlab.tables import FORMATS
from genlab.validation.fits import admitted_words
from genlab.validation.signatures import signature

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
        words = shlex.split(line)
    except ValueError:
        return []
    last = words.pop() if words and not line.endswith(" ") else ""
    words = words[1:]
    if not words:
        offered = [*VERBS, "--help", "--version"]
    elif words[0] not in VERBS:
        offered = []
    else:
        try:
            offered = of_verb(words[0], words[1:], last)
        except (GenlabError, OSError):
            offered = []
    return sorted({word for word in offered if word.startswith(last)})


def of_verb(verb: str, typed: list[str], last: str) -> list[str]:
    """Words that may follow a verb."""
    flags = [*VERBS[verb].flags, "--help", "--config-dir"] if last.startswith("-") else []
    if flags:
        return [*flags, "--multirun", "--cfg", "--resolve"] if verb == "train" else flags
    if verb == "completion":
        return list(SCRIPTS)
    if verb not in ("train", "check", "list"):
        keys = read(conf_folder() / f"{verb}.yaml")
        name, given, _ = last.partition("=")
        if given and (words := words_of(verb, name)):
            return [f"{name}={word}" for word in words]
        return [f"{key}=" for key in keys if key != "defaults"] + folders(last)
    key, equals, value = last.partition("=")
    known = {group: names for group, names in groups().items() if group in GROUPS}
    if verb == "train" and key == "run" and equals:
        return folders(last)
    if equals:
        before, comma, _ = value.rpartition(",")
        return [f"{key}={before}{comma}{option}" for option in known.get(key, []) or values_of(typed, key)]
    if verb == "list":
        return [f"{group}=" for group in known]
    if "." in key:
        return keys_of(typed, key)
    bare = ["training."] + [f"{key}=" for key in read(conf_folder() / "train.yaml") if key not in ("defaults", "hydra")]
    return [f"{group}{end}" for group in known for end in "=."] + bare + ["run="] * (verb == "train")


def words_of(verb: str, option: str) -> list[str]:
    """Words that an option of a verb other than train takes; empty where they are not known."""
    if (verb, option) == ("sample", "task"):
        files = (Path(__file__).parents[1] / "tasks").glob("*.py")
        return [path.stem for path in files if path.stem not in ("__init__", "base")]
    if (verb, option) == ("report", "format"):
        return list(FORMATS)
    group = {"metrics": "metric"}.get(option, option)
    return groups().get(group, []) if verb == "eval" and group in ("metric", "data", "extractor") else []


def values_of(typed: list[str], key: str) -> list[str]:
    """Words that the argument at a key admits: those of a Literal, or true and false."""
    group, _, name = key.rpartition(".")
    node = node_of(typed, group)
    known = signature(str(node.get("_target_", ""))) if node else None
    argument = known.arguments.get(name) if known else None
    if argument is None:
        return []
    simple = isinstance(argument.annotation, ast.Name) and argument.annotation.id == "bool"
    return ["true", "false"] if simple else admitted_words(argument.annotation)


def node_of(typed: list[str], path: str) -> Mapping[str, Any]:
    """The node at a dotted path, of the options typed so far; empty where there is none."""
    taken = {"data": "digits", "model": "wgan_gp", "trainer": "default", "logger": "wandb"}
    chosen = dict(word.split("=", 1) for word in typed if "=" in word)
    taken |= picks(file_of("model", chosen.get("model", taken["model"]).partition(",")[0])) | chosen
    group, *rest = path.split(".")
    within = "model" if group == "training" else group
    if within not in taken:
        return {}
    content: Any = read(file_of(within, taken[within].partition(",")[0]))
    content = content.get(group, {}) if within == "model" else content
    for part in rest:
        content = content.get(part, {}) if isinstance(content, Mapping) else {}
    return content if isinstance(content, Mapping) else {}


def keys_of(typed: list[str], key: str) -> list[str]:
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
