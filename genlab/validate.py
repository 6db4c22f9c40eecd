"""Every mistake of a command line and its config in one message, before torch is imported.

Groups, keys, types, targets and contradictions are checked against the files under ``conf/`` and the signatures of what
the config names, read from source. A mistaken group does not hide the rest: the nearest option takes its place.
"""

from __future__ import annotations

import ast
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from genlab import annotations, build, config, plugins
from genlab.catalogue import conf_folder, groups
from genlab.config import Composed
from genlab.contradictions import contradictions, nodes
from genlab.errors import ConfigError, ConfigErrors, nearest
from genlab.run import Run, atomic
from genlab.signatures import Argument, locate, names, signature

COMPOSE_ERRORS = (HydraException, OmegaConfBaseException)
JOBS = 64  # of a sweep that are checked one by one


@dataclass(frozen=True)
class Checked:
    """A command line without mistakes.

    Attributes:
        overrides: as Hydra shall see them: keys that only the target's signature knows are added.
        jobs: what it composes to; several in a sweep.
        plugins: packages and folders it names.
    """

    overrides: list[str]
    jobs: list[Composed]
    plugins: list[str]

    @property
    def config(self) -> dict[str, Any]:
        """Of the only job."""
        return self.jobs[0].config


@dataclass
class Problems:
    """Mistakes found so far, each once."""

    found: dict[str, ConfigError] = field(default_factory=dict)

    def add(self, error: ConfigError) -> None:
        """Note one; of two about the same key and value, the first."""
        self.found.setdefault(f"{error.key}={error.value}", error)

    def stop(self) -> None:
        """Raise what there is.

        Raises:
            ConfigErrors: there is something.
        """
        if self.found:
            raise ConfigErrors(list(self.found.values()))


@dataclass(frozen=True)
class Word:
    """One override as typed, taken apart.

    Attributes:
        prefix: nothing, ``+``, ``++`` or ``~``.
        key: dotted key, or a group.
        package: where a group's config goes, if not to its own name.
        values: as Hydra reads them; several in a sweep, none in a deletion.
        rest: everything after the prefix, as typed.
        group: it takes an option of a group.
    """

    prefix: str
    key: str
    package: str
    values: tuple[str, ...]
    rest: str
    group: bool

    def with_value(self, value: str) -> str:
        """The override for one job."""
        return f"{self.prefix}{self.key}{'@' + self.package if self.package else ''}={value}"


def check(typed: Sequence[str], folders: Sequence[str] = (), *, multirun: bool = False) -> Checked:
    """Check the words of ``genlab train``.

    Args:
        typed: overrides as typed.
        folders: of ``--config-dir``.
        multirun: values may be sweeps.

    Raises:
        ConfigErrors: all mistakes in it.
    """
    problems = Problems()
    words = read(typed, folders, problems)
    if not multirun:
        for word in words:
            if len(word.values) > 1:
                value = word.rest.partition("=")[2]
                problems.add(ConfigError(word.key, value, "several values are a sweep: add -m", "", "command line"))
        words = [replace(word, values=word.values[:1]) for word in words]
    words = mend_groups(words, folders, problems)
    admit_plugins(words, problems)
    added: dict[str, str] = {}
    jobs = []
    for choice in itertools.islice(itertools.product(*(word.values or ("",) for word in words)), JOBS):
        job = [replace(word, values=(value,)) for word, value in zip(words, choice, strict=True)]
        composed = check_job(job, folders, problems, added)
        if composed is not None:
            jobs.append(composed)
    problems.stop()
    overrides = [added.get(word.key, word.prefix) + word.rest for word in words]
    return Checked(overrides, jobs, [str(name) for name in jobs[0].config.get("plugins") or []])


def read(typed: Sequence[str], folders: Sequence[str], problems: Problems) -> list[Word]:
    """Overrides taken apart; what Hydra's grammar refuses is a problem."""
    parser, known, words = OverridesParser.create(), groups(folders), []
    for text in typed:
        key, equals, value = text.partition("=")
        try:
            if not equals and not text.startswith("~"):
                raise ValueError
            parsed = parser.parse_override(text)
        except (HydraException, ValueError):
            reason = "cannot be read" if equals else "write key=value"
            if equals and value[:1] not in "'\"[{":
                reason += f"; if it is text, quote it: \"{key}='{value}'\""
            problems.add(ConfigError(key, value, reason, "" if equals else nearest(key, known), "command line"))
            continue
        prefix = "~" if parsed.is_delete() else "++" if parsed.is_force_add() else "+" if parsed.is_add() else ""
        if parsed.is_discrete_sweep():
            values = tuple(parsed.sweep_string_iterator())
        elif parsed.is_interval_sweep():
            values = ("",)
        else:
            values = (parsed.get_value_string(),)
        name = parsed.key_or_group
        words.append(Word(prefix, name, parsed.package or "", values, text.removeprefix(prefix), name in known))
    return words


def mend_groups(words: Sequence[Word], folders: Sequence[str], problems: Problems) -> list[Word]:
    """The words with options that are no file replaced by the nearest that is; without one, all that hangs on the
    group is left out."""
    known, mended, lost = groups(folders), [], set()
    for word in words:
        if not word.group or word.prefix == "~":
            mended.append(word)
            continue
        options = known[word.key]
        values = []
        for value in word.values:
            unwrapped = value.strip("[]").split(",") if value.startswith("[") else [value]
            wrong = [option for option in unwrapped if option not in options and option != "null"]
            for option in wrong:
                near = nearest(option, options)
                reason = f"no such {SINGULAR.get(word.key, word.key)}"
                listing = "" if near else f"; there are {', '.join(sorted(options))}"
                problems.add(ConfigError(word.key, option, reason + listing, near, f"genlab list {word.key}"))
            fixed = [nearest(option, options) if option in wrong else option for option in unwrapped]
            values += [value] if not wrong else [f"[{','.join(fixed)}]" if value.startswith("[") else fixed[0]]
        values = [value for value in values if value]
        if values:
            mended.append(replace(word, values=tuple(values)))
        else:
            lost.add(word.key)
    return [word for word in mended if word.key.partition(".")[0] not in lost]


SINGULAR = {"data": "data set"}


def admit_plugins(words: Sequence[Word], problems: Problems) -> None:
    """Put the folders that ``plugins`` names on the path, so that what they hold can be found and read."""
    for word in words:
        if word.key == "plugins" and word.values:
            try:
                plugins.packages(listed(word.values[0]))
            except ConfigError as error:
                problems.add(error)


def listed(text: str) -> list[str]:
    """A list as typed; a single word is a list of one."""
    value = yaml.safe_load(text)
    return [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]


def check_job(
    words: Sequence[Word], folders: Sequence[str], problems: Problems, added: dict[str, str]
) -> Composed | None:
    """Check one combination of values; None where it does not compose. Keys that the config does not list but its
    target takes are entered in ``added``."""
    fixed = [word for word in words if word.group or word.prefix or word.key.startswith("hydra.")]
    free = [word for word in words if word not in fixed]
    base = composition(fixed, folders, problems)
    if base is None:
        return None
    listed_keys = [word for word in free if has(base.config, word.key)]
    base = composition([*fixed, *listed_keys], folders, problems) or base
    for word in free:
        if word in listed_keys:
            continue
        error = unknown(word, base.config, [*groups(folders)])
        if error is None:
            added[word.key] = "++"
        else:
            problems.add(error)
    taken = [replace(word, prefix=added.get(word.key, word.prefix)) for word in words]
    taken = [word for word in taken if word in fixed or word in listed_keys or word.key in added]
    composed = composition(taken, folders, problems)
    if composed is not None:
        origin = Origin(words, folders, composed)
        for error in mistakes(composed.config):
            source = error.source or origin.of(error.key)
            problems.add(ConfigError(error.key, error.value, error.reason, error.suggestion, source))
    return composed


def composition(words: Sequence[Word], folders: Sequence[str], problems: Problems) -> Composed | None:
    """Hydra's composition; where it fails, the words that it fails for are problems, and None is returned."""
    try:
        return config.compose("train", overrides(words), folders)
    except COMPOSE_ERRORS as whole:
        culprits = []
        for word in words:
            if not word.group:
                try:
                    config.compose("train", overrides([other for other in words if other.group or other is word]), folders)
                except COMPOSE_ERRORS as error:
                    culprits.append((word, error))
        for word, error in culprits:
            problems.add(ConfigError(word.key, word.values[0], config.plainly(error).reason, "", "command line"))
        if not culprits:
            problems.add(config.plainly(whole))
        return None


def overrides(words: Iterable[Word]) -> list[str]:
    """As Hydra reads them."""
    return [word.with_value(word.values[0]) if word.prefix != "~" else f"~{word.rest}" for word in words if any(word.values)]


def has(node: Any, key: str) -> bool:
    """Is there anything at a dotted key?"""
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def unknown(word: Word, whole: Mapping[str, Any], known_groups: Sequence[str]) -> ConfigError | None:
    """What is wrong with a key that the config does not list; None where the target beneath it takes it."""
    parts = word.key.split(".")
    node: Any = whole
    for depth, part in enumerate(parts):
        if not isinstance(node, Mapping):
            reason = f"'{'.'.join(parts[:depth])}' is a value and has no keys"
            return ConfigError(word.key, word.values[0], reason, "", "command line")
        if part not in node:
            break
        node = node[part]
    assert isinstance(node, Mapping)
    owner, value = ".".join(parts[:depth]), word.values[0]
    if "_target_" in node:
        known = signature(str(node["_target_"]))
        if known is None or known.takes_any or (part in known.arguments and depth == len(parts) - 1):
            return None
        return not_taken(f"{owner}.{part}", value, str(node["_target_"]), part, "command line")
    if depth == 0:
        candidates = sorted({*(key for key in whole if key != "choices"), *known_groups} - {"recipe"})
        return ConfigError(word.key, value, f"no such group or key as '{part}'", nearest(part, candidates), "command line")
    if free_form(whole, parts[:depth]):
        return None
    near = nearest(part, node)
    there = "" if near or not node else f"; there are {', '.join(map(str, node))}"
    return ConfigError(word.key, value, f"'{owner}' has no '{part}'{there}", near, "command line")


def free_form(whole: Mapping[str, Any], path: Sequence[str]) -> bool:
    """Does the mapping at ``path`` go to an argument that takes any mapping?"""
    parent: Any = whole
    for part in path[:-1]:
        parent = parent[part]
    known = signature(str(parent.get("_target_", ""))) if isinstance(parent, Mapping) else None
    argument = known.arguments.get(path[-1]) if known else None
    return argument is not None and annotations.fits(argument.annotation, {"any": {}}, argument.module)


def mistakes(whole: Mapping[str, Any]) -> Iterator[ConfigError]:
    """Targets, keys, types and contradictions of a composed config."""
    for key, node in nodes({name: value for name, value in whole.items() if name != "choices"}):
        yield from check_node(key, node)
    yield from contradictions(whole)


def check_node(key: str, node: Mapping[str, Any]) -> Iterator[ConfigError]:
    """What is wrong with one node, its nested nodes apart."""
    target = node["_target_"]
    error = check_target(f"{key}._target_", target)
    if error is not None:
        yield error
        return
    known = signature(target)
    if known is None:
        return
    for name, value in node.items():
        if name == "_target_":
            continue
        argument = known.arguments.get(name)
        if argument is not None:
            if not may_be(argument, value):
                yield wrong_type(f"{key}.{name}", value, argument)
        elif not known.takes_any:
            yield not_taken(f"{key}.{name}", value, target, name)


def check_target(key: str, target: Any) -> ConfigError | None:
    """Is the target of a trusted package, and there?"""
    if not isinstance(target, str) or "." not in target:
        return ConfigError(key, target, "write package.module.Name")
    if not any(target.startswith(prefix) for prefix in build._trusted):
        hint = f"; if you trust it, add plugins=[{target.partition('.')[0]}]"
        return ConfigError(key, target, f"'{target.partition('.')[0]}' is not a trusted package{hint}")
    module, _, name = target.rpartition(".")
    try:
        if signature(target) is not None:
            return None
        if locate(module) is None:
            return ConfigError(key, target, f"there is no module '{module}'", near_module(module, name))
    except SyntaxError as error:
        return ConfigError(key, target, f"{error.filename}, line {error.lineno}: {error.msg}")
    near = nearest(name, names(module))
    return ConfigError(key, target, f"'{module}' has no '{name}'", f"{module}.{near}" if near else "")


def near_module(module: str, name: str) -> str:
    """The target with the misspelt part of its module's name put right, where that gives something."""
    parts = module.split(".")
    for depth in range(1, len(parts)):
        package = locate(".".join(parts[:depth]))
        if package is None:
            return ""
        if locate(".".join(parts[: depth + 1])) is None:
            there = [path.stem for path in package.parent.iterdir() if path.suffix == ".py" or path.is_dir()]
            near = nearest(parts[depth], there)
            return ".".join([*parts[:depth], near, *parts[depth + 1 :], name]) if near else ""
    return ""


def may_be(argument: Argument, value: Any) -> bool:
    """Does a value fit an argument? Null always fits where it is the default."""
    if value is None and isinstance(argument.default, ast.Constant) and argument.default.value is None:
        return True
    return annotations.fits(argument.annotation, value, argument.module)


def wrong_type(key: str, value: Any, argument: Argument) -> ConfigError:
    """A value that does not fit the annotation, and what may have been meant."""
    suggestion = nearest(value, annotations.options(argument.annotation)) if isinstance(value, str) else ""
    if isinstance(value, float) and value.is_integer() and may_be(argument, int(value)):
        suggestion = str(int(value))
    if isinstance(value, str) and value.lower() in ("yes", "on", "no", "off") and may_be(argument, True):
        suggestion = "true" if value.lower() in ("yes", "on") else "false"
    shown = str(value).lower() if isinstance(value, bool) else "null" if value is None else value
    return ConfigError(key, shown, f"must be {annotations.spell(argument.annotation)}", suggestion)


def not_taken(key: str, value: Any, target: str, name: str, source: str = "") -> ConfigError:
    """A key that the target does not have."""
    known = signature(target)
    arguments = [item.name for item in known.arguments.values() if not item.required or item.annotation is not None] if known else []
    near = nearest(name, arguments)
    options = [item for item in arguments if known and not known.arguments[item].required]
    there = "" if near else f"; it takes {', '.join(options) or 'nothing'}"
    return ConfigError(key, value, f"{known.name if known else target} takes no '{name}'{there}", near, source)


class Origin:
    """Which file, or the command line, a value of a composed config came from."""

    def __init__(self, words: Sequence[Word], folders: Sequence[str], composed: Composed):
        self.words, self.choices = words, composed.choices
        self.folders = [conf_folder(), *(Path(folder) for folder in folders)]

    def of(self, key: str) -> str:
        """The last one to have set it."""
        for word in self.words:
            if key == word.key or key.startswith(f"{word.key}.") and not word.group:
                return "command line"
        group = key.partition(".")[0]
        for name in ("experiment", "recipe", "model", group):
            option = self.choices.get(name)
            for path in self.files(name, option):
                if states(path, key if name != group or name == "model" else key.partition(".")[2]):
                    return self.shown(path)
        return "command line" if any(word.key == group for word in self.words) else ""

    def files(self, group: str, option: Any) -> Iterator[Path]:
        """The file of an option and those it builds on."""
        for folder in self.folders:
            path = folder / group / f"{option}.yaml"
            if path.is_file():
                yield path
                for entry in (yaml.safe_load(path.read_text()) or {}).get("defaults") or []:
                    if isinstance(entry, str) and entry != "_self_":
                        yield from self.files(group, entry)

    def shown(self, path: Path) -> str:
        """As a user would look for it."""
        shown = os.path.relpath(path)
        return str(path) if shown.startswith("../..") else shown


def states(path: Path, key: str) -> bool:
    """Does a config file set the key?"""
    return has(yaml.safe_load(path.read_text()) or {}, key)


def check_run(folder: str, words: Sequence[str] = (), *, record: bool = False) -> Checked:
    """Check ``genlab train run=FOLDER key=value ...``: budget, batch and device may change, the model may not.

    Args:
        folder: of the run.
        words: changes to ``trainer`` and ``logger``, and ``plugins``.
        record: write them to the run's config.

    Raises:
        ConfigErrors: all mistakes in it.
        GenlabError: there is no run.
    """
    run, problems = Run(folder), Problems()
    changes: dict[str, Any] = {}
    named = [item for item in os.environ.get("GENLAB_PLUGINS", "").split(os.pathsep) if item]
    for word in read(words, (), problems):
        value = word.values[0] if word.values else ""
        if word.key == "plugins":
            named += listed(value)
        elif word.key.startswith("trainer.") and not word.prefix.startswith("~"):
            changes[word.key] = yaml_value(value)
        else:
            reason = "of a run that exists only trainer.* can change; start a new run for the rest"
            problems.add(ConfigError(word.key, value, reason, "", "command line"))
    packages = plugins.packages(named)
    build.trust(*packages)
    changed = config.edit(run.config, changes)
    for error in mistakes(changed):
        problems.add(ConfigError(error.key, error.value, error.reason, error.suggestion, error.source or f"{folder}/config.yaml"))
    problems.stop()
    if record and changed != run.config:
        with atomic(run.path / "config.yaml") as partial:
            partial.write_text(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True))
        run.note(changes=[*(run.info.get("changes") or []), *words])
    return Checked([], [Composed(changed, changed.get("choices") or {}, folder, folder)], named)


def options(verb: str, words: Sequence[str], folders: Sequence[str] = ()) -> dict[str, Any]:
    """Options of ``genlab sample``, ``eval`` and ``report``: those of ``conf/<verb>.yaml`` with ``words`` put in.

    Raises:
        ConfigErrors: all mistakes in them.
    """
    problems, given, places = Problems(), [], []
    base = config.compose(verb, [], folders).config
    known = groups(folders)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or Path(word).exists():
            places.append(word)
        elif key.lstrip("+~") in known or has(base, key.lstrip("+~")):
            given.append(f"{key}={quoted(value)}")
        else:
            near = nearest(key, [*base, *(name for name in known if name in base)])
            problems.add(ConfigError(key, value, f"genlab {verb} has no such option", near, "command line"))
    if places:
        given.append(f"{'runs' if 'runs' in base else 'run'}=[{','.join(map(quoted, places))}]" if len(places) > 1
                     else f"{'runs' if 'runs' in base else 'run'}={quoted(places[0])}")
    problems.stop()
    try:
        composed = config.compose(verb, given, folders).config
    except COMPOSE_ERRORS as error:
        raise config.plainly(error) from error
    for key, value in composed.items():
        if not alike(base[key], value):
            problems.add(ConfigError(key, value, f"must be {KINDS[type(base[key])]}", "", "command line"))
    problems.stop()
    return composed


KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def alike(default: Any, value: Any) -> bool:
    """May a value stand where the default does? Judged for numbers and switches only."""
    if type(default) not in KINDS or value is None:
        return True
    if isinstance(default, bool):
        return isinstance(value, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else int) and not isinstance(value, bool)


def quoted(value: str) -> str:
    """A value with characters of Hydra's own in it as a quoted string; lists, mappings and plain words as they are."""
    if value[:1] in "'\"[{" or not any(character in value for character in ",=:()&#!~ {}[]"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def yaml_value(text: str) -> Any:
    """A value as OmegaConf reads it: 1e-3 is a number."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.create(f"value: {text}"))["value"]  # type: ignore[index,call-overload]
