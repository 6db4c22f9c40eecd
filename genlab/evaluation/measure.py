"""Shows every metric what it needs to see, and gathers the figures with their protocols."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from genlab import ranks
from genlab.data.base import SPLITS, Data, Examples, data_root
from genlab.errors import GenlabError
from genlab.evaluation.subject import Subject, real
from genlab.extractors.base import Features, Shared
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch
from genlab.run import atomic

HASHED = 2**30  # bytes of a split that its hash is of, spread over all of it


def measure(
    subject: Subject, data: Data, metrics: Mapping[str, Metric], options: Mapping[str, Any], device: torch.device
) -> dict[str, Figure]:
    """Figures by name. Of a metric that fails it is told why there is none."""
    left: dict[str, Any] = {name: metric.to(device) for name, metric in metrics.items()}
    failed: dict[str, str] = {}
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
                    try:
                        left[name].update(example, source, subject.net)
                    except GenlabError as error:
                        failed[name] = str(error)

    wanted = {source for metric in left.values() for source in metric.reads}
    if GENERATED in wanted:
        show(GENERATED, progress(subject.generated(device), subject.n, batch, "samples"), {})
    hashes: dict[str, str] = {}
    for split in [name for name in SPLITS if name in wanted]:
        examples = data.split(split)
        hashes[split] = content(examples.x)
        tables = {
            extractor: seen(extractor, examples, hashes[split], data, batch, device)
            for extractor in {metric.extractor: None for metric in left.values() if looks(metric, split)}
        }
        show(split, progress(real(examples, batch, device), len(examples), batch, f"{split} examples"), tables)
    failed = {name: reason for part in gathered(failed) for name, reason in part.items()}
    figures: dict[str, Figure] = {}
    for name, metric in left.items():
        if name not in failed:
            try:
                figures |= found_by(metric, subject, hashes, seed, batch)
            except GenlabError as error:
                failed[name] = str(error)
    for name, reason in failed.items():
        say(f"no {name}: {reason}")
    return figures


def looks(metric: Any, split: str) -> bool:
    """Whether a metric looks at a split through an extractor."""
    return split in metric.reads and getattr(metric, "extractor", None) is not None


def found_by(metric: Any, subject: Subject, hashes: Mapping[str, str], seed: int, batch: int) -> dict[str, Figure]:
    """The figures of one metric, under their full names and with all that must be known to compare them."""
    extractor, figures = getattr(metric, "extractor", None), {}
    for key, figure in metric.compute().items():
        protocol = subject.protocol | dict(figure.protocol)
        if extractor is not None:
            key = f"{key}_{extractor.name}"
            protocol["extractor"] = f"{extractor.name}:{extractor.hash}"
        if GENERATED in metric.reads:
            protocol |= {"n generated": subject.n} | subject.drawn
        if figure.mark in ("<=", ">=", "~"):
            protocol |= {"seed": seed, "batch": batch}
        splits = [name for name in metric.reads if name != GENERATED]
        if splits:
            protocol |= {"split": ", ".join(splits), "split hash": ", ".join(hashes[split] for split in splits)}
        figures[key] = figure._replace(protocol=protocol)
    return figures


def seen(extractor: Shared, examples: Examples, digest: str, data: Any, batch: int, device: torch.device) -> Tensor:
    """What an extractor sees in real examples, features then logits, (N, D + K): computed once and kept in the data
    root, keyed by the weights, the examples and the batch."""
    key = hashlib.sha256(repr((extractor.hash, digest, batch, device.type)).encode()).hexdigest()[:20]
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
        except OSError as error:  # a data root that cannot be written to costs time only
            say(f"features are not kept: {path.parent}: {error.strerror}")
    return table


def read_table(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """A table of that shape, or None."""
    try:
        table = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return table if table.shape == shape and table.dtype == np.float32 else None


def content(x: Tensor) -> str:
    """A hash of the examples; of very large sets, of rows spread evenly over them."""
    step = max(1, -(-x.nbytes // HASHED))
    found = hashlib.sha256(f"{len(x)} {step}".encode() if step > 1 else b"")
    for part in x[::step].split(4096):
        found.update(part.contiguous().numpy().data)
    return found.hexdigest()[:12]


def gathered(part: Any) -> list[Any]:
    """The parts of all ranks, so that all decide alike and none waits for another."""
    if not dist.is_initialized():
        return [part]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return parts


def progress(batches: Iterator[Batch], total: int, size: int, what: str) -> Iterator[Batch]:
    """A bar on stderr, where that is a terminal."""
    if not sys.stderr.isatty() or not ranks.first():
        yield from batches
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(f"{what:>15}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=len(ranks.share(total, size)))
        for example in batches:
            yield example
            bar.advance(task, len(example["x"]))


def say(text: str) -> None:
    """A line on stderr, from one rank."""
    if ranks.first():
        print(text, file=sys.stderr)
