"""What is evaluated: a trained model, examples from elsewhere, or real examples as a control."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genlab import ranks
from genlab.build import build
from genlab.checkpoint import Loaded
from genlab.data.base import Data, Examples
from genlab.data.folder import Folder
from genlab.data.store import UNREADABLE, UnreadableError, why
from genlab.errors import ConfigError, DataError
from genlab.models.base import Batch
from genlab.noise import Noise
from genlab.spec import Spec
from genlab.tasks.base import CHUNK, class_labels

Stream = Callable[[torch.device], Iterator[Batch]]
"""This rank's share of the generated examples, in batches ``{"x", "index", "y"?}``."""


class Subject(NamedTuple):
    """What is evaluated.

    Args:
        title: of its row: a run's folder, a file, or ``real train``.
        model: name of the model, or what takes its place.
        step: of training.
        net: the model; None where there are only examples.
        n: number of examples that ``generated`` gives.
        generated: the examples that metrics of samples are shown.
        protocol: how they came about, for every figure.
        drawn: how they were drawn, for figures of samples.
    """

    title: str
    model: str
    step: int
    net: nn.Module | None
    n: int
    generated: Stream
    protocol: dict[str, Any]
    drawn: dict[str, Any]


def of_model(title: str, name: str, loaded: Loaded, checkpoint: Path, n: int) -> Subject:
    """A trained model, and samples of seeds 0 ... n - 1."""
    protocol = {"checkpoint": checkpoint.stem, "weights": "averaged" if loaded.averaged else "as trained"}
    stream = _of_model(loaded.model, loaded.spec, n)
    return Subject(title, name, loaded.step, loaded.model, n, stream, protocol, {"seeds": f"0-{n - 1}"})


def of_split(data: Data, name: str, n: int, batch: int) -> Subject:
    """The control: n real examples of a split in the place of generated ones, by a fixed seed; all, where it has fewer.
    What a perfect model would get."""
    examples = data.split(name)
    chosen = np.sort(np.random.RandomState(0).permutation(len(examples))[:n])
    rows = torch.from_numpy(chosen)
    some = Examples(examples.x[rows], None if examples.y is None else examples.y[rows])
    return Subject(f"real {name}", "-", 0, None, len(some), _of_examples(some, batch), {}, {"examples": name})


def of_files(place: str, spec: Spec, batch: int) -> Subject:
    """Examples that genlab did not make: a folder of images, or an .npz with ``samples`` in data space.

    Raises:
        ConfigError: there is no such place.
        DataError: what is there cannot be read, or is not like the data.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise ConfigError("samples", place, "no such folder or file")
    examples = _from_folder(path, spec) if path.is_dir() else _from_file(path, spec)
    drawn = {"samples": hashlib.sha256(examples.x.contiguous().numpy().data).hexdigest()[:12]}
    return Subject(str(place), path.stem, 0, None, len(examples), _of_examples(examples, batch), {}, drawn)


def _of_model(model: Any, spec: Spec, n: int) -> Stream:
    """In chunks that ``genlab sample`` would compute together as well."""

    def stream(device: torch.device) -> Iterator[Batch]:
        labels = class_labels(spec, None, n) if getattr(model, "conditional", False) else None
        share = ranks.share(n, CHUNK)
        for start in range(share.start, share.stop, CHUNK):
            index = torch.arange(start, min(start + CHUNK, share.stop))
            padded = torch.cat([index, index[-1:].expand(CHUNK - len(index))])
            y = None if labels is None else labels[padded].to(device)
            with torch.no_grad():
                x = model.sample(Noise(padded.tolist(), device), y)[: len(index)]
            yield {"x": x, "index": index} if y is None else {"x": x, "index": index, "y": y[: len(index)]}

    return stream


def _of_examples(examples: Examples, batch: int) -> Stream:
    return lambda device: real(examples, batch, device)


def real(examples: Examples, batch: int, device: torch.device) -> Iterator[Batch]:
    """This rank's share of examples that are there already."""
    share = ranks.share(len(examples), batch)
    for start in range(share.start, share.stop, batch):
        index = torch.arange(start, min(start + batch, share.stop))
        found: dict[str, Tensor] = {"x": examples.x[index].to(device), "index": index}
        yield found if examples.y is None else found | {"y": examples.y[index].to(device)}


def _from_folder(path: Path, spec: Spec) -> Examples:
    """Image files below a folder, all of one size, which must be that of the data: nothing is resized in silence."""
    if spec.kind != "image" or spec.levels != 256:
        raise DataError(f"samples={path}: a folder holds 8-bit images, and the data are {_like(spec)}")
    folder = Folder(path=str(path), grey=spec.shape[0] == 1)
    pictures, _ = folder.read("train")
    rows, spoilt = [], {}
    for row in range(len(pictures)):
        try:
            image = pictures[row].convert("L" if spec.shape[0] == 1 else "RGB")
        except UNREADABLE as error:
            spoilt[pictures.title(row)] = why(error)
            continue
        found = np.asarray(image)
        x = found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
        if x.shape != tuple(spec.shape):
            raise DataError(
                f"{pictures.title(row)}: {x.shape[2]} x {x.shape[1]} pixels, and the data are {_like(spec)}"
            )
        rows.append(x)
    if spoilt:
        raise UnreadableError(spoilt)
    return Examples(torch.from_numpy(np.stack(rows)))


def _from_file(path: Path, spec: Spec) -> Examples:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not hasattr(arrays, "files") or "samples" not in arrays.files:
                raise DataError(f"samples={path}: an .npz with an array 'samples' is needed")
            x, labels = arrays["samples"], arrays["labels"] if "labels" in arrays.files else None
    except DataError:
        raise
    except Exception as error:  # numpy, zipfile and zlib have many words for a damaged file
        raise DataError(f"samples={path}: cannot be read: {' '.join(str(error).split())[:160]}") from None
    if x.shape[1:] != tuple(spec.shape):
        raise DataError(f"samples={path}: examples of shape {x.shape[1:]}, and the data are {_like(spec)}")
    if spec.levels is not None and (x.dtype != np.uint8 or (len(x) and int(x.max()) >= spec.levels)):
        raise DataError(f"samples={path}: {x.dtype} up to {x.max()}, and the data are {_like(spec)}")
    y = torch.from_numpy(labels.astype(np.int64)) if labels is not None and len(labels) and labels.min() >= 0 else None
    return Examples(torch.from_numpy(x), y)


def _like(spec: Spec) -> str:
    """The data in words."""
    levels = f" of {spec.levels} levels" if spec.levels else ""
    return f"{spec.kind} {tuple(spec.shape)}{levels}"


def data_of(config: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, str]:
    """The data set to measure by, the run's own unless another is given, and its name."""
    other = options.get("data")
    data: Any = build(other or config["data"])
    name = str(getattr(data, "name", type(data).__name__.lower()))
    if not other:
        name = str((config.get("choices") or {}).get("data") or name)
    return data, name
