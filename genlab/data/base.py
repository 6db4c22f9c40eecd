"""What every data set hands over, and the options that all image sets share.

A new image set is one subclass of ``Images`` that says what its files are and how one part of them is read, and one
YAML that names it; a set of another kind needs only ``spec``, ``prepare``, ``split`` and ``augment``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from genlab.data import pixels
from genlab.data.files import Download, fetch
from genlab.data.store import Pictures, UnreadableError, decode
from genlab.errors import ConfigError, DataError, nearest
from genlab.spec import Spec, number_of

SPLITS = ("train", "val", "test")
SEED = 0  # of every split, permutation and fixed binarisation: the same for all runs, so their figures compare


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples of one split.

    Args:
        x: (N, *spec.shape), uint8 levels or floats; may lie over a memory-mapped file.
        y: (N,) int64 class labels, -1 where one is not known, (N, A) uint8 attributes, or None.
    """

    x: Tensor
    y: Tensor | None = None

    def __post_init__(self) -> None:
        if self.x.is_floating_point() and not bool(torch.isfinite(self.x).all()):
            bad = int((~torch.isfinite(self.x.flatten(1)).all(1)).nonzero()[0])
            raise DataError(f"example {bad} holds NaN or infinite values")
        if self.y is not None and len(self.y) != len(self.x):
            raise DataError(f"{len(self.x)} examples, but {len(self.y)} labels")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice) -> Examples:
        return Examples(self.x[rows], None if self.y is None else self.y[rows])


class Data(Protocol):
    """What training, sampling and evaluation ask of a data set."""

    @property
    def spec(self) -> Spec:
        """What an example looks like; known without reading data."""
        ...

    def prepare(self) -> None:
        """Download, check and convert whatever is needed; one process calls it before the others read."""
        ...

    def split(self, name: str) -> Examples:
        """The examples of ``train``, ``val`` or ``test``."""
        ...

    def augment(self, batch: Mapping[str, Tensor], generator: Generator) -> Mapping[str, Tensor]:
        """A training batch with fresh randomness, a function of its arguments alone; on the batch's device."""
        ...


def data_root(root: str | None = None) -> Path:
    """Where data sets lie: ``root``, else the environment's GENLAB_DATA, else ~/.cache/genlab."""
    return Path(root or os.environ.get("GENLAB_DATA") or "~/.cache/genlab").expanduser()


def at_rest(node: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a data set as evaluation sees it: what training draws afresh in every step is drawn once.

    So training examples under ``data.binarize=dynamic`` look like the others, which are the same either way.
    """
    return {**node, "binarize": "static"} if node.get("binarize") == "dynamic" else dict(node)


@dataclass(kw_only=True)
class Images:
    """An image set; subclasses say how it is read, this class does the rest.

    A subclass sets ``name``, ``channels``, ``native`` (height, width), ``native_levels``, ``class_names`` or
    ``attribute_names``, ``parts`` and ``downloads``, and defines ``read``.

    The order is: choose classes, cut the validation split from the training part (and the test split, where the
    makers give none), choose ``limit`` of each; grey, resize, bit depth, binarise. All choices are by fixed seeds.

    Args:
        size: height and width: the shorter side is resized to it (Lanczos), the longer cropped at the centre; None
            keeps the native size.
        levels: number of values of a pixel, floor(x * levels / native levels): 32 for 5 bits; None keeps the native
            256 (17 for digits).
        binarize: ``none``; ``static``, each pixel drawn from Bernoulli(x / (levels - 1)) once for all
            (Larochelle and Murray 2011); ``dynamic``, drawn afresh in each training step, validation and test images
            once by a fixed seed (Burda et al. 2016, arXiv 1509.00519).
        classes: keep only these, by name or number, relabelled 0, 1, ... in the order given.
        limit: largest number of examples of each split.
        validation: number of validation examples; None: all of the makers' validation part, or where there is none a
            tenth of the training part, at most 5000.
        test: number of test examples; None: all of the makers' test part, or where there is none the same tenth.
        labelled: number of training examples whose class is known, equally many of each class; the others' label is
            -1, and every training batch comes with as many labelled examples (``x_labelled``, ``y_labelled``).
        labelled_seed: which they are.
        flip: mirror half of the training images, drawn afresh in each step.
        grey: one channel of luma (ITU-R 601) instead of three of colour.
        root: the folder of all data sets; None: GENLAB_DATA, else ~/.cache/genlab.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = "image"
    channels: ClassVar[int] = 3
    native: ClassVar[tuple[int, int] | None] = None
    native_levels: ClassVar[int] = 256
    class_names: ClassVar[tuple[str, ...]] = ()
    attribute_names: ClassVar[tuple[str, ...]] = ()
    parts: ClassVar[tuple[str, ...]] = ("train", "test")
    downloads: ClassVar[tuple[Download, ...]] = ()
    decoded: ClassVar[bool] = False  # ``read`` hands over Pictures, so ``prepare`` decodes them once

    size: int | None = None
    levels: int | None = None
    binarize: Literal["none", "static", "dynamic"] = "none"
    classes: list[str | int] | None = None
    limit: int | None = None
    validation: int | None = None
    test: int | None = None
    labelled: int | None = None
    labelled_seed: int = 0
    flip: bool = False
    grey: bool = False
    root: str | None = None

    def __post_init__(self) -> None:
        if self.binarize not in ("none", "static", "dynamic"):
            near = nearest(self.binarize, ("none", "static", "dynamic"))
            raise ConfigError("data.binarize", self.binarize, "is none, static or dynamic", near)
        if self.levels is not None and not 2 <= self.levels <= self.native_levels:
            raise ConfigError("data.levels", self.levels, f"{self.name} takes 2 to {self.native_levels} levels")
        for key, least in (("size", 1), ("limit", 1), ("validation", 0), ("test", 1), ("labelled", 1)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise ConfigError(f"data.{key}", value, f"is at least {least}")
        if self.classes is not None and not self.classes:
            raise ConfigError("data.classes", "[]", "leaves no class")

    # What a subclass may override: ``read`` it must.

    def read(self, part: str) -> tuple[np.ndarray | Pictures, np.ndarray | None]:
        """The images of one of ``parts`` in the makers' order, (N, C, H, W) uint8 or Pictures, and their labels."""
        raise NotImplementedError

    def missing(self) -> list[Download]:
        """The downloads whose files are not there."""
        return [file for file in self.downloads if not (self.folder / file.name).exists()]

    @property
    def folder(self) -> Path:
        """Where this set's own files lie."""
        return data_root(self.root) / self.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all classes, before ``classes`` chooses."""
        return self.class_names

    # What training, sampling and evaluation ask for.

    @property
    def spec(self) -> Spec:
        height, width = self.picture_size
        return Spec(
            "image",
            (1 if self.grey else self.channels, height, width),
            levels=self.kept_levels if self.binarize == "none" else 2,
            classes=tuple(self.labels[i] for i in self.chosen),
            attributes=self.attribute_names,
        )

    def prepare(self) -> None:
        for file in self.missing():
            fetch(self.folder, file)
        spoilt: dict[str, str] = {}
        for name in SPLITS if self.decoded else ():
            try:
                self.split(name)
            except UnreadableError as error:  # those of the other splits are told with these
                spoilt |= error.spoilt
        if spoilt:
            raise UnreadableError(spoilt)

    def split(self, name: str) -> Examples:
        if name not in SPLITS:
            raise ConfigError("split", name, "is train, val or test", nearest(name, SPLITS))
        part = name if name in self.parts else "train"
        images, y = self.read(part)
        if len(images) == 0:
            raise DataError(f"{self.name}: the {part} part holds no image")
        rows = self.rows(name, y, len(images))
        fixed = self.binarize == "static" or (self.binarize == "dynamic" and name != "train")
        if isinstance(images, np.ndarray):
            x = self._in_memory(images, rows, part, fixed)
        else:
            x = self._stored(images, rows, part, fixed)
        labels = self._relabelled(y, rows)
        return Examples(torch.from_numpy(x), self._forgotten(labels) if name == "train" else labels)

    def augment(self, batch: Mapping[str, Tensor], generator: Generator) -> Mapping[str, Tensor]:
        if not self.flip and self.binarize != "dynamic":
            return batch
        x = batch["x"]
        if self.flip:
            mirrored = torch.rand(len(x), 1, 1, 1, generator=generator, device=generator.device) < 0.5
            x = torch.where(mirrored.to(x.device), x.flip(-1), x)
        if self.binarize == "dynamic":
            u = torch.rand(x.shape, generator=generator, device=generator.device).to(x.device)
            x = (u.mul_(self.kept_levels - 1) < x).to(torch.uint8)
        return {**batch, "x": x}

    # How it is done.

    @property
    def kept_levels(self) -> int:
        """Levels before binarisation."""
        return self.levels or self.native_levels

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of an example."""
        if self.size is not None:
            return self.size, self.size
        if self.native is None:
            raise ConfigError("data.size", None, f"the images of {self.name} have no size of their own; give one")
        return self.native

    @property
    def chosen(self) -> list[int]:
        """Numbers of the classes that are kept."""
        names = self.labels
        if self.classes is None:
            return list(range(len(names)))
        if not names:
            raise ConfigError("data.classes", self.classes, f"{self.name} has no classes")
        chosen = []
        for given in self.classes:
            number = number_of(given, names)
            if number is None:
                reason = f"{self.name} has {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
                raise ConfigError("data.classes", given, reason, nearest(str(given), names))
            chosen.append(number)
        if len(set(chosen)) < len(chosen):
            raise ConfigError("data.classes", self.classes, "names a class twice")
        return chosen

    def rows(self, name: str, y: np.ndarray | None, count: int) -> np.ndarray:
        """Which of the ``count`` images of the part that ``name`` is taken from belong to it, in ascending order."""
        rows = np.arange(count)
        if self.classes is not None and y is not None:
            rows = rows[np.isin(y, self.chosen)]
        if name != "train" and name in self.parts:
            wanted = self.validation if name == "val" else self.test
            return self._some(rows, min(x for x in (wanted, self.limit, len(rows)) if x is not None))
        share = min(5000, len(rows) // 10)
        cut = {key: 0 for key in ("test", "val")}
        for split, wanted in (("test", self.test), ("val", self.validation)):
            if split not in self.parts:
                cut[split] = share if wanted is None else wanted
        if sum(cut.values()) >= len(rows):
            key, value = ("data.validation", cut["val"]) if "test" in self.parts else ("data.test", cut["test"])
            raise ConfigError(key, value, f"leaves no training example: {self.name} has {len(rows)} of them")
        order = np.random.RandomState(SEED).permutation(len(rows))
        first, last = cut["test"], cut["test"] + cut["val"]
        rows = np.sort(rows[{"test": order[:first], "val": order[first:last], "train": order[last:]}[name]])
        return self._some(rows, min(len(rows), self.limit or len(rows)))

    @staticmethod
    def _some(rows: np.ndarray, count: int) -> np.ndarray:
        if count == len(rows):
            return rows
        return np.sort(rows[np.random.RandomState(SEED).permutation(len(rows))[:count]])

    def _in_memory(self, images: np.ndarray, rows: np.ndarray, part: str, fixed: bool) -> np.ndarray:
        if not fixed and len(rows) < len(images):
            images, rows = images[rows], np.arange(len(rows))
        if self.grey and images.shape[1] == 3:
            images = pixels.luma(images)
        if images.shape[2:] != self.picture_size:
            images = pixels.resize(images, *self.picture_size, levels=self.native_levels)
        images = pixels.coarsen(images, self.native_levels, self.kept_levels)
        if fixed:  # all of the part, so that an image's bits do not depend on which others are chosen
            images = pixels.binarize(images, self.kept_levels, np.random.default_rng((SEED, SPLITS.index(part))))
        x = images if len(rows) == len(images) else images[rows]
        return np.require(x, requirements=("C", "W"))  # torch warns about tensors over read-only memory

    def _stored(self, pictures: Pictures, rows: np.ndarray, part: str, fixed: bool) -> np.ndarray:
        spec = self.spec

        def convert(image: Any, row: int) -> np.ndarray:
            x = pixels.from_picture(image, spec.shape[0], self.size, self.picture_size)
            x = pixels.coarsen(x, 256, self.kept_levels)
            if fixed:
                x = pixels.binarize(x, self.kept_levels, np.random.default_rng((SEED, SPLITS.index(part), row)))
            return x

        key = (pictures.fingerprint, part, spec.shape, self.size, self.kept_levels, fixed, "16 bits scaled")
        return decode(pictures, rows, convert, spec.shape, data_root(self.root) / "cache", self.name, key)

    def _forgotten(self, y: Tensor | None) -> Tensor | None:
        """The labels of ``labelled`` examples, -1 in the place of the others.

        Raises:
            ConfigError: there are no classes, too few examples of one, or the number is no multiple of the classes'.
        """
        if self.labelled is None:
            return y
        classes = len(self.chosen)
        if y is None or self.attribute_names or not classes:
            raise ConfigError("data.labelled", self.labelled, f"{self.name} has no classes")
        each, rest = divmod(self.labelled, classes)
        fewest = int(torch.bincount(y, minlength=classes).min())
        if rest or each > fewest:
            reason = f"a multiple of the {classes} classes, at most {fewest * classes}"
            raise ConfigError("data.labelled", self.labelled, reason, str(max(1, min(each, fewest)) * classes))
        order = torch.from_numpy(np.random.RandomState((SEED, self.labelled_seed)).permutation(len(y)))
        kept = torch.cat([order[y[order] == k][:each] for k in range(classes)])
        known = torch.full_like(y, -1)
        known[kept] = y[kept]
        return known

    def _relabelled(self, y: np.ndarray | None, rows: np.ndarray) -> Tensor | None:
        if y is None:
            return None
        y = np.asarray(y)[rows]
        if self.attribute_names:
            return torch.from_numpy(y.astype(np.uint8))
        if self.classes is not None:
            number = np.zeros(len(self.labels), np.int64)
            number[self.chosen] = np.arange(len(self.chosen))
            y = number[y]
        return torch.from_numpy(y.astype(np.int64))
