"""How a bundled classifier is trained: a one-cycle course that can be resumed, and how its images are changed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from genlab.data.base import Examples
from genlab.errors import GenlabError
from genlab.files import atomic

Change = Callable[[Tensor], Tensor]
"""Of images, (B, C, H, W)."""

PART = 500
"""Test images at a time."""


@dataclass
class Course:
    """One training: cross-entropy under a one-cycle schedule that begins at, and returns to, next to nothing.

    Args:
        name: of the extractor.
        train: its examples.
        prepare: from integer levels to what the net is shown.
        change: of what it is shown, afresh each time.
        epochs: times that it sees all of them.
        seed: of all randomness.
        smoothing: of the labels.
        precise: multiply in float32; otherwise in bfloat16, several times faster on processors that know it.
        keep: folder of the file that is written after every epoch.
    """

    name: str
    train: Examples
    prepare: Change
    change: Change
    epochs: int
    seed: int = 0
    smoothing: float = 0.0
    precise: bool = False
    keep: Path | None = None

    def run_epochs(self, net: nn.Module, optimizer: Optimizer, batch: int, test: Examples) -> None:
        """Through all examples in a new order each epoch, the last incomplete batch left out."""
        count = len(self.train) // batch

        def shuffled() -> Iterable[Tensor]:
            return torch.randperm(len(self.train)).split(batch)[:count]

        def check() -> float:
            with self.products():
                return share_right(net, self.prepare, test)

        self.run(net, optimizer, shuffled, count, check)

    def run(
        self,
        net: nn.Module,
        optimizer: Optimizer,
        rows: Callable[[], Iterable[Tensor]],
        steps: int,
        check: Callable[[], float] | None = None,
    ) -> None:
        """Train, and leave the net as it is used; ``rows`` gives the batches of an epoch, ``check`` is for the eye."""
        schedule = OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], self.epochs * steps)
        parts = {"net": net, "optimizer": optimizer, "schedule": schedule}
        for epoch in range(self.resume(parts), self.epochs):
            begin, total = time.monotonic(), 0.0
            for some in rows():
                total += self.step(net.train(), some, optimizer)
                schedule.step()
            net.eval()
            if check is not None:
                told = f"loss {total / steps:.3f}, test accuracy {check():.4f}, {time.monotonic() - begin:.0f} s"
                print(f"{self.name}: epoch {epoch + 1} of {self.epochs}, {told}", file=sys.stderr, flush=True)
            self.write_down(parts, epoch + 1)
        net.eval()

    def step(self, net: nn.Module, rows: Tensor, optimizer: Optimizer) -> float:
        """One update; its loss."""
        assert self.train.y is not None
        x = self.change(self.prepare(self.train.x[rows]))
        with self.products():
            logits = net(x)
        loss = functional.cross_entropy(logits.float(), self.train.y[rows], label_smoothing=self.smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def products(self) -> torch.autocast:
        """Where the net multiplies as it is trained to."""
        return torch.autocast("cpu", torch.bfloat16, enabled=not self.precise)

    def described(self) -> str:
        """How the weights came about, for the card."""
        products = "float32" if self.precise else "bfloat16"
        how = f"seed {self.seed}, {self.epochs} epochs, {products} products, torch {version('torch')}"
        return f"scripts/train_extractor {self.name} ({how})"

    @property
    def kept(self) -> Path | None:
        """The file that is written after every epoch."""
        return None if self.keep is None else self.keep / f"{self.name}.pt"

    def write_down(self, parts: dict[str, Any], epoch: int) -> None:
        """Where the training is, whole or not at all."""
        if self.kept is None:
            return
        state = {key: part.state_dict() for key, part in parts.items()}
        with atomic(self.kept) as partial:
            torch.save(state | {"how": self.described(), "epoch": epoch, "random": torch.get_rng_state()}, partial)

    def resume(self, parts: dict[str, Any]) -> int:
        """The epoch to begin with, everything set to where it was.

        Raises:
            GenlabError: what was written down is damaged, or of a training of another kind.
        """
        if self.kept is None or not self.kept.exists():
            return 0
        try:
            state = torch.load(self.kept, weights_only=True)
        except Exception as error:  # torch, pickle and zipfile have many words for a damaged file
            raise GenlabError(f"{self.kept}: cannot be read: {' '.join(str(error).split())[:160]}") from None
        if state["how"] != self.described():
            raise GenlabError(f"{self.kept}: is of another training, {state['how']}")
        for key, part in parts.items():
            part.load_state_dict(state[key])
        torch.set_rng_state(state["random"])
        return int(state["epoch"])


@contextmanager
def alone(seed: int) -> Iterator[None]:
    """One thread, so that sums have one order on every machine, and a generator of its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def give_unit(net: Any, last: Any, prepare: Change, x: Tensor) -> None:
    """Scale features to a mean variance of 1 over ``x``, and the last layer by the inverse.

    ``last`` is the affine layer under the features: what follows it, a ReLU and perhaps a maximum, passes a scale on.
    """
    spread = torch.cat([net.features(prepare(part)) for part in x.split(PART)]).var(0).mean().sqrt()
    for tensor in (last.weight, last.bias):
        tensor /= spread
    net.classify.weight *= spread


@torch.no_grad()
def give_certainty(net: Any, prepare: Change, test: Examples) -> None:
    """Scale the last layer so that p(y|x) = softmax(s logits) is as likely as a scale can make the labels of ``test``.

    Labels that were smoothed leave a net less sure than it is right: real MNIST digits then had an Inception Score of
    7.7 of 10 under a classifier that is right on 99.7 %. Accuracies and features stay. (Temperature scaling: Guo et al.
    2017, arXiv 1706.04599, section 4.2)
    """
    assert test.y is not None
    logits = torch.cat([net(prepare(part)) for part in test.x.split(PART)]).double()
    given = logits.gather(1, test.y[:, None]).mean()
    low, high = 0.0, 100.0
    for _ in range(60):  # -log p is convex in s, with derivative E[sum_k p_k logit_k - logit_y]
        scale = (low + high) / 2
        slope = ((scale * logits).softmax(1) * logits).sum(1).mean() - given
        low, high = (scale, high) if slope < 0 else (low, scale)
    net.classify.weight *= scale
    net.classify.bias *= scale


@torch.no_grad()
def share_right(net: nn.Module, prepare: Change, test: Examples) -> float:
    """Accuracy."""
    assert test.y is not None
    found = torch.cat([net(prepare(part)).argmax(1) for part in test.x.split(PART)])
    return (found == test.y).double().mean().item()


def disturb(x: Tensor, turn: float = 0.3, zoom: float = 0.25, move: float = 0.15) -> Tensor:
    """Turn by up to ``turn``, scale by ``1 - zoom`` to ``1 + zoom``, move by up to ``move`` half sides, and change
    gamma and exposure."""
    count = len(x)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape)

    angle, scale, shift = between(-turn, turn), between(1 - zoom, 1 + zoom, 2), between(-move, move, 2)
    grid = torch.zeros(count, 2, 3)
    grid[:, 0, 0], grid[:, 0, 1] = angle.cos() * scale[:, 0], -angle.sin()
    grid[:, 1, 0], grid[:, 1, 1] = angle.sin(), angle.cos() * scale[:, 1]
    grid[:, :, 2] = shift
    x = functional.grid_sample(x, functional.affine_grid(grid, list(x.shape), align_corners=False), align_corners=False)
    return (x ** between(0.7, 1.5, 1, 1, 1) * between(0.8, 1.4, 1, 1, 1)).clamp(max=1)


def moved_and_blanked(x: Tensor, reach: int = 4, square: int = 8) -> Tensor:
    """Mirror half of the images, move each by up to ``reach`` pixels over its reflected margins, and blank a square.

    (Crop and mirror: He et al. 2016, arXiv 1512.03385; square: DeVries and Taylor 2017, arXiv 1708.04552.)
    """
    count, _, height, width = x.shape
    example = torch.arange(count)[:, None, None]
    row = torch.arange(height) + torch.randint(0, 2 * reach + 1, (count, 1))
    column = torch.arange(width) + torch.randint(0, 2 * reach + 1, (count, 1))
    column = torch.where(torch.rand(count, 1) < 0.5, column, column.flip(1))
    wide = functional.pad(x, (reach,) * 4, mode="reflect").permute(0, 2, 3, 1)
    x = wide[example, row[:, :, None], column[:, None, :]]
    top, left = torch.randint(0, height - square + 1, (count, 1)), torch.randint(0, width - square + 1, (count, 1))
    down, across = torch.arange(height) - top, torch.arange(width) - left
    inside = ((down >= 0) & (down < square))[:, :, None] & ((across >= 0) & (across < square))[:, None, :]
    return x.masked_fill(inside[..., None], 0).permute(0, 3, 1, 2)
