"""What sweeps end in: curves over options, steps, seconds and figures, and montages with their failed cells."""

import csv

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image
from runs import DIGITS, GAN, make_run

from genlab import curves
from genlab.evaluation.results import Row
from genlab.finale.curve import Curve
from genlab.finale.montage import Montage, pictured, verdict, worded
from genlab.finale.table import Table
from genlab.metrics.base import Figure
from genlab.montage import FAILED, Cell, montage
from genlab.run import Run


def sweep(folder):
    """A config as Hydra hands it to a callback."""
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}, "runtime": {"choices": {"experiment": "mine"}}}})


def planted(path, choices=None, status="done", log=(), **entries):
    """A run folder without a model."""
    path.mkdir(parents=True)
    config = {
        "seed": 0,
        "choices": {"model": "gan", "data": "moons"} | (choices or {}),
        "model": {"width": 8},
    } | entries
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    (path / "run.yaml").write_text(yaml.safe_dump({"status": status, "created": f"2026-01-01T00:00:{path.name[-1]}"}))
    if log:
        with open(path / "metrics.csv", "w", newline="") as file:
            csv.writer(file).writerows([["step", "seconds", "critic/critic"], *log])
    return Run(path)


def course(run, steps, name="fid_digits"):
    """Rows of a run's checkpoints, the last one twice, and of real examples."""
    rows = [Row(str(run.path), "gan", "moons", step, {name: Figure(value)}) for step, value in steps]
    return [
        *rows,
        rows[-1]._replace(figures={name: Figure(-1.0)}),
        Row("real train", "-", "moons", 0, {name: Figure(0.5)}),
    ]


@pytest.fixture
def drawn(monkeypatch):
    """What a curve is drawn from, in place of the picture."""
    calls = []
    monkeypatch.setattr(curves, "against", lambda *arguments: calls.append(arguments))
    return calls


def test_a_curve_over_steps_has_every_checkpoint_once(tmp_path, monkeypatch, drawn, capsys):
    run = planted(tmp_path / "a0", log=[(50, 5.0, 2.0), (100, 9.0, 1.0)])
    rows = course(run, [(50, 8.0), (75, 6.0), (100, 4.0)])
    monkeypatch.setattr(Table, "measure", lambda self, config, show=True: rows)
    Curve("step", {"fid": None, "critic/critic": None}).on_multirun_end(sweep(tmp_path))
    path, x, series, _, real, _, joined = drawn.pop()
    assert path.name == "curve.png" and x == "step" and joined and str(path) in capsys.readouterr().out
    assert [(at, figure.value) for at, figure in series["fid"]["gan"]] == [(50, 8.0), (75, 6.0), (100, 4.0)]
    assert [(at, figure.value) for at, figure in series["critic/critic"]["gan"]] == [(50, 2.0), (75, 1.0), (100, 1.0)]
    assert real["fid"]["real train of moons"].value == 0.5 and not real["critic/critic"]


def test_a_curve_over_seconds_takes_them_from_the_log_and_their_mean_over_runs(tmp_path, monkeypatch, drawn):
    slow, fast = (
        planted(tmp_path / f"s{n}", log=[(100, seconds, 1.0)], seed=n) for n, seconds in ((0, 12.0), (1, 4.0))
    )
    rows = [row for run in (slow, fast) for row in course(run, [(50, 8.0), (100, 4.0)])]
    monkeypatch.setattr(Table, "measure", lambda self, config, show=True: rows)
    Curve("seconds", {"fid": None}).on_multirun_end(sweep(tmp_path))
    assert [at for at, _ in drawn.pop()[2]["fid"]["gan"]] == [4.0, 8.0, 4.0, 8.0]
    assert curves.logged_at(slow, "seconds", 50) == 6.0 and curves.logged_at(slow, "seconds", 101) is None


def test_a_curve_against_a_figure_has_a_point_for_each_checkpoint_and_no_line(tmp_path, monkeypatch, drawn):
    run = planted(tmp_path / "a0")
    rows = [
        Row(str(run.path), "gan", "moons", step, {"w": Figure(w), "gap": Figure(2 * w)})
        for step, w in ((1, 3.0), (2, 1.0))
    ]
    monkeypatch.setattr(Table, "measure", lambda self, config, show=True: rows)
    curve = Curve("w", {"gap": None}, exact={"gap": {"equal": "x"}}, name="scatter")
    curve.on_multirun_end(sweep(tmp_path))
    path, _, series, *_, joined = drawn.pop()
    assert path.name == "scatter.png" and not joined
    assert [(at, figure.value) for at, figure in series["gap"]["gan"]] == [(3.0, 6.0), (1.0, 2.0)]


def test_checkpoints_are_measured_all_where_they_are_the_points_and_logged_figures_are_not_asked_for():
    assert Curve("step", {"fid": None, "critic/critic": None}).table.options == ["n=2500", "metrics=fid", "ckpt=all"]
    assert Curve("w", {"gap": None}).table.options[1:] == ["metrics=gap,w", "ckpt=all"]
    assert Curve("model.width", {"fid": None}).table.options == ["n=2500", "metrics=fid"]
    assert Curve("seed", {"fid": None}, table={"n": 7, "k": 3}).table.options == ["n=7", "metrics=fid", "k=3"]


def test_pictures_of_courses_are_drawn(tmp_path):
    line = [(float(at), Figure(10.0 / at)) for at in (1, 2, 3)]
    for joined in (True, False):
        path = tmp_path / f"{joined}.png"
        curves.against(path, "step", {"fid": {"10": line, "9": line}}, {"fid": {"same": "x"}}, {}, ["x"], joined)
        assert path.stat().st_size > 5000
    assert sorted(["10", "9", "none"], key=curves.by_size) == ["9", "10", "none"]


def test_a_run_fails_by_its_status_or_beyond_a_limit_and_says_why(tmp_path):
    run, limits = planted(tmp_path / "a0"), {"fid": {"above": 20}, "is": {"below": 3}}
    good = {"fid_digits": Figure(20.0), "is_digits": Figure(3.0)}
    assert verdict(run, good, limits) == (False, "fid 20, is 3")
    assert verdict(run, good | {"fid_digits": Figure(20.1)}, limits)[0]
    assert verdict(run, good | {"is_digits": Figure(2.9)}, limits)[0]
    assert verdict(run, good | {"is_digits": Figure(float("nan"))}, limits)[0]
    assert verdict(run, {"fid_digits": Figure(1.0)}, limits) == (True, "fid 1, no is")
    run.note(status="failed", error="step 3: critic is nan")
    assert verdict(run, good, limits) == (True, "step 3: critic is nan")


def test_a_montage_counts_and_crosses_out_what_failed(tmp_path, monkeypatch, capsys):
    choices = [{"architecture": a, "method": m} for a in ("tanh", "plain") for m in ("wgan", "dcgan")]
    runs = [planted(tmp_path / f"r{n}", choice) for n, choice in enumerate(choices)]
    runs[0].note(status="failed", error="step 3: critic is nan")
    Image.fromarray(np.full((32, 32), 200, np.uint8)).save(tmp_path / "p.png")
    rows = [
        Row(str(run.path), "gan", "moons", 5, {"fid": Figure(value)})
        for run, value in zip(runs, (1, 2, 3, 40), strict=True)
    ]
    monkeypatch.setattr(Table, "measure", lambda self, config, show=True: rows)
    monkeypatch.setattr("genlab.finale.montage.pictured", lambda *_: tmp_path / "p.png")
    ending = Montage("choices.architecture", "choices.method", failed={"fid": {"above": 20}}, names={"tanh": "Tanh"})
    assert ending.table.options == ["n=2500", "metrics=fid"]
    ending.table.format = "csv"
    ending.on_multirun_end(sweep(tmp_path))
    told = capsys.readouterr()
    assert told.out.splitlines()[:3] == [
        "architecture,wgan,dcgan",
        "Tanh,failed: step 3: critic is nan,fid 2",
        "plain,fid 3,failed: fid 40",
    ]
    assert "failed: wgan 1 of 2, dcgan 1 of 2" in told.err
    red = tuple(int(FAILED[at : at + 2], 16) for at in (1, 3, 5))
    pixels = np.asarray(Image.open(tmp_path / "montage.png").convert("RGB"))
    height, width = pixels.shape[:2]
    down, across = ([slice(int(at * size), int((at + 0.25) * size)) for at in (0.15, 0.6)] for size in (height, width))
    marked = [[bool((np.abs(pixels[y, x].astype(int) - red).max(-1) < 60).any()) for x in across] for y in down]
    assert marked == [[True, False], [False, True]]


def test_rows_and_columns_stand_as_the_sweep_words_them(tmp_path, monkeypatch, capsys):
    """Not in the order of making; the first row lacks a cell; a run of an earlier sweep comes last."""
    places = [("none", 0.5), ("r1", 2), ("none", 0.1), ("clip", 2), ("clip", 0.5), ("old", 2)]
    runs = [planted(tmp_path / f"r{n}", {"penalty": p}, model={"width": w}) for n, (p, w) in enumerate(places)]
    monkeypatch.setattr(Table, "measure", lambda self, config, show=True: [])
    monkeypatch.setattr("genlab.finale.montage.pictured", lambda *_: None)
    config = sweep(tmp_path)
    config.hydra.sweeper = {"params": {"penalty": "clip,none,r1", "model.width": "1,2,3", "seed": 0}}
    config.hydra.overrides = {"task": ["model.width=2,0.1,0.50", "+model.depth=3"]}
    ending = Montage("choices.penalty", "model.width", names={"r1": "R1"})
    ending.table.format = "csv"
    ending.on_multirun_end(config)
    lines = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["penalty", "2", "0.1", "0.5"]
    assert [line[0] for line in lines[1:5]] == ["clip", "none", "R1", "old"]
    assert len(runs) == 6 and worded(config, "seed") == []
    config.hydra.overrides.task = ["penalty=none", "model.width=range(1,4)", "data='a b',mnist"]
    assert worded(config, "model.width") == [1, 2, 3]
    assert worded(config, "choices.data") == ["a b", "mnist"]


def test_several_runs_of_a_cell_are_counted(tmp_path):
    cells = {("a", "b"): [Cell(None, "fid 3", False), Cell(None, "fid 90", True)]}
    montage(tmp_path / "m.png", ["a"], ["b"], cells, "mine")
    assert (tmp_path / "m.png").stat().st_size > 2000


def test_a_cells_picture_is_what_sample_makes_and_its_lack_is_told(tmp_path, capsys):
    run = make_run(tmp_path / "gan", GAN, DIGITS)
    path = pictured(run, "grid", 4, [])
    assert path == run.samples / "grid.png" and path.is_file() and capsys.readouterr().out == ""
    assert pictured(run, "critic", 4, []) is None and "no critic" in capsys.readouterr().err


def test_real_examples_of_two_splits_are_told_apart_by_their_lines():
    _, (axes,) = curves.sheet(1)
    for title in ("real train", "real test", "real val"):
        curves.level(axes, title, Figure(1.0, protocol={"n generated": 500}))
    assert len({line.get_linestyle() for line in axes.lines}) == 3
