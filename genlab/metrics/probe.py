"""How much of the class a linear classifier reads from the code of an example, or from what a critic sees in it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from genlab.errors import GenlabError
from genlab.metrics.base import Figure
from genlab.models.base import Batch, Encodes, Featurises
from genlab.spec import Spec

STATES = ("codes", "labels", "positions")
STEPS = 300  # of an optimiser at most
NARROW = 128  # dimensions up to which liblinear's Newton method takes seconds; minutes for MNIST's 784 pixels
MANY = 100  # classes, beyond which machines take hours
FEW = 20  # training examples of each of so many, below which they tell little
PASSES = 50  # of its coordinate descent: on those pixels accuracy is 0.865 after 30 passes and 0.866 after 300


def keep_codes(metric: Any) -> None:
    """Give a metric the states for ``add`` to fill: codes, labels and positions of training and of test examples.

    Flat and of floats: what torchmetrics lets a rank hand over that was shown nothing.
    """
    if metric.limit < 2:
        raise GenlabError(f"limit={metric.limit}: a classifier learns from two examples at least")
    for name in STATES:
        metric.add_state(f"train_{name}", [], dist_reduce_fx="cat")
        metric.add_state(f"test_{name}", [], dist_reduce_fx="cat")


def add(metric: Any, codes: Tensor, batch: Batch, source: str) -> None:
    """Add the labelled examples of a batch to the states of its side, and drop training examples that cannot be among
    the chosen ones.

    Raises:
        GenlabError: the examples have no label each.
    """
    if "y" not in batch or batch["y"].ndim != 1:
        raise GenlabError(f"the examples of '{source}' carry no label each")
    side = "train" if source == "train" else "test"
    known = (batch["y"] >= 0).nonzero().flatten()  # of some the label may not be known
    for name, new in zip(STATES, (codes, batch["y"], batch["index"]), strict=True):
        getattr(metric, f"{side}_{name}").append(new[known.to(new.device)].to(codes.device, torch.float32).flatten())
    held = sum(map(len, getattr(metric, f"{side}_labels")))
    if side == "train" and held >= 2 * metric.limit:
        for name, kept in zip(STATES, chosen(metric, side), strict=True):
            setattr(metric, f"{side}_{name}", [kept.flatten()])


def chosen(metric: Any, side: str) -> tuple[Tensor, Tensor, Tensor]:
    """Codes (N, Z), labels and positions of a side; of the training examples, the first in the order drawn."""
    codes, labels, positions = (dim_zero_cat(getattr(metric, f"{side}_{name}")) for name in STATES)
    codes = codes.view(len(labels), -1)
    if side == "test":
        return codes, labels, positions
    index = positions.long().cpu().numpy()
    drawn = np.random.RandomState(metric.seed).random_sample(int(index.max()) + 1)  # its beginning is always the same
    rows = torch.from_numpy(np.argsort(drawn[index], kind="stable")[: metric.limit]).to(codes.device)
    return codes[rows], labels[rows], positions[rows]


def probed(metric: Any, makers: Mapping[str, Callable[[int], Any]], weight: float) -> dict[str, Figure]:
    """Test accuracy, on codes standardised by the training examples, of scikit-learn classifiers made for so many
    dimensions, by figure; ``weight`` is their C.

    Raises:
        GenlabError: a side is empty, some codes are not finite, or the training examples are all of one class.
    """
    from sklearn.exceptions import ConvergenceWarning

    for split, side in zip(metric.reads, ("train", "test"), strict=True):
        if not len(getattr(metric, f"{side}_labels")):
            raise GenlabError(f"the split '{split}' holds no example")
    (x, y, _), (test_x, test_y, _) = (chosen(metric, side) for side in ("train", "test"))
    if not (x.isfinite().all() and test_x.isfinite().all()):
        raise GenlabError("some codes are not finite")
    if len(y.unique()) < 2:
        raise GenlabError("the training examples are all of one class")
    centre, scale = x.double().mean(0), x.double().std(0, correction=0)
    scale[scale == 0] = 1
    figures = {}
    for name, make in makers.items():
        classifier = make(x.shape[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(((x.double() - centre) / scale).cpu().numpy(), y.cpu().numpy())
        right = sum(  # in parts: float64 copies of all wide codes are many gigabytes
            int((classifier.predict(((part.double() - centre) / scale).cpu().numpy()) == labels.cpu().numpy()).sum())
            for part, labels in zip(test_x.split(1024), test_y.split(1024), strict=True)
        )
        share = right / len(test_y)
        how = {"n train": len(y), "train seed": metric.seed, "n": len(test_y), "C": weight}
        figures[name] = Figure(share, "", math.sqrt(share * (1 - share) / len(test_y)), how)
    return figures


def machines(dimensions: int, weight: float, seed: int, steps: int = STEPS) -> Any:
    """One support vector machine for each class, of squared hinge loss; imported late, scikit-learn takes a second."""
    from sklearn.svm import LinearSVC

    if dimensions > NARROW:
        return LinearSVC(C=weight, dual=True, max_iter=PASSES, random_state=seed)
    return LinearSVC(C=weight, dual=False, max_iter=steps)


def refuses(metric: Any, spec: Spec) -> str:
    """Data without classes or with too many of them, and a test on what was learnt."""
    if metric.reads[1] == "train":
        return "a probe is tested on other examples than it learns from"
    if metric.limit < FEW * len(spec.classes) > FEW * MANY:
        return f"limit={metric.limit} training examples are few for {len(spec.classes)} classes, a machine each"
    return "" if len(spec.classes) > 1 else "the data have no classes to tell apart"


class Probe(Metric):
    """Test accuracy of linear classifiers of codes: learnt from ``encode(x)`` of training examples and their labels.

    ``probe_logistic`` is multinomial logistic regression, ``probe_svm`` one machine for each class with the squared
    hinge loss, both of scikit-learn with an L2 penalty of C = 1, on codes standardised by the training examples.
    They see at most ``limit`` training examples, those that draw the smallest of numbers drawn for all positions by a
    fixed seed; so no more need be kept. stderr binomial over the test examples.

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

    def __init__(self, split: str = "test", limit: int = 10_000, seed: int = 0, steps: int = STEPS):
        super().__init__()
        self.reads, self.limit, self.seed, self.steps = ("train", split), limit, seed, steps
        keep_codes(self)

    def refuses(self, spec: Spec) -> str:
        """Data without classes, and a test on what was learnt."""
        return refuses(self, spec)

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Add the codes of real examples."""
        assert isinstance(model, Encodes)  # it is what the metric needs
        if getattr(model, "conditional", False):
            raise GenlabError("the model encodes an example together with its label")
        add(self, model.encode(batch["x"]).flatten(1), batch, source)

    def compute(self) -> dict[str, Figure]:
        """Both accuracies."""
        from sklearn.linear_model import LogisticRegression

        makers: dict[str, Callable[[int], Any]] = {
            "probe_logistic": lambda dimensions: LogisticRegression(C=1.0, max_iter=self.steps),
            "probe_svm": lambda dimensions: machines(dimensions, 1.0, self.seed, self.steps),
        }
        return probed(self, makers, 1.0)


class CriticProbe(Metric):
    """Test accuracy of a linear classifier of what a critic's hidden layers see: maps max-pooled to 4x4, all layers.

    ``critic_svm`` is one machine for each class with the squared hinge loss and an L2 penalty of C, learnt from
    standardised features of training examples and their labels, chosen as by ``Probe``. (Radford et al. 2016, arXiv
    1511.06434, section 5.1. Deviations: there the critic was trained on ImageNet, the machines see all of CIFAR-10, and
    the penalty is not stated.) stderr binomial over the test examples.

    Args:
        split: of the test examples; not ``train``.
        limit: largest number of training examples; nets of the usual width have 3000 to 15 000 features.
        weight: C, of a violation against the penalty. Of 1e-5 ... 1 the best on MNIST is 1e-3: 0.960 of the test
            digits are told by a DCGAN of width 32 after 2150 steps, and 0.958 by one after a single step.
        seed: of the choice of training examples.
    """

    needs: ClassVar[tuple[type, ...]] = (Featurises,)
    figures: ClassVar[tuple[str, ...]] = ("critic_svm",)
    higher_is_better = True
    full_state_update = False

    def __init__(self, split: str = "test", limit: int = 5000, weight: float = 1e-3, seed: int = 0):
        super().__init__()
        self.reads, self.limit, self.weight, self.seed = ("train", split), limit, weight, seed
        keep_codes(self)

    def refuses(self, spec: Spec) -> str:
        """Data without classes, and a test on what was learnt."""
        return refuses(self, spec)

    def update(self, batch: Batch, source: str, model: nn.Module) -> None:
        """Add the features of real examples."""
        assert isinstance(model, Featurises)  # it is what the metric needs
        add(self, model.features(batch["x"]).flatten(1), batch, source)

    def compute(self) -> dict[str, Figure]:
        """The accuracy."""
        makers = {"critic_svm": lambda dimensions: machines(dimensions, self.weight, self.seed)}
        return probed(self, makers, self.weight)
