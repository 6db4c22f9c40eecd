"""Several classifiers as one: the mean of probabilities, who is refused, and ``genlab eval ensemble=true``."""

import json

import pytest
import torch
from runs import DIGITS, GAN, make_run
from torch import nn

from genlab import cli
from genlab.build import build
from genlab.checkpoint import load
from genlab.errors import GenlabError
from genlab.models.base import Classifies
from genlab.models.ensemble import Ensemble

SSL = {
    "_target_": "genlab.models.gan.ssl.SemiSupervisedGAN",
    "generator": {"_target_": "genlab.models.gan.mlp.Generator", "width": 16},
    "discriminator": {"_target_": "genlab.models.gan.mlp.Discriminator", "width": 16},
}


class Sure(nn.Module):
    """The same logits for whatever it is shown."""

    def __init__(self, *logits, supervised=True):
        super().__init__()
        self.logits, self.supervised = torch.tensor(logits), supervised

    def classify(self, x):
        return self.logits.expand(len(x), -1)


def test_probabilities_are_averaged_and_not_logits():
    members = Sure(0.0, 20.0, 0.0), Sure(1.0, 0.0, 1.5), Sure(1.0, 0.0, 1.5)
    both = Ensemble(members)
    assert isinstance(both, Classifies)
    p = both.classify(torch.zeros(2, 1)).exp()
    each = torch.stack([member.logits.softmax(0) for member in members])
    torch.testing.assert_close(p, each.mean(0).double().expand(2, 3))
    assert p.sum(1).tolist() == pytest.approx([1, 1])
    split = Ensemble([Sure(0.0, 9.0), Sure(2.0, 0.0), Sure(2.0, 0.0)])  # one is sure, two are of another mind
    assert sum(member.logits for member in split.members).argmax() == 1
    assert split.classify(torch.zeros(1, 1)).argmax() == 0


@pytest.mark.parametrize("other, said", [(nn.Linear(1, 1), "does not classify"), (Sure(0.0, supervised=False), "own")])
def test_who_does_not_know_the_classes_is_refused(other, said):
    with pytest.raises(GenlabError, match=said):
        Ensemble([Sure(0.0), other])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        made.append(make_run(folder / f"r{seed}", SSL, DIGITS))
    return made


def rows(words, capsys):
    code = cli.main(["eval", *words, "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out or "[]"), told.err


def test_the_error_of_all_stands_below_those_of_each(runs, capsys):
    named = f"run={','.join(str(run.path) for run in runs)}"
    words = [named, "metrics=classification", "ensemble=true"]
    code, first, _ = rows(words, capsys)
    assert code == 0 and [row["run"] for row in first] == [*(str(run.path) for run in runs), "mean of 3"]
    test = build(DIGITS).split("test")
    with torch.no_grad():
        models = [load(run.checkpoints / "last.ckpt").model.eval() for run in runs]
        mean = sum(model.classify(test.x).double().softmax(1) for model in models)
        assert not all(torch.equal(model.classify(test.x).argmax(1), mean.argmax(1)) for model in models)
    known = (mean.argmax(1) != test.y).double().mean().item()
    error = first[-1]["metrics"]["error"]
    assert error["value"] == pytest.approx(known) and error["protocol"]["members"] == 3
    code, again, told = rows(words, capsys)
    assert code == 0 and "measured before" in told  # each of them, not all together
    assert [row["metrics"]["error"]["value"] for row in again] == [row["metrics"]["error"]["value"] for row in first]
    assert all(entry["protocol"].get("members") is None for run in runs for entry in run.metrics["figures"])
    assert len(rows([named, "metrics=classification"], capsys)[1]) == 3
    assert cli.main(["eval", *words]) == 0
    assert "not to be compared" not in capsys.readouterr().out


def test_one_run_and_runs_that_do_not_classify_are_told(runs, tmp_path, capsys):
    code, _, told = rows([f"run={runs[0].path}", "metrics=classification", "ensemble=true"], capsys)
    assert code == 2 and "takes several runs" in told
    gan = make_run(tmp_path / "gan", GAN, DIGITS)
    code, found, told = rows([f"run={runs[0].path},{gan.path}", "metrics=error", "ensemble=true"], capsys)
    assert code == 1 and "GAN does not classify" in told and len(found) == 2
