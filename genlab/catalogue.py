"""``genlab list``: what there is to choose from, and the card of one option, read from the configs and the source."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab.build import trusted, untrusted
from genlab.choices import likelihoods, metrics, nets, recipe, referring
from genlab.errors import ConfigError, nearest
from genlab.presets import based, card, file_of, groups, picks, plural, read
from genlab.signatures import literal, signature
from genlab.validation.fits import admitted_words, spell
from genlab.validation.mistakes import Problems

SHOWN = ("model", "data", "loss", "experiment")
COLUMNS = ("name", "family", "title", "authors", "year", "reference")
WEIGHTS = Path(__file__).parent / "extractors" / "weights"
HIDDEN = ("recipe", "hydra")
SINGULAR = {"data": "data set"}
PAPER = re.compile(
    r"(?P<title>.+?)\. (?P<authors>\D+) (?P<year>(?:19|20)\d\d)(?:, (?P<reference>[^;]+?))?(?:[.;] .*)?\.?$"
)  # of "Title. Authors Year, reference"


def entry(group: str, option: str, folders: Sequence[str] = ()) -> dict[str, Any]:
    """One line of the catalogue: name, title, authors, year and reference; of a model its family too."""
    path = file_of(group, option, folders)
    head = (card(path) or [""])[0]
    paper = PAPER.match(head)
    about: dict[str, Any] = {"name": option} | (paper.groupdict() if paper else {"title": head})
    if paper:
        about["year"] = int(about["year"])
    if group == "model":
        target = str((contents(group, option, folders).get("model") or {}).get("_target_", ""))
        parts = target.split(".")
        about["family"] = parts[2] if target.startswith("genlab.models.") and len(parts) > 3 else parts[0]
    return about


def options(node: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What can be set of a node: value or default, and what is admitted, by name; of nested nodes too."""
    known = signature(str(node.get("_target_", "")))
    found = {}
    for name, argument in (known.arguments if known else {}).items():
        if not argument.required or name in node:
            value = node.get(name, literal(argument.default))
            words = admitted_words(argument.annotation)
            found[name] = {"value": value, "takes": spell(argument.annotation)} | ({"choices": words} if words else {})
            if isinstance(value, Mapping):
                found |= {f"{name}.{inner}": option for inner, option in options(value).items()}
    return found


def choices(content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Words for the keys of a model's file that choose a module: the nets that take what the file gives them, and
    output distributions."""
    written = dict(referring(content))
    found = nets(written.values())
    for key, words in found.items():
        for path, target in written.items():
            given = [name.rpartition(".")[2] for name in flat(content) if is_beside(name, path)]
            words[:] = [word for word in words if takes(target.replace(f"${{{key}}}", word), given)]
    if "likelihood" in (content.get("model") or {}):
        found["model.likelihood"] = likelihoods()
    return found


def is_beside(key: str, other: str) -> bool:
    """Do two keys belong to one node?"""
    return key != other and key.rpartition(".")[0] == other.rpartition(".")[0]


def takes(target: str, names: Sequence[str]) -> bool:
    """Does what a target names take all these arguments?"""
    known = signature(target)
    return known is not None and (known.takes_any or set(names) <= set(known.arguments))


def settled(node: Any, whole: Mapping[str, Any]) -> Any:
    """A node with what its file itself refers to, ``${model.net}``, put in."""
    if isinstance(node, Mapping):
        return {key: settled(value, whole) for key, value in node.items()}
    if not isinstance(node, str):
        return node
    return re.sub(r"\$\{(\w+)\.(\w+)\}", lambda found: str(whole.get(found[1], {}).get(found[2], found[0])), node)


def flat(node: Any, key: str = "") -> dict[str, Any]:
    """Dotted keys and their values, of a mapping in mappings."""
    if not isinstance(node, Mapping):
        return {key: node}
    return {k: v for name, value in node.items() for k, v in flat(value, f"{key}.{name}" if key else name).items()}


def describe(group: str, option: str, folders: Sequence[str] = ()) -> dict[str, Any]:
    """The card of one option: everything that its file, its recipes and its target's source say."""
    path = file_of(group, option, folders)
    content = contents(group, option, folders)
    node = content.get(group) if "_target_" not in content else content
    taken = {key: name for base in based(group, option, folders) for key, name in picks(base, folders).items()}
    about = entry(group, option, folders) | {"card": card(path), "picks": taken, "file": str(path)}
    if isinstance(content.get("trainer"), dict):
        about["trainer"] = content["trainer"]
    if group == "metric":
        about["figures"] = list(metrics(folders)[option])
    if isinstance(node, Mapping):
        about["target"] = node.get("_target_")
        target = str(about["target"])
        if about["target"] and not trusted(target) and signature(target) is None:
            about["unread"] = untrusted(target)
        if group == "extractor" and (bundled := weights(str(about["target"]))):
            about["weights"] = bundled
        before = f"metric.{option}." if group == "metric" else f"{group}."
        about["options"] = {f"{before}{name}": value for name, value in options(settled(node, content)).items()}
        if group == "model" and isinstance(content.get("training"), Mapping):
            about["options"] |= {f"training.{name}": value for name, value in options(content["training"]).items()}
        for key, words in choices(content).items():
            if key in about["options"]:
                null = " or null" * about["options"][key]["takes"].endswith("null")
                about["options"][key] |= {"takes": f"one of {', '.join(words)}{null}", "choices": words}
    known = groups(folders)
    recipes = {data: recipe(option, data, folders) for data in known["data"]} if group == "model" else {}
    recipes = {data: name for data, name in recipes.items() if name in known.get("recipe", [])}
    if recipes:
        about["recipes"] = {
            data: {"card": reached(name, folders), "sets": changes(name, folders)} for data, name in recipes.items()
        }
    return about


def weights(target: str) -> dict[str, Any]:
    """The card in the header of an extractor's bundled weights, which is JSON, and their size; empty where none are."""
    known = signature(target)
    path = WEIGHTS / f"{known.constants.get('name') if known else ''}.safetensors"
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return json.loads(header["__metadata__"]["card"]) | {"bytes": path.stat().st_size}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError):  # none, or damaged; eval says so
        return {}


def contents(group: str, option: str, folders: Sequence[str] = ()) -> dict[str, Any]:
    """What the file of an option says, after those that it builds on."""
    content: dict[str, Any] = {}
    for path in based(group, option, folders):
        content = over(content, read(path))
    return content


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping put over another, mappings within them too."""
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = over(found[key], value) if both else value
    return found


def reached(name: str, folders: Sequence[str] = ()) -> list[str]:
    """What a recipe, or the one that it builds on, says at its head."""
    return next(filter(None, map(card, reversed(based("recipe", name, folders)))), [])


def changes(name: str, folders: Sequence[str] = ()) -> dict[str, Any]:
    """What a recipe sets, by dotted key, after those that it builds on."""
    parts = [flat(read(path)).items() for path in based("recipe", name, folders)]
    return {key: value for part in parts for key, value in part if key != "defaults"}


def main(words: Sequence[str], folders: Sequence[str] = (), *, as_json: bool = False) -> None:
    """``genlab list``: all, some groups, or some cards.

    Raises:
        ConfigErrors: no such groups or options; both groups and cards.
    """
    known = {group: names for group, names in groups(folders).items() if "/" not in group and group not in HIDDEN}
    wanted = asked(words, known, folders)
    if any(option for _, option in wanted):
        cards = [describe(group, option, folders) for group, option in wanted]
        told = json.dumps(cards if len(cards) > 1 else cards[0], indent=1, ensure_ascii=False, default=str)
        print(told if as_json else "\n\n\n".join(map(card_text, cards)))
        return
    chosen = [group for group, _ in wanted] or [group for group in SHOWN if group in known]
    listing = {group: [entry(group, option, folders) for option in known[group]] for group in chosen}
    if as_json:
        print(json.dumps(listing, indent=1, ensure_ascii=False))
        return
    print("\n\n".join(table(plural(group), entries) for group, entries in listing.items()))
    if not words:
        rest = ", ".join(plural(group) for group in known if group not in SHOWN)
        print(
            f"\nalso: genlab list {rest}; the card of one: genlab list model=wgan_gp; "
            "what does not go together: genlab list refused"
        )


def asked(words: Sequence[str], known: Mapping[str, Any], folders: Sequence[str]) -> list[tuple[str, str]]:
    """Groups and options that words name: ``models``, ``model=vae,gan``; the option of a group alone is empty.

    Raises:
        ConfigErrors: no such groups or options; both groups and cards.
    """
    problems, found = Problems(), []
    for word in words:
        name, equals, options = word.partition("=")
        try:
            group = named(name, known)
        except ConfigError as error:
            problems.add(error)
            continue
        for option in options.split(",") if equals else [""]:
            found.append((group, option))
            if equals and option not in known[group]:
                near = nearest(option, known[group]) or figure_of(group, option, folders)
                reason = f"no such {SINGULAR.get(group, group)}"
                problems.add(ConfigError(group, option, reason, near, f"genlab list {plural(group)}"))
    if len({bool(option) for _, option in found}) > 1:
        problems.add(ConfigError("list", "", "list groups or show cards, one at a time", "", "", " ".join(words)))
    problems.stop()
    return found


def figure_of(group: str, option: str, folders: Sequence[str]) -> str:
    """The metric that a figure is of; empty of what is none."""
    known = metrics(folders) if group == "metric" else {}
    return next((name for name, figures in known.items() for figure in figures if option.startswith(figure)), "")


def named(word: str, known: Mapping[str, Any]) -> str:
    """The group that a singular or plural names."""
    for group in known:
        if word in (group, plural(group)):
            return group
    names = [name for group in known for name in (group, plural(group))]
    near = nearest(word, names) or next((f"{group}={word}" for group in known if word in known[group]), "")
    reason = "no such group" if near else f"no such group; there are {', '.join(map(plural, known))}"
    raise ConfigError("list", word, reason, near, "", word)


def table(title: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """A table, set by rich on a terminal and by spaces elsewhere."""
    columns = [name for name in COLUMNS if any(row.get(name) for row in entries)]
    rows = [[str(row.get(name) or "") for name in columns] for row in entries]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        made = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in columns:
            made.add_column("" if name == "title" else name, no_wrap=name in ("name", "year"))
        for row in rows:
            made.add_row(*row)
        console = Console()
        with console.capture() as capture:
            console.print(made)
        return capture.get().rstrip()
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def typed(value: Any) -> str:
    """A value as one would type it."""
    return value if isinstance(value, str) and value else json.dumps(value, default=str, separators=(",", ":"))


def card_text(about: Mapping[str, Any]) -> str:
    """The card as text."""
    family = f" ({about['family']})" if about.get("family") else ""
    lines = [f"{about['name']}{family}", *(f"  {line}" for line in about["card"])]
    if about["picks"]:
        lines += ["", "picks", *(f"  {group}={option}" for group, option in about["picks"].items())]
    if about.get("trainer"):
        lines += ["", "budget", *(f"  trainer.{key}={value}" for key, value in about["trainer"].items())]
    if about.get("figures"):
        lines += ["", f"figures, and metrics= of genlab eval: {', '.join(about['figures'])}"]
    if about.get("weights"):
        lines += ["", "weights", *(f"  {key}: {value}" for key, value in about["weights"].items())]
    if about.get("options"):
        of_file = "options of genlab eval; ${...} is another of its options"
        lines += ["", of_file if "figures" in about else "options"]
        for name, option in about["options"].items():
            value = option["value"]
            shown = value.get("_target_", value) if isinstance(value, Mapping) else typed(value)
            takes = "" if isinstance(value, Mapping) or not option["takes"] else f"   ({option['takes']})"
            lines.append(f"  {name}={shown}{takes}")
    if about.get("unread"):
        lines += ["", f"options: not read; {about['unread']}"]
    if about.get("recipes"):
        lines += ["", "recipes: what each data set changes, and the figures it reaches"]
        alike: dict[str, list[str]] = {}
        for data, made in about["recipes"].items():
            sets = " ".join(f"{key}={typed(value)}" for key, value in made["sets"].items())
            text = [*made["card"], *textwrap.wrap(sets, 116, break_long_words=False, break_on_hyphens=False)]
            alike.setdefault("\n".join(f"    {line}" for line in text), []).append(data)
        for told, names in alike.items():
            lines += [f"  data={', '.join(names)}", told]
    lines += ["", f"file    {about['file']}"]
    return "\n".join([*lines, f"target  {about['target']}"] if about.get("target") else lines)
