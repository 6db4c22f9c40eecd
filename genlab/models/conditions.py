"""Labels as numbers that a net can be given."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genlab.errors import ConfigError
from genlab.spec import Spec


def conditions(spec: Spec, wanted: bool) -> int:
    """Number K of conditions of an example: its classes, else its attributes; 0 where none are wanted.

    Raises:
        ConfigError: the data have neither.
    """
    if not wanted:
        return 0
    count = len(spec.classes) or len(spec.attributes)
    if not count:
        raise ConfigError("model.conditional", True, "these data have no labels", "false")
    return count


def as_conditions(y: Tensor | None, spec: Spec) -> Tensor:
    """Class labels, (B,), one-hot, or attributes, (B, K) or maps of them, (B, K, H, W), as they are: float32 or finer.

    Raises:
        ConfigError: there are no labels.
    """
    if y is None:
        raise ConfigError("y", None, "this model is conditional, so every example needs a label")
    if spec.classes:
        return one_hot(y.long(), len(spec.classes)).float()
    return y if y.is_floating_point() else y.to(torch.float32)


def in_turn(spec: Spec, count: int, known: Tensor | None) -> Tensor:
    """Labels for ``count`` examples: all classes in turn, (count,), else the attributes of ``known`` examples in turn,
    (count, K), whose combinations occur.

    Raises:
        ConfigError: there are neither.
    """
    if spec.classes:
        return torch.arange(count) % len(spec.classes)
    if known is None:
        raise ConfigError("y", None, "this model is conditional, so every example needs a label")
    return known[torch.arange(count) % len(known)].cpu()
