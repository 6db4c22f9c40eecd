"""Which file, or the command line, a value of a composed config came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab.config import Composed
from genlab.presets import GLOBAL, conf_folder, read, shown
from genlab.validation.defaults import parsed
from genlab.validation.mistakes import has
from genlab.validation.words import TYPED, Word


class Origin:
    """Which file, or the command line, a value of a composed config came from."""

    def __init__(self, words: Sequence[Word], folders: Sequence[str], composed: Composed):
        self.words, self.choices = words, composed.choices
        self.folders = [conf_folder(), *(Path(folder) for folder in folders)]

    def of(self, key: str) -> str:
        """The last one to have set it."""
        for word in self.words:
            if key == word.key or (key.startswith(f"{word.key}.") and not word.group):
                return word.source
        group = key.partition(".")[0]
        for name in ("experiment", "recipe", "model", group):
            for path in self.files(name, self.choices.get(name)):
                if sets(path, name, key):
                    return shown(path)
        return TYPED if any(word.key.partition(".")[0] == group for word in self.words) else ""

    def files(self, group: str, option: Any, known: tuple[Path, ...] = ()) -> Iterator[Path]:
        """The file of an option and those it builds on; of several options, the last first."""
        several = [] if option else [word for word in self.words if word.key == group and word.values]
        for word in several:  # of which Hydra notes none
            for one in reversed(word.values[0].strip("[]").split(",")):
                yield from self.files(group, one.strip(), known)
        for folder in self.folders:
            path = folder / group / f"{option}.yaml"
            if path.is_file() and path not in known:
                yield path
                for entry in (read(path)).get("defaults") or []:
                    if isinstance(entry, str) and entry != "_self_":
                        yield from self.files(group, entry, (*known, path))


def sets(path: Path, group: str, key: str) -> bool:
    """Does a file of a group set a key, or choose the option of the group that it is?"""
    plain = read(path)
    if GLOBAL not in path.read_text(encoding="utf-8"):
        return key.startswith(f"{group}.") and has(plain, key.removeprefix(f"{group}."))
    listed = plain.get("defaults") or []
    chosen = (
        [parsed(entry, group) for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
    )
    return has(plain, key) or any(entry.overrides and entry.group == key for entry in chosen)
