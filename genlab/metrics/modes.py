"""Modes captured, where the data are made of known ones: mixtures on the plane, and stacked digits."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from genlab.data.base import Data
from genlab.errors import GenlabError
from genlab.extractors.base import Extractor
from genlab.metrics.base import GENERATED, Figure
from genlab.metrics.birthday import nearest_distances
from genlab.metrics.memorisation import nearest_distance
from genlab.models.base import Batch, Samples
from genlab.spec import Spec

USUAL = 2500
"""Samples of a mixture in the papers on mode collapse."""
STACKS = tuple(f"{number:03d}" for number in range(1000))  # the classes of stacked MNIST


def reverse_kl(counts: Tensor) -> float:
    """sum_k p_k log(p_k K) in nats: KL from the uniform distribution over K modes to the shares p of ``counts``, (K,).

    0 for equal shares, log K where one mode has all. n draws of a perfect sampler give about (K - 1) / (2n).
    """
    p = counts.double() / counts.sum()
    return float(torch.xlogy(p, p * len(p)).sum())


class Modes(Metric):
    """Which of the K Gaussians of a mixture are found, by how many of the samples, and how evenly.

    A sample is of high quality if it lies within 3 standard deviations of the nearest centre, and then counts for its
    mode. ``high_quality`` is the share of such samples (stderr binomial), ``modes`` the number of modes with at least
    20 of them, ``reverse_kl`` the divergence of their shares from uniform. (Srivastava et al. 2017, arXiv 1705.07761,
    section 5.1; Lin et al. 2018, arXiv 1712.04086.) Deviation: there a mode counts with one sample, where stray ones
    of a single wide blob touch most modes; 20 are meant for 2500 samples.

    Samples of the mixture itself have a share of 1 - exp(-9/2) = 0.989 on the plane: more means that the modes have
    shrunk. A sample that is not finite is of low quality.

    Args:
        data: of which ``centres``, (K, D), and ``std`` are known.
        within: number of standard deviations.
        least: number of samples with which a mode counts.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("modes", "high_quality", "reverse_kl")
    higher_is_better = True
    full_state_update = False
    count: Tensor
    total: Tensor

    def __init__(self, data: Data, within: float = 3.0, least: int = 20):
        super().__init__()
        self.reads = (GENERATED,)
        self.centres: Tensor | None = getattr(data, "centres", None)
        self.std: float | None = getattr(data, "std", None)
        self.within, self.least = within, least
        modes = 0 if self.centres is None else len(self.centres)
        self.add_state("count", torch.zeros(modes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Modes are counted where it is known what they are."""
        return "" if self.centres is not None and self.std is not None else "the modes of these data are not known"

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated points."""
        assert self.centres is not None and self.std is not None  # refused before
        x = batch["x"].flatten(1).double()
        centres = self.centres.to(x)
        distance, nearest = (x[:, None] - centres).square().sum(2).sqrt().min(1)
        near = distance <= self.within * self.std  # False where the distance is NaN
        self.count.index_add_(0, nearest[near], torch.ones_like(distance[near]))
        self.total += len(x)

    def compute(self) -> dict[str, Figure]:
        """modes and high_quality; reverse_kl where any sample is of high quality."""
        if not self.total:
            raise GenlabError("modes are counted among samples, and here is none")
        n, good = float(self.total), float(self.count.sum())
        share, protocol = good / n, self._protocol()
        if n < self.least * len(self.count):
            most, all_of = int(n) // self.least, len(self.count)
            few = f"at most {most} of {all_of} modes can count, for each takes {self.least} samples"
            warnings.warn(f"{few}; papers have n={max(USUAL, self.least * all_of)}", stacklevel=2)
        figures = {
            "modes": Figure(int((self.count >= self.least).sum()), protocol=protocol | {"least": self.least}),
            "high_quality": Figure(share, stderr=math.sqrt(share * (1 - share) / n), protocol=protocol),
        }
        if not good:
            warnings.warn("no sample is near a mode, so there is no reverse_kl", stacklevel=2)
        else:
            figures["reverse_kl"] = Figure(reverse_kl(self.count), protocol=protocol)
        return figures

    def _protocol(self) -> dict[str, Any]:
        """The rule, and the variant of the mixture: one name stands for several of them in the literature."""
        assert self.centres is not None and self.std is not None  # refused before
        protocol = {"within": self.within, "modes of data": len(self.centres), "std": self.std}
        if len(self.centres) > 1:
            protocol["spacing"] = round(float(torch.pdist(self.centres.double()).min()), 5)
        return protocol


class StackedModes(Metric):
    """The modes of stacked MNIST that are found, of the 1000 triples of digits, and how evenly.

    Each channel is classified as an image of its own. ``modes`` is the number of triples with at least one sample,
    ``reverse_kl`` the divergence of their shares from uniform. (Srivastava et al. 2017, arXiv 1705.07761, section 5.2;
    26000 samples there, 25600 in Metz et al. 2017, arXiv 1611.02163.) ``high_quality``, which is ours, is the share of
    samples whose three digits each have a real one near them, as near in the classifier's features as 99 of 100 real
    ones have another: a blur has modes, too. All depend on the number of samples, and on the classifier, whose mistakes
    find modes that are not there: read them beside those of real examples.

    Args:
        extractor: a classifier of digits, (B, 1, 28, 28).
        data: stacked MNIST.
        split: of the real stacks, of which the first ``limit`` give the digits to be near to.
        limit: number of real stacks.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("modes", "high_quality", "reverse_kl")
    prefers: ClassVar[str] = "mnist"
    higher_is_better = True
    full_state_update = False
    count: Tensor
    made: list[Tensor]
    real: list[Tensor]

    def __init__(self, extractor: Extractor, data: Data, split: str = "test", limit: int = 1000):
        super().__init__()
        self.reads = (GENERATED, split)
        self.extractor, self.data, self.limit = extractor, data, limit
        self.add_state("made", [], dist_reduce_fx="cat")  # features of digits
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("count", torch.zeros(len(STACKS), dtype=torch.float64), dist_reduce_fx="sum")

    def refuses(self, spec: Spec) -> str:
        """Triples of digits only, all of them, and a classifier of digits."""
        if getattr(self.data, "name", "") != "stacked_mnist":
            return "the modes of these data are not known"
        if spec.classes != STACKS:
            return "some classes of stacked MNIST are left out, and its modes are all 1000"
        if self.extractor.classes != 10:
            return f"the extractor {self.extractor.name} is no classifier of the ten digits"
        return ""

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Add generated stacks, or real ones of which the first ``limit`` are wanted."""
        x = batch["x"] if source == GENERATED else batch["x"][batch["index"] < self.limit]
        if not len(x):
            return
        seen = self.extractor(x.flatten(0, 1)[:, None])
        (self.made if source == GENERATED else self.real).append(seen.features.float().flatten())
        if source != GENERATED:
            return
        digits = seen.logits.argmax(1).view(-1, 3)
        stack = digits[:, 0] * 100 + digits[:, 1] * 10 + digits[:, 2]
        self.count.index_add_(0, stack, torch.ones(len(x), dtype=torch.float64, device=stack.device))

    def compute(self) -> dict[str, Figure]:
        """All three."""
        n = int(self.count.sum())
        if not n:
            raise GenlabError("modes are counted among samples, and here is none")
        made, real = (dim_zero_cat(part).view(-1, self.extractor.dimensions) for part in (self.made, self.real))
        usual = nearest_distances(real).double().quantile(0.99)
        share = float((nearest_distance(made, real) <= usual).view(-1, 3).all(1).double().mean())
        quality = Figure(share, stderr=math.sqrt(share * (1 - share) / n), protocol={"n real": len(real) // 3})
        return {
            "modes": Figure(int((self.count > 0).sum()), protocol={"least": 1}),
            "high_quality": quality,
            "reverse_kl": Figure(reverse_kl(self.count)),
        }
