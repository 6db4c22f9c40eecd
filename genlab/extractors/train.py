"""Training of the bundled classifiers, once and by hand: ``scripts/train_extractor digits`` writes the shipped weights.

The same torch on the same kind of processor gives the same file. ``digits`` takes seconds, ``mnist`` and
``fashion_mnist`` minutes, ``cifar10`` about half an hour of one core that multiplies in bfloat16 (AMX), and far longer
without. ``--keep FOLDER`` writes down where each of them is after every epoch and goes on from there, with the same
end; without it an interrupted training leaves nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.optim import SGD, AdamW

from genlab.data import cifar10 as cifar10_data
from genlab.data import digits as digits_data
from genlab.data import fashion_mnist as fashion_data
from genlab.data import mnist as mnist_data
from genlab.data.base import Examples, Images
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.extractors.base import SUMS, WEIGHTS
from genlab.extractors.cifar10 import CIFAR10, ColourNet, normalised
from genlab.extractors.course import (
    Change,
    Course,
    alone,
    disturb,
    give_certainty,
    give_unit,
    moved_and_blanked,
    share_right,
)
from genlab.extractors.digits import Digits, DigitsNet
from genlab.extractors.mnist import MNIST, FashionMNIST, GreyNet
from genlab.files import atomic

Made = tuple[dict[str, Tensor], dict[str, str]]
"""Weights, and the card that goes with them."""


def main(arguments: Sequence[str]) -> int:
    """Train the extractors named, all of them by default."""
    recipes: dict[str, Callable[[Path | None], Made]] = {
        Digits.name: lambda keep: digits(),
        MNIST.name: lambda keep: mnist(keep=keep),
        FashionMNIST.name: lambda keep: fashion_mnist(keep=keep),
        CIFAR10.name: lambda keep: cifar10(keep=keep),
    }
    parser = argparse.ArgumentParser("scripts/train_extractor", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(recipes)}")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write down every epoch there, and go on from it")
    options = parser.parse_args(arguments)
    try:
        for name in options.names or recipes:
            if name not in recipes:
                reason = f"no such extractor; there are {', '.join(recipes)}"
                raise ConfigError("extractor", name, reason, nearest(name, recipes))
            state, card = recipes[name](options.keep)
            path = WEIGHTS / f"{name}.safetensors"
            with atomic(path) as partial:
                partial.write_bytes(save(state, metadata={"card": json.dumps(card)}))  # one entry: their order varies
            write_sums()
            print(json.dumps({"file": path.name, "bytes": path.stat().st_size} | card, indent=1))
    except GenlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; no weights were written", file=sys.stderr)
        return 130
    return 0


def write_sums() -> None:
    """Checksums of all bundled weights, by which damaged ones are told."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
        for path in sorted(WEIGHTS.glob("*.safetensors"))
    ]
    with atomic(WEIGHTS / SUMS) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines))


def digits(steps: int = 1200, batch: int = 128, rate: float = 3e-3, seed: int = 0) -> Made:
    """Weights and card of ``genlab.extractors.digits.Digits``.

    Cross-entropy, AdamW under a one-cycle schedule, every example moved, turned, scaled and re-exposed afresh. At the
    end features are scaled to a mean variance of 1 over the test digits (and the last layer by the inverse), which
    leaves the logits alone and gives Frechet distances a unit.
    """
    data = digits_data.Digits(validation=0)
    train, test = data.split("train"), data.split("test")
    assert data.spec.levels is not None
    scale = data.spec.levels - 1
    with alone(seed):
        net = DigitsNet()
        course = Course("digits", train, lambda x: x.float() / scale, disturb, epochs=1, precise=True)

        def drawn() -> Iterator[Tensor]:
            return (torch.randint(0, len(train), (batch,)) for _ in range(steps))

        course.run(net, AdamW(net.parameters(), rate, weight_decay=1e-2), drawn, steps)
        give_unit(net, net.embed, course.prepare, test.x)
        accuracy = share_right(net, course.prepare, test)
    card = {
        "title": "classifier of 8x8 handwritten digits, for features and logits of generated digits",
        "data": f"scikit-learn's digits: {len(train)} to train, {len(test)} to test (RandomState(0) permutation)",
        "input": "1x8x8 grey in [0, 1]; see genlab.extractors.digits.Digits for other images",
        "test accuracy": f"{accuracy:.4f}",
        "made by": f"scripts/train_extractor digits (seed {seed}, {steps} steps, torch {version('torch')})",
        "license": "that of genlab; data CC BY 4.0, Alpaydin and Kaynak 1998, UCI repository",
    }
    return {key: value.detach().contiguous() for key, value in net.state_dict().items()}, card


def mnist(epochs: int = 8, seed: int = 0, data: Images | None = None, keep: Path | None = None) -> Made:
    """Weights and card of ``genlab.extractors.mnist.MNIST``: digits turned, scaled, moved and re-exposed a little."""
    data = data or mnist_data.MNIST(validation=0)
    train, test = data.split("train"), data.split("test")
    state, card = _grey("mnist", train, test, lambda x: disturb(x, 0.2, 0.15, 0.12), epochs, seed, keep)
    return state, {
        "title": "classifier of 28x28 handwritten digits, for features and logits of generated digits",
        "data": described("MNIST", train, test),
        **card,
        "license": "that of genlab; data LeCun et al. 1998, commonly stated as CC BY-SA 3.0",
    }


def fashion_mnist(epochs: int = 20, seed: int = 0, data: Images | None = None, keep: Path | None = None) -> Made:
    """Weights and card of ``genlab.extractors.mnist.FashionMNIST``: clothing mirrored, turned and moved a little."""
    data = data or fashion_data.FashionMNIST(validation=0)
    train, test = data.split("train"), data.split("test")

    def change(x: Tensor) -> Tensor:
        return disturb(torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x, x.flip(3)), 0.08, 0.1, 0.08)

    state, card = _grey("fashion_mnist", train, test, change, epochs, seed, keep)
    whole = (len(train), len(test)) == (60000, 10000)
    return state, {
        "title": "classifier of 28x28 grey pictures of clothing, for features and logits of generated ones",
        "data": described("Fashion-MNIST" if whole else "a part of Fashion-MNIST in a split of its own", train, test),
        **card,
        "license": "that of genlab; data MIT, Zalando SE, Xiao et al. 2017, arXiv 1708.07747",
    }


def _grey(
    name: str, train: Examples, test: Examples, change: Change, epochs: int, seed: int, keep: Path | None
) -> Made:
    """A ``GreyNet``: AdamW under a one-cycle schedule, labels smoothed by 0.05; then made as sure as it is right."""
    with alone(seed):
        net = GreyNet()
        course = Course(name, train, unit_interval, change, epochs, seed, smoothing=0.05, keep=keep)
        course.run_epochs(net, AdamW(net.parameters(), 4e-3, weight_decay=2e-2), 128, test)
        give_unit(net, net.embed, unit_interval, test.x)
        give_certainty(net, unit_interval, test)
        accuracy = share_right(net, unit_interval, test)
    return {key: value.detach().contiguous() for key, value in net.state_dict().items()}, {
        "input": "1x28x28 grey in [0, 1]; see genlab.extractors.mnist.MNIST for other images",
        "test accuracy": f"{accuracy:.4f}",
        "made by": course.described(),
    }


def cifar10(epochs: int = 12, seed: int = 0, data: Images | None = None, keep: Path | None = None) -> Made:
    """Weights and card of ``genlab.extractors.cifar10.CIFAR10``.

    SGD with Nesterov momentum under a one-cycle schedule, labels smoothed by 0.1, photographs mirrored, moved by up to
    4 pixels, and a square of 8x8 pixels blanked; then made as sure as it is right. Weights of convolutions are kept in
    16 bits.
    """
    data = data or cifar10_data.CIFAR10(validation=0)
    train, test = data.split("train"), data.split("test")

    def prepare(x: Tensor) -> Tensor:
        return normalised(unit_interval(x))

    with alone(seed):
        net = ColourNet()
        body = [*net.stem.parameters(), *net.stem_norm.parameters(), *net.stages.parameters()]
        last = [*net.classify.parameters()]  # maxima are large inputs, so steps are short
        groups: list[dict[str, Any]] = [{"params": body}, {"params": last, "lr": 0.2 / 16}]
        optimizer = SGD(groups, 0.2, momentum=0.9, weight_decay=5e-4, nesterov=True)
        course = Course("cifar10", train, prepare, moved_and_blanked, epochs, seed, smoothing=0.1, keep=keep)
        course.run_epochs(net, optimizer, 256, test)
        give_unit(net, net.stages[-1].second_norm, prepare, test.x)
        state = {key: value.half() if value.ndim == 4 else value for key, value in net.state_dict().items()}
        net.load_state_dict(state)
        give_certainty(net, prepare, test)
        state |= {f"classify.{key}": value for key, value in net.classify.state_dict().items()}
        accuracy = share_right(net, prepare, test)
    return {key: value.detach().contiguous() for key, value in state.items()}, {
        "title": "classifier of 32x32 colour photographs, for features and logits of generated ones",
        "data": described("CIFAR-10", train, test),
        "input": "3x32x32 colour, normalised; see genlab.extractors.cifar10.CIFAR10 for other images",
        "test accuracy": f"{accuracy:.4f}",
        "made by": course.described(),
        "license": "that of genlab; data Krizhevsky 2009, who asks to be cited",
    }


def described(title: str, train: Examples, test: Examples) -> str:
    """The data in words, with a hash of images and labels."""
    digest = hashlib.sha256()
    for tensor in (train.x, train.y, test.x, test.y):
        assert tensor is not None
        digest.update(tensor.contiguous().numpy().data)
    return f"{title}: {len(train)} to train, {len(test)} to test (sha256 {digest.hexdigest()[:12]})"


def unit_interval(x: Tensor) -> Tensor:
    """256 levels to [0, 1]."""
    return x.float() / 255


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
