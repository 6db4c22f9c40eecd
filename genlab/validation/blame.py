"""What Hydra cannot compose of the user's own files: found, told with its file, left out, that checking may go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from omegaconf.errors import MissingMandatoryValue

from genlab import config
from genlab.errors import ConfigError, nearest
from genlab.presets import read, shown
from genlab.validation.defaults import head, stands, whole_key
from genlab.validation.launchers import hydra_keys
from genlab.validation.mistakes import Problems
from genlab.validation.words import Word, overrides

MOST = 4  # places that are looked for, of one command line

Place = tuple[str, tuple[str, ...]]
"""A file, by its path below a folder, and the keys that lead to what stands in it."""


def composable(
    words: Sequence[Word],
    folders: Sequence[str],
    copies: Mapping[str, str],
    own: Mapping[str, Path],
    problems: Problems,
) -> dict[str, str]:
    """The texts that stand for files of the user's ``own``, ``copies`` at first, without what nothing can be composed
    of, each such place a problem."""
    texts = dict(copies)

    def failure(chosen: Sequence[Word], changed: Mapping[str, str]) -> Exception | None:
        try:
            with config.in_place({**texts, **changed}):
                config.compose("train", overrides(chosen), folders)
        except config.COMPOSE_ERRORS as error:
            return error
        return None

    groups = [word for word in words if word.group and not word.package]
    if not own or failure(words, {}) is None:
        return texts
    for _ in range(MOST):
        error = failure(groups, {})
        if error is None or isinstance(error, MissingMandatoryValue):  # which may be typed
            break
        found = culprit(error, own, texts, groups, failure)
        if found is None:
            break
        name, keys, text = found
        texts[name] = text
        problems.add(about(error, own[name], keys, whole_key(name, own[name], keys)))
    return texts


def culprit(
    error: Exception,
    own: Mapping[str, Path],
    texts: Mapping[str, str],
    words: Sequence[Word],
    failure: Callable[[Sequence[Word], Mapping[str, str]], Exception | None],
) -> tuple[str, tuple[str, ...], str] | None:
    """The place without which an error does not come, and the text of its file then."""

    def lighter(name: str, keys: tuple[str, ...]) -> str:
        text = without(texts.get(name) or own[name].read_text(encoding="utf-8"), keys)
        return text if str(failure(words, {name: text})) != str(error) else ""

    for name, keys in suspects(error, own):
        text = lighter(name, keys)
        while text and isinstance(inside := stands(read(own[name]), keys), Mapping):
            found = ((deeper, lighter(name, deeper)) for deeper in ((*keys, str(key)) for key in inside))
            narrow = next((pair for pair in found if pair[1]), None)
            if narrow is None:
                break
            keys, text = narrow
        if text:
            return name, keys, text
    return None


def suspects(error: Exception, own: Mapping[str, Path]) -> Iterator[Place]:
    """Places in the user's files, the likeliest first: where the key stands that the error names, then their uppermost
    keys, those of a file that it names before others."""
    full = named(error)
    places: list[tuple[int, Place]] = []
    for name, path in own.items():
        for top in (key for key in read(path) if key != "defaults"):
            key = whole_key(name, path, (str(top),))
            inner = full.removeprefix(f"{key}.").split(".") if full.startswith(f"{key}.") else []
            if inner and stands(read(path), (str(top), *inner)) is not None:
                places.append((0, (name, (str(top), *inner))))
            likely = full == key or bool(inner) or f"'{name.removesuffix('.yaml')}'" in str(error)
            places.append((1 if likely else 2, (name, (str(top),))))
    yield from (place for _, place in sorted(places, key=lambda item: item[0]))


def named(error: BaseException | None) -> str:
    """The key that OmegaConf names, in an error or in what it came of."""
    while error is not None:
        if full := getattr(error, "full_key", None):
            return str(full)
        error = error.__cause__ or error.__context__
    return ""


def without(text: str, keys: Sequence[str]) -> str:
    """The text of a file without what stands at keys, its comments but for the first lost."""
    plain = yaml.safe_load(text)
    if isinstance(node := stands(plain, keys[:-1]), dict):
        node.pop(keys[-1], None)
    return head(text) + yaml.safe_dump(plain)


def about(error: Exception, path: Path, keys: Sequence[str], key: str) -> ConfigError:
    """What is wrong at keys of a file."""
    value, reason = stands(read(path), keys), config.plainly(error).reason
    if key.startswith("hydra.") and reason.startswith("Key "):
        near = nearest(key.removeprefix("hydra."), [one.removeprefix("hydra.") for one in hydra_keys()])
        return ConfigError(key, value, "Hydra has no such key", near and f"hydra.{near}", shown(path))
    told = "{...}" if isinstance(value, Mapping) else "[...]" if isinstance(value, list) else value
    return ConfigError(key, told, reason, "", shown(path))
