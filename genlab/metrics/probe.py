"""How much of the class a linear classifier reads from the code of an example."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Batch, Encodes
from genlab.spec import Spec

STATES = ("codes", "labels", "positions")
NARROW = 128  # dimensions up to which liblinear's Newton method takes seconds; minutes for MNIST's 784 pixels
PASSES = 50  # of its coordinate descent: on those pixels accuracy is 0.865 after 30 passes and 0.866 after 300


class Probe(Metric):
    """Test accuracy of linear classifiers of codes: learnt from ``encode(x)`` of training examples and their labels.

    ``probe_logistic`` is multinomial logistic regression, ``probe_svm`` one machine for each class with the squared
    hinge loss, both of scikit-learn with an L2 penalty of C = 1, on codes standardised by the training examples.
    (Radford et al. 2016, arXiv 1511.06434, section 5.1, has an L2-SVM on features of the discriminator.) They see at
    most ``limit`` training examples, those that draw the smallest of numbers drawn for all positions by a fixed seed;
    so no more need be kept. stderr binomial over the test examples.

    Args:
        split: of the test examples; not ``train``.
        limit: largest number of training examples.
        seed: of their choice.
        steps: of an optimiser at most. Codes of more than 128 dimensions get 50 passes of coordinate descent for the
            machines; where the weights have not converged by then, accuracy nearly has.
    """

    needs: ClassVar[tuple[type, ...]] = (Encodes,)
    figures: ClassVar[tuple[str, ...]] = ("probe_logistic", "probe_svm")
    higher_is_better = True
    full_state_update = False

    def __init__(self, split: str = "test", limit: int = 10_000, seed: int = 0, steps: int = 300):
        super().__init__()
        if limit < 2:
            raise GenlabError(f"limit={limit}: a classifier learns from two examples at least")
        self.reads, self.limit, self.seed, self.steps = ("train", split), limit, seed, steps
        # Flat and of floats: what torchmetrics lets a rank hand over that was shown nothing.
        for name in STATES:
            self.add_state(f"train_{name}", [], dist_reduce_fx="cat")
            self.add_state(f"test_{name}", [], dist_reduce_fx="cat")

    def refuses(self, spec: Spec) -> str:
        """Data without classes, and a test on what was learnt."""
        if self.reads[1] == "train":
            return "a probe is tested on other examples than it learns from"
        return "" if len(spec.classes) > 1 else "the data have no classes to tell apart"

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Add the codes of real examples."""
        assert isinstance(model, Encodes)  # it is what the metric needs
        if "y" not in batch or batch["y"].ndim != 1:
            raise GenlabError(f"the examples of '{source}' carry no label each")
        if getattr(model, "conditional", False):
            raise GenlabError("the model encodes an example together with its label")
        codes = model.encode(batch["x"]).flatten(1)
        self._keep("train" if source == "train" else "test", codes, batch["y"], batch["index"])

    def _keep(self, side: str, codes: Tensor, labels: Tensor, positions: Tensor) -> None:
        """Add to the states of a side, and drop training examples that cannot be among the chosen ones."""
        for name, new in zip(STATES, (codes, labels, positions), strict=True):
            getattr(self, f"{side}_{name}").append(new.to(codes.device, torch.float32).flatten())
        held = sum(map(len, getattr(self, f"{side}_labels")))
        if side == "train" and held >= 2 * self.limit:
            for name, kept in zip(STATES, self._chosen(side), strict=True):
                setattr(self, f"{side}_{name}", [kept.flatten()])

    def _chosen(self, side: str) -> tuple[Tensor, Tensor, Tensor]:
        """Codes (N, Z), labels and positions of a side; of the training examples, the first in the order drawn."""
        codes, labels, positions = (dim_zero_cat(getattr(self, f"{side}_{name}")) for name in STATES)
        codes = codes.view(len(labels), -1)
        if side == "test":
            return codes, labels, positions
        index = positions.long().cpu().numpy()
        drawn = np.random.RandomState(self.seed).random_sample(int(index.max()) + 1)  # its beginning is always the same
        rows = torch.from_numpy(np.argsort(drawn[index], kind="stable")[: self.limit]).to(codes.device)
        return codes[rows], labels[rows], positions[rows]

    def compute(self) -> dict[str, Figure]:
        """Both accuracies."""
        for split, side in zip(self.reads, ("train", "test"), strict=True):
            if not len(getattr(self, f"{side}_labels")):
                raise GenlabError(f"the split '{split}' holds no example")
        (x, y, _), (test_x, test_y, _) = (
            tuple(part.double().cpu().numpy() for part in self._chosen(side)) for side in ("train", "test")
        )
        if not (np.isfinite(x).all() and np.isfinite(test_x).all()):
            raise GenlabError("some codes are not finite")
        if len(np.unique(y)) < 2:
            raise GenlabError("the training examples are all of one class")
        protocol: dict[str, Any] = {"n train": len(y), "train seed": self.seed, "n": len(test_y), "C": 1.0}
        from sklearn.exceptions import ConvergenceWarning

        figures = {}
        for name, classifier in self._classifiers(x.shape[1]).items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                share = float(np.mean(classifier.fit(x, y).predict(test_x) == test_y))
            figures[name] = Figure(share, "", math.sqrt(share * (1 - share) / len(test_y)), protocol)
        return figures

    def _classifiers(self, dimensions: int) -> dict[str, Any]:
        """By figure; imported late, as scikit-learn takes a second."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import LinearSVC

        logistic = LogisticRegression(C=1.0, max_iter=self.steps)
        svm = LinearSVC(C=1.0, dual=False, max_iter=self.steps)
        if dimensions > NARROW:
            svm = LinearSVC(C=1.0, dual=True, max_iter=PASSES, random_state=self.seed)
        return {
            "probe_logistic": make_pipeline(StandardScaler(), logistic),
            "probe_svm": make_pipeline(StandardScaler(), svm),
        }
