"""Laws of the bundled classifiers and of the script that trains them; accuracies where the real sets are."""

import json
from importlib.resources import files

import pytest
import torch
from safetensors import safe_open

from genlab import presets
from genlab.build import build
from genlab.data import cifar10, fashion_mnist, mnist
from genlab.data.base import Examples, data_root
from genlab.errors import GenlabError
from genlab.extractors import train
from genlab.extractors.cifar10 import CIFAR10, PART
from genlab.extractors.digits import Digits
from genlab.extractors.mnist import MNIST, FashionMNIST
from genlab.spec import Spec

NETS = {
    MNIST: (mnist.MNIST, 1_000_000, 0.993),
    FashionMNIST: (fashion_mnist.FashionMNIST, 1_000_000, 0.90),
    CIFAR10: (cifar10.CIFAR10, 3_000_000, 0.88),
}
"""Extractor: its data, the largest file, the least accuracy over the whole test split."""

nets = pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
DIGITS, CLOTHING, THINGS = (data.class_names for data, _, _ in NETS.values())


def weights_of(net):
    return files("genlab.extractors").joinpath(f"weights/{net.name}.safetensors")


def card_of(net):
    with safe_open(str(weights_of(net)), "pt") as file:
        return json.loads(file.metadata()["card"])


def noise(spec, count=20, seed=0):
    return torch.randint(0, spec.levels, (count, *spec.shape), generator=torch.Generator().manual_seed(seed))


def real(net, **options):
    data = NETS[net][0](**{"test": 500} | options)
    if not (data_root() / data.name).is_dir():
        pytest.skip(f"GENLAB_DATA ({data_root()}) lacks {data.name}")
    return data.spec, data.split("test")


@nets
def test_weights_are_small_and_their_card_says_what_they_are(net):
    card = card_of(net)
    _, largest, least = NETS[net]
    assert len(weights_of(net).read_bytes()) <= largest
    assert set(card) == {"title", "data", "input", "test accuracy", "made by", "license"}
    assert float(card["test accuracy"]) >= least
    assert f"scripts/train_extractor {net.name}" in card["made by"]


def test_the_clothing_net_owns_up_to_the_part_that_it_was_trained_on():
    assert "a part of Fashion-MNIST" in card_of(FashionMNIST)["data"]


@nets
def test_the_net_is_as_accurate_as_its_card_says_and_its_features_have_unit_variance(net):
    spec, test = real(net)
    found = net(spec)(test.x)
    stated = float(card_of(net)["test accuracy"])
    error = (stated * (1 - stated) / len(test.x)) ** 0.5
    assert (found.logits.argmax(1) == test.y).double().mean() >= stated - 3 * error
    assert float(found.features.var(0).mean()) == pytest.approx(1, abs=0.1)


@nets
def test_images_enlarged_twofold_are_still_recognised(net):
    spec, test = real(net, test=200, size=2 * NETS[net][0].native[0])
    right = net(spec)(test.x).logits.argmax(1) == test.y
    assert right.double().mean() >= float(card_of(net)["test accuracy"]) - 0.1


@nets
def test_features_do_not_depend_on_the_company_of_an_image(net):
    spec = NETS[net][0]().spec
    extractor, x = net(spec), noise(spec)
    found = extractor(x)
    assert found.features.shape == (20, net.dimensions) and found.logits.shape == (20, net.classes)
    for part in (x[3:4], x[3:11], x[[3, 3, 3]]):
        torch.testing.assert_close(extractor(part).features[0], found.features[3], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(extractor(part).logits[0], found.logits[3], atol=1e-4, rtol=1e-4)


def test_photographs_seen_in_parts_are_those_seen_together():
    extractor, x = CIFAR10(cifar10.CIFAR10().spec), noise(cifar10.CIFAR10().spec, PART + 6)
    for found, alone in zip(extractor(x), extractor(x[PART - 3 :]), strict=True):
        assert len(found) == len(x)
        torch.testing.assert_close(found[PART - 3 :], alone, atol=1e-6, rtol=1e-5)


@nets
def test_only_brightness_counts_not_the_number_of_levels(net):
    bits = noise(Spec("image", NETS[net][0]().spec.shape, 2))
    two, many = (net(Spec("image", bits.shape[1:], levels)) for levels in (2, 256))
    torch.testing.assert_close(two(bits).features, many(bits * 255).features, atol=1e-4, rtol=1e-4)


@nets
def test_a_grey_image_in_three_channels_is_the_grey_image(net):
    grey = noise(Spec("image", (1, *NETS[net][0]().spec.shape[1:]), 256))
    one, three = (net(Spec("image", (channels, *grey.shape[2:]), 256)) for channels in (1, 3))
    torch.testing.assert_close(three(grey.repeat(1, 3, 1, 1)).logits, one(grey).logits, atol=1e-4, rtol=1e-4)


def test_channels_of_stacked_digits_are_seen_one_by_one():
    stacked = Spec("image", (3, 28, 28), 256, tuple(f"{number:03d}" for number in range(1000)))
    x = noise(stacked)
    assert not MNIST.refuses(stacked)
    alone = MNIST(mnist.MNIST().spec)
    assert torch.equal(MNIST(stacked)(x[:, 1:2]).logits, alone(x[:, 1:2]).logits)


@pytest.mark.parametrize(
    "spec, taken, admitted",
    [
        (Spec("image", (1, 8, 8), 17, DIGITS), "digits", "digits cifar10"),
        (Spec("image", (1, 28, 28), 256, DIGITS), "mnist", "digits mnist fashion_mnist cifar10"),
        (Spec("image", (1, 28, 28), 2, DIGITS), "mnist", "digits mnist fashion_mnist cifar10"),
        (Spec("image", (1, 32, 32), 256, DIGITS), "mnist", "digits mnist cifar10"),
        (Spec("image", (3, 32, 32), 256, DIGITS), "", "digits mnist cifar10"),
        (Spec("image", (3, 28, 28), 256, tuple(map(str, range(1000)))), "", "mnist fashion_mnist cifar10"),
        (Spec("image", (1, 28, 28), 256), "", "mnist fashion_mnist cifar10"),
        (Spec("image", (1, 28, 28), 256, CLOTHING), "fashion_mnist", "mnist fashion_mnist cifar10"),
        (Spec("image", (1, 32, 32), 256, CLOTHING), "fashion_mnist", "fashion_mnist cifar10"),
        (Spec("image", (3, 32, 32), 256, THINGS), "cifar10", "cifar10"),
        (Spec("image", (1, 32, 32), 256, THINGS), "", "cifar10"),
        (Spec("image", (3, 64, 64), 256, THINGS), "", "cifar10"),
        (Spec("image", (3, 32, 32), 256, THINGS[:2]), "", "cifar10"),
        (Spec("image", (4, 32, 32), 256, THINGS), "", ""),
        (Spec("image", (3, 32, 32), None, THINGS), "", ""),
        (Spec("image", (1, 28, 28), None, DIGITS), "", ""),
        (Spec("vector", (2,)), "", ""),
    ],
    ids=lambda value: f"{value.kind} {value.shape}" if isinstance(value, Spec) else value.replace(" ", "+"),
)
def test_each_looks_unasked_at_its_own_subject_and_named_at_what_it_can(spec, taken, admitted):
    every = (Digits, MNIST, FashionMNIST, CIFAR10)
    assert [net.name for net in every if net.suits(spec)] == taken.split()
    assert [net.name for net in every if not net.refuses(spec)] == admitted.split()
    for name in (net for net in every if not net.refuses(spec)):
        assert all(part.isfinite().all() for part in name(spec)(noise(spec, 2)))
    assert all("\n" not in net.refuses(spec) for net in every)


@nets
def test_the_yaml_builds_the_net_of_its_name(net):
    node = presets.read(presets.file_of("extractor", net.name))
    assert type(build(node, spec=NETS[net][0]().spec)) is net


@nets
def test_damaged_missing_and_foreign_weights_are_told_in_one_line(net, tmp_path):
    spec, whole = NETS[net][0]().spec, weights_of(net).read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    for path, reason in {
        tmp_path / "half.safetensors": "damaged",
        tmp_path / "none.safetensors": "No such file",
        weights_of(Digits): "another net",
    }.items():
        with pytest.raises(GenlabError, match=reason) as told:
            net(spec, weights=str(path))
        assert net.name in str(told.value) and "\n" not in str(told.value)


class Noise:
    """A data set of random images."""

    def __init__(self, spec):
        self.spec = spec

    def split(self, name):
        count = 256 if name == "train" else 20
        x = noise(self.spec, count, seed=count).to(torch.uint8)
        return Examples(x, torch.arange(count) % 10)


@pytest.mark.parametrize("recipe, net", [(train.mnist, MNIST), (train.cifar10, CIFAR10)], ids=["mnist", "cifar10"])
def test_a_training_that_was_interrupted_ends_as_one_that_was_not(recipe, net, tmp_path, monkeypatch):
    data = Noise(NETS[net][0]().spec)
    undisturbed, card = recipe(epochs=2, data=data)
    step = train.Course.step

    def interrupted(*arguments):
        if list(tmp_path.iterdir()):  # the first epoch is written down
            raise KeyboardInterrupt
        return step(*arguments)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(train.Course, "step", interrupted)
        recipe(epochs=2, data=data, keep=tmp_path)
    continued, again = recipe(epochs=2, data=data, keep=tmp_path)
    assert again == card and continued.keys() == undisturbed.keys()
    assert all(torch.equal(continued[key], undisturbed[key]) for key in undisturbed)
    with pytest.raises(GenlabError, match="another training"):
        recipe(epochs=3, data=data, keep=tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"PK")
    with pytest.raises(GenlabError, match="cannot be read"):
        recipe(epochs=2, data=data, keep=tmp_path)


def test_the_script_names_what_it_can_train_and_leaves_nothing_when_interrupted(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(train, "WEIGHTS", tmp_path)
    assert train.main(["mnits"]) == 2
    assert "did you mean 'mnist'" in capsys.readouterr().err

    def interrupted(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "mnist", interrupted)
    assert train.main(["mnist"]) == 130
    assert not list(tmp_path.iterdir())


def test_photographs_are_moved_mirrored_and_blanked_and_nothing_else():
    torch.manual_seed(0)
    x = torch.arange(1, 1025).float().view(1, 1, 32, 32).repeat(64, 3, 1, 1)
    changed = train.moved_and_blanked(x)
    assert changed.shape == x.shape
    assert ((changed == 0).sum((1, 2, 3)) == 3 * 8 * 8).all()
    steps = (changed[:, 0, :, 1:] - changed[:, 0, :, :-1]).median(2).values.median(1).values  # between neighbours
    assert set(steps.tolist()) == {1.0, -1.0}
    assert 16 < int((steps > 0).sum()) < 48
