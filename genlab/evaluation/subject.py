"""What is evaluated: a trained model, examples from elsewhere, or real examples as a control."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genlab import ranks
from genlab.build import build_part
from genlab.checkpoint import Loaded, said_in
from genlab.data.base import Data, Examples, at_rest
from genlab.data.folder import SUFFIXES, ImageFiles, image_files
from genlab.data.pixels import eight_bits
from genlab.data.store import UNREADABLE, UnreadableError, why
from genlab.errors import ConfigError, DataError
from genlab.models.base import Batch
from genlab.noise import Noise
from genlab.spec import Spec
from genlab.tasks.base import CHUNK, chosen_labels
from genlab.validation.mistakes import check_node

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
        loss: that the model was trained by.
    """

    title: str
    model: str
    step: int
    net: nn.Module | None
    n: int
    generated: Stream
    protocol: dict[str, Any]
    drawn: dict[str, Any]
    loss: Any = None


def of_model(title: str, name: str, loaded: Loaded, checkpoint: Path, n: int) -> Subject:
    """A trained model, and samples of seeds 0 ... n - 1."""
    weights = "averaged" if loaded.averaged else "as trained"
    protocol = {"checkpoint": checkpoint.stem, "step": loaded.step, "weights": weights}
    stream = _of_model(loaded, n)
    loss = build_part("loss", loaded.config["loss"], said_in(loaded.path)) if "loss" in loaded.config else None
    return Subject(title, name, loaded.step, loaded.model, n, stream, protocol, {"seeds": f"0-{n - 1}"}, loss)


def of_ensemble(net: nn.Module, checkpoints: Sequence[Path], loaded: Sequence[Loaded]) -> Subject:
    """Several trained models as one, of which there are no samples."""
    steps = sorted({member.step for member in loaded})
    protocol = {
        "checkpoint": ", ".join(sorted({checkpoint.stem for checkpoint in checkpoints})),
        "step": ", ".join(map(str, steps)),
        "weights": ", ".join(sorted({"averaged" if member.averaged else "as trained" for member in loaded})),
        "members": len(loaded),
    }
    return Subject(f"mean of {len(loaded)}", "ensemble", steps[-1], net, 0, lambda device: iter(()), protocol, {})


def of_split(data: Data, name: str, n: int, batch: int) -> Subject:
    """The control: n real examples of a split in the place of generated ones, by a fixed seed; all, where it has fewer.
    What a perfect model would get."""
    examples = data.split(name)
    chosen = np.sort(np.random.RandomState(0).permutation(len(examples))[:n])
    rows = torch.from_numpy(chosen)
    some = Examples(examples.x[rows], None if examples.y is None else examples.y[rows])
    known = {"examples": name, "examples hash": content(examples, data.spec)}
    return Subject(f"real {name}", "-", 0, None, len(some), _of_examples(some, batch), {}, known)


def content(examples: Examples, spec: Spec) -> str:
    """A hash of the examples: what they are, every value of them, and their labels."""
    x, y = examples.x, examples.y
    found = hashlib.sha256(repr((tuple(x.shape), str(x.dtype), spec.levels, y is not None)).encode())
    for part in (*x.split(4096), *(() if y is None else y.split(2**20))):
        found.update(part.contiguous().numpy().data)
    return found.hexdigest()[:12]


def of_files(place: str, spec: Spec, batch: int) -> Subject:
    """Examples that genlab did not make: a folder of images, or an .npz with ``samples``, or ``arr_0``, in data space;
    images may have their channels last, or none where there is one.

    Raises:
        ConfigError: there is no such place.
        DataError: what is there cannot be read, or is not like the data.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise ConfigError("samples", place, "no such folder or file")
    try:
        examples = _from_folder(path, spec) if path.is_dir() else _from_file(path, spec)
    except DataError as error:
        raise DataError(f"samples={place}: {error}") from None
    drawn = {"samples": hashlib.sha256(examples.x.contiguous().numpy().data).hexdigest()[:12]}
    return Subject(str(place), path.stem, 0, None, len(examples), _of_examples(examples, batch), {}, drawn)


def _of_model(loaded: Loaded, n: int) -> Stream:
    """In chunks that ``genlab sample`` would compute together as well."""

    def stream(device: torch.device) -> Iterator[Batch]:
        model: Any = loaded.model
        labels = chosen_labels(loaded, {}, n)
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
    if not any(file.is_file() and not file.name.startswith(".") for file in path.rglob("*")):
        raise DataError(f"{path}: an empty folder")
    if spec.kind != "image" or spec.levels != 256:
        raise DataError(f"a folder of pictures holds 256 levels, and the data are {_like(spec)}; give an .npz")
    files = image_files(path.absolute())  # all of them, whatever their folders are called
    if not files:
        raise DataError(f"{path}: holds no image ({', '.join(SUFFIXES)})")
    pictures = ImageFiles(path.absolute(), files)
    rows, spoilt = [], {}
    for row in range(len(pictures)):
        title = str(Path(pictures.title(row)).relative_to(path.absolute()))
        try:
            picture = pictures[row]
            found = np.asarray(eight_bits(picture, spec.shape[0]))
        except UNREADABLE as error:
            spoilt[title] = why(error)
            continue
        except DataError as error:
            raise DataError(f"{title}: {error}") from None
        if lost := _lost(picture, spec.shape[0]):
            raise DataError(f"{title}: {lost}, and the data are {_like(spec)}")
        x = found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
        if x.shape != tuple(spec.shape):
            raise DataError(f"{title}: {x.shape[2]} x {x.shape[1]} pixels, and the data are {_like(spec)}")
        rows.append(x)
    if spoilt:
        raise UnreadableError(spoilt)
    x = np.stack(rows)
    if spec.shape[0] == 3 and (x[:, :1] == x[:, 1:]).all() and ranks.first():
        print(f"{path.name}: all its images are grey, and the data are {_like(spec)}", file=sys.stderr)
    return Examples(torch.from_numpy(x))


def _lost(picture: Any, channels: int) -> str:
    """What a picture has that one of so many channels has not: nothing is left away in silence."""
    seen = picture.convert("RGBA") if "transparency" in picture.info and picture.mode[0] in "1LPR" else picture
    if "A" in seen.getbands() and seen.getchannel("A").getextrema()[0] < 255:
        return "partly transparent"
    if channels == 3 or picture.mode[0] in "1LIF":
        return ""
    red, green, blue = picture.convert("RGB").split()
    return "in colour" if red != green or red != blue else ""


def _from_file(path: Path, spec: Spec) -> Examples:
    """``samples``, and ``labels`` where there are any, of an .npz; nothing in it is run."""
    try:
        with np.load(path, allow_pickle=False) as arrays:  # a lone array is no context and ends in TypeError
            title = "samples" if "samples" in arrays.files else "arr_0"
            found = {name: arrays[name] for name in (title, "labels") if name in arrays.files}
            others = ", ".join(arrays.files) or "nothing"
    except TypeError:
        raise DataError("a lone array; save it by np.savez(..., samples=x)") from None
    except Exception as error:  # numpy, zipfile and zlib have many words for a damaged file
        told = " ".join(str(error).split())[:160]
        kind = "no .npz, or one of pickled objects, of which none was run" if "pickle" in told else f"damaged: {told}"
        raise DataError(f"cannot be read: {kind}") from None
    if title not in found:
        raise DataError(f"an .npz with an array 'samples' or 'arr_0' is needed; it holds {others}")
    given = found[title]
    x = _levels(arranged(given, spec), spec, title)
    if not len(x):
        raise DataError("holds no example")
    if (title != "samples" or given.shape != x.shape) and ranks.first():
        how = "" if given.shape == x.shape else ", one channel" if given.ndim < x.ndim else ", channels last"
        print(f"{path.name}: '{title}' of shape {given.shape} taken as {len(x)} of {_like(spec)}{how}", file=sys.stderr)
    return Examples(torch.from_numpy(x), _labels(found.get("labels"), len(x), spec))


def arranged(x: np.ndarray, spec: Spec) -> np.ndarray:
    """Images (N, C, H, W) from (N, H, W, C), or from (N, H, W) of one channel, where these are no shape of the data."""
    if spec.kind != "image" or x.shape[1:] == tuple(spec.shape):
        return x
    channels, *size = spec.shape
    if x.shape[1:] == (*size, channels):
        return np.ascontiguousarray(np.moveaxis(x, -1, 1))
    return x[:, None] if channels == 1 and x.shape[1:] == tuple(size) else x


def _levels(x: np.ndarray, spec: Spec, title: str) -> np.ndarray:
    """Examples in data space: integer levels as uint8, continuous data as they are.

    Raises:
        DataError: they are of another shape or kind, or hold other values.
    """
    if x.shape[1:] != tuple(spec.shape) or x.ndim == 0:
        raise DataError(f"'{title}' of shape {x.shape}, and the data are {_like(spec)}: (N, {str(spec.shape)[1:]}")
    if x.dtype.kind not in ("iufb" if spec.levels == 2 else "iuf"):
        raise DataError(f"'{title}' of type {x.dtype}, and the data are {_like(spec)}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))[0])
        raise DataError(f"example {row} of '{title}' holds NaN or infinite values")
    if spec.levels is None:
        return x.astype(np.float32) if x.dtype.kind != "f" else x
    if x.dtype.kind == "f":
        low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
        top, of_signed = spec.levels - 1, f"((x + 1) * {(spec.levels - 1) / 2:g})"
        scaled = "x" if high > 1 or low < -1 else f"(x * {top})" if low >= 0 else of_signed
        advice = f"{scaled}.round().astype(np.uint8)"
        told = f"from {low:.3g} up to {high:.3g}; round them to uint8, as by {advice}"
        raise DataError(f"'{title}' of type {x.dtype}, and the data are {_like(spec)}; they are {told}")
    if x.size and not 0 <= int(x.min()) <= int(x.max()) < spec.levels:
        raise DataError(f"'{title}' from {x.min()} up to {x.max()}, and the data are {_like(spec)}")
    return x.astype(np.uint8)


def _labels(y: np.ndarray | None, count: int, spec: Spec) -> Tensor | None:
    """The classes that examples were generated with; none where any is negative, for genlab itself writes so.

    Raises:
        DataError: they are not a class of the data each.
    """
    if y is None or not spec.classes:
        return None
    if y.shape != (count,) or y.dtype.kind not in "iu" or int(y.max()) >= len(spec.classes):
        wanted = f"{count} whole numbers from 0 to {len(spec.classes) - 1}"
        told = f"of shape {y.shape} and type {y.dtype}" + (
            f" up to {y.max()}" if y.size and y.dtype.kind in "iu" else ""
        )
        raise DataError(f"'labels' {told}, and {wanted} are needed")
    return None if int(y.min()) < 0 else torch.from_numpy(y.astype(np.int64))


def _like(spec: Spec) -> str:
    """The data in words."""
    levels = f" of {spec.levels} levels" if spec.levels else ""
    return f"{spec.kind} {tuple(spec.shape)}{levels}"


def data_of(config: Mapping[str, Any], options: Mapping[str, Any], source: str = "") -> tuple[Any, str]:
    """The data set to measure by, the run's own, of a config from ``source``, unless another is given; and its name.

    Raises:
        ConfigError: neither is there, or it names something that is not trusted or not there.
    """
    other = options.get("data")
    if not (other or config.get("data")):
        raise ConfigError("data", None, "the checkpoint's config names none; say which, as data=mnist")
    node = at_rest(other or config["data"])
    for slip in check_node("data", node) if not other else ():
        raise ConfigError(slip.key, slip.value, slip.reason, slip.suggestion, source)
    data: Any = build_part("data", node, "" if other else source)
    name = str(getattr(data, "name", type(data).__name__.lower()))
    return data, str(((options if other else config).get("choices") or {}).get("data") or name)
