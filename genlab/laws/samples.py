"""Laws of samples and codes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genlab import checkpoint
from genlab.laws.base import BrokenError
from genlab.laws.trial import BATCH, Trial
from genlab.models.base import Encodes
from genlab.noise import Noise
from genlab.spec import Spec

SEEDS = list(range(BATCH))


def seeds_alone(trial: Trial) -> str:
    """In another company, at another place of the batch, whatever the global generator has come to."""
    first = trial.sample(SEEDS)
    torch.manual_seed(1)
    if not torch.equal(first, trial.sample(SEEDS)):
        raise BrokenError("the same seeds twice give different samples")
    half = SEEDS[::-2]
    mixed = trial.sample([seed for own in half for seed in (own + 1000 * BATCH, own)])
    for place, seed in enumerate(half):
        if not torch.equal(first[seed], mixed[2 * place + 1]):
            off = (first[seed].double() - mixed[2 * place + 1].double()).abs().max()
            raise BrokenError(f"sample of seed {seed} differs by {off:.2g} among other seeds")
    hot = trial.sample(SEEDS, temperature=100.0)  # a timid generator's examples may all round to the same levels
    if bool((first == first[:1]).all() and (hot == hot[:1]).all()):
        raise BrokenError(f"{BATCH} seeds give one and the same sample")
    return f"{BATCH} seeds, in other company and order, to the bit"


def data_space(trial: Trial) -> str:
    """Samples are values that the data could have."""
    return inhabits(trial.sample(SEEDS), trial.spec)


def inhabits(x: Tensor, spec: Spec) -> str:
    """What kind of values x holds; ``BrokenError`` where the data hold others."""
    if x.shape != (BATCH, *spec.shape):
        raise BrokenError(f"{BATCH} samples have shape {tuple(x.shape)}, not {(BATCH, *spec.shape)}")
    if spec.levels is None:
        if not x.is_floating_point() or not bool(torch.isfinite(x).all()):
            raise BrokenError(
                f"{x.dtype}, and not all finite" if x.is_floating_point() else f"{x.dtype}, the data are floats"
            )
        return f"{x.dtype}".removeprefix("torch.") + f" in [{x.min():.3g}, {x.max():.3g}]"
    if x.is_floating_point():
        raise BrokenError(f"{x.dtype}, the data are integers")
    low, high = int(x.min()), int(x.max())
    if low < 0 or high >= spec.levels:
        raise BrokenError(f"values {low} to {high}, the data have {spec.levels} levels")
    return f"{x.dtype}".removeprefix("torch.") + f" {low} to {high} of {spec.levels} levels"


def saved(trial: Trial) -> str:
    """Through the file that a run would write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.ckpt"
        trial.trainer.save_checkpoint(path, weights_only=True)
        loaded = checkpoint.load(path)
        size = path.stat().st_size
    for name, value in trial.model.state_dict().items():
        if not torch.equal(value, loaded.model.state_dict()[name]):
            raise BrokenError(f"{name} is another after loading")
    if not torch.equal(trial.sample(SEEDS), trial.sample(SEEDS, loaded.model)):
        raise BrokenError("a loaded model samples otherwise")
    return f"{size / 2**20:.1f} MiB, {BATCH} samples to the bit"


def codes(trial: Trial) -> str:
    """Codes are vectors of ``latent`` numbers, and decode to where the data are."""
    model: Any = trial.model
    with torch.no_grad():
        decoded = model.decode(Noise(SEEDS).normal(model.latent), trial.label(BATCH))
        encoded = model.encode(trial.x, trial.y) if isinstance(model, Encodes) else None
    if decoded.shape[1:] != trial.spec.shape:
        raise BrokenError(f"a code decodes to {tuple(decoded.shape[1:])}, the data are {trial.spec.shape}")
    if encoded is not None and encoded.shape != (BATCH, model.latent):
        raise BrokenError(f"{BATCH} examples encode to {tuple(encoded.shape)}, not {(BATCH, model.latent)}")
    if encoded is not None and not bool(torch.isfinite(encoded).all()):
        raise BrokenError("codes are not finite")
    return f"{model.latent} numbers"
