"""Which file, or the command line, a value of a composed config came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from genlab.config import Composed
from genlab.presets import conf_folder, read, shown
from genlab.validation.mistakes import has
from genlab.validation.words import Word


class Origin:
    """Which file, or the command line, a value of a composed config came from."""

    def __init__(self, words: Sequence[Word], folders: Sequence[str], composed: Composed):
        self.words, self.choices = words, composed.choices
        self.folders = [conf_folder(), *(Path(folder) for folder in folders)]

    def of(self, key: str) -> str:
        """The last one to have set it."""
        for word in self.words:
            if key == word.key or (key.startswith(f"{word.key}.") and not word.group):
                return "command line"
        group = key.partition(".")[0]
        for name in ("experiment", "recipe", "model", group):
            option = self.choices.get(name)
            for path in self.files(name, option):
                if has(read(path), key if name != group or name == "model" else key.partition(".")[2]):
                    return shown(path)
        return "command line" if any(word.key.partition(".")[0] == group for word in self.words) else ""

    def files(self, group: str, option: Any) -> Iterator[Path]:
        """The file of an option and those it builds on."""
        for folder in self.folders:
            path = folder / group / f"{option}.yaml"
            if path.is_file():
                yield path
                for entry in (read(path)).get("defaults") or []:
                    if isinstance(entry, str) and entry != "_self_":
                        yield from self.files(group, entry)
