"""``init_from``: the weights that a training starts from, of another run or model."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from genlab import checkpoint
from genlab.errors import ConfigError
from genlab.run import Run

ALSO = {"generator": "decoder", "decoder": "generator"}
"""Parts of models that do the same under another name."""


def initialise(model: nn.Module, source: Path) -> tuple[dict[str, str], list[str]]:
    """Start from the weights of another run or checkpoint, averaged ones where there are any: all tensors of the same
    name and shape. What one model calls its generator another calls its decoder; such parts, whose tensors have other
    names but the same shapes one after the other, are taken as they follow.

    Returns:
        Which of its tensors each of the model's was taken from, by name; and a line about each part of the model.

    Raises:
        ConfigError: there is none, or not all of a part that the model leaves as it is given.
        CheckpointError: they cannot be read, or are not finite.
    """
    theirs = checkpoint.tensors(Run(source).checkpoint() if source.is_dir() else source)
    own = model.state_dict()
    taken = {key: key for key in own if key in theirs and theirs[key].shape == own[key].shape}
    for part, other in ALSO.items():
        mine = [key for key in own if key.startswith(f"{part}.")]
        found = [key for key in theirs if key.startswith(f"{other}.")]
        if mine and [own[key].shape for key in mine] == [theirs[key].shape for key in found]:
            taken |= dict(zip(mine, found, strict=True))
    if not taken:
        raise ConfigError("init_from", source, f"none of its tensors has a name and shape of {type(model).__name__}'s")
    for part in getattr(model, "frozen", ()):
        ours = [key for key in own if key.partition(".")[0] == part]
        if lacking := [key for key in ours if key not in taken]:
            gives = f"{len(lacking)} of {len(ours)} tensors of {part}, which learns nothing here, are missing there"
            raise ConfigError("init_from", source, f"{gives} or of another shape; model.* and data.* must be the same")
    model.load_state_dict(own | {key: theirs[other] for key, other in taken.items()})
    told = []
    for part in dict.fromkeys(key.partition(".")[0] for key in own):
        ours = [key for key in own if key.partition(".")[0] == part]
        sources = ", ".join(dict.fromkeys(taken[key].partition(".")[0] for key in ours if key in taken))
        count = sum(key in taken for key in ours)
        told.append(
            f"init_from={source}: {part}: {count} of {len(ours)} tensors taken{f' from {sources}' if count else ''}"
        )
    return taken, told
