"""Which metrics to compute: those in ``conf/metric`` that are asked for, the model is able to, and the data allow."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from torchmetrics import Metric

from genlab.build import build, locate
from genlab.data.base import Data
from genlab.data.store import say
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.extractors.base import Shared
from genlab.models.base import Samples
from genlab.presets import based, conf_folder, read
from genlab.spec import Spec

LACKS = {
    "Samples": "does not sample",
    "Density": "has no density",
    "Bound": "has no bound of the likelihood",
    "Decodes": "decodes no codes",
    "Encodes": "encodes nothing",
    "Quantises": "has no codebook",
    "Posterior": "has no posterior",
    "Joint": "has no joint density of examples and codes",
    "Weighs": "weighs no codes",
    "Criticises": "has no critic",
    "Classifies": "does not classify",
    "Featurises": "gives no features",
    "Game": "is no game",
}
"""What a model without an ability is told to be."""


class Passing(str):
    """A reason that may not hold the next time: weights that could not be had."""


def choose(
    options: Mapping[str, Any], model: nn.Module | None, data: Data, n: int, loss: Any = None
) -> tuple[dict[str, Metric], dict[str, str]]:
    """Metrics by name, built, for a model, or for n examples alone; and why the others are left out, by name.

    The name of a metric with an extractor ends in the extractor's. Entries of a metric's YAML may refer to the options
    of evaluation, as in ``k: ${k}``; arguments without a default come from here: ``spec``, ``data``, ``extractor``,
    ``n``, the number of generated examples, and ``loss``, which the model was trained by.

    Raises:
        ConfigError: ``metrics`` names something that is neither a metric nor a figure of one.
    """
    nodes, spec = presets("metric", options), data.spec
    wanted = _wanted(options["metrics"], nodes)
    takes = {name: "extractor" in inspect.signature(locate(nodes[name]["_target_"])).parameters for name in wanted}
    shared, refusals = extractors(options, spec, alone=all(takes.values()))
    metrics: dict[str, Metric] = {}
    left_out: dict[str, str] = {}
    for name in wanted:
        target: Any = locate(nodes[name]["_target_"])
        title = ", ".join(target.figures)
        if not (isinstance(model, target.needs) or (model is None and target.needs == (Samples,))):
            lacks = " and ".join(LACKS.get(ability.__name__, f"is no {ability.__name__}") for ability in target.needs)
            left_out[title] = (
                f"{type(model).__name__} {lacks}" if model is not None else "there is no model, only examples"
            )
            continue
        found: Sequence[Shared | None] = [None]
        if takes[name]:
            found = shared or preferred(target, options, spec)
            if refusals:
                why = "; ".join(dict.fromkeys(refusals))
                left_out[title] = Passing(why) if any(isinstance(each, Passing) for each in refusals) else why
        for extractor in found:
            metric = build(nodes[name], spec=spec, data=data, n=n, extractor=extractor, loss=loss)
            metric.given = given("metric", name, options)  # for the protocol
            refusal = metric.refuses(spec)
            if refusal:
                left_out[title] = refusal
            else:
                metrics[name if extractor is None else f"{name}_{extractor.name}"] = metric
    taken: list[Any] = list(metrics.values())
    there = {figure for metric in taken for figure in metric.figures}  # several metrics may give one figure
    lacking = {", ".join(f for f in title.split(", ") if f not in there): why for title, why in left_out.items()}
    return metrics, {title: why for title, why in lacking.items() if title}


def preferred(target: Any, options: Mapping[str, Any], spec: Spec) -> list[Shared]:
    """The extractor that a metric takes where no other suits such data and none is named."""
    name = getattr(target, "prefers", "")
    if not name or options.get("extractor"):
        return []
    node = presets("extractor", options)[name]
    able: Any = locate(node["_target_"])
    return [] if able.refuses(spec) else [Shared(made(node, spec), node)]


def extractors(options: Mapping[str, Any], spec: Spec, alone: bool = True) -> tuple[list[Shared], list[str]]:
    """The extractor that the options name, or all that suit the data; and why some are missing.

    Raises:
        ConfigError: the extractor named cannot look at such data, or its options are wrong.
        GenlabError: the weights of the one named cannot be had, and there are no figures ``alone`` of it that can.
    """
    node = options.get("extractor")
    if node:
        target: Any = locate(node["_target_"])
        if refusal := target.refuses(spec):
            raise ConfigError("extractor", target.name, refusal)
        try:
            return [Shared(made(node, spec), node)], []
        except ConfigError:
            raise
        except GenlabError as error:
            if alone:
                raise
            return [], [Passing(error)]
    found, able, refusals = [], [], []
    damaged: list[str] = []
    for node in presets("extractor", options).values():
        target = locate(node["_target_"])
        if target.suits(spec):
            try:
                found.append(Shared(made(node, spec), node))
            except GenlabError as error:  # of its weights; nobody named it, so the figures of others go on
                damaged.append(Passing(error))
        elif not target.refuses(spec):
            able.append(target.name)
        else:
            refusals.append(target.refuses(spec))
    if found:
        return found, damaged
    could = [f"no extractor is taken for such data unasked; extractor={', '.join(able)} could look at them"]
    return [], [*damaged, *(could if able else refusals)]


def made(node: Mapping[str, Any], spec: Spec) -> Any:
    """An extractor; where it draws weights, as a net of the user's without any does, they are the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(node, spec=spec)


def presets(group: str, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every config of a group by name: those that come with genlab, then those in the user's ``config_dir`` folders. Of
    one that is amiss there is a line; figures that do not need it go on without."""
    nodes, folders = {}, options.get("config_dir") or ()
    for folder in (conf_folder(), *map(Path, folders)):
        for path in sorted((folder / group).glob("*.yaml")):
            try:
                nodes[path.stem] = preset(group, path, options) | given(group, path.stem, options)
            except ConfigError as error:
                say(f"{error}; left out")
    return nodes


def preset(group: str, path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The one of a file, with what it builds on and what it refers to.

    Raises:
        ConfigError: it is none.
    """
    below = [one for one in read(path).get("defaults") or [] if isinstance(one, str) and one != "_self_"]
    files = [file for one in below for file in based(group, one, options.get("config_dir") or ())]
    try:
        written = OmegaConf.merge(*map(OmegaConf.load, [*files, path]))
        whole = OmegaConf.create({**options, "_preset_": written})
        node = OmegaConf.to_container(whole._preset_, resolve=True)
    except OmegaConfBaseException as error:
        told = re.sub(r" full_key: .*", "", " ".join(str(error).split()))
        raise ConfigError(f"{group}/{path.stem}", path, told) from None
    if not isinstance(node, dict) or "_target_" not in node:
        raise ConfigError(f"{group}/{path.stem}", path, "a preset is a mapping with a _target_")
    return {str(key): value for key, value in node.items() if key != "defaults"}


def given(group: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a metric from the command line, ``metric.frechet.split=train``."""
    return dict((options.get("metric") or {}).get(name) or {}) if group == "metric" else {}


def _wanted(asked: Any, nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of metrics, from ``auto``, names of metrics, or names of figures with or without an extractor's."""
    if asked in (None, "auto"):
        return [name for name, node in nodes.items() if not getattr(locate(node["_target_"]), "on_request", False)]
    known: dict[str, list[str]] = {name: [name] for name in nodes}
    for name, node in nodes.items():
        for figure in getattr(locate(node["_target_"]), "figures", ()):
            known.setdefault(figure, []).append(name)  # several metrics may give one figure, each of other data
    wanted: list[str] = []
    for text in named({"metrics": asked}):
        names = known.get(text) or [name for figure in known if text.startswith(f"{figure}_") for name in known[figure]]
        if not names:
            raise ConfigError("metrics", text, f"no such metric; there are {', '.join(known)}", nearest(text, known))
        wanted += names
    return list(dict.fromkeys(wanted))


def named(options: Mapping[str, Any]) -> list[str]:
    """The names that ``metrics`` holds; none for all that there are."""
    asked = options["metrics"]
    if asked in (None, "auto"):
        return []
    return [name for name in (asked.split(",") if isinstance(asked, str) else map(str, asked)) if name]


def asked_for(figure: str, options: Mapping[str, Any]) -> bool:
    """Whether ``metrics`` names a figure, with or without its extractor, or the metric that it is of; or nothing."""
    names = set(named(options))
    if not names:
        return True
    for name, node in presets("metric", options).items():
        for given in getattr(locate(node["_target_"]), "figures", ()):
            if (figure == given or figure.startswith(f"{given}_")) and {name, given} & names:
                return True
    return figure in names
