"""What is asked of ``genlab sample``, ``eval`` and ``report``, checked before torch is imported.

Names, ranges and syntax of their options, the runs and checkpoints that they name: every mistake, so that a user mends
them in one go. What only the model or its data can tell is left to the verbs.
"""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab.choices import SPLITS, metrics, takes, tasks
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.presets import file_of, groups, read, shown
from genlab.run import Run, parts, stem
from genlab.signatures import signature
from genlab.spec import number_of
from genlab.tables import FORMATS
from genlab.validation.mistakes import check_node

Options = Mapping[str, Any]

LEAST = {"n": 1, "k": 1, "batch": 1, "devices": 1, "seed": 0}
PATHS, ENDS = ("spherical", "linear"), ("samples", "test")
DEVICES = ("auto", "cpu", "gpu", "cuda")
MOST = 10_000_000  # seeds
SUPPLIED = ("spec", "data", "n", "extractor", "loss")  # arguments of metrics that evaluation has
FEW = 6  # words that are listed although it is clear which one is meant
CHECKPOINTS = {"sample": ("best", "last"), "eval": ("best", "last", "all")}


def wrong(verb: str, options: Options, folders: Sequence[str] = ()) -> Iterator[ConfigError]:
    """All mistakes in the options of a verb.

    Args:
        verb: sample, eval or report.
        options: with what was typed put in.
        folders: of ``--config-dir``.
    """
    yield from ranges(options)
    for key, known in words(verb):
        for value in listed(options.get(key)) if key == "real" else [options.get(key)]:
            if value is not None and value not in known:
                near, what = nearest(value, known), "split" if key == "real" else key
                listing = "" if near and len(known) > FEW else f"; there are {', '.join(known)}"
                yield ConfigError(key, value, f"no such {what}{listing}", near)
    runs: list[Run] = []
    for part in listed(options.get("run")):
        try:
            runs += Run.find([part])
        except ConfigError as error:
            is_file = part.endswith(".ckpt") and Path(part).is_file()
            yield ConfigError("run", part, "a checkpoint", f"ckpt={part}") if is_file else error
    if verb == "eval":
        yield from wrong_presets(folders)
        yield from wrong_metrics(options, folders)
    if verb != "report":
        yield from wrong_place(verb, options, runs)
    if verb == "sample":
        yield from wrong_seeds(options)
        yield from without_effect(options)
        yield from wrong_classes(options, runs)


def words(verb: str) -> list[tuple[str, Sequence[str]]]:
    """Options of a verb that take one of a few words, and those."""
    if verb == "sample":
        return [("task", tasks()), ("path", PATHS), ("ends", ENDS), ("device", DEVICES)]
    if verb == "eval":
        return [("split", SPLITS), ("real", ("auto", "none", *SPLITS)), ("device", DEVICES)]
    return [("format", FORMATS)]


def listed(value: Any) -> list[str]:
    """The parts of an option that takes several, with commas or as a list; a path that is there is one."""
    if value is None or value == "":
        return []
    return [part for text in (value if isinstance(value, list) else [value]) for part in parts(str(text))]


def ranges(options: Options) -> Iterator[ConfigError]:
    """Counts that are none or too small, and a temperature that is not positive."""
    for key, least in LEAST.items():
        value = options.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            yield ConfigError(key, value, "must be a whole number")
        elif value is not None and value < least:
            yield ConfigError(key, value, f"must be at least {least}")
    value = options.get("temperature")
    if isinstance(value, (int, float)) and not (0 < value < math.inf):
        yield ConfigError("temperature", value, "must be a positive number")


def wrong_presets(folders: Sequence[str]) -> Iterator[ConfigError]:
    """Targets, and their arguments, that there are not, in metrics of the user's own."""
    for path in (path for folder in folders for path in sorted(Path(folder, "metric").glob("*.yaml"))):
        node = {key: value for key, value in read(path).items() if key != "defaults" and "${" not in str(value)}
        for error in check_node(f"metric.{path.stem}", node) if "_target_" in node else ():
            yield ConfigError(error.key, error.value, error.reason, error.suggestion, shown(path))


def wrong_metrics(options: Options, folders: Sequence[str]) -> Iterator[ConfigError]:
    """Names that are neither a metric, nor a figure of one, nor such a figure with an extractor's name."""
    asked, known = options.get("metrics"), metrics(folders)
    if asked in (None, "auto") or not all(known.values()):  # figures of one that are not literal are not known here
        return
    names = measured(folders, str((options.get("extractor") or {}).get("name") or ""))
    for word in listed(asked):
        if word not in names:
            near = nearest(word, names)
            reason = "no such metric" if near else f"no such metric; there are {', '.join(known)}"
            yield ConfigError("metrics", word, reason, near, "genlab list metrics")


def wrong_arguments(given: Any, folders: Sequence[str]) -> Iterator[ConfigError]:
    """Arguments of metrics, ``metric.frechet.split=train``, that these do not take."""
    known = metrics(folders)
    for name, arguments in (given or {}).items():
        key = f"metric.{name}"
        if name not in known:
            yield ConfigError(key, "...", "no such metric", nearest(name, known), "genlab list metrics")
        elif not isinstance(arguments, Mapping) or "_target_" in arguments:
            yield ConfigError(key, arguments, f"write {key}.KEY=value; genlab list metric={name} has the keys")
        else:
            supplied = [argument for argument in arguments if argument in SUPPLIED]
            for argument in supplied:
                yield ConfigError(f"{key}.{argument}", arguments[argument], "it comes from genlab itself")
            node = {argument: value for argument, value in arguments.items() if argument not in supplied}
            yield from check_node(key, node | {"_target_": read(file_of("metric", name, folders)).get("_target_")})
            split = node.get("split")
            if split is not None and split not in SPLITS:
                reason = f"no such split; there are {', '.join(SPLITS)}"
                yield ConfigError(f"{key}.split", split, reason, nearest(str(split), SPLITS))


def measured(folders: Sequence[str] = (), extractor: str = "") -> list[str]:
    """What ``metrics=`` takes: metrics, their figures, and figures with the name of an extractor behind them.

    Args:
        folders: of ``--config-dir``.
        extractor: a name that the user has given to one.
    """
    known, looked_through = metrics(folders), [*extractors(folders), *([extractor] if extractor else [])]
    plain = [*known, *(figure for figures in known.values() for figure in figures)]
    return [*dict.fromkeys(plain), *(f"{figure}_{name}" for figure in looking(folders) for name in looked_through)]


def looking(folders: Sequence[str]) -> list[str]:
    """Figures of metrics that look at examples through an extractor, whose name then stands behind theirs."""
    found = []
    for name, figures in metrics(folders).items():
        known = signature(str(read(file_of("metric", name, folders)).get("_target_", "")))
        found += [*figures] if known and "extractor" in known.arguments else []
    return found


def extractors(folders: Sequence[str]) -> list[str]:
    """Names of extractors, which stand behind those of figures."""
    names = []
    for preset in groups(folders).get("extractor", []):
        node = read(file_of("extractor", preset, folders))
        known = signature(str(node.get("_target_", "")))
        names += [preset, str(node.get("name") or (known.constants.get("name") if known else None) or preset)]
    return [*dict.fromkeys(names)]


def wrong_place(verb: str, options: Options, runs: Sequence[Run]) -> Iterator[ConfigError]:
    """Neither run nor checkpoint, too many runs, a checkpoint that is not there."""
    named, checkpoint, samples = options.get("run"), options.get("ckpt"), options.get("samples")
    known = CHECKPOINTS[verb]
    if not named and not checkpoint and not samples:
        also = ", or samples=<folder or .npz> with data=..." if verb == "eval" else ""
        yield ConfigError("run", "", f"give run=<folder> or ckpt=<file>{also}")
    for place in places(samples):
        if not Path(place).exists():
            yield ConfigError("samples", place, "no such folder or file")
    if samples and not named and not checkpoint and not options.get("data"):
        yield ConfigError("data", None, "samples= are measured by a data set, as data=mnist")
    if verb == "sample" and len(runs) > 1:
        yield ConfigError("run", named, f"{len(runs)} runs are there; sample takes one", os.path.relpath(runs[0].path))
    if checkpoint is None:
        return
    text, is_file = str(checkpoint), Path(str(checkpoint)).is_file()
    name = stem(int(text)) if text.isdigit() else text
    if is_file and len(runs) > 1 and verb == "eval":
        yield ConfigError("ckpt", text, f"a file belongs to one run; {len(runs)} are named")
    if is_file or (text in known and named):
        return
    if text in known:
        yield ConfigError("ckpt", text, "of which run? give run=<folder>, or the file itself")
    elif Path(text).is_dir():
        around = next((place for place in (Path(text), *Path(text).parents) if (place / "run.yaml").is_file()), text)
        yield ConfigError("ckpt", text, "a folder", f"run={around}")
    elif not named or text.endswith(".ckpt") or "/" in text:
        beside = Path(text).parent.glob("*.ckpt")
        near = nearest(Path(text).name, [path.name for path in beside if path.is_file()])
        reason = "a pipe or a device, and no file" if Path(text).exists() else "no such file"
        yield ConfigError("ckpt", text, reason, str(Path(text).parent / near) if near else "")
    elif (runs or not text.isdigit()) and not any((run.checkpoints / f"{name}.ckpt").is_file() for run in runs):
        there = [*known, *dict.fromkeys(path.stem for run in runs for path in sorted(run.checkpoints.glob("*.ckpt")))]
        kept = [place for place in dict.fromkeys(there) if not place.startswith("step_")]
        steps = [str(int(place.removeprefix("step_"))) for place in there if place.startswith("step_")]
        step = f"a step ({', '.join(steps)})" if steps else "a step that trainer.keep_every kept"
        reason = f"no such checkpoint; write {', '.join(kept)}, {step}, or a file"
        yield ConfigError("ckpt", text, reason, nearest(text, there))


def places(given: Any) -> list[str]:
    """Files and folders that ``samples`` names: one, several with commas, or globs."""
    patterns = [str(Path(part).expanduser()) for part in listed(given)]
    return list(dict.fromkeys(found for part in patterns for found in sorted(glob.glob(part)) or [part]))


def wrong_seeds(options: Options) -> Iterator[ConfigError]:
    """What cannot be read as seeds."""
    try:
        if options.get("seeds") is not None:
            parse_seeds(options["seeds"], 1)
    except ConfigError as error:
        yield error


def without_effect(options: Options) -> Iterator[ConfigError]:
    """Options of one task that another would not look at, and two ways to say which samples are wanted."""
    task, usual = options.get("task"), read(file_of("", "sample"))
    takers: dict[str, list[str]] = {}
    for other in tasks():
        for key in takes(other):
            takers.setdefault(key, []).append(other)
    for key, those in takers.items() if task in tasks() else ():
        if options.get(key) != usual.get(key) and task not in those:
            reason = f"is of task={' or task='.join(those)}, and here it is task={task}"
            yield ConfigError(key, options.get(key), reason)
    if options.get("seeds") is not None and options.get("n") is not None:
        yield ConfigError("n", options["n"], f"seeds={options['seeds']} says already how many; give one of the two")


def parse_seeds(text: Any, n: int) -> list[int]:
    """``0-63``, ``1,5,9``, a number or a list; None: 0 to n - 1.

    Raises:
        ConfigError: it cannot be read.
    """
    if text is None:
        if n < 1:
            raise ConfigError("n", n, "must be at least 1")
        return list(range(n))
    parts = text if isinstance(text, Sequence) and not isinstance(text, str) else str(text).split(",")
    seeds: list[int] = []
    for part in parts:
        low, dash, high = str(part).strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()) or (dash and int(high) < int(low)):
            raise ConfigError("seeds", text, "write 0-63, or 1,5,9, or both: 0-7,16")
        span = range(int(low), int(high if dash else low) + 1)
        if len(seeds) + len(span) > MOST:
            raise ConfigError("seeds", text, f"more than {MOST} of them")
        seeds += span
    return seeds


def wrong_classes(options: Options, runs: Sequence[Run]) -> Iterator[ConfigError]:
    """What cannot be a class; where the data of the run list theirs, what is none of them."""
    y = options.get("y")
    if y is None:
        return
    parts = [str(part).strip() for part in (y if isinstance(y, list) else str(y).split(","))]
    if isinstance(y, (dict, bool, float)) or not all(parts) or any(part.startswith("-") for part in parts):
        yield ConfigError("y", y, "write a class by number or name, or several: 3 or 0,1,2")
        return
    names = classes(runs[0]) if len(runs) == 1 else []
    for part in parts if names else ():
        if number_of(part, names) is None:
            yield ConfigError("y", y, f"the classes are {', '.join(names)}", nearest(part, names))


def classes(run: Run) -> list[str]:
    """Names of the classes that a run's data have, as far as the class of the data set lists them."""
    try:
        data = run.config.get("data") or {}
    except GenlabError:
        return []
    known = signature(str(data.get("_target_", "")))
    names = list(map(str, (known.constants.get("class_names") if known else None) or ()))
    if not names or not data.get("classes"):
        return names
    by_number = dict(enumerate(names))
    return [str(by_number.get(given, given)) for given in data["classes"]]
