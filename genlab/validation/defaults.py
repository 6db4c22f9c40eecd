"""The defaults lists of the user's own files: what is wrong with them, and the same without it, so that checking can go
on."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from genlab import config
from genlab.errors import ConfigError, nearest
from genlab.presets import GLOBAL, conf_folder, groups, read, shown, twice
from genlab.validation.mistakes import PICKED, Problems
from genlab.validation.words import NEEDED, STANDS_IN, Word, no_option


@dataclass(frozen=True)
class Entry:
    """One entry of a defaults list, ``- override /model: vae``.

    Attributes:
        marks: ``override``, ``optional``.
        place: the group as written, ``/model``; without a slash it lies below that of the file.
        group: the same from the root of all configs; empty of ``_self_``.
        package: where the option's config goes, if not to its own name.
        named: the option, several in a list, or null.
        bare: it is written without a colon, ``- vae`` or ``- /model/vae``.
    """

    marks: tuple[str, ...]
    place: str
    group: str
    package: str
    named: Any
    bare: bool

    @property
    def written(self) -> Any:
        """As YAML reads it."""
        at = f"@{self.package}" if self.package else ""
        if self.bare:
            return f"{self.place}/{self.named}{at}" if self.place else f"{self.named}{at}"
        return {" ".join([*self.marks, f"{self.place}{at}"]): self.named}

    def __str__(self) -> str:
        if self.bare:
            return f"- {self.written}"
        ((key, named),) = self.written.items()
        return f"- {key}: {'null' if named is None else named}"

    @property
    def overrides(self) -> bool:
        """Whether it replaces what there is."""
        return "override" in self.marks

    @property
    def options(self) -> list[str]:
        """Those that it names in so many words."""
        named = self.named if isinstance(self.named, list) else [self.named]
        return [option for option in named if isinstance(option, str) and self.group and "${" not in option]


def parsed(written: Any, home: str) -> Entry:
    """An entry taken apart, of a file of the group ``home``."""
    if not isinstance(written, Mapping):
        name, _, package = str(written).partition("@")
        place, _, option = name.rpartition("/") if name.startswith("/") else ("", "", name)
        return Entry((), place, "" if name == "_self_" else place[1:] or home, package, option, True)
    ((key, named),) = written.items()
    *marks, name = str(key).split() or [""]
    place, _, package = name.partition("@")
    group = place[1:] if place.startswith("/") else f"{home}/{place}"
    return Entry(tuple(marks), place, group, package, named, False)


def unadded(words: Sequence[Word], problems: Problems) -> list[Word]:
    """The words; those that would add a group that every run has, ``+model=vae``, as a choice of it."""
    there, found = of_a_run(), []
    for word in words:
        if word.group and word.prefix in ("+", "++") and not word.package and word.key in there:
            typed = word.prefix + word.rest
            reason = f"a run has its {word.key} already; write {word.rest}"
            problems.add(ConfigError(word.key, ",".join(word.values), reason, "", "command line", typed))
            word = replace(word, prefix="")
        found.append(word)
    return found


def mend_files(
    words: Sequence[Word], folders: Sequence[str], problems: Problems
) -> tuple[list[Word], dict[str, str], dict[str, Path]]:
    """The words, with others added for options that are none; the text of files whose lists are mended by their paths
    below a folder; and all files of the user's own that are built on, by these. A word whose file cannot be mended is
    left out with all that hangs on it."""
    ours, known, typed = conf_folder(), groups(folders), {word.key for word in words}
    added, lost = [], set()
    lists: dict[str, tuple[Path, str, list[Entry], list[Entry]]] = {}
    reached: list[tuple[tuple[str, str], str, str, tuple[str, ...]]] = [
        ((word.key, value), word.key, option, ())
        for word in words
        if word.group and word.prefix != "~" and folders
        for value in word.values
        for option in value.strip("[]").split(",")
    ]
    for under, group, option, above in reached:  # it grows by what the files build on
        root, _ = under
        name = f"{group}/{option}.yaml"
        chain = (*above, name)
        path = next((path for folder in [ours, *map(Path, folders)] if (path := folder / name).is_file()), None)
        if path is None or name in lists:
            continue
        if ours in path.parents and (own_one := next((f for f in folders if Path(f, name).is_file()), None)):
            reason = f"genlab has one of this name, which counts; {shown(Path(own_one, name))} takes another"
            problems.add(ConfigError(group, option, reason, "", shown(Path(own_one, name))))
        try:
            key, listed = list_of(path, problems)
        except ConfigError as error:  # it cannot be read at all
            problems.add(error)
            lost.add(root)
            continue
        for slip in malformed(path, listed, known):
            problems.add(slip)
            lost.add(root)
        entries = [] if root in lost else [parsed(written, group) for written in listed]
        whole = GLOBAL in path.read_text(encoding="utf-8")
        mended: list[Entry] = []
        lists[name] = path, key, entries, mended
        for entry in entries:
            if entry.overrides and not (whole or entry.package or entry.group.startswith("hydra/")):
                problems.add(about(entry, f"takes '# {GLOBAL}' as the first line of its file", shown(path)))
                continue
            if told := amiss(entry, chain, shown(path), known):
                problems.add(told)
                lost |= {root} if entry.options else set()
                continue
            right = entry if ours in path.parents else mend_group(entry, known, problems, shown(path))
            if right is not None and (right.group == root or right.group not in typed):  # else what is typed counts
                group = right.group
                right, stand_ins = mend_options(right, known, problems, shown(path))
                added += [replace(word, under=under) for word in stand_ins] if group != root else []
                reached += [(under, group, option, chain) for option in right.options] if right else []
            mended += [right] if right else []
    there = {*of_a_run(), *(entry.group for *_, mended in lists.values() for entry in mended if not entry.overrides)}
    copies = {}
    for name, (path, key, entries, mended) in lists.items():
        text = path.read_text(encoding="utf-8") if ours in path.parents else once(name, path, problems)
        if (sound := mend_overrides(mended, there, problems, shown(path))) != entries or key != "defaults":
            text = with_list(text, key, [entry.written for entry in sound])
        if text != path.read_text(encoding="utf-8"):
            copies[name] = text
    own = {name: path for name, (path, *_) in lists.items() if ours not in path.parents}
    kept = [word for word in [*words, *added] if word.key.partition(".")[0] not in lost]
    return [*kept, *in_place_of(lost, typed)], copies, own


def in_place_of(lost: set[str], typed: set[str]) -> list[Word]:
    """Words for groups of which nothing is known, since the file that says it is ``lost``, that no mistake is made of
    what stands for them."""
    options = {group: option for group, option in of_a_run().items() if group in NEEDED}
    hanging = {"experiment": options, "model": PICKED}
    unknown = {group for name in lost for group in (name, *hanging.get(name, ()))}
    untyped = sorted(group for group in unknown & {*options} if group in lost or group not in typed)
    return [Word("", group, "", (options[group],), STANDS_IN, True) for group in untyped]


def amiss(entry: Entry, chain: tuple[str, ...], source: str, known: Iterable[str]) -> ConfigError | None:
    """What is wrong with an entry that names no option at all, or a file that it stands in itself, by a ``chain``."""
    if not all(
        one is None or isinstance(one, str) for one in (entry.named if isinstance(entry.named, list) else [entry.named])
    ):
        return about(entry, "takes the name of an option", source)
    names = entry.named if isinstance(entry.named, list) else [entry.named]
    for name in re.findall(r"\$\{([^}:]+)\}", " ".join(map(str, names))):
        if name not in known:
            near = nearest(name, known)
            return about(entry, f"${{{name}}} refers to no group", source, near and f"${{{near}}}")
    for name in re.findall(r"\$\{oc\.env:(\w+)\}", " ".join(map(str, names))):
        if name not in os.environ:
            return about(entry, f"there is no {name} in the environment", source)
    for option in entry.options:
        if (name := f"{entry.group}/{option}.yaml") in chain:
            round_about = " -> ".join([*chain[chain.index(name) :], name])
            return about(entry, f"builds on itself: {round_about}", source)
    return None


def list_of(path: Path, problems: Problems) -> tuple[str, Any]:
    """What a file lists as its defaults, and the key that it has for them, of which a slip is a problem.

    Raises:
        ConfigError: it cannot be read.
    """
    plain = read(path)
    slip = nearest("defaults", [key for key, value in plain.items() if isinstance(value, list)])
    if "defaults" in plain or not slip:
        return "defaults", plain.get("defaults") or []
    problems.add(ConfigError(slip, "[...]", f"no such group or key as '{slip}'", "defaults", shown(path)))
    return slip, plain[slip]


def malformed(path: Path, listed: Any, known: Mapping[str, Sequence[str]]) -> Iterator[ConfigError]:
    """Entries of a user's file that nothing could be made of: a list where a group stands, and the like."""
    if not isinstance(listed, list) or any(len(entry) != 1 for entry in listed if isinstance(entry, Mapping)):
        reason = "must be a list, of one group in each entry: - override /model: vae"
        yield ConfigError("defaults", "[...]" if isinstance(listed, list) else "{...}", reason, "", shown(path))
    if GLOBAL not in path.read_text(encoding="utf-8"):
        return
    for key, value in read(path).items():
        if key in NEEDED and value is not None and not isinstance(value, Mapping) and "${" not in str(value):
            advice = f": - override /{key}: {value}" if isinstance(value, str) else ""
            yield ConfigError(key, value, f"must be a mapping, or stand in defaults{advice}", "", shown(path))


def of_a_run() -> dict[str, str]:
    """Groups of genlab's of which every run has an option, so that another is an override; and that option."""
    entries = [parsed(written, "") for written in read(conf_folder() / "train.yaml")["defaults"]]
    needed = {entry.group.strip("/"): str(entry.named) for entry in entries if entry.group and not entry.overrides}
    return dict(sorted(needed.items()))


def options_of(group: str, known: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Options of a group, Hydra's own among them."""
    return [*(config.options(group) if group.startswith("hydra/") else ()), *known.get(group, ())]


def mend_group(entry: Entry, known: Mapping[str, Sequence[str]], problems: Problems, source: str) -> Entry | None:
    """The entry with a group that there is, as an override of what every run has; None where none is near."""
    mended, below = entry, ""
    needed = (entry.options or entry.overrides) and "optional" not in entry.marks
    if needed and not options_of(entry.group, known):
        below = entry.group if options_of(entry.place, known) else ""  # it lacks its slash
        near = entry.place if below else nearest(entry.group, [*known, "hydra/launcher", "hydra/sweeper"])
        if not below:
            listing = "" if near else f"; there are {', '.join(of_a_run())}"
            value = ",".join(entry.options) or None
            problems.add(ConfigError(entry.group, value, f"no such group{listing}", near, source))
        if not near:
            return None
        mended = replace(entry, place=f"/{near}", group=near)
    again = not (mended.bare or mended.package or mended.overrides or isinstance(mended.named, list))
    if again and (mended.group in of_a_run() or mended.group.startswith("hydra/")):
        mended = replace(mended, marks=("override",))
    if below or mended.marks != entry.marks:
        reason = f"without a slash it is {below}" if below else f"a run has its {mended.group} already"
        problems.add(about(entry, f"{reason}; write: {mended}", source))
    return mended


def mend_options(
    entry: Entry, known: Mapping[str, Sequence[str]], problems: Problems, source: str
) -> tuple[Entry | None, list[Word]]:
    """The entry with options that there are, None where none is near; and words to stand for those that are none."""
    options = options_of(entry.group, known)
    if entry.bare and not entry.place:
        options = [*options, "_self_"]
    near = {option: nearest(option, options) for option in entry.options if option not in options}
    if not near or "optional" in entry.marks:
        return entry, []
    words = []
    for wrong, other in near.items():
        problems.add(no_option(entry.group, wrong, options, source))
        if options and not (entry.bare or entry.package):
            told = f"{entry.group}={other}" if other else STANDS_IN
            stand_in = other or options[0]
            words.append(Word("", entry.group, "", (stand_in,), told, True, (stand_in,), source))
    if isinstance(entry.named, list):
        return replace(entry, named=[one for option in entry.named if (one := near.get(option, option))]), words
    if (meant := near[entry.named]) == "_self_":
        return parsed(meant, ""), words
    return (replace(entry, named=meant) if meant else None), words


def mend_overrides(entries: Sequence[Entry], there: set[str], problems: Problems, source: str) -> list[Entry]:
    """The entries with overrides of groups that are ``there``, last, as Hydra wants them."""
    sound = []
    for entry in entries:
        if entry.overrides and not (entry.package or entry.group in there or entry.group.startswith("hydra/")):
            listing = ", ".join(of_a_run())
            problems.add(about(entry, f"there is no {entry.group} to override; there are {listing}", source))
        else:
            sound.append(entry)
    first = next((place for place, entry in enumerate(sound) if entry.overrides), len(sound))
    late = [entry for entry in sound[first:] if entry.group and not entry.overrides]
    for entry in late:
        problems.add(about(entry, "stands after an override; overrides come last", source))
    return sorted(sound, key=lambda entry: entry.overrides) if late else sound


def about(entry: Entry, reason: str, source: str, suggestion: str = "") -> ConfigError:
    """What is wrong with an entry, told as it is written."""
    return ConfigError(entry.group, ",".join(entry.options), reason, suggestion, source, str(entry))


def once(name: str, path: Path, problems: Problems) -> str:
    """The text of a file; where it has keys twice, each a problem, with the last of each and without comments."""
    text, plain = path.read_text(encoding="utf-8"), read(path)
    again = [*twice(yaml.compose(text, yaml.SafeLoader))]
    for keys, line in again:
        key, reason = whole_key(name, path, keys), f"stands twice, again in line {line}"
        problems.add(ConfigError(key, stands(plain, keys), reason, "", shown(path), key))
    return head(text) + yaml.safe_dump(plain) if again else text


def head(text: str) -> str:
    """What Hydra has to know of a file, and YAML takes for a comment."""
    return f"# {GLOBAL}\n" * (GLOBAL in text)


def whole_key(name: str, path: Path, keys: Sequence[str]) -> str:
    """The keys in a file as they stand in a whole config."""
    within = [] if GLOBAL in path.read_text(encoding="utf-8") else name.rpartition("/")[0].split("/")
    return ".".join([*within, *keys])


def stands(plain: Any, keys: Sequence[str]) -> Any:
    """What stands at keys; None where nothing does."""
    for key in keys:
        plain = plain.get(key) if isinstance(plain, Mapping) else None
    return plain


def with_list(text: str, key: str, entries: Sequence[Any]) -> str:
    """The text of a file with other defaults, where ``key`` has them, and all else as it is."""
    node = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    (start, end) = next((name.start_mark.index, old.end_mark.index) for name, old in node.value if name.value == key)
    new = yaml.safe_dump([*entries], default_flow_style=True, width=math.inf)
    return f"{text[:start]}defaults: {new}{text[end:]}"
