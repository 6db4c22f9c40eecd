"""The words of ``genlab train`` taken apart by Hydra's grammar, slips in groups mended so that checking can go on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException

from genlab import build, config, plugins
from genlab.errors import ConfigError, nearest
from genlab.presets import groups
from genlab.validation.mistakes import BARE, Problems

SINGULAR = {"data": "data set", "hydra/launcher": "launcher", "hydra/sweeper": "sweeper"}
EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray", "optuna": "optuna"}
"""Which extra of the package brings a launcher or sweeper of Hydra's."""
STANDS_IN = (
    ""  # the rest of a word that stands where nothing near is, so that checking can go on: no word of it is told
)
TYPED = "command line"
NEEDED = ("data", "loss", "model", "optimizer", "penalty", "trainer")
FOREIGN = re.compile(r"[^\x00-\x7f]|~")
PLAIN = re.compile(r"[\w~/.@%+: -]+")


@dataclass(frozen=True)
class Word:
    """One override as typed, taken apart.

    Attributes:
        prefix: nothing, ``+``, ``++`` or ``~``.
        key: dotted key, or a group.
        package: where a group's config goes, if not to its own name.
        values: as Hydra reads them; several in a sweep, none in a deletion.
        rest: everything after the prefix, as typed; of one that was not typed, ``STANDS_IN``.
        group: it takes an option of a group.
        stand_ins: those of its values that stand in for an option that is none.
        source: where it was said.
        under: the group and the value of it with which alone it counts, as what a file says does; None: always.
    """

    prefix: str
    key: str
    package: str
    values: tuple[str, ...]
    rest: str
    group: bool
    stand_ins: tuple[str, ...] = ()
    source: str = TYPED
    under: tuple[str, str] | None = None

    @property
    def slip(self) -> bool:
        """Whether what it chooses stands in for an option that is none."""
        return any(value in self.stand_ins for value in self.values)

    def with_value(self, value: str) -> str:
        """The override for one job."""
        return f"{self.prefix}{self.key}{'@' + self.package if self.package else ''}={value}"


def quoted(text: str) -> str:
    """An override whose value has letters or a ~ that Hydra's grammar lacks, as in a path, with its value quoted."""
    key, equals, value = text.partition("=")
    return f"{key}='{value}'" if equals and FOREIGN.search(value) and PLAIN.fullmatch(value) else text


def read(typed: Sequence[str], folders: Sequence[str], problems: Problems, source: str = TYPED) -> list[Word]:
    """Overrides taken apart, typed or of another ``source``; what Hydra's grammar refuses is a problem."""
    parser, known, words = OverridesParser.create(), groups(folders), []
    for text in map(quoted, typed):
        key, equals, value = text.partition("=")
        try:
            if not key or (not equals and not text.startswith("~")):
                raise ValueError
            parsed = parser.parse_override(text)
        except (HydraException, ValueError):
            reason = "cannot be read" if equals and key else "write key=value"
            if equals and key != key.strip():
                problems.add(ConfigError(key, value, "no space before =", f"{key.strip()}={value.strip()}", source))
                continue
            if equals and key and value[:1] not in "'\"[{":
                reason += f"; if it is text, quote it: \"{key}='{value}'\""
            near = "" if equals else meant(text, known)
            problems.add(ConfigError(key, value, reason, near, source, "" if equals else text))
            continue
        name = parsed.key_or_group
        if equals and not value.strip() and name not in known:
            problems.add(ConfigError(key, "", "no value; null and '' are values", "", source))
            continue
        prefix = "~" if parsed.is_delete() else "++" if parsed.is_force_add() else "+" if parsed.is_add() else ""
        if isinstance(chosen := parsed.value(), Glob):
            options = config.options(name) if name.startswith("hydra/") else known.get(name, [])
            values = tuple(chosen.filter(list(options)))
            if not values:
                reason = f"no {name} is called so" if options else "glob chooses of the options of a group"
                problems.add(ConfigError(key, value, reason, "", source))
                continue
        elif parsed.is_discrete_sweep():
            values = tuple(parsed.sweep_string_iterator())
        elif parsed.is_interval_sweep():
            values = ("",)
        else:
            values = (parsed.get_value_string(),) if equals else ()
        bare = text.removeprefix(prefix)
        words.append(Word(prefix, name, parsed.package or "", values, bare, name in known, source=source))
    return words


def meant(word: str, known: Mapping[str, Sequence[str]]) -> str:
    """The ``key=value`` that a word without = stands for: a run's folder, an option of a group, a group by itself."""
    if (Path(word) / "config.yaml").is_file():
        return f"run={word}"
    key, colon, value = word.partition(":")
    named = sorted(known, key=lambda group: group not in NEEDED)  # a model before an experiment's method of that name
    ours = {group: known[group] for group in named if "/" not in group and group not in ("recipe", "hydra")}
    if colon and (group := nearest(key, ours)):
        return f"{group}={value}"
    for group, options in ours.items():
        if word in options:
            return f"{group}={word}"
    return f"{nearest(word, ours)}=..." if nearest(word, ours) else ""


def mend_groups(words: Sequence[Word], folders: Sequence[str], problems: Problems) -> list[Word]:
    """The words with options that are no file replaced by the nearest that is; without one, all that hangs on the
    group is left out."""
    known, mended, lost = groups(folders), [], set()
    for word in [meant_group(word, known, problems) for word in words]:
        plugin = word.key in ("hydra/launcher", "hydra/sweeper")
        if word.prefix == "~" and (word.key in (*NEEDED, *BARE, "training") or word.key.endswith("._target_")):
            problems.add(ConfigError(f"~{word.key}", "", "a run needs one", "", word.source))
            continue
        if word.group and word.prefix != "~" and (error := no_name(word)):
            problems.add(error)
            lost.add(word.key)
            continue
        if not (word.group or plugin) or word.prefix == "~":
            mended.append(word)
            continue
        options = config.options(word.key) if plugin else known[word.key]
        values: list[str] = []
        stand_ins: list[str] = []
        for value in word.values:
            unwrapped = value.strip("[]").split(",") if value.startswith("[") else [value.strip("\"'")]
            wrong = [option for option in unwrapped if option not in options and option != "null"]
            for option in wrong:
                error = no_option(word.key, option, options, "" if word.source == TYPED else word.source)
                if not (error.suggestion or plugin or folders) and any(other.key == "plugins" for other in words):
                    reason = f"{error.reason}; those of your own are where --config-dir says"
                    error = ConfigError(word.key, option, reason, "", error.source)
                problems.add(error)
            fixed = [nearest(option, options) if option in wrong else option for option in unwrapped]
            mine = value if not wrong else f"[{','.join(fixed)}]" if value.startswith("[") else fixed[0]
            values.append(mine)
            stand_ins += [mine] if wrong else []
        values = [value for value in values if value]
        if values:
            mended.append(replace(word, values=tuple(values), stand_ins=tuple(stand_ins)))
        else:
            lost.add(word.key)
    return [word for word in mended if word.key.partition(".")[0] not in lost]


def meant_group(word: Word, known: Mapping[str, Sequence[str]], problems: Problems) -> Word:
    """The word; of one whose key is a slip of a group's, as an option of that group shows, one of that group."""
    plain = not (word.group or word.prefix or word.key in BARE or "." in word.key)
    near = nearest(word.key, known) if plain else ""
    if not near or not any(nearest(value, known[near]) for value in word.values):
        return word
    value = word.rest.partition("=")[2]
    problems.add(ConfigError(word.key, value, f"no such group or key as '{word.key}'", near, word.source))
    return replace(word, key=near, rest=f"{near}={value}", group=True)


def no_name(word: Word) -> ConfigError | None:
    """What is wrong with the value of a group that is not a name at all; None of one that is."""
    value = word.values[0] if word.values else ""
    if value == "null":
        reason = "a run needs one" if word.key in NEEDED else "null is no name"
        return ConfigError(word.key, value, reason, "none" if word.key == "logger" else "", word.source)
    if value.startswith("["):
        if word.key not in NEEDED:
            return None
        names = value.strip("[]").replace(" ", "")
        return ConfigError(word.key, value, f"a run takes one; a sweep is -m {word.key}={names}", "", word.source)
    if value.startswith("{"):
        key, _, one = value.strip("{}").split(",")[0].partition(":")
        reason = "takes a name; keys are set one by one"
        return ConfigError(word.key, value, reason, f"{word.key}.{key.strip()}={one.strip()}", word.source)
    return None


def no_option(group: str, option: str, options: Sequence[str], source: str = "") -> ConfigError:
    """An option that its group does not have."""
    reason = f"no such {SINGULAR.get(group, group)}" if options else "no such group"
    if group.startswith("hydra/") and option in EXTRAS:
        return ConfigError(group, option, f"not installed; pip install 'genlab[{EXTRAS[option]}]'", "", source or TYPED)
    near = nearest(option, options)
    listing = "" if near or not options else f"; there are {', '.join(sorted(options))}"
    source = source or (TYPED if group.startswith("hydra/") else f"genlab list {group}")
    return ConfigError(group, option, reason + listing, near, source)


def admit_plugins(words: Sequence[Word], problems: Problems) -> list[str]:
    """Trust what ``plugins`` names on the command line, and on it alone; packages and folders it names."""
    named = [name for word in words if word.key == "plugins" and word.values for name in listed(word.values[0])]
    try:
        build.trust(*plugins.packages(named))
    except ConfigError as error:
        problems.add(error)
    return named


def listed(text: str) -> list[str]:
    """A list as typed; a single word is a list of one."""
    value = yaml.safe_load(text)
    return [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]


def overrides(words: Iterable[Word]) -> list[str]:
    """As Hydra reads them."""
    return [
        f"~{word.rest}" if word.prefix == "~" else word.with_value(word.values[0])
        for word in words
        if word.prefix == "~" or any(word.values)
    ]
