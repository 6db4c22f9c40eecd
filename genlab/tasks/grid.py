"""Samples, in rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genlab.checkpoint import Loaded
from genlab.tasks.base import Made, chosen_labels, generate

TAKES = ("y", "temperature")


def make(loaded: Loaded, seeds: list[int], options: Mapping[str, Any], device: Any) -> Made:
    """One sample a seed, of the class ``y`` where the model knows classes."""
    labels = chosen_labels(loaded, options, len(seeds))
    return Made(generate(loaded.model, seeds, labels, options["temperature"], device), labels)
