"""The options all image sets share, on the digits that scikit-learn brings, and the real sets where they are."""

import math

import numpy as np
import pytest
import torch

from genlab.data.base import Examples, Images, data_root
from genlab.data.cifar10 import CIFAR10
from genlab.data.digits import Digits
from genlab.data.fashion_mnist import FashionMNIST
from genlab.data.mnist import MNIST
from genlab.errors import ConfigError, DataError

HERE = data_root()
real = pytest.mark.skipif(
    not all((HERE / name).is_dir() for name in ("mnist", "fashion_mnist", "cifar10")),
    reason=f"GENLAB_DATA ({HERE}) lacks mnist, fashion_mnist or cifar10",
)


def rows_of(x: torch.Tensor) -> list[bytes]:
    return [bytes(row.numpy().tobytes()) for row in x]


def test_digits_are_split_as_stated():
    from sklearn.datasets import load_digits

    images = load_digits().images.astype(np.uint8)
    order = np.random.RandomState(0).permutation(len(images))
    data = Digits(validation=137)
    splits = {name: data.split(name) for name in ("train", "val", "test")}
    assert {name: len(split) for name, split in splits.items()} == {"train": 1300, "val": 137, "test": 360}
    assert np.array_equal(splits["test"].x[:, 0].numpy(), images[order[1437:]])
    both = rows_of(splits["train"].x) + rows_of(splits["val"].x)
    assert sorted(both) == sorted(image.tobytes() for image in images[order[:1437]])
    assert splits["train"].x.dtype == torch.uint8 and splits["train"].y.dtype == torch.int64


@pytest.mark.parametrize(
    "options",
    [{}, {"size": 12}, {"levels": 5}, {"binarize": "static"}, {"classes": [3, "8"]}, {"size": 32, "levels": 2}],
)
def test_examples_are_as_the_spec_says(options):
    data = Digits(**options)
    for name in ("train", "val", "test"):
        examples = data.split(name)
        assert examples.x.shape == (len(examples), *data.spec.shape)
        assert examples.x.max() == data.spec.levels - 1
        assert set(examples.y.tolist()) == set(range(len(data.spec.classes)))


def test_levels_are_floors_and_native_levels_change_nothing():
    fine, coarse = Digits().split("test").x, Digits(levels=4).split("test").x
    assert torch.equal(coarse, (fine.int() * 4 // 17).to(torch.uint8))
    assert torch.equal(Digits(levels=17).split("test").x, fine)


def test_classes_are_relabelled_in_the_order_given():
    everything, chosen = Digits().split("test"), Digits(classes=["8", 3]).split("test")
    assert Digits(classes=["8", 3]).spec.classes == ("8", "3")
    assert sorted(rows_of(chosen.x[chosen.y == 0])) == sorted(rows_of(everything.x[everything.y == 8]))
    assert sorted(rows_of(chosen.x[chosen.y == 1])) == sorted(rows_of(everything.x[everything.y == 3]))


def test_limit_takes_some_of_each_split_and_the_same_each_time():
    few, again, all_ = Digits(limit=50), Digits(limit=50), Digits()
    for name in ("train", "val", "test"):
        assert len(few.split(name)) == 50
        assert torch.equal(few.split(name).x, again.split(name).x)
        assert set(rows_of(few.split(name).x)) <= set(rows_of(all_.split(name).x))
    assert len(Digits(test=30).split("test")) == 30


def test_static_bits_are_fixed_for_each_image_whatever_else_is_chosen():
    all_, few = Digits(binarize="static").split("test").x, Digits(binarize="static", limit=60).split("test").x
    assert torch.equal(all_, Digits(binarize="static").split("test").x)
    assert set(rows_of(few)) <= set(rows_of(all_))
    assert torch.equal(all_, Digits(binarize="dynamic").split("test").x)


def test_dynamic_bits_are_bernoulli_and_a_function_of_the_generator():
    data = Digits(binarize="dynamic")
    train = data.split("train")
    batch = {"x": train.x[:40], "y": train.y[:40]}
    draws = [data.augment(batch, torch.Generator().manual_seed(seed))["x"] for seed in range(400)]
    assert torch.equal(draws[0], data.augment(batch, torch.Generator().manual_seed(0))["x"])
    assert not torch.equal(draws[0], draws[1])
    assert draws[0].dtype == torch.uint8 and draws[0].max() == 1
    probability = batch["x"].double() / 16
    mean = torch.stack(draws).double().mean(0)
    assert torch.equal(mean[probability == 0], torch.zeros_like(mean[probability == 0]))
    assert torch.equal(mean[probability == 1], torch.ones_like(mean[probability == 1]))
    assert (mean - probability).abs().max() < 6 * math.sqrt(0.25 / 400)
    assert torch.equal(batch["x"], train.x[:40])


def test_flips_mirror_about_half_of_the_images_and_only_whole_ones():
    data = Digits(flip=True)
    x = data.split("train").x
    flipped = data.augment({"x": x}, torch.Generator().manual_seed(0))["x"]
    same, mirrored = (flipped == x).flatten(1).all(1), (flipped == x.flip(-1)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 0.4 < mirrored.double().mean() < 0.6
    batch = {"x": x}
    assert Digits().augment(batch, torch.Generator()) is batch


def test_grey_is_luma_and_flat_images_stay_flat_when_resized():
    class Flat(Images):
        name, native, parts = "flat", (10, 10), ("train", "test")

        def read(self, part):
            colours = np.random.RandomState(0).randint(0, 256, (40, 3, 1, 1)).astype(np.uint8)
            return np.broadcast_to(colours, (40, 3, 10, 10)).copy(), None

    colour, grey = Flat(size=7).split("test"), Flat(grey=True).split("test")
    assert colour.y is None and Flat(grey=True).spec.shape == (1, 10, 10)
    assert torch.equal(colour.x, colour.x[:, :, :1, :1].expand(40, 3, 7, 7))
    luma = (colour.x.double() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    assert (grey.x[:, 0, 0, 0] - luma[:, 0, 0]).abs().max() <= 0.51


@pytest.mark.parametrize(
    "options, key",
    [
        ({"levels": 18}, "data.levels"),
        ({"levels": 1}, "data.levels"),
        ({"size": 0}, "data.size"),
        ({"limit": 0}, "data.limit"),
        ({"validation": -1}, "data.validation"),
        ({"binarize": "dynamik"}, "data.binarize"),
        ({"classes": []}, "data.classes"),
    ],
)
def test_wrong_options_are_named(options, key):
    with pytest.raises(ConfigError) as error:
        Digits(**options)
    assert error.value.key == key
    if key == "data.binarize":
        assert error.value.suggestion == "dynamic"


def test_wrong_choices_are_named_when_used():
    for data, key in (
        (Digits(classes=["ten"]), "data.classes"),
        (Digits(classes=[3, "3"]), "data.classes"),
        (Digits(validation=1437), "data.validation"),
    ):
        with pytest.raises(ConfigError) as error:
            _ = data.spec, data.split("train")
        assert error.value.key == key
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        Digits().split("trian")


def test_floats_with_nan_are_refused():
    x = torch.randn(10, 3)
    x[7, 1] = math.nan
    with pytest.raises(DataError, match="example 7"):
        Examples(x)
    with pytest.raises(DataError, match="3 labels"):
        Examples(torch.zeros(4, 2), torch.zeros(3))


def test_specs_need_no_files(tmp_path):
    from genlab.data.celeba import CelebA
    from genlab.data.lsun import LSUN
    from genlab.data.svhn import SVHN

    root = str(tmp_path / "nothing")
    shapes = [cls(root=root).spec.shape for cls in (MNIST, FashionMNIST, CIFAR10, SVHN, CelebA, LSUN)]
    assert shapes == [(1, 28, 28)] * 2 + [(3, 32, 32)] * 2 + [(3, 64, 64)] * 2
    assert len(CelebA(root=root).spec.attributes) == 40
    assert not (tmp_path / "nothing").exists()


@real
def test_mnist_is_the_published_one():
    data = MNIST(validation=10000)
    data.prepare()
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (50000, 10000, 10000)
    counts = torch.bincount(train.y, minlength=10) + torch.bincount(val.y, minlength=10)
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean = (train.x.float().mean() * 5 + val.x.float().mean()) / 6 / 255
    assert mean == pytest.approx(0.1307, abs=1e-4)


@real
def test_fashion_mnist_takes_its_counts_from_the_header():
    data = FashionMNIST()
    assert len(data.split("train")) + len(data.split("val")) >= 10000
    assert set(data.split("test").y.tolist()) == set(range(10))


@real
def test_cifar10_is_the_published_one(capsys):
    data = CIFAR10(validation=0)
    data.prepare()
    train, test = data.split("train"), data.split("test")
    assert capsys.readouterr().err == ""
    assert torch.bincount(train.y).tolist() == [5000] * 10 and torch.bincount(test.y).tolist() == [1000] * 10
    assert len(data.split("val")) == 0
    means = [train.x[:, c].float().mean().item() / 255 for c in range(3)]
    assert means == pytest.approx([0.49140, 0.48216, 0.44653], abs=1e-5)
