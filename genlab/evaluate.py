"""``genlab eval``: the figures of trained models, each with the protocol that it was measured by."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchmetrics import Metric

from genlab import ranks, tables
from genlab.build import build
from genlab.checkpoint import Loaded, load
from genlab.data.base import Data, Examples
from genlab.errors import ConfigError, GenlabError
from genlab.metrics.base import Figure
from genlab.metrics.choose import asked_for, choose
from genlab.models.base import Batch, Samples
from genlab.noise import Noise
from genlab.run import Run
from genlab.sample import CHUNK, class_labels
from genlab.spec import Spec


class Row(NamedTuple):
    """What was measured of one checkpoint.

    Args:
        run: its folder, or the checkpoint file where that is all there is.
        model, data: names.
        step: of training.
        figures: by name.
    """

    run: str
    model: str
    data: str
    step: int
    figures: dict[str, Figure]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        plain = self._asdict()
        figures = plain.pop("figures")
        return plain | {"metrics": {name: figure._asdict() for name, figure in figures.items()}}


def main(options: Mapping[str, Any], as_json: bool = False) -> int:
    """Measure every run, keep its figures in its metrics.json, print a row for each.

    Returns:
        The exit code: 1 where a run among several could not be measured, which is told and does not stop the others.

    Raises:
        GenlabError: an option does not fit; no run is named; the only one cannot be measured.
    """
    rows: list[Row] = []
    subjects, unkept = find(options), 0
    with ranks.group(options.get("devices") or 1, options.get("device") or "auto") as device:
        for run, checkpoint in subjects:
            try:
                row = evaluate(run, checkpoint, options, device)
            except GenlabError as error:
                if len(subjects) == 1:
                    raise
                say(f"error: {error}")
                continue
            rows.append(row)
            if run is not None and ranks.first():
                try:
                    keep(run, row)
                except OSError as error:  # the figures are worth more than their file
                    say(f"error: {run.path}/metrics.json: not kept: {error.strerror}")
                    unkept += 1
    if ranks.first():
        if as_json:
            print(json.dumps([row.plain() for row in rows]))
        else:
            tables.show(table(rows))
    return 0 if len(rows) == len(subjects) and not unkept else 1


def find(options: Mapping[str, Any]) -> list[tuple[Run | None, str]]:
    """The runs, if any are named, and which checkpoint of each: best, last, or a file."""
    named, checkpoint = options.get("run"), options.get("ckpt")
    if not named and not checkpoint:
        raise ConfigError("run", "", "give run=<folder> or ckpt=<file>")
    if not named:
        return [(None, str(checkpoint))]
    runs = Run.find([named] if isinstance(named, str) else list(named))
    if len(runs) > 1 and str(checkpoint).endswith(".ckpt"):
        raise ConfigError("ckpt", checkpoint, f"a file belongs to one run; {len(runs)} are named")
    return [(run, str(checkpoint or "best")) for run in runs]


def evaluate(run: Run | None, checkpoint: str, options: Mapping[str, Any], device: torch.device) -> Row:
    """The figures of the model in one checkpoint.

    Args:
        run: that it belongs to; None for a lone file.
        checkpoint: best, last, or a file.
        options: of ``conf/eval.yaml``.
        device: to compute on.

    Raises:
        GenlabError: there is no such checkpoint, or the data set given is not of the model's kind.
    """
    path = Path(checkpoint) if run is None or checkpoint.endswith(".ckpt") else run.checkpoint(checkpoint)
    loaded = load(path, device)
    config = loaded.config if run is None else run.config
    data, name = dataset(loaded, config, options)
    metrics, left_out = choose(options, loaded.model, data.spec)
    for title, reason in left_out.items():
        say(f"{run.path.name if run else path}: no {title}: {reason}")
    figures = measure(loaded.model, data, metrics, options, device)
    figures = {name: figure for name, figure in figures.items() if asked_for(name, options)}
    common = {"data": name, "checkpoint": path.stem, "weights": "averaged" if loaded.averaged else "as trained"}
    figures = {key: figure._replace(protocol=common | figure.protocol) for key, figure in figures.items()}
    model = (config.get("choices") or {}).get("model") or type(loaded.model).__name__.lower()
    return Row(str(run.path if run else path), str(model), name, loaded.step, figures)


def dataset(loaded: Loaded, config: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Data, str]:
    """The data set to measure by, the run's own unless another is given, and its name."""
    other = options.get("data")
    data: Any = build(other or config["data"])
    name = str(getattr(data, "name", type(data).__name__.lower()))
    if not other:
        name = str((config.get("choices") or {}).get("data") or name)
    for key in ("kind", "shape", "levels"):
        if getattr(data.spec, key) != getattr(loaded.spec, key):
            theirs, ours = getattr(data.spec, key), getattr(loaded.spec, key)
            raise ConfigError("data", name, f"its {key} is {theirs}, while the model was trained for {ours}")
    if ranks.first():
        data.prepare()
    if dist.is_initialized():
        dist.barrier()
    return data, name


def measure(
    model: nn.Module, data: Data, metrics: Mapping[str, Metric], options: Mapping[str, Any], device: torch.device
) -> dict[str, Figure]:
    """Show every metric what it needs to see; figures by name. Of a metric that fails it is told why there is none."""
    left: dict[str, Any] = {name: metric.to(device) for name, metric in metrics.items()}
    failed: dict[str, str] = {}
    n, seed, batch = int(options["n"]), int(options["seed"]), int(options["batch"])

    def update(names: list[str], example: Batch, **keywords: Any) -> None:
        for name in [name for name in names if name not in failed]:
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
                # By position and for each metric: no figure depends on the number of ranks or on the other metrics.
                torch.manual_seed(seed * 1_000_003 + int(example["index"][0]))
                try:
                    left[name].update(example, **keywords)
                except GenlabError as error:
                    failed[name] = str(error)

    of_samples = [name for name, metric in left.items() if metric.needs == (Samples,)]
    if of_samples:
        for example in progress(generated(model, data.spec, n, device), n, CHUNK, "samples"):
            update(of_samples, example)
    hashes: dict[str, str] = {}
    for split in sorted({metric.split for metric in left.values() if metric.split}):
        readers = [name for name, metric in left.items() if metric.split == split]
        examples = data.split(split)
        hashes[split] = hashlib.sha256(examples.x.contiguous().numpy().data).hexdigest()[:12]
        for example in progress(real(examples, batch, device), len(examples), batch, f"{split} examples"):
            update([name for name in readers if name in of_samples], example, real=True)
            update([name for name in readers if name not in of_samples], example, model=model)
    failed = {name: reason for part in gathered(failed) for name, reason in part.items()}
    figures: dict[str, Figure] = {}
    for name, metric in left.items():
        if name in failed:
            continue
        try:
            found: dict[str, Figure] = metric.compute()
        except GenlabError as error:
            failed[name] = str(error)
            continue
        extractor = getattr(metric, "extractor", None)
        for key, figure in found.items():
            protocol = dict(figure.protocol)
            if extractor is not None:
                key = f"{key}_{extractor.name}"
                protocol["extractor"] = f"{extractor.name}:{extractor.hash}"
            if name in of_samples:
                protocol |= {"n generated": n, "seeds": f"0-{n - 1}"}
            if figure.mark in ("<=", ">=", "~"):
                protocol |= {"seed": seed, "batch": batch}
            if metric.split:
                protocol |= {"split": metric.split, "split hash": hashes[metric.split]}
            figures[key] = figure._replace(protocol=protocol)
    for name, reason in failed.items():
        say(f"no {name}: {reason}")
    return figures


def generated(model: Any, spec: Spec, n: int, device: torch.device) -> Iterator[Batch]:
    """This rank's share of samples 0 ... n - 1, in chunks that ``genlab sample`` would compute together as well."""
    labels = class_labels(spec, None, n) if getattr(model, "conditional", False) else None
    share = ranks.share(n, CHUNK)
    for start in range(share.start, share.stop, CHUNK):
        index = torch.arange(start, min(start + CHUNK, share.stop))
        padded = torch.cat([index, index[-1:].expand(CHUNK - len(index))])
        y = None if labels is None else labels[padded].to(device)
        with torch.no_grad():
            x = model.sample(Noise(padded.tolist(), device), y)[: len(index)]
        yield {"x": x, "index": index} if y is None else {"x": x, "index": index, "y": y[: len(index)]}


def real(examples: Examples, batch: int, device: torch.device) -> Iterator[Batch]:
    """This rank's share of a split."""
    share = ranks.share(len(examples), batch)
    for start in range(share.start, share.stop, batch):
        index = torch.arange(start, min(start + batch, share.stop))
        found: dict[str, Tensor] = {"x": examples.x[index].to(device), "index": index}
        yield found if examples.y is None else found | {"y": examples.y[index].to(device)}


def gathered(part: dict[str, str]) -> list[dict[str, str]]:
    """The parts of all ranks, so that all leave out the same metrics and none waits for another."""
    if not dist.is_initialized():
        return [part]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return parts


def keep(run: Run, row: Row) -> None:
    """Put the figures into the run's metrics.json, in place of those of the same name and protocol only."""
    stored = run.metrics
    new = [{"name": name, "step": row.step, **figure._asdict()} for name, figure in row.figures.items()]
    taken = [(entry["name"], entry["protocol"]) for entry in new]
    old = [entry for entry in stored.get("figures", []) if (entry["name"], entry["protocol"]) not in taken]
    run.save_metrics(stored | {"figures": old + json.loads(json.dumps(new))})


def table(rows: list[Row]) -> tables.Table:
    """One row a run."""
    titles = list(dict.fromkeys(name for row in rows for name in row.figures))
    protocols = [(name, row.model, figure.protocol) for row in rows for name, figure in row.figures.items()]
    return tables.Table(
        ["run", "model", "data", "step"],
        titles,
        [([Path(row.run).name, row.model, row.data, str(row.step)], row.figures) for row in rows],
        tables.caption(protocols),
    )


def progress(batches: Iterator[Batch], total: int, size: int, what: str) -> Iterator[Batch]:
    """A bar on stderr, where that is a terminal."""
    if not sys.stderr.isatty() or not ranks.first():
        yield from batches
        return
    from rich.console import Console
    from rich.progress import track

    here = len(range(0, len(ranks.share(total, size)), size))
    yield from track(batches, f"{what:>15}", here, console=Console(stderr=True), transient=True)


def say(text: str) -> None:
    """A line on stderr, from one rank."""
    if ranks.first():
        print(text, file=sys.stderr)
