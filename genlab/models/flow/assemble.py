"""What every flow needs around its steps: a logit and dequantisation for integers, a base, and a look at the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from genlab.bijections.base import Bijection
from genlab.bijections.chain import Chain
from genlab.bijections.flatten import Flatten
from genlab.bijections.logit import Logit
from genlab.errors import ConfigError, nearest
from genlab.models.flow.dequantized import Dequantized
from genlab.models.flow.flow import Base, Flow
from genlab.models.flow.standard_normal import StandardNormal
from genlab.models.flow.variational import VariationalNoise
from genlab.spec import Spec

DEQUANTIZATIONS = ("uniform", "variational")


def admit(spec: Spec, name: str, conditional: bool = False, least: int = 1) -> int:
    """The number of features of the context: of classes, or 0. ``least`` dimensions are needed.

    Raises:
        ConfigError: data, or a condition, that no flow can have.
    """
    if spec.kind not in ("image", "vector"):
        raise ConfigError("data", spec.kind, f"{name} models images and vectors, not sequences")
    if spec.dimensions < least:
        raise ConfigError("data", spec.shape, f"{name} needs {least} dimensions: one decides about another")
    if conditional and not spec.classes:
        raise ConfigError("model.conditional", conditional, "these data have no classes")
    return len(spec.classes) if conditional else 0


def assemble(
    steps: Iterable[Bijection],
    spec: Spec,
    conditional: bool = False,
    alpha: float | None = None,
    base: Base | None = None,
    dequantization: str = "uniform",
) -> Flow | Dequantized:
    """A ``Flow`` for continuous data, a ``Dequantized`` flow for integers.

    Args:
        steps: from (B, *spec.shape) to (B, D), one after the other.
        spec: of the data.
        conditional: whether their context is the class, one-hot.
        alpha: of a logit before the first of them, where data are integers; None for no logit, so that they see
            [0, 1).
        base: distribution of the latent; None for N(0, I).
        dequantization: of integers, ``uniform`` or ``variational``.

    Raises:
        ConfigError: there is no such dequantisation.
    """
    if dequantization not in DEQUANTIZATIONS:
        reason = f"no such dequantisation; there are {', '.join(DEQUANTIZATIONS)}"
        raise ConfigError("model.dequantization", dequantization, reason, nearest(dequantization, DEQUANTIZATIONS))
    chain = [*([] if spec.levels is None or alpha is None else [Logit(alpha)]), *steps]
    bijection = chain[0] if len(chain) == 1 else Chain(chain)
    flow = Flow(bijection, base or StandardNormal(spec.dimensions), spec, conditional)
    if spec.levels is None:
        return flow
    return Dequantized(flow, VariationalNoise(spec) if dequantization == "variational" else None)


def as_vector(spec: Spec, alpha: float) -> list[Bijection]:
    """What a flow of vectors has before its steps: a logit of integers, a flattening of images."""
    before: list[Bijection] = [Logit(alpha)] if spec.levels is not None else []
    return [*before, Flatten(spec.shape)] if len(spec.shape) > 1 else before


def check_counts(**counts: int | Sequence[int]) -> None:
    """Raises:
    ConfigError: a number of layers or units is less than one.
    """
    for key, value in counts.items():
        if min([value] if isinstance(value, int) else value, default=1) < 1:
            raise ConfigError(f"model.{key}", value, "at least one is needed")
