"""Downloads, and the makers' files of MNIST and CIFAR-10 when something is wrong with them."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import pickle
import shutil
import struct
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from genlab.data.cifar10 import CIFAR10, read_batch
from genlab.data.files import Download, fetch
from genlab.data.mnist import MNIST
from genlab.errors import DataError

CLOSED = "http://127.0.0.1:9/"  # nobody listens there


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, byte ranges included, and remembers what was asked for."""

    asked: list[str | None]

    def do_GET(self):
        content = Path(self.translate_path(self.path))
        if not content.exists():
            return self.send_error(404)
        start = self.headers.get("Range")
        type(self).asked.append(start)
        body, first = content.read_bytes(), int(start.removeprefix("bytes=").rstrip("-")) if start else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        self.wfile.write(body[first:])

    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    Server.asked = []
    handler = functools.partial(Server, directory=tmp_path / "site")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "site", f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def test_mirrors_are_tried_in_turn_and_checked(site, tmp_path):
    folder, address = site
    content = os.urandom(100_000)
    (folder / "good").write_bytes(content)
    (folder / "bad").write_bytes(content[:-1] + b"?")
    urls = (CLOSED + "x", address + "absent", address + "bad", address + "good")
    target = fetch(tmp_path / "root", Download("data.bin", md5(content), urls))
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["data.bin"]


def test_an_interrupted_download_goes_on_where_it_stopped(site, tmp_path):
    folder, address = site
    content = os.urandom(50_000)
    (folder / "good").write_bytes(content)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / ".data.bin.part").write_bytes(content[:20_000])
    target = fetch(tmp_path / "root", Download("data.bin", md5(content), (address + "good",)))
    assert target.read_bytes() == content and Server.asked == ["bytes=20000-"]


def test_a_failing_download_is_one_line_and_leaves_nothing(site, tmp_path):
    folder, address = site
    (folder / "bad").write_bytes(b"a page that says no")
    file = Download("data.bin", md5(b"data"), (CLOSED + "x", address + "absent", address + "bad"))
    with pytest.raises(DataError) as error:
        fetch(tmp_path / "root", file)
    message = str(error.value)
    assert "\n" not in message and str(tmp_path / "root" / "data.bin") in message and "by hand" in message
    assert "no connection" in message and "status 404" in message and md5(b"data") in message
    assert not (tmp_path / "root").exists()


def test_a_root_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "root").write_text("a file")
    with pytest.raises(DataError, match=r"root.*cannot be written"):
        fetch(tmp_path / "root", Download("data.bin", md5(b""), (CLOSED,)))


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path) -> Path:
    """A data root with a small MNIST, gzipped for training and unpacked for testing."""
    folder, random = tmp_path / "mnist", np.random.RandomState(0)
    folder.mkdir()
    for part, count, pack in (("train", 40, gzip.compress), ("t10k", 20, bytes)):
        suffix = ".gz" if pack is gzip.compress else ""
        images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx((np.arange(count) % 10).astype(np.uint8))))
    return tmp_path


def test_gzipped_and_unpacked_files_are_read(mnist):
    data = MNIST(root=str(mnist))
    data.prepare()
    assert (len(data.split("train")), len(data.split("val")), len(data.split("test"))) == (36, 4, 20)


def test_whole_files_that_are_not_the_makers_are_remarked_upon_once_each(mnist, capsys):
    MNIST(root=str(mnist)).split("train")
    MNIST(root=str(mnist)).split("val")
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in told] == [str(mnist / "mnist" / name) for name in (IMAGES, LABELS)]
    assert all("not the makers'" in line for line in told)


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


@pytest.mark.parametrize(
    "name, content, said",
    [
        (IMAGES, lambda packed: packed[: len(packed) // 2], "cannot be read"),
        (IMAGES, lambda packed: packed[:5000] + b"????" + packed[5004:], "cannot be read"),
        (IMAGES, lambda packed: b"<html>not found</html>", "cannot be read"),
        (IMAGES, lambda packed: gzip.compress(b"\0\0"), "header of 16 bytes, found 2"),
        (IMAGES, lambda packed: gzip.compress(gzip.decompress(packed)[:-7]), "expected 31360 bytes"),
        (
            IMAGES,
            lambda packed: gzip.compress(idx(np.zeros(40, np.uint8))[:30]),
            "magic number 0x00000803, found 0x00000801",
        ),
        (IMAGES, lambda packed: gzip.compress(idx(np.zeros((40, 9, 9), np.uint8))), "images of 28 x 28, found 9 x 9"),
        (
            LABELS,
            lambda packed: gzip.compress(idx(np.zeros(41, np.uint8))),
            "expected 40 labels, one an image, found 41",
        ),
        (LABELS, lambda packed: gzip.compress(idx(np.full(40, 12, np.uint8))), "labels 0 to 9, found 12"),
        (IMAGES, None, "no such file"),
    ],
)
def test_spoilt_idx_files_are_named(mnist, name, content, said):
    path = mnist / "mnist" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content(path.read_bytes()))
    with pytest.raises(DataError) as error:
        MNIST(root=str(mnist)).split("train")
    assert str(path) in str(error.value) and said in str(error.value)
    assert ("; remove it, and it is downloaded again" in str(error.value)) == (content is not None)
    if said in ("cannot be read",):
        assert "expected md5:f68b3c2dcbeaaa9fbdd348bbdeb94873, found md5:" in str(error.value)


def batch(data=None, labels=None, **more) -> bytes:
    """A batch file; protocol 3 because Python 3's protocol 2 spells bytes in a way Python 2 never did."""
    data = np.zeros((10000, 3072), np.uint8) if data is None else data
    labels = [3] * 10000 if labels is None else labels
    return pickle.dumps({"data": data, "labels": labels, **more}, protocol=3)


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harmed",)


def test_nothing_a_pickle_names_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.system"):
        read_batch(batch(extra=Harmful()), "data_batch_1")
    evil = b"\x80\x02cbuiltins\neval\nX\x12\x00\x00\x00open('harmed', 'w')\x85R."
    with pytest.raises(DataError, match=r"asks for builtins\.eval"):
        read_batch(evil, "data_batch_1")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "content, said",
    [
        (lambda: batch()[:20_000_000], "not a CIFAR-10 batch, 20000000 bytes"),
        (lambda: b"no pickle at all", "not a CIFAR-10 batch"),
        (lambda: pickle.dumps([1, 2]), "expected a dict with data and labels, found list"),
        (lambda: pickle.dumps({"data": 1}), r"found \['data'\]"),
        (lambda: batch(data=np.zeros((10000, 3072), np.float32)), "found float32"),
        (lambda: batch(data=np.zeros((100, 3072), np.uint8)), r"found uint8 \(100, 3072\)"),
        (lambda: batch(labels=[0] * 99), "expected a list of 10000 labels"),
        (lambda: batch(labels=[10] * 10000), "labels 0 to 9"),
        (lambda: batch(labels=7), "expected a list of 10000 labels"),
    ],
)
def test_spoilt_batches_are_named(content, said):
    with pytest.raises(DataError, match=f"^data_batch_1: .*{said}"):
        read_batch(content(), "data_batch_1")


def test_cifar10_is_read_from_the_makers_archive_where_only_that_is_there(tmp_path):
    folder = tmp_path / "cifar10"
    folder.mkdir()
    data = np.arange(10000 * 3072, dtype=np.uint32).astype(np.uint8).reshape(10000, 3072)
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz", compresslevel=1) as archive:
        content = batch(data)
        member = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    cifar = CIFAR10(root=str(tmp_path))
    assert cifar.missing() == []
    assert np.array_equal(cifar.split("test").x.flatten(1).numpy(), data)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: expected a member data_batch_1"):
        cifar.split("train")
    packed = (folder / "cifar-10-python.tar.gz").read_bytes()
    (folder / "cifar-10-python.tar.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: damaged, expected md5:c58f30108f718f92721af3b95"):
        cifar.split("test")
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"cannot be read: there is no test_batch; unpack cifar"):
        cifar.split("test")


def test_images_of_cifar10_that_are_not_the_makers_are_remarked_upon(tmp_path, capsys):
    data = np.random.default_rng(0).integers(0, 256, (10000, 3072), np.uint8)
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for i in range(1, 6):
        (folder / f"data_batch_{i}").write_bytes(pickle.dumps({"data": data, "labels": [3] * 10000}, protocol=3))
    CIFAR10(root=str(tmp_path)).split("train")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 5 and all("not the makers" in line for line in told)
    assert told[0].startswith(str(folder / "data_batch_1"))
