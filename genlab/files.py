"""Files that appear under their names when they are whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from genlab.errors import PictureError


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends well, and goes away when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename in (None, str(partial)):  # a failed write does not say where; nobody knows the partial file
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def picture(path: str | Path) -> Iterator[Path]:
    """``atomic``, of a picture.

    Raises:
        PictureError: it cannot be written.
    """
    try:
        with atomic(Path(path)) as partial:
            yield partial
    except OSError as error:
        raise PictureError(f"{path}: cannot write the picture: {error.strerror or error}") from None
