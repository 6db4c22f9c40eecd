"""CelebA, LSUN, SVHN and image folders in generated files of exactly their layout, with real JPEG, WebP and lmdb."""

import errno
import gzip
import io
import multiprocessing
import os
import resource
import shutil
import zipfile
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from layouts import encoded, make_celeba, make_lsun, smooth
from PIL import Image, ImageOps
from scipy.io import savemat

from genlab import cli
from genlab.data.base import Images, data_root
from genlab.data.celeba import ATTRIBUTES, CelebA
from genlab.data.cifar10 import CIFAR10
from genlab.data.fashion_mnist import FashionMNIST
from genlab.data.folder import Folder
from genlab.data.lsun import LSUN, walk
from genlab.data.mnist import MNIST
from genlab.data.svhn import SVHN
from genlab.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def celeba(tmp_path_factory) -> Path:
    """A data root with CelebA's files: of 240 images the first 160 train, 40 validate, 40 test."""
    root = tmp_path_factory.mktemp("root")
    make_celeba(root)
    return root


@pytest.mark.parametrize("model", ["cgan", "acgan"])
def test_models_with_conditions_take_attributes(celeba, tmp_path, monkeypatch, model):
    monkeypatch.setenv("GENLAB_DATA", str(celeba))
    run = tmp_path / "run"
    small = ["data.size=8", "trainer.max_steps=2", "trainer.batch_size=8", "logger=csv", f"hydra.run.dir='{run}'"]
    nets = ["model.net=mlp", "model.generator={width: 8}", "model.discriminator={width: 8}"]
    assert cli.main(["train", f"model={model}", "data=celeba", *small, *nets]) == 0
    assert cli.main(["sample", f"run={run}", "n=3", "y=Male+Smiling,none"]) == 0
    labels = np.load(run / "samples" / "samples.npz")["labels"]
    asked = [ATTRIBUTES.index("Male"), ATTRIBUTES.index("Smiling")]
    assert labels.sum(1).tolist() == [2, 0, 2] and labels[0, asked].all()
    assert cli.main(["sample", f"run={run}", "n=3", "y=smilin"]) == 2
    assert cli.main(["eval", f"run={run}", "n=8", "metrics=frechet", "extractor=raw", "real=none"]) in (0, 1)


@pytest.fixture
def own_celeba(celeba, tmp_path) -> Path:
    """A copy to spoil."""
    shutil.copytree(celeba / "celeba", tmp_path / "celeba")
    return tmp_path


def test_celeba_has_its_partition_attributes_and_crop(celeba):
    data = CelebA(root=str(celeba))
    data.prepare()
    splits = {name: data.split(name) for name in ("train", "val", "test")}
    assert {name: len(split) for name, split in splits.items()} == {"train": 160, "val": 40, "test": 40}
    assert data.spec.shape == (3, 64, 64) and data.spec.attributes == ATTRIBUTES and data.spec.classes == ()
    line = (celeba / "celeba" / "list_attr_celeba.txt").read_text().splitlines()[2 + 160].split()
    assert splits["val"].y.shape == (40, 40) and splits["val"].y.dtype == torch.uint8
    assert splits["val"].y[0].tolist() == [int(value == "1") for value in line[1:]]
    picture = Image.open(celeba / "celeba" / "img_align_celeba" / "000161.jpg").crop((15, 35, 163, 183))
    expected = np.asarray(picture.resize((64, 64), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    assert np.array_equal(splits["val"].x[0].numpy(), expected)
    whole = CelebA(root=str(celeba), size=None, crop=108, limit=3).split("test")
    assert whole.x.shape == (3, 3, 108, 108)


def test_celeba_is_decoded_once(celeba, monkeypatch):
    data = CelebA(root=str(celeba), size=16, grey=True)
    first = data.split("test").x.clone()
    monkeypatch.setattr("genlab.data.celeba.Portraits.__getitem__", None)
    again = data.split("test").x
    assert torch.equal(first, again) and first.shape == (40, 1, 16, 16)
    again[0] = 0  # a private copy: the file keeps what it has
    assert torch.equal(first, data.split("test").x)
    with pytest.raises(TypeError):
        CelebA(root=str(celeba), size=17, grey=True).split("test")


def test_celeba_from_the_makers_zip_and_subfolders_is_the_same(celeba, tmp_path):
    source, folder = celeba / "celeba", tmp_path / "celeba"
    for sub in ("Img", "Anno", "Eval"):
        (folder / sub).mkdir(parents=True)
    shutil.copy(source / "list_attr_celeba.txt", folder / "Anno")
    shutil.copy(source / "list_eval_partition.txt", folder / "Eval")
    with zipfile.ZipFile(folder / "Img" / "img_align_celeba.zip", "w") as packed:
        for file in (source / "img_align_celeba").iterdir():
            packed.write(file, f"img_align_celeba/{file.name}")
    one, other = (CelebA(root=str(root), size=16, limit=20).split("val") for root in (celeba, tmp_path))
    assert torch.equal(one.x, other.x) and torch.equal(one.y, other.y)


def test_binarised_pictures_keep_their_bits_whatever_else_is_chosen(celeba):
    options = {"root": str(celeba), "size": 8, "binarize": "static", "grey": True}
    all_, some = CelebA(**options).split("test"), CelebA(**options, limit=10).split("test")
    assert all_.x.max() == 1
    rows = {row.numpy().tobytes() for row in all_.x}
    assert {row.numpy().tobytes() for row in some.x} <= rows
    assert CelebA(root=str(celeba), size=8, levels=4).split("test").x.max() == 3


def decode_in_a_process(root: str) -> None:
    torch.set_num_threads(1)
    assert len(CelebA(root=root, size=40).split("train")) == 160


def test_two_processes_at_once_leave_one_whole_file(own_celeba):
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=decode_in_a_process, args=(str(own_celeba),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    files = [path.name for path in (own_celeba / "cache").iterdir()]
    assert len(files) == 1 and files[0].endswith(".npy")


def test_a_spoilt_cache_is_decoded_again(own_celeba):
    data = CelebA(root=str(own_celeba), size=16)
    before = data.split("test").x.clone()
    (file,) = (own_celeba / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert torch.equal(before, data.split("test").x)


def spoil(path: Path, text: str, other: str) -> None:
    path.write_text(path.read_text().replace(text, other, 1))


@pytest.mark.parametrize(
    "file, spoiled, said",
    [
        ("img_align_celeba/000201.jpg", lambda path: path.write_bytes(path.read_bytes()[:300]), "not a readable image"),
        ("img_align_celeba/000202.jpg", lambda path: path.unlink(), "not a readable image"),
        (
            "img_align_celeba/000203.jpg",
            lambda path: Image.new("RGB", (90, 90)).save(path),
            "178 x 218 pixels, found 90",
        ),
        ("list_attr_celeba.txt", lambda path: spoil(path, "240", "239"), "expected 239 images"),
        ("list_attr_celeba.txt", lambda path: spoil(path, "Bald ", ""), "names of the 40 attributes"),
        ("list_attr_celeba.txt", lambda path: spoil(path, " -1", " 7"), "values -1 or 1"),
        ("list_eval_partition.txt", lambda path: spoil(path, "000007.jpg 0\n", ""), "000007.jpg"),
        ("list_eval_partition.txt", lambda path: spoil(path, "000007.jpg 0", "000007.jpg 5"), "0, 1 or 2"),
        ("list_eval_partition.txt", lambda path: path.unlink(), "no such file"),
        ("img_align_celeba", shutil.rmtree, "img_align_celeba.zip from https://"),
    ],
)
def test_spoilt_celeba_files_are_named(own_celeba, file, spoiled, said):
    spoiled(own_celeba / "celeba" / file)
    with pytest.raises(DataError) as error:
        CelebA(root=str(own_celeba), size=16).split("test")
    assert file in str(error.value) and said in str(error.value) and "\n" not in str(error.value)
    cache = own_celeba / "cache"
    assert not cache.exists() or not list(cache.glob("*.npy")) + list(cache.glob(".*"))


def test_celeba_refuses_classes_and_impossible_crops():
    with pytest.raises(ConfigError, match=r"data\.classes"):
        CelebA(classes=["Smiling"])
    with pytest.raises(ConfigError, match=r"data\.crop"):
        CelebA(crop=200)


@pytest.fixture(scope="module")
def lsun(tmp_path_factory) -> Path:
    """A data root with 120 training and 30 validation scenes."""
    root = tmp_path_factory.mktemp("root")
    make_lsun(root, "tower")
    return root


def test_lsun_reads_webp_and_jpeg_and_tests_on_the_makers_validation_part(lsun):
    data = LSUN(root=str(lsun), category="tower", size=32, flip=True)
    data.prepare()
    assert {name: len(data.split(name)) for name in ("train", "val", "test")} == {"train": 108, "val": 12, "test": 30}
    x = data.split("test").x
    assert x.shape == (30, 3, 32, 32) and data.split("test").y is None and data.spec.classes == ()
    with lmdb.open(str(lsun / "lsun" / "tower_val_lmdb"), readonly=True, lock=False) as file, file.begin() as reading:
        image = Image.open(io.BytesIO(next(iter(reading.cursor()))[1]))
    scaled = image.resize((48, 32) if image.width > image.height else (32, 40), Image.Resampling.LANCZOS)
    left, top = (scaled.width - 32) // 2, (scaled.height - 32) // 2
    expected = np.asarray(scaled.crop((left, top, left + 32, top + 32))).transpose(2, 0, 1)
    assert np.array_equal(x[0].numpy(), expected)


def test_missing_and_damaged_lsun_is_named(lsun, tmp_path):
    with pytest.raises(DataError, match=r"church_train_lmdb/data\.mdb.*did you mean data\.category=church_outdoor"):
        LSUN(root=str(lsun), category="church").split("train")
    folder = tmp_path / "lsun" / "tower_train_lmdb"
    shutil.copytree(lsun / "lsun" / "tower_train_lmdb", folder)
    content = (folder / "data.mdb").read_bytes()
    data = LSUN(root=str(tmp_path), category="tower", size=8)
    for damaged, said in ((content[: len(content) // 2], "expected"), (content[:100], "lmdb"), (b"x" * 9000, "lmdb")):
        (folder / "data.mdb").write_bytes(damaged)
        with pytest.raises(DataError, match=said) as error:
            data.split("train")
        assert "tower_train_lmdb" in str(error.value)


def test_an_lsun_file_damaged_inside_is_one_error(lsun, tmp_path):
    folder = tmp_path / "lsun" / "tower_train_lmdb"
    shutil.copytree(lsun / "lsun" / "tower_train_lmdb", folder)
    path = folder / "data.mdb"
    content = path.read_bytes()
    path.write_bytes(content[:8192] + bytes(len(content) - 16384) + content[-8192:])
    with pytest.raises(
        DataError, match=r"^[^\n]*data\.mdb: damaged: [^\n]*; unpack tower_train_lmdb\.zip again$"
    ) as error:
        LSUN(root=str(tmp_path), category="tower", size=8).split("train")
    assert str(error.value).startswith(str(path))


def test_lsun_values_that_are_no_images_are_named(tmp_path):
    path = tmp_path / "lsun" / "tower_train_lmdb"
    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=1 << 22) as file, file.begin(write=True) as transaction:
        for i in range(20):
            transaction.put(f"key{i:02d}".encode(), b"no image")
    with pytest.raises(DataError, match=r"18 images cannot be read: .*tower_train_lmdb, key key\d\d \(of no"):
        LSUN(root=str(tmp_path), category="tower").split("train")


@pytest.fixture
def svhn(tmp_path) -> tuple[Path, dict[str, np.ndarray]]:
    random = np.random.RandomState(2)
    (tmp_path / "svhn").mkdir()
    arrays = {}
    for part, count in (("train", 50), ("test", 20), ("extra", 30)):
        arrays[part] = random.randint(0, 256, (count, 3, 32, 32)).astype(np.uint8)
        content = {"X": arrays[part].transpose(2, 3, 1, 0), "y": (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]}
        savemat(tmp_path / "svhn" / f"{part}_32x32.mat", content, do_compression=True)
    return tmp_path, arrays


def test_svhn_reads_the_makers_files_and_ten_means_zero(svhn):
    root, arrays = svhn
    data = SVHN(root=str(root), validation=0)
    data.prepare()
    assert np.array_equal(data.split("train").x.numpy(), arrays["train"])
    assert data.split("test").y.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    assert len(SVHN(root=str(root), validation=0, extra=True).split("train")) == 80


@pytest.mark.parametrize(
    "content, said",
    [
        (b"MATLAB 5.0 MAT-file, but then nothing", "not a readable Matlab file"),
        ({"Z": np.zeros(3)}, "expected variables X and y"),
        ({"X": np.zeros((32, 32, 3, 4)), "y": np.ones(4)}, "expected X uint8"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones(3)}, "expected 4 labels"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.zeros(4)}, "labels 1 to 10"),
        (None, "not a readable Matlab file"),
    ],
)
def test_spoilt_svhn_files_are_named(svhn, content, said):
    path = svhn[0] / "svhn" / "test_32x32.mat"
    if content is None:
        path.write_bytes(path.read_bytes()[:5000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(DataError, match=said) as error:
        SVHN(root=str(svhn[0])).split("test")
    assert str(path) in str(error.value)


def tree(folder: Path, count: int, sizes=((20, 20),), seed: int = 0) -> None:
    random = np.random.RandomState(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        smooth(random, *sizes[i % len(sizes)]).save(folder / f"{i:03d}.{('png', 'jpg', 'webp')[i % 3]}")


def test_a_flat_folder_is_split_by_a_fixed_seed(tmp_path):
    tree(tmp_path / "faces", 60)
    (tmp_path / "faces" / "notes.txt").write_text("no image")
    data = Folder(path=str(tmp_path / "faces"), root=str(tmp_path))
    assert data.spec.shape == (3, 20, 20) and data.spec.classes == ()
    splits = [data.split(name).x for name in ("train", "val", "test")]
    assert [len(x) for x in splits] == [48, 6, 6] and data.split("train").y is None
    assert len({row.numpy().tobytes() for x in splits for row in x}) == 60


def test_images_of_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    ramp = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    (tmp_path / "deep").mkdir()
    for number in range(12):
        Image.fromarray(ramp).save(tmp_path / "deep" / f"{number}.png")
    x = Folder(path=str(tmp_path / "deep"), root=str(tmp_path), grey=True).split("train").x
    assert np.abs(x[0, 0].numpy().astype(int) - ramp / 257).max() <= 1
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "deep" / "a.tiff")
    with pytest.raises(DataError, match=r"a\.tiff.*floating-point"):
        Folder(path=str(tmp_path / "deep"), root=str(tmp_path), grey=True).split("train")


def test_subfolders_are_classes_and_splits(tmp_path):
    for part, count in (("train", 12), ("val", 4)):
        for seed, kind in enumerate(("dog", "cat", "eel")):
            tree(tmp_path / "imagenet" / part / kind / "deeper", count, ((30, 20), (20, 30)), seed)
    data = Folder(path="imagenet", size=16, root=str(tmp_path))
    assert data.spec.classes == ("cat", "dog", "eel") and data.spec.shape == (3, 16, 16)
    assert torch.bincount(data.split("test").y).tolist() == [4, 4, 4]  # val serves as test
    assert len(data.split("train")) == 33 and len(data.split("val")) == 3
    few = Folder(path="imagenet", size=16, root=str(tmp_path), classes=["eel"])
    assert few.spec.classes == ("eel",) and few.split("test").y.tolist() == [0] * 4
    tree(tmp_path / "imagenet" / "test", 5)
    with_test = Folder(path="imagenet", size=16, root=str(tmp_path))
    assert with_test.spec.classes == ()  # one part has none
    assert [len(with_test.split(name)) for name in ("train", "val", "test")] == [36, 12, 5]


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.path"):
        Folder()
    with pytest.raises(DataError, match=r"no folder .*nowhere;"):
        _ = Folder(path=str(tmp_path / "nowhere")).spec
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        Folder(path=str(tmp_path / "empty"), size=8).split("train")
    tree(tmp_path / "mixed", 12, ((20, 20), (24, 20)))
    with pytest.raises(DataError, match=r"mixed/\d+.*is 20 x 24, others are 20 x 20; give data\.size"):
        Folder(path=str(tmp_path / "mixed"), root=str(tmp_path)).split("train")
    tree(tmp_path / "torn", 12)
    (tmp_path / "torn" / "003.png").write_bytes((tmp_path / "torn" / "003.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"torn/003\.png: not a readable image"):
        for name in ("train", "val", "test"):
            Folder(path=str(tmp_path / "torn"), root=str(tmp_path), size=8).split(name)


@pytest.mark.parametrize("size", [None, 8])
def test_all_unreadable_pictures_of_all_splits_are_told_at_once(tmp_path, size):
    tree(tmp_path / "torn", 60)
    data = Folder(path=str(tmp_path / "torn"), root=str(tmp_path), size=size)
    first, *others = sorted((tmp_path / "torn").iterdir())
    first.write_bytes(first.read_bytes()[:60])  # whose size all have to have, where none is given
    with pytest.raises(DataError, match=r"torn/000\.png: not a readable image: image file is truncated$"):
        data.prepare()
    for path in others[1::2]:
        path.write_text("no image")
    splits = [data.rows(name, None, 60) for name in ("train", "val", "test")]
    assert all(set(rows.tolist()) & set(range(2, 60, 2)) for rows in splits)
    with pytest.raises(DataError) as error:
        data.prepare()
    told = str(error.value)
    assert told.startswith("30 images cannot be read: ") and told.endswith(" and 27 more") and "\n" not in told
    assert told.index("000.png (image file is truncated)") < told.index("002.webp") < told.index("004.jpg")
    for path in (first, *others):
        path.write_text("no image")
    with pytest.raises(DataError, match=r"^60 images cannot be read: .*000\.png \(of no known format\)"):
        data.prepare()
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]


def test_neither_a_picture_meant_to_fill_the_memory_nor_a_pipe_is_waited_for(tmp_path):
    tree(tmp_path / "few", 12)
    os.mkfifo(tmp_path / "few" / "pipe.png")
    data = Folder(path=str(tmp_path / "few"), root=str(tmp_path), size=8)
    data.prepare()
    assert sum(len(data.split(name).x) for name in ("train", "val", "test")) == 12
    Image.new("1", (20000, 20000)).save(tmp_path / "few" / "huge.png")
    with pytest.raises(DataError, match=r"few/huge\.png: not a readable image: Image size \(400000000 pixels\)"):
        Folder(path=str(tmp_path / "few"), root=str(tmp_path), size=8).prepare()


def renewed(data: Images, *files: Path) -> bool:
    """Whether files are decoded again when their content is replaced; left alone they are not."""
    before = data.split("train").x.clone()
    names = sorted(path.name for path in (data_root(data.root) / "cache").iterdir())
    assert torch.equal(before, data.split("train").x)
    assert names == sorted(path.name for path in (data_root(data.root) / "cache").iterdir())
    for path in files:
        path.write_bytes(path.with_suffix(".other").read_bytes())
    return not torch.equal(before, data.split("train").x)


def test_images_replaced_under_the_same_names_are_decoded_again(own_celeba, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(20):
        for kind, level in (("bmp", i), ("other", i + 100)):
            Image.new("L", (8, 8), level).save(folder / f"{i:02d}.{kind}", "bmp")
    assert renewed(Folder(path=str(folder), root=str(tmp_path)), *folder.glob("*.bmp"))

    pictures = own_celeba / "celeba" / "img_align_celeba"
    for path in pictures.glob("*.jpg"):
        content = path.read_bytes()
        inverse = encoded(ImageOps.invert(Image.open(path)), "JPEG")
        length = max(len(content), len(inverse))  # JPEG ends before its file may
        path.write_bytes(content.ljust(length, b"\0"))
        path.with_suffix(".other").write_bytes(inverse.ljust(length, b"\0"))
    assert renewed(CelebA(root=str(own_celeba), size=16), *pictures.glob("*.jpg"))


def test_an_archive_replaced_by_one_as_long_is_decoded_again(own_celeba, tmp_path):
    pictures = own_celeba / "celeba" / "img_align_celeba"
    for kind, level in (("zip", 100), ("other", 150)):
        with zipfile.ZipFile(pictures.with_suffix(f".{kind}"), "w") as packed:
            for path in pictures.iterdir():
                content = encoded(Image.new("RGB", (178, 218), (level,) * 3), "JPEG").ljust(5000, b"\0")
                packed.writestr(f"img_align_celeba/{path.name}", content)
    shutil.rmtree(pictures)
    assert renewed(CelebA(root=str(own_celeba), size=16), pictures.with_suffix(".zip"))

    path = tmp_path / "lsun" / "tower_train_lmdb" / "data.mdb"
    for name, level in (("data.mdb", 100), ("data.other", 150)):
        with lmdb.open(str(tmp_path / name), map_size=1 << 24) as file, file.begin(write=True) as transaction:
            for i in range(20):
                content = encoded(Image.new("RGB", (64, 64), (level,) * 3), "JPEG").ljust(5000, b"\0")
                transaction.put(f"key{i:02d}".encode(), content)
    shutil.copytree(tmp_path / "data.mdb", path.parent)
    shutil.copy(tmp_path / "data.other" / "data.mdb", path.with_suffix(".other"))
    assert renewed(LSUN(root=str(tmp_path), category="tower", size=8), path)


def test_an_unwritable_cache_is_named(celeba, tmp_path):
    shutil.copytree(celeba / "celeba", tmp_path / "celeba", symlinks=True)
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match=r"cache.*cannot be written: .*; data\.root= or GENLAB_DATA names another data"):
        CelebA(root=str(tmp_path), size=16).split("test")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_data_root_that_only_others_write_to_is_decoded_elsewhere(celeba, tmp_path, monkeypatch, capsys, number):
    shared, own = tmp_path / "shared", tmp_path / "home" / ".cache" / "genlab" / "cache"
    shutil.copytree(celeba / "celeba", shared / "celeba")
    closed, make = [shared / "cache"], Path.mkdir

    def mkdir(path: Path, *args: Any, **options: Any) -> None:  # permissions would not do: root has all of them
        if path in closed:
            raise OSError(number, os.strerror(number), str(path))
        make(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    data = CelebA(root=str(shared), size=16)
    data.prepare()
    said = f"{shared / 'cache'}: {os.strerror(number)}; decoded images are kept in {own}\n"
    assert capsys.readouterr().err == said
    assert len(list(own.iterdir())) == 3
    monkeypatch.setattr("genlab.data.celeba.Portraits.__getitem__", None)
    assert torch.equal(data.split("test").x, CelebA(root=str(shared), size=16).split("test").x)
    assert capsys.readouterr().err == ""
    closed.append(own)
    with pytest.raises(DataError, match=rf"^{own}/celeba-\w+\.npy: cannot be written: .*; data\.root= or GENLAB_DATA"):
        CelebA(root=str(shared), size=17).split("test")


def decode_with_no_room(root: str) -> None:
    """As on a full disk: files may not grow beyond 100 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with pytest.raises(DataError, match=r"cache.*\.npy: cannot be written"):
        CelebA(root=root, size=64).split("train")


def test_a_full_disk_is_one_error_and_leaves_nothing(own_celeba):
    process = multiprocessing.get_context("fork").Process(target=decode_with_no_room, args=(str(own_celeba),))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert [path for path in (own_celeba / "cache").iterdir() if path.suffix != ".lock"] == []


def test_the_root_is_the_option_then_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    assert data_root() == tmp_path and data_root("/elsewhere") == Path("/elsewhere")
    monkeypatch.delenv("GENLAB_DATA")
    assert data_root() == Path.home() / ".cache" / "genlab"


def test_an_lmdb_that_ends_whoever_reads_it_is_damaged(lsun, tmp_path, monkeypatch):
    folder = tmp_path / "lsun" / "tower_train_lmdb"
    shutil.copytree(lsun / "lsun" / "tower_train_lmdb", folder)
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGBUS)"
    assert walk(folder) == ""
    monkeypatch.setattr("genlab.data.lsun.WALK", kill)
    with pytest.raises(DataError, match=r"data\.mdb: damaged: reading it ends in SIGBUS; unpack tower_train_lmdb\.zip"):
        LSUN(root=str(tmp_path), category="tower", size=8).split("train")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("mnist/train-labels-idx1-ubyte.gz", "train"),
        ("fashion_mnist/t10k-images-idx3-ubyte", "test"),
        ("cifar10/cifar-10-batches-py/test_batch", "test"),
        ("svhn/test_32x32.mat", "test"),
        ("celeba/list_attr_celeba.txt", "train"),
        ("celeba/img_align_celeba.zip", "train"),
        ("celeba/img_align_celeba/000001.jpg", "train"),
        ("lsun/tower_train_lmdb/data.mdb", "train"),
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_named_and_not_waited_for(celeba, tmp_path, monkeypatch, name, part):
    shutil.copytree(celeba / "celeba", tmp_path / "celeba")
    for kind in (MNIST, FashionMNIST, CIFAR10, SVHN):
        monkeypatch.setattr(kind, "missing", lambda self: [])
    path, large = tmp_path / name, {"root": str(tmp_path), "size": 8}
    path.parent.mkdir(parents=True, exist_ok=True)
    for beside in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        (path.parent / f"train-{beside}.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + bytes(12)))
        (path.parent / f"t10k-{beside}").write_bytes(bytes([0, 0, 8, 3]) + bytes(12))
    if path.name.endswith(".zip"):
        shutil.rmtree(path.with_suffix(""))
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    data = {
        "mnist": MNIST(root=str(tmp_path)),
        "fashion_mnist": FashionMNIST(root=str(tmp_path)),
        "cifar10": CIFAR10(root=str(tmp_path)),
        "svhn": SVHN(root=str(tmp_path)),
        "celeba": CelebA(**large),
        "lsun": LSUN(category="tower", **large),
    }[name.partition("/")[0]]
    with pytest.raises(DataError, match=path.name):
        data.split(part)


def test_a_tree_that_has_a_training_part_alone_says_what_is_cut_from_it(tmp_path, capsys):
    for row in range(30):
        path = tmp_path / "photos" / "train" / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), row).save(path)
    data = Folder(path=str(tmp_path / "photos"), root=str(tmp_path))
    assert len(data.split("test")) == 3 and len(data.split("train")) == 24
    told = capsys.readouterr().err.splitlines()
    assert told == [f"{tmp_path / 'photos'}: has train alone; images to test and to validate with are cut from it"]
