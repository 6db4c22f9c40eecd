"""Training of the bundled classifiers, once and by hand: ``scripts/train_extractor digits`` writes the shipped weights.

The same torch on the same kind of processor gives the same file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from genlab.data.digits import Digits as DigitsData
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.extractors.digits import Digits, DigitsNet
from genlab.run import atomic

WEIGHTS = Path(__file__).parent / "weights"


def main(arguments: Sequence[str]) -> int:
    """Train the extractors named, all of them by default."""
    recipes = {Digits.name: digits}
    try:
        for name in arguments or recipes:
            if name not in recipes:
                reason = f"no such extractor; there are {', '.join(recipes)}"
                raise ConfigError("extractor", name, reason, nearest(name, recipes))
            state, card = recipes[name]()
            path = WEIGHTS / f"{name}.safetensors"
            with atomic(path) as partial:
                partial.write_bytes(save(state, metadata={"card": json.dumps(card)}))  # one entry: their order varies
            print(json.dumps({"file": path.name, "bytes": path.stat().st_size} | card, indent=1))
    except GenlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def digits(
    steps: int = 1200, batch: int = 128, rate: float = 3e-3, seed: int = 0
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights and card of ``genlab.extractors.digits.Digits``.

    Cross-entropy, AdamW under a one-cycle schedule, every example moved, turned, scaled and re-exposed afresh. At the
    end features are scaled to a mean variance of 1 over the test digits (and the last layer by the inverse), which
    leaves the logits alone and gives Frechet distances a unit.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order, whatever the machine
    data = DigitsData(validation=0)
    train, test = data.split("train"), data.split("test")
    assert train.y is not None and test.y is not None and data.spec.levels is not None
    scale = data.spec.levels - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = DigitsNet()
        optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
        for _ in range(steps):
            rows = torch.randint(0, len(train), (batch,))
            loss = functional.cross_entropy(net(disturb(train.x[rows].float() / scale)), train.y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        x = test.x.float() / scale
        spread = net.features(x).var(0).mean().sqrt()
        for tensor in (net.embed.weight, net.embed.bias):
            tensor /= spread
        net.classify.weight *= spread
        accuracy = (net(x).argmax(1) == test.y).double().mean().item()
    torch.set_num_threads(threads)
    card = {
        "title": "classifier of 8x8 handwritten digits, for features and logits of generated digits",
        "data": f"scikit-learn's digits: {len(train)} to train, {len(test)} to test (RandomState(0) permutation)",
        "input": "1x8x8 grey in [0, 1]; see genlab.extractors.digits.Digits for other images",
        "test accuracy": f"{accuracy:.4f}",
        "made by": f"scripts/train_extractor digits (seed {seed}, {steps} steps, torch {version('torch')})",
        "license": "that of genlab; data CC BY 4.0, Alpaydin and Kaynak 1998, UCI repository",
    }
    return {key: value.detach().contiguous() for key, value in net.state_dict().items()}, card


def disturb(x: Tensor) -> Tensor:
    """Turn by up to 0.3, scale by up to a quarter, move by up to 0.6 pixels, and change gamma and exposure."""
    count = len(x)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape)

    angle, zoom, shift = between(-0.3, 0.3), between(0.75, 1.25, 2), between(-0.15, 0.15, 2)
    turn = torch.zeros(count, 2, 3)
    turn[:, 0, 0], turn[:, 0, 1] = angle.cos() * zoom[:, 0], -angle.sin()
    turn[:, 1, 0], turn[:, 1, 1] = angle.sin(), angle.cos() * zoom[:, 1]
    turn[:, :, 2] = shift
    x = functional.grid_sample(x, functional.affine_grid(turn, list(x.shape), align_corners=False), align_corners=False)
    return (x ** between(0.7, 1.5, 1, 1, 1) * between(0.8, 1.4, 1, 1, 1)).clamp(max=1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
