"""What there is to choose from: the folders of configs, and the cards at the head of their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genlab.errors import GenlabError


def conf_folder() -> Path:
    """The configs that come with genlab: inside an installed package, beside it in a checkout.

    Raises:
        GenlabError: neither is there.
    """
    here = Path(__file__).absolute().parent
    for folder in (here / "conf", here.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise GenlabError(f"{here / 'conf'}: the configs are missing from this installation; install genlab again")


def groups(folders: Sequence[str] = ()) -> dict[str, list[str]]:
    """Options of each group, by its path: ``{"model": ["vae", ...], ...}``."""
    found: dict[str, set[str]] = {}
    for root in (conf_folder(), *map(Path, folders)):
        for path in root.rglob("*.yaml"):
            parts = path.relative_to(root).with_suffix("").parts
            if len(parts) > 1 and not any(part.startswith(".") for part in parts):
                for depth in range(1, len(parts)):
                    found.setdefault("/".join(parts[:depth]), set()).add("/".join(parts[depth:]))
    return {group: sorted(options) for group, options in sorted(found.items())}
