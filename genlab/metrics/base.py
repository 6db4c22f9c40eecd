"""What a metric is: a ``torchmetrics.Metric`` that says what it needs and returns figures that carry their protocol.

A metric is one file here and one YAML in ``conf/metric``; nothing else changes. Metrics inherit from
``torchmetrics.Metric`` alone, keep sums as states (so ranks synchronise and memory does not grow with the samples), and
fulfil the protocol below. A state that is a list holds flat tensors of float32: a rank that was shown nothing hands
over an empty vector of these. ``tests/test_metric_ranks.py`` compares two ranks with one for every YAML.
``genlab.evaluation.measure`` drives them:

``update(batch, source, model)`` for every batch of every source that ``reads`` names: generated examples first, then
the splits of the data. ``model`` is None where only its examples are at hand (``samples=``, ``real=``): then metrics
that need no more than ``Samples`` apply, and no others.

A batch is ``{"x": (B, *spec.shape), "y": (B,) where there are labels, "index": (B,) positions among all n}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from genlab.spec import Spec

if TYPE_CHECKING:  # tables and reports read figures without torch
    from torch import Tensor, nn


class Figure(NamedTuple):
    """One number, and all that must be known to compare it.

    Args:
        value: the number, an ``int`` where it is a count.
        mark: ``=`` exact, ``<=`` or ``>=`` a bound on the true figure, ``~`` a stochastic estimate, empty where the
            figure is what it is, as a score.
        stderr: standard error of ``value``, None where it has none.
        protocol: what changes the number besides the model; figures of unlike protocols are never averaged.
    """

    value: float
    mark: str = ""
    stderr: float | None = None
    protocol: dict[str, Any] = {}  # noqa: RUF012  never written to


GENERATED = "generated"
"""The source of generated examples; the others are the splits of the data."""


class ModelMetric(Protocol):
    """What evaluation asks of a metric, besides being a ``torchmetrics.Metric``."""

    needs: ClassVar[tuple[type, ...]]
    """Protocols of ``genlab.models.base`` of which the model must have one."""

    figures: ClassVar[tuple[str, ...]]
    """Names of the figures that ``compute`` may return; ``metrics=`` takes them as well as names of metrics."""

    varied: ClassVar[tuple[str, ...]]
    """Those of which there is none where all samples are equal, for it would say nothing; may be left out."""

    on_request: ClassVar[bool]
    """Whether it is computed only where ``metrics=`` names it. May be missing: False."""

    prefers: ClassVar[str]
    """The extractor that it takes of data that no extractor suits, where none is named. May be missing: none."""

    reads: tuple[str, ...]
    """What it is shown: ``generated`` examples, and splits of the data: train, val, test."""

    def refuses(self, spec: Spec) -> str:
        """Why it cannot score examples of this kind; empty where it can."""
        ...

    def update(self, batch: Mapping[str, Tensor], source: str, model: nn.Module | None = None) -> None:
        """Add a batch of a source."""
        ...

    def compute(self) -> dict[str, Figure]:
        """The figures by name, over all ranks; the extractor's name is added by the caller."""
        ...


def comparable(protocol: Mapping[str, Any]) -> str:
    """What two figures must share to stand in one column: their protocols but for how each model's was come by."""
    return json.dumps({key: value for key, value in protocol.items() if key not in OWN}, sort_keys=True)


OWN = (
    "checkpoint", "step", "weights", "k", "drawn after", "seed", "batch", "seeds", "samples", "examples",
    "examples hash", "members",
)  # fmt: skip
"""Entries of a protocol that are a model's own affair. They keep figures from being averaged, not from being compared:
one column holds exact likelihoods beside bounds of any k, with their marks."""
