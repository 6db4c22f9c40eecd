"""Large image sets, decoded and resized once into one memory-mapped file that is then read at memory speed."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from genlab.errors import DataError

BLOCK = 256  # images decoded between two writes
NAMED = 3  # unreadable ones that are named; of the others their number is told
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises on files that are damaged, or so large that they may be meant to fill the memory."""
OWN = "~/.cache/genlab/cache"
"""Where decoded files lie if they may not lie in the data root."""
ELSEWHERE = "data.root= or GENLAB_DATA names another data root, which may hold links to the data sets of this one"


class Pictures(Protocol):
    """Encoded images that are too many to be decoded at every start."""

    fingerprint: str
    """Changes whenever the pictures may have changed; part of the name of the decoded file."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Any:
        """A Pillow image; called from several threads at once."""
        ...

    def title(self, row: int) -> str:
        """What to call a picture in an error, its file for instance."""
        ...


class UnreadableError(DataError):
    """Pictures that cannot be read, all of them in one line.

    Args:
        spoilt: the reason of each, by its title.
    """

    def __init__(self, spoilt: Mapping[str, str]):
        self.spoilt = dict(sorted(spoilt.items()))
        first, *others = self.spoilt
        if not others:
            super().__init__(f"{first}: not a readable image: {self.spoilt[first]}")
            return
        named = ", ".join([f"{first} ({self.spoilt[first]})", *others[: NAMED - 1]])
        more = f" and {len(spoilt) - NAMED} more" if len(spoilt) > NAMED else ""
        super().__init__(f"{len(spoilt)} images cannot be read: {named}{more}")


def decode(
    pictures: Pictures,
    rows: np.ndarray,
    convert: Callable[[Any, int], np.ndarray],
    shape: tuple[int, ...],
    folder: Path,
    name: str,
    key: Any,
) -> np.ndarray:
    """The pictures ``rows`` as a memory-mapped uint8 array (N, *shape), decoded at the first call only.

    The array's file is written under a name of its own and renamed when complete, so neither a second process nor a
    kill spoils it; a lock makes the second process wait instead of doing the work again. Where ``folder`` may not be
    written to, as in a data root that is shared, the file lies in the user's ``OWN``.

    Args:
        convert: from a picture and its row to (*shape) uint8; whatever it depends on must be in ``key``.
        folder: where decoded files lie.
        name: the beginning of the file's name.
        key: what the result depends on besides ``rows``.

    Raises:
        UnreadableError: some of them, or all, are no readable images.
        DataError: one is not as ``convert`` wants it; the file cannot be written.
    """
    digest = hashlib.sha256(repr(key).encode())
    digest.update(np.ascontiguousarray(rows, np.int64).tobytes())
    path = folder / f"{name}-{digest.hexdigest()[:20]}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = _open(path, (len(rows), *shape))
        if found is None:
            with _locked(path.with_suffix(".lock")):
                found = _open(path, (len(rows), *shape))
                if found is None:
                    _write(pictures, rows, convert, shape, path)
                    found = _open(path, (len(rows), *shape))
    except OSError as error:
        own = Path(OWN).expanduser()
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and folder != own:
            if not os.path.exists(own / path.name):
                say(f"{folder}: {error.strerror}; decoded images are kept in {own}")
            return decode(pictures, rows, convert, shape, own, name, key)
        raise DataError(f"{path}: cannot be written: {error.strerror or error}; {ELSEWHERE}") from error
    if found is None:
        raise DataError(f"{path}: not as it was written; is the disk full?")
    return found


@functools.cache
def say(text: str) -> None:
    """A line on stderr, once."""
    print(text, file=sys.stderr)


def why(error: Exception) -> str:
    """What Pillow says of a file, without the file's name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "of no known format" if type(error).__name__ == "UnidentifiedImageError" else str(error)


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The decoded file, or None where it is missing or not whole."""
    if len(shape) and shape[0] == 0:
        return np.empty(shape, np.uint8)
    try:
        # copy on write: torch warns about tensors over read-only memory
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _write(
    pictures: Pictures, rows: np.ndarray, convert: Callable[[Any, int], np.ndarray], shape: tuple[int, ...], path: Path
) -> None:
    spoilt: dict[str, str] = {}

    def one(row: int) -> np.ndarray | None:
        try:
            return convert(pictures[row], row)
        except DataError as error:
            title = pictures.title(row)
            raise DataError(str(error) if str(error).startswith(title) else f"{title}: {error}") from error
        except UNREADABLE as error:
            spoilt[pictures.title(row)] = why(error)
            return None

    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    workers = max(1, min(8, os.cpu_count() or 1))
    try:
        # written as a stream: a full disk is then an error, where a memory map would end in a bus error
        with open(partial, "wb") as file, ThreadPoolExecutor(workers) as pool, progress(path.stem, len(rows)) as tick:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for i in range(0, len(rows), BLOCK):
                block = [int(row) for row in rows[i : i + BLOCK]]
                for x in pool.map(one, block):
                    if x is not None:
                        file.write(np.ascontiguousarray(x, np.uint8).tobytes())
                tick(len(block))
            if spoilt:
                raise UnreadableError(spoilt)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for other processes at ``path``; a process that dies lets go. Where there are no locks, go on without."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "w") as file:
        with contextlib.suppress(OSError):  # some network file systems have none
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, and the function that advances it; silent when not a terminal."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
