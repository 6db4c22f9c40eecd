"""Downloads with checksums, mirrors, resume and progress; nothing half-written ever has its final name."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.data.store import progress
from genlab.errors import DataError

AGAIN = "remove it, and it is downloaded again"
"""What to do about a file that a mirror has."""


@dataclass(frozen=True)
class Download:
    """A file of the makers.

    Args:
        name: its own name.
        checksum: of its content, ``md5:...`` or ``sha256:...``.
        mirrors: addresses, tried in turn.
    """

    name: str
    checksum: str
    mirrors: tuple[str, ...]


def fetch(folder: Path, file: Download) -> Path:
    """Download ``file`` into ``folder`` from the first mirror that delivers it with the right checksum."""
    import pooch
    import requests

    target = folder / file.name
    reasons = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pooch.get_logger().setLevel("ERROR")  # one line of ours says it all
        for url in file.mirrors:
            try:
                pooch.retrieve(url, file.checksum, file.name, folder, downloader=_resuming(target))
                return target
            except requests.RequestException as error:
                reasons.append(f"{url.split('/')[2]}: {_short(error)}")
            except ValueError:  # the checksum
                reasons.append(f"{url.split('/')[2]}: wrong content, expected {file.checksum}")
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from error
    with contextlib.suppress(OSError):  # leave no empty folder behind
        folder.rmdir()
    raise DataError(
        f"{target}: no such file, and no download succeeded ({'; '.join(reasons)}); "
        f"get {file.mirrors[0]} by hand and put it there"
    )


def _short(error: Exception) -> str:
    if getattr(error, "response", None) is not None:
        return f"HTTP status {error.response.status_code}"  # type: ignore[attr-defined]
    return {"ConnectionError": "no connection", "ConnectTimeout": "no answer", "ReadTimeout": "no answer"}.get(
        type(error).__name__, type(error).__name__
    )


def _resuming(target: Path) -> Any:
    """A downloader for pooch that keeps what has come so far beside ``target`` and asks only for the rest."""
    import requests

    partial = target.with_name(f".{target.name}.part")

    def download(url: str, output: Any, _: Any) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as response:
            if response.status_code == 416:  # it had come whole
                os.replace(partial, output)
                return
            response.raise_for_status()
            resumed = response.status_code == 206
            size = int(response.headers.get("Content-Length", 0)) or None
            with open(partial, "ab" if resumed else "wb") as out, progress(target.name, size) as tick:
                for block in response.iter_content(1 << 20):
                    out.write(block)
                    tick(len(block))
        os.replace(partial, output)

    return download


def ordinary(path: Path) -> Path:
    """The path, where there is a file or nothing.

    Raises:
        DataError: there is something else, a folder or a pipe, from which nothing would ever come.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: {'a folder' if path.is_dir() else 'a pipe or a device'}, and no file")
    return path


def checksum(path: Path, expected: str) -> str:
    """The checksum of ``path``, of the same kind as ``expected``."""
    import hashlib

    kind = expected.split(":")[0]
    with open(path, "rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


_remarked: set[str] = set()


def remark(source: str, found: int, expected: int | None) -> None:
    """Say once of a file that its content is not the makers', by a checksum of what is in it: copies put there by hand
    are often packed anew, so that a checksum of the file itself would say nothing. None expects nothing."""
    if expected is not None and found != expected and source not in _remarked:
        _remarked.add(source)
        print(f"{source}: its content is not the makers': damaged, changed on purpose, another set's?", file=sys.stderr)
