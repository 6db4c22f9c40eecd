"""Laws that every model obeys, each for those that have what it speaks of: put to any config by ``genlab check``.

A law is a function of a ``Trial``. It returns the figure that it found, raises ``Broken`` with the figure that breaks
it, or ``Unfit`` with the reason why it says nothing about such a model.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genlab import checkpoint
from genlab.bijections.base import Bijection
from genlab.models.base import Bound, Decodes, Density, Encodes, Samples
from genlab.noise import Noise
from genlab.spec import Spec
from genlab.trial import BATCH, Trial

SEEDS = list(range(BATCH))
SMALL = {1: (1, 3, 3), 2: (2, 2, 2), 3: (3, 1, 3)}  # by channels: so few binary values that all images can be listed
JACOBIAN = 256  # dimensions up to which a Jacobian is computed


class Broken(Exception):
    """The law does not hold."""


class Unfit(Exception):
    """The law says nothing about this model."""


class Law(NamedTuple):
    """What it says, the protocols it speaks of (any one of them will do), and how it is tested."""

    says: str
    needs: tuple[type, ...]
    test: Callable[[Trial], str]


def gradients(trial: Trial) -> str:
    """Over all steps, so that a layer starting at zero hides nothing; by player, each from its own turns."""
    model = trial.module.model
    for player, names in trial.unreached.items():
        if names:
            whose = f"of player {player} have no gradient" if player else "belong to no player"
            raise Broken(f"{len(names)} parameters {whose}: {listed(names)}")
    if trial.wild:
        raise Broken(f"gradients that are not finite: {listed(trial.wild)}")
    counts = {name: sum(1 for part in parts for _ in part.parameters()) for name, parts in trial.module.take_players().items()}
    numbers = sum(parameter.numel() for parameter in model.parameters())
    return ", ".join(f"{name} {count} tensors" for name, count in counts.items()) + f", {numbers:,} numbers"


def seeds_alone(trial: Trial) -> str:
    """In another company, at another place of the batch, whatever the global generator has come to."""
    first = trial.sample(SEEDS)
    torch.manual_seed(1)
    if not torch.equal(first, trial.sample(SEEDS)):
        raise Broken("the same seeds twice give different samples")
    half = SEEDS[::-2]
    mixed = trial.sample([seed for own in half for seed in (own + 1000 * BATCH, own)])
    for place, seed in enumerate(half):
        if not torch.equal(first[seed], mixed[2 * place + 1]):
            off = (first[seed].double() - mixed[2 * place + 1].double()).abs().max()
            raise Broken(f"sample of seed {seed} differs by {off:.2g} among other seeds")
    if bool((first == first[:1]).all()):
        raise Broken(f"{BATCH} seeds give one and the same sample")
    return f"{BATCH} seeds, in other company and order, to the bit"


def data_space(trial: Trial) -> str:
    """Samples are values that the data could have."""
    return inhabits(trial.sample(SEEDS), trial.spec)


def saved(trial: Trial) -> str:
    """Through the file that a run would write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.ckpt"
        trial.trainer.save_checkpoint(path, weights_only=True)
        loaded = checkpoint.load(path)
        size = path.stat().st_size
    for name, value in trial.model.state_dict().items():
        if not torch.equal(value, loaded.model.state_dict()[name]):
            raise Broken(f"{name} is another after loading")
    if not torch.equal(trial.sample(SEEDS), trial.sample(SEEDS, loaded.model)):
        raise Broken("a loaded model samples otherwise")
    return f"{size / 2**20:.1f} MiB, {BATCH} samples to the bit"


def codes(trial: Trial) -> str:
    """Codes are vectors of ``latent`` numbers, and decode to where the data are."""
    model: Any = trial.model
    with torch.no_grad():
        decoded = model.decode(Noise(SEEDS).normal(model.latent), trial.label(BATCH))
        encoded = model.encode(trial.x, trial.y) if isinstance(model, Encodes) else None
    if decoded.shape[1:] != trial.spec.shape:
        raise Broken(f"a code decodes to {tuple(decoded.shape[1:])}, the data are {trial.spec.shape}")
    if encoded is not None and encoded.shape != (BATCH, model.latent):
        raise Broken(f"{BATCH} examples encode to {tuple(encoded.shape)}, not {(BATCH, model.latent)}")
    if encoded is not None and not bool(torch.isfinite(encoded).all()):
        raise Broken("codes are not finite")
    return f"{model.latent} numbers"


def examples_alone(trial: Trial) -> str:
    """The density of an example does not depend on its neighbours."""
    model: Any = trial.model
    order = torch.arange(BATCH).flip(0)[: BATCH // 2]
    with torch.no_grad():
        together = model.log_prob(trial.x, trial.y)
        apart = model.log_prob(trial.x[order], None if trial.y is None else trial.y[order])
    if together.shape != (BATCH,):
        raise Broken(f"log_prob of {BATCH} examples has shape {tuple(together.shape)}")
    off = (together[order] - apart).abs().max().item()
    if not off <= 1e-4 * max(1.0, together.abs().max().item()):
        raise Broken(f"in other company log p differs by {off:.2g} nats")
    return f"to {off:.1g} nats"


def integral(trial: Trial) -> str:
    """By the midpoint rule, over twice the box of samples and data."""
    dimensions = trial.spec.dimensions
    if trial.spec.levels is not None or dimensions > 2:
        raise Unfit("for continuous data of one or two dimensions")
    points = trial.examples.x[:4096]
    if isinstance(trial.model, Samples):
        points = torch.cat([points, trial.sample(list(range(4096)))])
    low, high = points.flatten(1).amin(0), points.flatten(1).amax(0)
    low, high = low - (high - low) / 2, high + (high - low) / 2
    cells = 500 if dimensions == 2 else 20_000
    axes = [a + (b - a) * (torch.arange(cells) + 0.5) / cells for a, b in zip(low, high, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, *trial.spec.shape)
    total = sum(probabilities(trial, part).sum().item() for part in grid.split(8192))
    return near_one(total * ((high - low).double().prod() / cells**dimensions).item(), 0.01)


def enumeration(trial: Trial) -> str:
    """Over all binary images of nine values, or eight: a net that saw what it predicts would sum to something else."""
    small, images = listing(trial)
    if isinstance(small.model, Density):
        if not small.model.exact:
            raise Unfit("log_prob is an estimate")
        return near_one(probabilities(small, images).sum().item(), 1e-4) + f", {len(images)} images"
    model: Any = small.model
    with torch.no_grad():
        draws = torch.stack([model.bound(images, small.label(len(images)), 8).double() for _ in range(8)])
    mean, error = draws.mean(0).exp(), draws.std(0) / math.sqrt(len(draws))
    total, bias = mean.sum().item(), (mean * error.square() / 2).sum().item()  # exp of a noisy mean is too large
    spread = (mean * error).square().sum().sqrt().item()
    if not total - bias <= 1 + 3 * spread + 1e-4:
        raise Broken(f"exp(bound) sums to {total:.4f} +- {spread:.4f}, more than 1")
    return f"<= {total:.4f} +- {spread:.4f}, {len(images)} images"


def tighter(trial: Trial) -> str:
    """E[bound(k = 16)] >= E[bound(k = 1)], within three standard errors."""
    model: Any = trial.model
    x = trial.x.repeat(4, *[1] * (trial.x.dim() - 1))
    y = None if trial.y is None else trial.y.repeat(4, *[1] * (trial.y.dim() - 1))
    with torch.no_grad():
        gains = (model.bound(x, y, 16) - model.bound(x, y, 1)).double()
    gain, error = gains.mean().item(), gains.std().item() / math.sqrt(len(gains))
    if not gain >= -3 * error - 1e-6:
        raise Broken(f"16 samples give {gain:.3g} +- {error:.2g} nats more than one")
    return f"+{gain:.3g} +- {error:.2g} nats for 16 samples instead of one"


def inverse(trial: Trial) -> str:
    """Data to latent and back, and the log-determinants of the two ways cancel; in float64, and through the model."""
    worst = 0.0
    for bijection, x, c in bijections(trial):
        with torch.no_grad(), double_precision():
            z, there = bijection(x, c)
            back, again = bijection.inverse(z, c)
        scale = max(1.0, x.abs().max().item())
        worst = max(worst, (back - x).abs().max().item() / scale, (there + again).abs().max().item() / x[0].numel())
    if not worst <= 1e-6:
        raise Broken(f"after there and back {worst:.2g} is missing")
    model: Any = trial.model
    if isinstance(model, Encodes):
        with torch.no_grad():
            back = model.decode(model.encode(trial.x, trial.y), trial.y).double()
        off = (back - trial.x.double()).abs().max().item()
        if not off <= 1e-3 * max(1.0, trial.x.double().abs().max().item()):
            raise Broken(f"decode(encode(x)) differs from x by {off:.2g}")
    return f"to {worst:.1g}"


def jacobian(trial: Trial) -> str:
    """log_det against log|det| of the Jacobian that autograd finds; on a smaller image where the data are too large."""
    if not holds_bijection(trial.model):
        raise Unfit("no bijection in it")
    if trial.spec.dimensions > JACOBIAN:
        C, H, W = trial.spec.shape if trial.spec.kind == "image" else (0, 0, 0)
        if not 0 < C <= 4:
            raise Unfit(f"{trial.spec.dimensions} dimensions are too many for a Jacobian")
        trial = reduced(trial, (C, min(H, 8), min(W, 8)), trial.spec.levels)
    worst, count = 0.0, 3
    for bijection, xs, cs in bijections(trial):
        for i in range(count):
            x, c = xs[i : i + 1], None if cs is None else cs[i : i + 1]
            with double_precision():
                matrix = torch.autograd.functional.jacobian(lambda v, b=bijection, c=c: b(v, c)[0].flatten(), x)
                exact = torch.linalg.slogdet(matrix.view(x.numel(), x.numel())).logabsdet
                worst = max(worst, (bijection(x, c)[1] - exact).abs().item())
    if not worst <= 1e-6 * trial.spec.dimensions:
        raise Broken(f"log_det is off by {worst:.3g} nats")
    return f"to {worst:.1g} nats, {trial.spec.dimensions} dimensions"


def causality(trial: Trial) -> str:
    """What comes later in the model's order changes no conditional before it.

    Of models that say so: ``conditionals(x)``, else a call, gives parameters (B, P, *spec.shape) of a ``likelihood``;
    ``order``, the flat indices as they are generated, else row by row with the channels of a pixel one by one.
    """
    model: Any = trial.model
    ask = getattr(model, "conditionals", None) or (model if hasattr(model, "likelihood") else None)
    if ask is None or not model.exact:
        raise Unfit("it has no conditionals to look at")
    size, shape = trial.spec.dimensions, trial.spec.shape
    order = getattr(model, "order", None)
    if order is None:
        order = torch.arange(size).view(shape)
        order = (order.permute(1, 2, 0) if len(shape) == 3 else order).flatten()
    places = torch.arange(size) if size <= 64 else torch.randperm(size)[:64].sort().values
    x = trial.x[:1].flatten(1).repeat(len(places), 1)[:, order]
    fresh = x[torch.randperm(len(x))] if trial.spec.levels is None else torch.randint_like(x, trial.spec.levels)
    later = torch.arange(size) >= places[:, None]
    changed = torch.where(later, fresh if trial.spec.levels is not None else fresh + torch.randn_like(fresh), x)
    back = torch.argsort(order)
    with torch.no_grad():
        one, other = (ask(v[:, back].view(-1, *shape)).flatten(2)[:, :, order] for v in (x, changed))
    off = (one - other).abs().amax(1)
    seen = off.masked_fill(torch.arange(size) > places[:, None], 0)
    if not seen.max().item() <= 1e-5 * max(1.0, one.abs().max().item()):
        first = int(places[seen.amax(1) > 0][0])
        raise Broken(f"a parameter of one of the first {first + 1} values moves by {seen.max():.2g} with later ones")
    return f"{len(places)} places of {size}, later ones move by {off.max():.2g}"


def entropy(trial: Trial) -> str:
    """E[-log p(x)] >= entropy: who does better counts something twice."""
    known = getattr(trial.data, "entropy", None)
    if known is None:
        raise Unfit("no entropy is known of these data")
    x = trial.data.split("test").x[:10_000]
    y = trial.data.split("test").y
    with torch.no_grad():
        nats = -trial.model.log_prob(x, None if y is None else y[: len(x)]).double()  # type: ignore[operator]
    mean, error = nats.mean().item(), nats.std().item() / math.sqrt(len(nats))
    if not mean >= known - 3 * error:
        raise Broken(f"{mean:.3f} +- {error:.3f} nats, and the entropy is {known:.3f}")
    return f"{mean:.3f} +- {error:.3f} nats against {known:.3f}"


LAWS = (
    Law("gradients reach every parameter", (), gradients),
    Law("sample i depends on seed i alone", (Samples,), seeds_alone),
    Law("samples lie in data space", (Samples,), data_space),
    Law("saved and loaded, it samples the same", (Samples,), saved),
    Law("codes have the size they should", (Decodes,), codes),
    Law("log p depends on the example alone", (Density,), examples_alone),
    Law("the density integrates to one", (Density,), integral),
    Law("probabilities sum to one, bounds to less", (Density, Bound), enumeration),
    Law("more samples make a bound no looser", (Bound,), tighter),
    Law("bijections invert", (Density, Bound), inverse),
    Law("log-determinants are those of autograd", (Density, Bound), jacobian),
    Law("no conditional sees what comes later", (Density,), causality),
    Law("no density beats the entropy", (Density,), entropy),
)


def inhabits(x: Tensor, spec: Spec) -> str:
    """What kind of values x holds; ``Broken`` where the data hold others."""
    if x.shape != (BATCH, *spec.shape):
        raise Broken(f"{BATCH} samples have shape {tuple(x.shape)}, not {(BATCH, *spec.shape)}")
    if spec.levels is None:
        if not x.is_floating_point() or not bool(torch.isfinite(x).all()):
            raise Broken(f"{x.dtype}, and not all finite" if x.is_floating_point() else f"{x.dtype}, the data are floats")
        return f"{x.dtype}".removeprefix("torch.") + f" in [{x.min():.3g}, {x.max():.3g}]"
    if x.is_floating_point():
        raise Broken(f"{x.dtype}, the data are integers")
    low, high = int(x.min()), int(x.max())
    if low < 0 or high >= spec.levels:
        raise Broken(f"values {low} to {high}, the data have {spec.levels} levels")
    return f"{x.dtype}".removeprefix("torch.") + f" {low} to {high} of {spec.levels} levels"


def listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def near_one(total: float, tolerance: float) -> str:
    if not abs(total - 1) <= tolerance:
        raise Broken(f"{total:.5f}")
    return f"{total:.5f}"


def probabilities(trial: Trial, x: Tensor) -> Tensor:
    """exp log p of each example in float64, all of one class."""
    with torch.no_grad():
        return trial.model.log_prob(x, trial.label(len(x))).double().exp()  # type: ignore[operator]


def reduced(trial: Trial, shape: tuple[int, ...], levels: int | None) -> Trial:
    """The model on another shape; ``Unfit`` where it cannot be built so."""
    try:
        return trial.smaller(shape, levels)
    except Exception as error:
        raise Unfit(f"not to be had for shape {shape}: {' '.join(str(error).split())}") from None


def listing(trial: Trial) -> tuple[Trial, Tensor]:
    """The model for the smallest images, and all of them."""
    shape = trial.spec.shape
    if trial.spec.levels is None or trial.spec.kind != "image" or shape[0] not in SMALL:
        raise Unfit("for images of integer levels")
    small = reduced(trial, SMALL[shape[0]], 2)
    images = torch.tensor(list(product((0, 1), repeat=small.spec.dimensions)), dtype=torch.uint8)
    return small, images.view(-1, *small.spec.shape)


def holds_bijection(model: nn.Module) -> bool:
    return any(isinstance(module, Bijection) for module in model.modules())


@contextmanager
def double_precision() -> Iterator[None]:
    """New tensors are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def bijections(trial: Trial) -> Iterator[tuple[Any, Tensor, Tensor | None]]:
    """The bijections in a model that are not part of others, in float64, and what each gets to see of a batch."""
    if not holds_bijection(trial.model):
        raise Unfit("no bijection in it")
    model: Any = copy.deepcopy(trial.model).double()
    found = {name: module for name, module in model.named_modules() if isinstance(module, Bijection)}
    outer = [m for name, m in found.items() if not any(name.startswith(f"{other}." if other else "") and name != other for other in found)]
    seen: dict[nn.Module, tuple[Any, ...]] = {}
    hooks = [m.register_forward_pre_hook(lambda m, a, k: seen.setdefault(m, (*a, *k.values())) and None, with_kwargs=True) for m in outer]
    with torch.no_grad(), double_precision():
        x = trial.x if trial.spec.levels is not None else trial.x.double()
        (model.log_prob if isinstance(model, Density) else model.bound)(x, trial.y)
    for hook in hooks:
        hook.remove()
    for module, arguments in seen.items():
        yield module, arguments[0], arguments[1] if len(arguments) > 1 else None
