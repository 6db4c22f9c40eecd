"""Whether generated examples are copies of training examples."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from genlab.errors import GenlabError
from genlab.extractors.base import Extractor
from genlab.metrics.base import GENERATED, Figure
from genlab.models.base import Batch, Samples
from genlab.spec import Spec

LEAST = 100  # held-out examples: fewer have no first percentile
ROWS = 4096  # of differences computed at once


def nearest_distance(x: Tensor, to: Tensor) -> Tensor:
    """The distance of each of x, (N, D), to the nearest of (M, D), (N,), in float64.

    scikit-learn finds the nearest, by a tree in few dimensions and by products in many; the distance itself is taken
    from the difference, so that a copy is at 0 exactly.
    """
    from sklearn.neighbors import NearestNeighbors  # imported late: it takes a second

    found = NearestNeighbors(n_neighbors=1).fit(to.cpu().numpy()).kneighbors(x.cpu().numpy(), return_distance=False)
    which = torch.from_numpy(found[:, 0]).to(to.device)
    pieces = zip(x.split(ROWS), which.split(ROWS), strict=True)
    return torch.cat([(rows.double() - to[near].double()).square().sum(1).sqrt() for rows, near in pieces])


class Memorisation(Metric):
    """How near generated examples lie to the training examples, beside how near held-out ones do.

    With d(x) the distance in features to the nearest training example,

    memorised = share of generated x with d(x) <= the 1st percentile of d over held-out examples,
    nearest_train = median of d over generated x / median of d over held-out examples.

    A model of the true distribution has 0.01 and 1; one that copies, 1 and 0. Small values are no praise: noise is far
    from everything. The stderr of ``memorised`` is binomial and leaves out that of the percentile. Meehan et al. 2020,
    arXiv 2004.05675, compare the same two sets of distances by a rank test, cell by cell; a share and a ratio are
    easier to read. All features are kept, images are not.

    Args:
        extractor: gives the features.
        split: of held-out examples; not ``train``.
    """

    needs: ClassVar[tuple[type, ...]] = (Samples,)
    figures: ClassVar[tuple[str, ...]] = ("memorised", "nearest_train")
    higher_is_better = False
    full_state_update = False

    def __init__(self, extractor: Extractor, split: str = "test"):
        super().__init__()
        self.extractor, self.reads = extractor, (GENERATED, "train", split)
        # Flat: torchmetrics lets a rank that was shown nothing hand over an empty vector of floats.
        for source in ("generated", "train", "held_out"):
            self.add_state(source, [], dist_reduce_fx="cat")

    def refuses(self, spec: Spec) -> str:
        """Nothing that the extractor does not refuse, but another split than the one that was learnt."""
        return "copies show beside held-out examples, not beside training ones" if self.reads[2] == "train" else ""

    def update(self, batch: Batch, source: str, model: nn.Module | None = None) -> None:
        """Keep the features of a batch; distances wait, for held-out examples come after the training examples."""
        name = source if source in (GENERATED, "train") else "held_out"
        getattr(self, name).append(self.extractor(batch["x"]).features.float().flatten())

    def compute(self) -> dict[str, Figure]:
        """Both figures."""
        generated, train, held_out = (self._features(name) for name in ("generated", "train", "held_out"))
        if not len(generated) or not len(train):
            raise GenlabError(
                f"{len(generated)} generated and {len(train)} training examples: there is none to compare"
            )
        if len(held_out) < LEAST:
            raise GenlabError(
                f"the 1st percentile takes {LEAST} examples of '{self.reads[2]}'; here are {len(held_out)}"
            )
        theirs, ours = nearest_distance(held_out, train), nearest_distance(generated, train)
        if not theirs.median():
            raise GenlabError(f"half of '{self.reads[2]}' is found in 'train', so that copies would not show")
        share = float((ours <= torch.quantile(theirs, 0.01)).double().mean())
        protocol = {"n train": len(train), "n real": len(held_out)}
        return {
            "memorised": Figure(share, "", math.sqrt(share * (1 - share) / len(ours)), protocol),
            "nearest_train": Figure(float(ours.median() / theirs.median()), protocol=protocol),
        }

    def _features(self, name: str) -> Tensor:
        """All features of a source, (N, D)."""
        parts = getattr(self, name)
        features = (dim_zero_cat(parts) if len(parts) else torch.zeros(0)).view(-1, self.extractor.dimensions)
        if not features.isfinite().all():
            raise GenlabError(f"some features of {name.replace('_', '-')} examples are not finite")
        return features
