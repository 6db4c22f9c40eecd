"""Shows every metric what it needs to see, and gathers the figures with their protocols."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from genlab import __version__, ranks
from genlab.cli import debugging
from genlab.data.base import SPLITS, Data, Examples, data_root
from genlab.errors import GenlabError
from genlab.evaluation.results import Note
from genlab.evaluation.subject import Subject, content, real
from genlab.extractors.base import WHOLE, Features, Shared
from genlab.files import atomic
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch
from genlab.plugins import told
from genlab.progress import bar
from genlab.spec import Spec

FEW = 8  # real examples that an extractor shows by what it does
LENGTH = 4  # bytes of a checksum


def measure(
    subject: Subject, data: Data, metrics: Mapping[str, Metric], options: Mapping[str, Any], device: torch.device
) -> tuple[dict[str, Figure], dict[str, str], list[Note]]:
    """Figures by name; of metrics that fail, why there is none, by names; and what else must be known of them."""
    left: dict[str, Any] = {name: metric.to(device) for name, metric in metrics.items()}
    failed: dict[str, str] = {}
    remarks: list[Note] = []
    seed, batch = int(options["seed"]), int(options["batch"])

    def show(source: str, batches: Iterator[Batch], tables: Mapping[Shared, Tensor]) -> None:
        readers = [name for name, metric in left.items() if source in metric.reads]
        for example in batches:
            for extractor, table in tables.items():
                found = table[example["index"]].to(device)
                extractor.know(
                    example["x"], Features(found[:, : extractor.dimensions], found[:, extractor.dimensions :])
                )
            for name in [name for name in readers if name not in failed]:
                with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
                    # By position and for each metric: no figure depends on the number of ranks or on other metrics.
                    torch.manual_seed(seed * 1_000_003 + int(example["index"][0]))
                    with attempt(name, failed):
                        left[name].update(example, source, subject.net)

    equal = ""
    wanted = {source for metric in left.values() for source in metric.reads}
    if GENERATED in wanted:
        variety = Variety()
        show(GENERATED, variety.watch(progress(subject.generated(device), subject.n, batch, "samples")), {})
        if variety.none():
            drawn = [metric.figures for metric in left.values() if GENERATED in metric.reads]
            equal = f"all {subject.n} samples are equal" if subject.n > 1 else "there is one sample"
            remarks += [Note(tuple(itertools.chain(*drawn)), equal)] if subject.n > 1 else []
    hashes: dict[str, str] = {}
    for split in [name for name in SPLITS if name in wanted]:
        examples = data.split(split)
        hashes[split] = content(examples, data.spec)
        tables = {
            extractor: seen(extractor, examples, hashes[split], data, batch, device)
            for extractor in {metric.extractor: None for metric in left.values() if looks(metric, split)}
        }
        remarks += blind(tables, left.values(), split)
        show(split, progress(real(examples, batch, device), len(examples), batch, f"{split} examples"), tables)
    failed = {name: reason for part in gathered(failed) for name, reason in part.items()}
    figures: dict[str, Figure] = {}
    for name in [name for name in left if name not in failed]:
        with attempt(name, failed), warned(titles(left[name]), remarks):
            for key, figure in figures_of(left[name], subject, data.spec, hashes, seed, batch).items():
                if equal and key in of_varied(left[name]):
                    failed[key] = f"{equal}, of which it says nothing"
                elif math.isfinite(figure.value):
                    figures[key] = figure
                else:
                    failed[key] = f"it is {figure.value}, so some value is beyond what can be computed with"
    return figures, {titles(left[name]) if name in left else name: why for name, why in failed.items()}, remarks


def blind(tables: Mapping[Shared, Tensor], metrics: Iterable[Any], split: str) -> list[Note]:
    """Of extractors to which all real examples are one, that their figures say nothing."""
    found = []
    for extractor in [one for one, table in tables.items() if len(table) > 1 and bool((table == table[0]).all())]:
        figures = [metric.figures for metric in metrics if getattr(metric, "extractor", None) is extractor]
        why = f"the extractor {extractor.name} makes the same of all {split} examples, so its figures say nothing"
        found.append(Note(tuple(itertools.chain(*figures)), why))
    return found


@contextmanager
def attempt(name: str, failed: dict[str, str]) -> Iterator[None]:
    """Whatever goes wrong within the block is why there is no ``name``; other metrics go on."""
    try:
        yield
    except Exception as error:  # a metric or a model of the user's may raise anything
        if debugging() and not isinstance(error, GenlabError):
            raise
        failed[name] = told(error)


@contextmanager
def warned(title: str, remarks: list[Note]) -> Iterator[None]:
    """What a metric warns of within the block, each thing once."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "The ``compute`` method of metric", UserWarning)  # of a rank without a share
        yield
    texts = dict.fromkeys(" ".join(str(warning.message).split()) for warning in told)
    remarks += [Note(tuple(title.split(", ")), f"{title}: {text}") for text in texts]


class Variety:
    """Whether the examples that pass by differ at all."""

    def __init__(self) -> None:
        self.first: Tensor | None = None
        self.found = False

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches as they are."""
        for batch in batches:
            if not self.found:
                self.first = batch["x"][:1].cpu() if self.first is None else self.first
                self.found = not bool((batch["x"] == self.first.to(batch["x"].device)).all())
            yield batch

    def none(self) -> bool:
        """All examples of all ranks are one."""
        parts = gathered((self.found, self.first))
        firsts = [first for _, first in parts if first is not None]
        return not any(found for found, _ in parts) and all(torch.equal(first, firsts[0]) for first in firsts)


def titles(metric: Any) -> str:
    """The names of the figures that a metric may give."""
    extractor = getattr(metric, "extractor", None)
    return ", ".join(key if extractor is None else f"{key}_{extractor.name}" for key in metric.figures)


def of_varied(metric: Any) -> tuple[str, ...]:
    """The names of the figures of a metric that say nothing of samples that are all one, with the extractor's."""
    extractor = getattr(metric, "extractor", None)
    names = getattr(metric, "varied", ())
    return tuple(name if extractor is None else f"{name}_{extractor.name}" for name in names)


def looks(metric: Any, split: str) -> bool:
    """Whether a metric looks at a split through an extractor."""
    return split in metric.reads and getattr(metric, "extractor", None) is not None


def figures_of(
    metric: Any, subject: Subject, spec: Spec, hashes: Mapping[str, str], seed: int, batch: int
) -> dict[str, Figure]:
    """The figures of one metric, under their full names and with all that must be known to compare them."""
    extractor, figures = getattr(metric, "extractor", None), {}
    for key, figure in metric.compute().items():
        protocol = subject.protocol | getattr(metric, "given", {}) | dict(figure.protocol)
        if extractor is not None:
            key = f"{key}_{extractor.name}"
            protocol["extractor"] = f"{extractor.name}:{extractor.hash}"
            if spec.kind == "image":
                protocol |= {"resize": extractor.resize, "rounding": rounded(spec, extractor)}
        if GENERATED in metric.reads:
            protocol |= {"n generated": subject.n} | subject.drawn
        if figure.mark in ("<=", ">=", "~"):
            protocol |= {"seed": seed, "batch": batch}
        splits = [name for name in metric.reads if name != GENERATED]
        if splits:
            protocol |= {"split": ", ".join(splits), "split hash": ", ".join(hashes[split] for split in splits)}
        stderr = figure.stderr if figure.stderr is None or math.isfinite(figure.stderr) else None
        value = figure.value or abs(figure.value)  # no zero has a sign
        figures[key] = figure._replace(value=value, stderr=stderr, protocol=protocol)
    return figures


def rounded(spec: Spec, extractor: Shared) -> str:
    """To how many levels samples are rounded as they are drawn, and what an extractor rounds then."""
    drawn = f"to {spec.levels} levels" if spec.levels else WHOLE
    return drawn if extractor.rounding == WHOLE else f"{drawn}, then {extractor.rounding}"


def seen(extractor: Shared, examples: Examples, digest: str, data: Any, batch: int, device: torch.device) -> Tensor:
    """What an extractor sees in real examples, features then logits, (N, D + K): computed once and kept in the data
    root, keyed by what it sees in the first few, by its hash, the way to prepare images, the examples, the batch and
    the version of genlab."""
    how = (extractor.hash, extractor.resize, extractor.rounding)
    few = torch.cat(extractor(examples.x[torch.arange(min(FEW, len(examples)))].to(device)), 1).float().cpu()
    found = hashlib.sha256(repr((how, digest, batch, device.type, __version__)).encode())
    found.update(few.numpy().tobytes())  # whatever it is made of: code, files and packages that no hash knows of
    key = found.hexdigest()[:20]
    path = data_root(getattr(data, "root", None)) / "cache" / f"{extractor.name}-{key}.npy"
    shape = (len(examples), extractor.dimensions + extractor.classes)
    kept = read_table(path, shape)
    if all(gathered(kept is not None)):
        return torch.from_numpy(kept)
    rows = []
    for example in progress(real(examples, batch, device), len(examples), batch, f"{extractor.name} features"):
        rows.append(torch.cat(extractor(example["x"]), 1).float().cpu())
    table = ranks.gather(torch.cat(rows) if rows else None)
    if ranks.first():
        try:
            with atomic(path) as partial, open(partial, "wb") as file:
                np.save(file, table.numpy())
                file.write(checksum(table.numpy()))
        except OSError as error:  # a data root that cannot be written to costs time only
            told = error.strerror or "not all of them could be written; is the disk full?"  # numpy says less
            say(f"features are not kept: {path.parent}: {told}")
    return table


def read_table(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """A table of that shape, or None where there is none, or a damaged one."""
    try:
        table = np.load(path, mmap_mode="c", allow_pickle=False)
        with open(path, "rb") as file:
            file.seek(-LENGTH, os.SEEK_END)
            kept = file.read()
    except (OSError, ValueError, EOFError):
        return None
    whole = table.shape == shape and table.dtype == np.float32 and kept == checksum(table)
    return table if whole else None


def checksum(table: np.ndarray) -> bytes:
    """Of a table, to stand behind it in its file."""
    return zlib.crc32(np.ascontiguousarray(table).data).to_bytes(LENGTH, "big")


def gathered(part: Any) -> list[Any]:
    """The parts of all ranks, so that all decide alike and none waits for another."""
    if not dist.is_initialized():
        return [part]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return parts


def progress(batches: Iterator[Batch], total: int, size: int, what: str) -> Iterator[Batch]:
    """The same batches, this rank's share of ``total`` examples, and a bar of them."""
    with bar(what, len(ranks.share(total, size))) as advance:
        for example in batches:
            yield example
            advance(len(example["x"]))


def say(text: str) -> None:
    """A line on stderr, from one rank."""
    if ranks.first():
        print(text, file=sys.stderr)
