"""What continuous flows can show and what they cost, and the table that stands beside it."""

import numpy as np
import pytest
import torch
from PIL import Image
from runs import FLOW, MOONS, make_run

from genlab import config, sample
from genlab.errors import ConfigError
from genlab.evaluation.results import Row
from genlab.finale.table import Table
from genlab.metrics.base import Figure
from genlab.metrics.function_evaluations import FunctionEvaluations
from genlab.models.base import Integrates
from genlab.models.flow.ot_flow import ot_flow
from genlab.models.flow.realnvp import realnvp
from genlab.spec import Spec

OT = {"_target_": "genlab.models.flow.ot_flow.ot_flow", "width": 8, "steps": 4}


def sampled(run, *words):
    return sample.main(config.compose("sample", [f"run={run.path}", f"out={run.path / 'made'}", *words]).config)


def test_ways_lead_from_latents_to_samples(tmp_path):
    run = make_run(tmp_path / "run", OT, MOONS)
    assert sampled(run, "task=trajectories", "n=70") == 0
    assert sampled(run, "task=grid", "n=70") == 0
    with np.load(run.path / "made" / "trajectories.npz") as ways, np.load(run.path / "made" / "samples.npz") as grid:
        assert ways["paths"].shape == (70, 41, 2)
        np.testing.assert_allclose(ways["samples"], grid["samples"], rtol=1e-2, atol=1e-2)
    with Image.open(run.path / "made" / "trajectories.png") as picture:
        assert min(picture.size) >= 400 and len(set(picture.convert("L").getdata())) > 5


def test_flows_of_discrete_steps_have_no_ways(tmp_path):
    run = make_run(tmp_path / "run", FLOW, MOONS)
    with pytest.raises(ConfigError, match="solves no differential equation"):
        sampled(run, "task=trajectories", "n=3")


def test_evaluations_are_counted_there_and_back():
    model = ot_flow(Spec("vector", (2,)), width=4, steps=3, finer=2).eval()
    assert isinstance(model, Integrates) and not isinstance(realnvp(Spec("vector", (2,))), Integrates)
    metric = FunctionEvaluations()
    for count in (5, 8):
        metric.update({"x": torch.randn(count, 2)}, "test", model)
    assert {name: figure.value for name, figure in metric.compute().items()} == {
        "evaluations": 4 * 3 * 2, "evaluations_back": 4 * 3 * 2,
    }  # fmt: skip


def test_what_was_logged_stands_beside_the_figures_and_the_entropy(tmp_path):
    run = make_run(tmp_path / "run", OT, MOONS)
    (run.path / "metrics.csv").write_text("step,seconds\n7,12.5\n")
    rows = [Row(str(run.path), "ot_flow", "moons", 7, {"nats": Figure(0.35, "=")})]
    table = Table(logged=["seconds"]).beside([*rows, Row("real train", "-", "moons", 0, {"nats": Figure(0.0)})])
    ((texts, cells),) = table.rows
    assert texts == ["ot_flow", "moons"]
    assert {name: figure.value for name, figure in cells.items()} == {
        "nats": 0.35, "entropy": pytest.approx(0.289, abs=0.005), "seconds": 12.5,
    }  # fmt: skip
