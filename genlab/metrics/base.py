"""What a metric is: a ``torchmetrics.Metric`` that says what it needs and returns figures that carry their protocol.

A metric is one file here and one YAML in ``conf/metric``; nothing else changes. Metrics inherit from
``torchmetrics.Metric`` alone, keep sums as states (so ranks synchronise and memory does not grow with the samples), and
fulfil the protocol below. ``genlab.evaluate`` drives them:

* ``needs = (Samples,)``: ``update(batch)`` for every batch of generated examples, and ``update(batch, real=True)`` for
  every batch of the data split named by ``split``, where it names one.
* any other ``needs``: ``update(batch, model=model)`` for every batch of ``split``.

A batch is ``{"x": (B, *spec.shape), "y": (B,) where there are labels, "index": (B,) positions among all n}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

from genlab.spec import Spec


class Figure(NamedTuple):
    """One number, and all that must be known to compare it.

    Args:
        value: the number.
        mark: ``=`` exact, ``<=`` or ``>=`` a bound on the true figure, ``~`` a stochastic estimate, empty where the
            figure is what it is, as a score.
        stderr: standard error of ``value``, None where it has none.
        protocol: what changes the number besides the model; figures of unlike protocols are never averaged.
    """

    value: float
    mark: str = ""
    stderr: float | None = None
    protocol: dict[str, Any] = {}  # noqa: RUF012  never written to


class ModelMetric(Protocol):
    """What ``genlab.evaluate`` asks of a metric, besides being a ``torchmetrics.Metric``."""

    needs: ClassVar[tuple[type, ...]]
    """Protocols of ``genlab.models.base`` of which the model must have one."""

    figures: ClassVar[tuple[str, ...]]
    """Names of the figures that ``compute`` may return; ``metrics=`` takes them as well as names of metrics."""

    split: str | None
    """The split of the data it reads: train, val or test; None where it reads none."""

    def refuses(self, spec: Spec) -> str:
        """Why it cannot score examples of this kind; empty where it can."""
        ...

    def compute(self) -> dict[str, Figure]:
        """The figures by name, over all ranks; the extractor's name is added by the caller."""
        ...


def comparable(protocol: Mapping[str, Any]) -> str:
    """What two figures must share to stand in one column: their protocols but for how each model's was come by."""
    return json.dumps({key: value for key, value in protocol.items() if key not in OWN}, sort_keys=True)


OWN = ("checkpoint", "weights", "k", "seed", "batch")
"""Entries of a protocol that are a model's own affair. They keep figures from being averaged, not from being compared:
one column holds exact likelihoods beside bounds of any k, with their marks."""
