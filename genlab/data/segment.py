"""A segment of a line in the plane: the simplest data whose support has no area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genlab.data.planar import Planar


@dataclass(kw_only=True)
class Segment(Planar):
    """(0, u), u uniform on [0, 1]. (Arjovsky, Chintala and Bottou 2017, arXiv 1701.07875, example 1)

    Against the same segment moved to the right by theta: KL is infinite, JS = log 2 and W = |theta|, but for theta = 0,
    where all of them are 0. It has no density in the plane, so no likelihood model can be trained on it.
    """

    name: ClassVar[str] = "segment"

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, None]:
        return np.stack([np.zeros(count), random.random(count)], 1), None
