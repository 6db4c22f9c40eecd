"""Sums and differences of mean codes, and what they decode to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genlab.checkpoint import Loaded
from genlab.errors import ConfigError, nearest
from genlab.metrics.choose import extractors
from genlab.models.base import Decodes, Encodes
from genlab.noise import Noise
from genlab.pictures import save_strips
from genlab.spec import Spec
from genlab.tasks.base import Made, capable, examples_of

DRAWN = 2000
TAKES = ("terms",)
EXAMPLES = 6
JITTER = 0.25


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """For ``terms=8-3+5``, classes or attributes by name: a strip for each, six of its members and its mean code
    decoded, and one of the sum, itself first and then with jitter uniform on [-0.25, 0.25].

    (Radford et al. 2016, arXiv 1511.06434, section 6.3.2: means of three codes, chosen by eye, of samples. Here they
    are means of all members.) Members are training examples with that label, by their codes, where the model encodes;
    else samples of 2000 seeds that the extractor of such data gives that label.

    In samples.npz, ``samples`` are the examples, strip by strip; ``code`` (Z) the sum.
    """
    model = capable(loaded, "arithmetic", Decodes, "has no latent code to decode")
    if loaded.spec.kind != "image":
        raise ConfigError("task", "arithmetic", f"it draws images, and these data are {loaded.spec.kind}")
    if getattr(model, "conditional", False):
        raise ConfigError("task", "arithmetic", "the codes of a conditional model do not tell the class")
    terms = parsed(options["terms"], loaded.spec)
    codes, labels = members(loaded, model, options, device)
    strips: dict[str, Tensor] = {}
    total = torch.zeros(model.latent, device=codes.device)
    for sign, name in terms:
        own = codes[belongs(labels, name, loaded.spec)]
        if not len(own):
            raise ConfigError("terms", name, "no example of it was found")
        total = total + sign * own.mean(0)
        strips[("+ " if sign > 0 else "- ") + name] = torch.cat([own[:EXAMPLES], own.mean(0, keepdim=True)])
    shifts = (2 * Noise(seeds[:EXAMPLES], device).uniform(model.latent) - 1) * JITTER
    strips["= sum, and with jitter"] = torch.cat([total[None], total + shifts])
    with torch.no_grad():
        shown = {name: levelled(model.decode(z), loaded.spec).cpu()[None] for name, z in strips.items()}
    x = torch.cat([strip[0] for strip in shown.values()])
    arrays = {"code": total.cpu().numpy()}
    return Made(x, draw=partial(save_strips, shown, loaded.spec), arrays=arrays)


def levelled(x: Tensor, spec: Spec) -> Tensor:
    """Integers, of a decoder that gives means too."""
    assert spec.levels is not None
    return x.round().clamp(0, spec.levels - 1).to(torch.uint8)


def parsed(text: Any, spec: Spec) -> list[tuple[int, str]]:
    """``8-3+5`` as [(1, "8"), (-1, "3"), (1, "5")].

    Raises:
        ConfigError: a name is none of the data's.
    """
    names = spec.classes or spec.attributes
    if text is None:
        example = "-".join(names[:2]) + f"+{names[2]}" if len(names) > 2 else "a-b+c"
        raise ConfigError("terms", "", f"say which, as in terms={example}")
    found = re.findall(r"([+-]?)\s*([^+\-\s]+)", str(text))
    for _, name in found:
        if name not in names:
            reason = f"there are {', '.join(names[:40]) or 'no classes'}"
            raise ConfigError("terms", name, reason, nearest(name, names))
    return [(-1 if sign == "-" else 1, name) for sign, name in found]


def members(loaded: Loaded, model: Any, options: Mapping[str, Any], device: Any) -> tuple[Tensor, Tensor]:
    """Codes, (N, Z), and their labels, (N,) or (N, A)."""
    with torch.no_grad():
        if isinstance(model, Encodes):
            train = examples_of(loaded, "train")
            if train.y is None:
                raise ConfigError("task", "arithmetic", "these data have no labels")
            x, y = train.x[:5000], train.y[:5000]
            return torch.cat([model.encode(part.to(device)) for part in x.split(500)]), y
        found, refusals = extractors({**options, "metrics": "auto"}, loaded.spec)
        if not found:
            raise ConfigError("task", "arithmetic", f"no classifier of such data: {'; '.join(refusals)}")
        codes = Noise(range(DRAWN), device).normal(model.latent)
        labels = [found[0](levelled(model.decode(part), loaded.spec)).logits.argmax(1) for part in codes.split(250)]
        return codes, torch.cat(labels).cpu()


def belongs(labels: Tensor, name: str, spec: Spec) -> Tensor:
    """Which rows have a label, (N,) of bool."""
    if spec.classes:
        return labels == spec.classes.index(name)
    return labels[:, spec.attributes.index(name)] > 0
