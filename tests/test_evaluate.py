"""Evaluation of run folders, and the report on them."""

import csv
import errno
import importlib
import io
import json
import math
import os
import pathlib
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from runs import DIGITS, FLOW, GAN, MOONS, make_run
from safetensors.torch import load_file, save_file

from genlab import captions, checkpoint, cli, config, evaluate, report, tables
from genlab.build import build
from genlab.data.base import Examples
from genlab.errors import ConfigError, DataError, GenlabError
from genlab.evaluation import results
from genlab.evaluation.measure import content, seen
from genlab.evaluation.subject import of_files
from genlab.extractors.base import WEIGHTS, Features, Shared
from genlab.extractors.digits import Digits
from genlab.extractors.module import Module
from genlab.metrics.base import Figure
from genlab.metrics.choose import extractors, presets
from genlab.presets import conf_folder
from genlab.run import Run
from genlab.spec import Spec
from genlab.tasks.base import examples_of


def compose(*words):
    """Options of ``genlab eval``."""
    return config.compose("eval", list(words)).config


def measured(capsys, *words):
    """Rows of ``genlab eval``."""
    code = evaluate.main(compose(*words, "n=70"), True)
    return code, json.loads(capsys.readouterr().out)


def test_a_row_has_figures_marks_and_protocols(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    code, (row,) = measured(capsys, f"run={run.path}", "k=3")
    assert code == 0
    assert (row["run"], row["model"], row["data"], row["step"]) == (str(run.path), "vae", "digits", 7)
    marks = {
        "nats": "<=",
        "bpd": "<=",
        "negative_elbo": "<=",
        "gap": "~",
        "distortion": "~",
        "ess": "~",
        "is_digits": "",
        "fid_digits": "",
    }
    assert marks.items() <= {name: figure["mark"] for name, figure in row["metrics"].items()}.items()
    bpd, nats, fid = (row["metrics"][name] for name in ("bpd", "nats", "fid_digits"))
    assert bpd["value"] == pytest.approx(nats["value"] / 64 / math.log(2))
    assert bpd["protocol"]["k"] == 3 and bpd["protocol"]["n"] == 40 and bpd["protocol"]["split"] == "test"
    assert fid["protocol"]["n generated"] == 70 and fid["protocol"]["n real"] == 40
    assert fid["protocol"]["extractor"].startswith("digits:") and fid["protocol"]["checkpoint"] == "last"
    assert run.metrics["figures"][0].keys() >= {"name", "value", "mark", "stderr", "protocol", "step"}


def test_a_figure_is_the_same_again_and_whatever_else_is_measured(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    _, (one,) = measured(capsys, f"run={run.path}", "k=3")
    _, (again,) = measured(capsys, f"run={run.path}", "k=3", "force=true")
    _, (alone,) = measured(capsys, f"run={run.path}", "k=3", "metrics=bpd")
    _, (other_seed,) = measured(capsys, f"run={run.path}", "k=3", "metrics=bpd", "seed=1")
    assert one == again
    assert alone["metrics"]["bpd"] == one["metrics"]["bpd"] and "fid_digits" not in alone["metrics"]
    assert other_seed["metrics"]["bpd"]["value"] != one["metrics"]["bpd"]["value"]


def test_figures_replace_only_those_of_the_same_protocol(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    for words in (["k=3"], ["k=3"], ["k=4"]):
        measured(capsys, f"run={run.path}", "metrics=likelihood", *words)
    stored = [(entry["name"], entry["protocol"]["k"]) for entry in run.metrics["figures"]]
    names = [(name, k) for name in ("bpd", "ess", "gap", "nats") for k in (3, 4)]
    bounds = [("distortion", 1), ("negative_elbo", 1)] * 2  # each from draws of its own
    assert sorted(stored) == sorted([*names, *bounds])


def test_what_is_done_is_not_done_again_unless_forced(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run")
    words = [f"run={run.path}", "metrics=bpd", "k=3"]
    _, first = measured(capsys, *words)
    with monkeypatch.context() as patch:
        patch.setattr("genlab.evaluation.assess.assess", None)
        assert measured(capsys, *words) == (0, first)
        moved = run.path.rename(tmp_path / "moved")
        _, (row,) = measured(capsys, f"run={moved}", *words[1:])
        assert row == first[0] | {"run": str(moved)}
        for changed in (["force=true"], ["k=4"], ["seed=1"], ["split=val"]):
            with pytest.raises(TypeError):
                measured(capsys, f"run={moved}", *words[1:], *changed)
    last = moved / "checkpoints" / "last.ckpt"
    state = checkpoint.read(last)
    state["genlab"]["step"] = 8
    checkpoint.write(last, state)
    _, (row,) = measured(capsys, f"run={moved}", *words[1:])
    assert row["step"] == 8


def evaluated(capsys, *words):
    """Rows and lines of ``genlab eval --json`` as the command line has it."""
    code = cli.main(["eval", *words, "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out), printed.err.splitlines()


def test_what_is_said_of_several_runs_is_said_once_and_counted(tmp_path, capsys):
    runs = [make_run(tmp_path / name, GAN) for name in ("a", "b", "c")]
    words = [f"run={','.join(str(run.path) for run in runs)}", "n=70", "metrics=bpd,fid", "real=none"]
    for _ in range(2):  # the second time from what is done
        _, told = evaluated(capsys, *words)
        few = [line for line in told if "n = 70 is few" in line]
        assert few == [f"a: {few[0][3:]}", f"the same of 2 more: {few[0][3:]}"]


def test_any_figures_in_any_order_are_answered_from_what_is_done(tmp_path, capsys, monkeypatch):
    def of_run(lines):
        return sorted(line for line in lines if not line.startswith(("real ", "the same of", "1 of 1 measured")))

    run = make_run(tmp_path / "run", GAN)
    words = [f"run={run.path}", "n=70"]
    _, told = evaluated(capsys, *words, "real=train")
    requests = ["kid,fid,is", "is,fid,kid", "fid_digits,recall_5,frechet", "bpd,mmd2"]
    with monkeypatch.context() as patch:
        patch.setattr("genlab.evaluation.assess.assess", None)
        again = {asked: evaluated(capsys, *words, f"metrics={asked}", "real=train") for asked in requests}
        assert of_run(evaluated(capsys, *words, "real=train")[1]) == of_run(told)
        for changed in ("seed=1", "n=71", "split=val"):
            assert cli.main(["eval", *words, "metrics=fid", changed]) == 1
            assert "'NoneType' object is not callable" in capsys.readouterr().err
    for asked, (rows, lines) in again.items():
        anew, lines_anew = evaluated(capsys, *words, f"metrics={asked}", "real=train", "--force")
        assert [list(row["metrics"]) for row in rows] == [list(row["metrics"]) for row in anew] and rows == anew
        assert of_run(lines) == of_run(lines_anew), asked
    assert list(again["kid,fid,is"][0][0]["metrics"]) == ["kid_digits", "fid_digits", "is_digits"]
    assert any(": no bpd: GAN has no density" in line for line in again["bpd,mmd2"][1])


def test_arguments_of_metrics_are_given_on_the_command_line_and_stand_in_the_protocol(tmp_path, capsys):
    run = make_run(tmp_path / "run", GAN)
    words = [f"run={run.path}", "n=70", "metrics=fid,kid", "real=none"]
    (usual,), _ = evaluated(capsys, *words)
    (given,), _ = evaluated(capsys, *words, "metric.frechet.split=train", "metric.kernel_distance.size=20")
    (train,), _ = evaluated(capsys, *words, "split=train")
    usual, given, train = (row["metrics"] for row in (usual, given, train))
    assert given["fid_digits"] == train["fid_digits"] and usual["fid_digits"]["protocol"]["split"] == "test"
    assert given["kid_digits"]["protocol"]["size"] == 20 and given["kid_digits"]["protocol"]["split"] == "test"
    assert len({found["kid_digits"]["value"] for found in (usual, given, train)}) == 3
    (again,), lines = evaluated(capsys, *words)
    assert again["metrics"] == usual and any("measured before" in line for line in lines)


@pytest.mark.parametrize(
    "word, said",
    [
        ("metric.frechet.splt=train", "FrechetDistance takes no 'splt'; did you mean 'split'?"),
        ("metric.frechett.split=val", "no such metric; did you mean 'frechet'?"),
        ("metric.frechet.split=tran", "no such split; there are train, val, test; did you mean 'train'?"),
        ("metric.kernel_distance.size=abc", "must be a whole number"),
        ("metric.frechet.n=3", "it comes from genlab itself"),
        ("metric.frechet._target_=os.system", "write metric.frechet.KEY=value"),
        ("metric.frechet=3", "write metric.frechet.KEY=value"),
        ("metric=frechet", "did you mean 'metrics=frechet'?"),
    ],
)
def test_wrong_arguments_of_metrics_are_told_at_once(tmp_path, capsys, monkeypatch, word, said):
    run = planted(tmp_path / "a", [])
    monkeypatch.setattr(evaluate, "main", None)
    assert cli.main(["eval", f"run={run.path}", word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("flag", [True, False])
def test_wrong_metrics_of_the_users_own_are_told_at_once_with_their_files(tmp_path, capsys, monkeypatch, flag):
    (tmp_path / "own" / "metric").mkdir(parents=True)
    for name, text in {
        "mine": "_target_: genlab.metrics.frechet.FrechetDistanc\nsplt: train\n",
        "other": "_target_: genlab.metrics.likelihood.Likelihood\nk: many\nsplit: ${split}\n",
    }.items():
        (tmp_path / "own" / "metric" / f"{name}.yaml").write_text(text)
    make_run(tmp_path / "run")
    monkeypatch.setattr("genlab.build.locate", None)  # nothing is imported
    folder = ["--config-dir", f"{tmp_path}/own"] if flag else [f"config_dir=[{tmp_path}/own]"]
    assert cli.main(["eval", *folder, "metrics=mine", "k=x", f"run={tmp_path}/run"]) == 2
    told = capsys.readouterr().err
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    for key in ("k=x", "metric.mine._target_", "metric.mine.splt=train", "metric.other.k=many"):
        (line,) = [line for line in lines if line.startswith(f"error: {key}")]
        assert ("own/metric/" in line) == key.startswith("metric.")
    assert "did you mean 'genlab.metrics.frechet.FrechetDistance'" in told and len(lines) == 4
    assert cli.main(["eval", f"config_dir={tmp_path}/none", f"run={tmp_path / 'run'}"]) == 2
    assert f"config_dir={tmp_path}/none: no such folder" in capsys.readouterr().err


def test_figures_that_were_asked_for_one_by_one_answer_for_all_of_them(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run", GAN)
    words = [f"run={run.path}", "n=70", "real=none"]
    parts = [evaluated(capsys, *words, f"metrics={asked}")[0][0]["metrics"] for asked in ("fid", "kid_digits")]
    monkeypatch.setattr("genlab.evaluation.assess.assess", None)
    (row,), _ = evaluated(capsys, *words, "metrics=kid_digits,fid")
    assert row["metrics"] == parts[0] | parts[1]
    for asked in ("kid", "is", "fid_cifar10"):  # of one extractor only; never; of none that was taken
        assert cli.main(["eval", *words, f"metrics={asked}"]) == 1
        assert "'NoneType' object is not callable" in capsys.readouterr().err


def test_all_checkpoints_are_a_row_each_and_a_curve(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run", GAN)
    state = checkpoint.read(run.checkpoint("last"))
    for step in (2, 4):
        state["genlab"]["step"] = step
        checkpoint.write(run.checkpoints / f"step_{step:07d}.ckpt", state)
    words = [f"run={run.path}", "ckpt=all", "metrics=fid_digits"]
    _, rows = measured(capsys, *words)
    assert [row["step"] for row in rows] == [2, 4, 7]
    curve = run.path / "metrics.png"
    with Image.open(curve) as picture:
        assert picture.width > 300
    before = curve.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr("genlab.evaluation.assess.assess", None)
        assert measured(capsys, *words) == (0, rows) and curve.stat().st_mtime_ns == before
        curve.unlink()
        measured(capsys, *words)
        assert curve.is_file()
        _, (row,) = measured(capsys, f"run={run.path}", "ckpt=4", "metrics=fid_digits")
    assert row["step"] == 4
    assert cli.main(["eval", *words, "real=train"]) == 0
    printed = capsys.readouterr()
    assert "real train" in printed.out and "no metrics.png" not in printed.err


def test_an_evaluation_that_is_done_loads_no_torch(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    script = "import sys; from genlab.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    command = [sys.executable, "-c", script, "eval", f"run={run.path}", "metrics=bpd", "k=2", "real=none"]
    for loaded in ("True", "False"):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.stdout.splitlines()[-1] == f"0 {loaded}", done.stderr


def test_an_interrupted_evaluation_leaves_the_earlier_figures(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run")
    measured(capsys, f"run={run.path}", "metrics=bpd", "k=2")
    before = (run.path / "metrics.json").read_bytes()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("genlab.metrics.likelihood.Likelihood.compute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(capsys, f"run={run.path}", "metrics=bpd", "k=3")
    assert (run.path / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("where", ["genlab.metrics.likelihood.Likelihood.compute", "pathlib.Path.replace"])
def test_a_kill_in_the_middle_leaves_the_earlier_figures(tmp_path, capsys, where):
    """While it measures, and when the new file is there but not yet under its name."""
    run = make_run(tmp_path / "run")
    measured(capsys, f"run={run.path}", "metrics=bpd", "k=2")
    before = (run.path / "metrics.json").read_bytes()
    child = os.fork()
    if not child:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            evaluate.main(compose(f"run={run.path}", "metrics=bpd", "k=3", "real=none"), True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (run.path / "metrics.json").read_bytes() == before
    measured(capsys, f"run={run.path}", "metrics=bpd", "k=3")
    assert {entry["protocol"]["k"] for entry in run.metrics["figures"]} == {2, 3}


def test_evaluations_of_one_run_at_once_keep_the_figures_of_all(tmp_path):
    run = make_run(tmp_path / "run")

    def keep(number):
        figures = {name: bpd(number, k=number)[1] for name in ("bpd", "nats")}
        results.keep(Run(run.path), str(number), results.Row("run", "vae", "digits", 7, figures))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(15)))
    assert sorted(entry["value"] for entry in run.metrics["figures"]) == sorted([*range(15)] * 2)
    assert set(run.metrics["done"]) == {str(number) for number in range(15)}


def test_other_controls_do_not_repeat_what_is_done(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run")
    words = [f"run={run.path}", "metrics=fid"]
    _, (alone,) = measured(capsys, *words, "real=none")
    monkeypatch.setattr("genlab.evaluation.assess.load", None)  # of the model
    _, (row, train) = measured(capsys, *words, "real=train")
    _, (_, test) = measured(capsys, *words, "real=test")
    assert row == alone and (train["run"], test["run"]) == ("real train", "real test")
    monkeypatch.setattr("genlab.evaluation.assess.assess", None)
    assert measured(capsys, *words, "real='train,test'") == (0, [row, train, test])


def test_code_and_pictures_of_the_users_own_are_part_of_what_is_done(tmp_path):
    run = make_run(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own_code.py").write_text("a = 1\n")
    (tmp_path / "own_pictures").mkdir()
    data = {"_target_": "genlab.data.folder.Folder", "path": str(tmp_path / "own_pictures")}
    options = compose(f"run={run.path}", f"plugins=[{tmp_path / 'mine'}]") | {"data": data}
    keys = [results.digest(run, run.checkpoint("last"), options) for _ in range(2)]
    (tmp_path / "mine" / "own_code.py").write_text("a = 2\n")
    keys.append(results.digest(run, run.checkpoint("last"), options))
    (tmp_path / "own_pictures" / "a.png").write_bytes(b"x")
    keys.append(results.digest(run, run.checkpoint("last"), options))
    keys.append(results.digest(run, run.checkpoint("last"), options | {"real": "test", "device": "cpu", "force": True}))
    assert keys[0] == keys[1] and len(set(keys[1:4])) == 3 and keys[3] == keys[4]


def test_real_examples_are_the_control(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    _, rows = measured(capsys, f"run={run.path}", "k=2", "real='train,test'")
    assert [(row["run"], row["model"]) for row in rows[1:]] == [("real train", "-"), ("real test", "-")]
    model, train, test = (row["metrics"] for row in rows)
    assert {"is_digits", "fid_digits"} <= set(train) and "nats" not in train
    assert test["fid_digits"]["value"] == pytest.approx(0, abs=1e-6)
    assert 0 < train["fid_digits"]["value"] < model["fid_digits"]["value"]
    assert train["fid_digits"]["protocol"]["examples"] == "train"
    evaluate.main(config.compose("eval", [f"run={run.path}", "n=70", "k=2"]).config)
    assert "real train" in capsys.readouterr().out


def test_training_examples_that_are_drawn_afresh_are_drawn_once_for_evaluation(tmp_path, capsys):
    run = make_run(tmp_path / "run", data=DIGITS | {"binarize": "dynamic"})
    _, (_, train, test) = measured(capsys, f"run={run.path}", "metrics=fid", "real='train,test'")
    assert train["metrics"]["fid_digits"]["value"] < 50 and test["metrics"]["fid_digits"]["value"] < 1e-3
    loaded = checkpoint.load(run.checkpoint("last"))
    for split in ("train", "val", "test"):
        assert set(examples_of(loaded, split).x.unique().tolist()) <= {0, 1}


def test_samples_from_elsewhere_are_scored(tmp_path, capsys):
    x = build(DIGITS).split("train").x.numpy()
    np.savez(tmp_path / "made.npz", samples=x[:30])
    _, (row,) = measured(capsys, f"samples={tmp_path / 'made.npz'}", "data=digits", "++data.limit=40")
    assert {"is_digits", "fid_digits"} <= set(row["metrics"]) and row["model"] == "made"
    assert row["metrics"]["fid_digits"]["protocol"]["n generated"] == 30
    run = make_run(tmp_path / "run")
    _, rows = measured(capsys, f"run={run.path}", f"samples={tmp_path / 'made.npz'}", "metrics=fid_digits")
    assert rows[1]["metrics"]["fid_digits"]["value"] == row["metrics"]["fid_digits"]["value"]


OF_DIGITS = np.zeros((3, 1, 8, 8), np.uint8)


class Touches:
    """What pickle makes of it is a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)


@pytest.mark.parametrize(
    "content, said",
    [
        ({"samples": np.zeros((3, 1, 9, 9), np.uint8)}, r"of shape \(3, 1, 9, 9\), .* \(N, 1, 8, 8\)"),
        ({"samples": np.zeros((3, 3, 8, 8), np.uint8)}, "of shape"),
        ({"samples": np.uint8(3)}, "of shape"),
        (
            {"samples": np.zeros((3, 1, 8, 8), np.float32)},
            r"float32, .*; round them to uint8, as by \(x \* 16\)\.round",
        ),
        (
            {"arr_0": np.full((3, 8, 8, 1), -0.5)},
            r"'arr_0' .*; round them to uint8, as by \(\(x \+ 1\) \* 8\)\.round",
        ),
        ({"arr_0": np.zeros((3, 8, 8, 3), np.uint8)}, r"of shape \(3, 8, 8, 3\)"),
        ({"samples": np.full((3, 1, 8, 8), np.nan)}, "example 0 of 'samples' holds NaN"),
        ({"samples": np.full((3, 1, 8, 8), 17, np.uint8)}, "from 17 up to 17"),
        ({"samples": np.full((3, 1, 8, 8), -1)}, "from -1 up to -1"),
        ({"samples": np.zeros((3, 1, 8, 8), bool)}, "of type bool"),
        ({"samples": np.full((3, 1, 8, 8), "x")}, "of type <U1"),
        ({"samples": OF_DIGITS[:0]}, "holds no example"),
        ({"other": np.zeros(3)}, "an array 'samples' or 'arr_0' is needed; it holds other"),
        ({"samples": OF_DIGITS, "labels": np.arange(2)}, r"'labels' of shape \(2,\)"),
        ({"samples": OF_DIGITS, "labels": np.array([1, 2, 10])}, "up to 10, and 3 whole numbers from 0 to 9"),
        ({"samples": OF_DIGITS, "labels": np.array(["a", "b", "c"])}, "'labels' of shape"),
        ({"samples": OF_DIGITS, "labels": np.zeros((3, 2))}, "'labels' of shape"),
        (b"PK\x03\x04 cut short", "cannot be read: damaged"),
        (b"", "cannot be read"),
        (b"plain text", "cannot be read: no .npz"),
        (None, "no such folder or file"),
    ],
)
def test_samples_that_cannot_be_scored_are_one_line(tmp_path, capsys, content, said):
    if isinstance(content, dict):
        np.savez(tmp_path / "a.npz", **content)
    elif content is not None:
        (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(GenlabError, match=said) as error:
        measured(capsys, f"samples={tmp_path / 'a.npz'}", "data=digits")
    assert "\n" not in str(error.value) and str(error.value).startswith(f"samples={tmp_path / 'a.npz'}: ")


def test_nothing_in_a_file_of_samples_is_run(tmp_path, capsys):
    touches = Touches(str(tmp_path / "run"))
    np.savez(tmp_path / "a.npz", samples=np.array([touches], dtype=object))
    np.savez(tmp_path / "b.npz", samples=OF_DIGITS, labels=np.array([touches], dtype=object))
    (tmp_path / "c.npz").write_bytes(pickle.dumps(touches))
    np.save(tmp_path / "d.npy", OF_DIGITS)
    for name, said in (("a.npz", "none was run"), ("b.npz", "none was run"), ("c.npz", "run"), ("d.npy", "np.savez")):
        with pytest.raises(DataError, match=said):
            measured(capsys, f"samples={tmp_path / name}", "data=digits")
    assert not (tmp_path / "run").exists()


def test_the_command_line_takes_several_files_of_samples_and_globs_of_them(tmp_path, capsys, monkeypatch):
    x = build(DIGITS).split("train").x.numpy()
    for name in ("one", "two"):
        np.savez(tmp_path / f"{name}.npz", samples=x[:30])
    monkeypatch.chdir(tmp_path)
    words = ["eval", "data=digits", "data.limit=40", "metrics=fid", "n=30", "real=none", "--json"]
    for given in ("one.npz,two.npz", "*.npz", f"[{tmp_path}/one.npz,{tmp_path}/t*.npz]"):
        assert cli.main([*words, f"samples={given}"]) == 0
        assert [row["model"] for row in json.loads(capsys.readouterr().out)] == ["one", "two"]


def test_the_command_line_takes_a_step_that_training_kept(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    (run.checkpoints / "last.ckpt").rename(run.checkpoints / "step_0000007.ckpt")
    for given in ("7", "step_0000007"):
        assert cli.main(["eval", f"run={run.path}", f"ckpt={given}", "metrics=bpd", "k=2", "real=none", "--json"]) == 0
        assert [row["step"] for row in json.loads(capsys.readouterr().out)] == [7]
        assert cli.main(["sample", f"run={run.path}", f"ckpt={given}", "n=2"]) == 0
        assert capsys.readouterr().out.startswith("2 samples of step 7")
    assert cli.main(["eval", f"run={run.path}", "ckpt=8"]) == 2
    assert "no such checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    "asked, columns",
    [
        ("fid", ["fid_a", "fid_b"]),
        ("fid_b,bpd", ["fid_b", "bpd"]),
        ("kernel_distance", ["kid_a"]),
        ("bpd,bpd", ["bpd"]),
    ],
)
def test_a_report_takes_the_names_that_eval_takes(tmp_path, capsys, asked, columns):
    planted(tmp_path / "a", [(name, Figure(1.0)) for name in ("fid_a", "fid_b", "kid_a", "bpd")])
    assert cli.main(["report", f"run={tmp_path}", "format=csv", f"metrics={asked}"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split(",")[-3 * len(columns) :: 3] == columns


@pytest.mark.parametrize("form", ["rich", "csv", "markdown", "latex", "html"])
def test_counts_have_no_decimals_and_zeros_no_sign(tmp_path, capsys, form):
    planted(tmp_path / "a", [("modes", Figure(17)), ("kid_a", Figure(-3e-5, "", 0.0012)), ("mmd2_a", Figure(-2e-9))])
    planted(tmp_path / "b", [("modes", Figure(1_000_000)), ("kid_a", Figure(3e-8, "", 1e-9))], rate=2.0)
    out = [f"out={tmp_path / 'page.html'}"] if form == "html" else []
    assert cli.main(["report", f"run={tmp_path}", f"format={form}", *out]) == 0
    text = capsys.readouterr().out + ((tmp_path / "page.html").read_text() if out else "")
    assert not re.search(r"-0\.0+\b(?!e)|17\.0|1000000\.0", text) and "17" in text and "1000000" in text
    if form != "csv":  # which has the numbers as they are
        assert "0.0000 " in text and "-2.0e-09" in text and "3.0e-08" in text


def test_counts_are_counts_from_the_metric_on(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    words = ["eval", f"run={run.path}", "metrics=active_units,nats", "n=70", "k=2", "real=none"]
    assert cli.main(words) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "vae" in line)
    assert re.search(r" [012] ", row) and type(run.metrics["figures"][0]["value"]) is int
    assert cli.main(words) == 0 and row in capsys.readouterr().out


def test_a_report_of_a_figure_that_no_run_has_says_which_is_meant_or_those_there_are(tmp_path, capsys):
    many = [(f"own{number}", Figure(1.0)) for number in range(20)]
    planted(tmp_path / "a", [("fid_a", Figure(1.0)), ("fid_b", Figure(1.0)), *many])
    for asked, said in (
        ("fdi", "metrics=fdi: no run has it; did you mean 'fid'?"),
        ("fid_bb", "metrics=fid_bb: no run has it; did you mean 'fid_b'?"),
        ("kid", "metrics=kid: no run has it; they have fid, own0, own1, own10, "),
    ):
        assert cli.main(["report", f"run={tmp_path}", f"metrics={asked}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line and len(line) < 200


@pytest.mark.parametrize("form", tables.FORMATS)
def test_the_command_line_writes_a_report_to_a_file(tmp_path, capsys, form):
    planted(tmp_path / "a", [bpd(1.0)])
    assert cli.main(["report", f"run={tmp_path}", f"format={form}", f"out={tmp_path / 'table'}"]) == 0
    assert capsys.readouterr().out.count("\n") == 1 and "1.0" in (tmp_path / "table").read_text()
    (tmp_path / "there").mkdir()
    assert cli.main(["report", f"run={tmp_path}", f"format={form}", f"out={tmp_path / 'there'}"]) != 0
    assert "Is a directory" in capsys.readouterr().err


def test_the_usual_layouts_of_samples_are_understood_and_told(tmp_path, capsys):
    x = build(DIGITS).split("train").x.numpy()[:30]
    layouts = {"samples": x, "arr_0": x, "last": x.transpose(0, 2, 3, 1), "none": x[:, 0]}
    words = ["eval", "data=digits", "data.limit=40", "metrics=fid", "real=none", "--json"]
    fids, told = {}, {}
    for name, values in layouts.items():
        np.savez(tmp_path / f"{name}.npz", **{"arr_0" if name == "arr_0" else "samples": values})
        assert cli.main([*words, f"samples={tmp_path / name}.npz"]) == 0
        printed = capsys.readouterr()
        fids[name] = json.loads(printed.out)[0]["metrics"]["fid_digits"]
        told[name] = [line for line in printed.err.splitlines() if "taken as" in line]
    assert all(figure == fids["samples"] for figure in fids.values())
    as_images = "taken as 30 of image (1, 8, 8) of 17 levels"
    assert told == {
        "samples": [],
        "arr_0": [f"arr_0.npz: 'arr_0' of shape (30, 1, 8, 8) {as_images}"],
        "last": [f"last.npz: 'samples' of shape (30, 8, 8, 1) {as_images}, channels last"],
        "none": [f"none.npz: 'samples' of shape (30, 8, 8) {as_images}, one channel"],
    }


def test_integers_of_any_type_are_levels(tmp_path):
    spec, x = build(DIGITS).spec, build(DIGITS).split("train").x.numpy()[:5]
    np.savez(tmp_path / "a.npz", samples=x, labels=np.arange(5))
    np.savez(tmp_path / "b.npz", samples=x.astype(np.int64))
    a, b = (of_files(str(tmp_path / name), spec, 5) for name in ("a.npz", "b.npz"))
    assert a.drawn == b.drawn
    (batch,), (bare,) = (list(one.generated("cpu")) for one in (a, b))
    assert batch["x"].dtype == torch.uint8 and batch["y"].tolist() == [0, 1, 2, 3, 4] and "y" not in bare


def test_a_folder_of_images_is_scored(tmp_path):
    spec = Spec("image", (1, 28, 28), 256)
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    assert of_files(str(tmp_path), spec, 2).n == 5
    for part in ("train", "test", "boat"):  # folders of any name
        (tmp_path / "parts" / part).mkdir(parents=True)
        Image.new("L", (28, 28)).save(tmp_path / "parts" / part / "x.png")
    assert of_files(str(tmp_path / "parts"), spec, 2).n == 3
    shutil.rmtree(tmp_path / "parts")
    Image.new("F", (28, 28)).save(tmp_path / "6.tiff")
    with pytest.raises(DataError, match=r"6\.tiff: has floating-point pixels"):
        of_files(str(tmp_path), spec, 2)
    (tmp_path / "6.tiff").unlink()
    whole = (tmp_path / "0.png").read_bytes()
    for broken in (whole[:300], b"not an image", b""):
        (tmp_path / "6.png").write_bytes(broken)
        with pytest.raises(DataError, match=r"^samples=.*: 6\.png: not a readable image: ") as error:
            of_files(str(tmp_path), spec, 2)
        assert "\n" not in str(error.value)
    Image.new("L", (30, 28)).save(tmp_path / "6.png")
    with pytest.raises(DataError, match=r"6\.png: 30 x 28 pixels"):
        of_files(str(tmp_path), spec, 2)
    for name in ("6.png", "7.png"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(
        DataError, match=r"^samples=.*: 2 images cannot be read: 6\.png \(of no known format\), 7\.png$"
    ):
        of_files(str(tmp_path), spec, 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="an empty folder"):
        of_files(str(tmp_path / "empty"), spec, 2)
    with pytest.raises(DataError, match=r"give an \.npz"):
        of_files(str(tmp_path), build(DIGITS).spec, 2)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_of_few_samples_there_are_the_figures_that_are_defined(tmp_path, capsys, n):
    """The least that each takes: two for a covariance or a pair, six for the fifth neighbour, ten for a support."""
    x = build(DIGITS | {"limit": 200}).split("train").x.numpy()
    np.savez(tmp_path / "few.npz", samples=x[:n])
    assert evaluate.main(compose(f"samples={tmp_path / 'few.npz'}", "data=digits", "real=none"), True) == 0
    printed = capsys.readouterr()
    (row,) = json.loads(printed.out)
    lacking = {"support"} | ({"recall_3"} if n < 6 else set())
    lacking |= {"fid", "kid", "mmd2"} if n == 1 else set()
    for figure in ("fid", "kid", "mmd2", "support", "recall_3", "is", "mode_score", "memorised"):
        assert (f"{figure}_digits" in row["metrics"]) == (figure not in lacking)
    assert all(math.isfinite(figure["value"]) for figure in row["metrics"].values())
    assert f"n = {n} is few" in printed.err and ("no fid_digits: " in printed.err) == (n < 2)
    assert (f"{n} examples for 64 features" in printed.err) == (n > 1)
    assert all(line.startswith("few.npz: ") for line in printed.err.splitlines())


@pytest.mark.parametrize("points", [1, 2, 5, 6])
def test_of_few_points_there_are_the_figures_that_are_defined(tmp_path, capsys, points):
    np.savez(tmp_path / "few.npz", samples=np.random.default_rng(0).normal(size=(points, 2)))
    words = [f"samples={tmp_path / 'few.npz'}", "data=ring", "++data.train=500", "++data.test=300", "real=none"]
    assert evaluate.main(compose(*words), True) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert {"modes", "high_quality", "memorised_raw"} <= set(row["metrics"])
    assert ("wasserstein_1" in row["metrics"]) == ("fid_raw" in row["metrics"]) == (points > 1)
    assert ("recall_3_raw" in row["metrics"]) == (points > 5)
    assert all(math.isfinite(figure["value"]) for figure in row["metrics"].values())


def test_samples_that_are_all_one_are_told_and_lack_what_would_say_nothing(tmp_path, capsys):
    np.savez(tmp_path / "one.npz", samples=np.full((150, 1, 8, 8), 7, np.uint8))
    assert cli.main(["eval", f"samples={tmp_path / 'one.npz'}", "data=digits", "real=none", "--json"]) == 0
    printed = capsys.readouterr()
    (row,) = json.loads(printed.out)
    assert "one.npz: all 150 samples are equal\n" in printed.err and len(row["metrics"]) > 10
    assert row["metrics"]["is_digits"]["value"] == pytest.approx(1) and row["metrics"]["support_digits"]["value"] == 1
    assert not {"precision_3_digits", "precision_5_digits"} & set(row["metrics"])
    assert row["metrics"]["recall_3_digits"]["value"] == 0 and row["metrics"]["class_kl_digits"]["value"] > 1
    (why,) = [line for line in printed.err.splitlines() if "of which it says nothing" in line]
    assert {"precision_3_digits", "precision_5_digits"} <= set(re.split(r"[:, ]+", why))
    assert all(math.isfinite(figure["value"]) for figure in row["metrics"].values())


def test_features_of_real_examples_are_kept(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run", data=DIGITS | {"root": str(tmp_path / "root")})
    words = [f"run={run.path}", "metrics=fid_digits", "force=true"]
    _, first = measured(capsys, *words)
    (kept,) = (tmp_path / "root" / "cache").glob("digits-*.npy")
    seen = []
    monkeypatch.setattr(Digits, "forward", lambda self, x, old=Digits.forward: seen.append(len(x)) or old(self, x))
    few = 8  # real ones that are looked at each time
    assert measured(capsys, *words)[1] == first and sum(seen) == 70 + few
    whole = kept.read_bytes()
    for damaged in (whole[:200], whole[:-2000] + bytes([whole[-2000] ^ 64]) + whole[-1999:], whole[:-1] + b"x"):
        kept.write_bytes(damaged)
        assert measured(capsys, *words)[1] == first and kept.read_bytes() == whole
    assert [path.name for path in (tmp_path / "root" / "cache").iterdir()] == [kept.name]


def test_kept_features_are_of_these_examples_seen_in_this_way_and_no_others(tmp_path, monkeypatch):
    """What is kept for one is never taken for another: of other levels, shape, type or value, weights, net or size."""
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    x = torch.randint(0, 2, (20, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    changed = x.clone()
    changed[-1, 0, 0, 0] ^= 1
    binary, many, wide = (
        Spec("image", shape, levels) for shape, levels in (((1, 8, 8), 2), ((1, 8, 8), 17), ((1, 4, 16), 2))
    )
    state = load_file(WEIGHTS / "digits.safetensors")
    save_file({**state, "embed.bias": state["embed.bias"] + 1}, tmp_path / "other.safetensors")

    def flat(spec, size):
        return Module(spec, torch.nn.Flatten(), size=size)

    def digits(spec, weights=None):
        return Digits(replace(spec, classes=tuple("0123456789")), weights)

    other = str(tmp_path / "other.safetensors")
    cases = [
        (digits(binary), x, binary), (digits(many), x, many), (digits(wide), x.view(20, 1, 4, 16), wide),
        (digits(binary), changed, binary), (digits(binary), x[:10], binary), (digits(binary, other), x, binary),
        (flat(binary, None), x, binary), (flat(many, None), x, many), (flat(binary, 4), x, binary),
        (flat(wide, None), x.view(20, 1, 4, 16), wide), (flat(wide, 4), x.view(20, 1, 4, 16), wide),
    ]  # fmt: skip
    for extractor, images, spec in [*cases, *cases]:
        examples = Examples(images)
        found = seen(Shared(extractor), examples, content(examples, spec), None, 7, torch.device("cpu"))
        torch.testing.assert_close(found, torch.cat(extractor(images), 1), atol=1e-5, rtol=1e-5)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == len(cases)


def test_the_code_of_a_module_is_part_of_its_hash(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    hashes = []
    for factor in (1, 2, 1):
        forward = f"    def forward(self, x):\n        return {factor} * x.flatten(1)\n"
        (tmp_path / "own_net.py").write_text(f"from torch import nn\nclass Net(nn.Module):\n{forward}")
        sys.modules.pop("own_net", None)
        importlib.invalidate_caches()
        hashes.append(Shared(Module(Spec("image", (1, 8, 8), 17), importlib.import_module("own_net").Net())).hash)
    assert hashes[0] == hashes[2] != hashes[1]


class Scaled(torch.nn.Module):
    """A net with a number that is neither weight nor layer."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.register_buffer("kept", torch.ones(1), persistent=False)

    def forward(self, x):
        return self.scale * x.flatten(1)


def test_what_a_module_was_made_with_is_part_of_its_hash():
    spec = Spec("image", (1, 8, 8), 17)
    nets = [Scaled(1.0), Scaled(2.0), Scaled((1.0, [2.0])), Scaled(torch.ones(1)), Scaled(torch.zeros(1))]
    nets += [Scaled(value) for value in (np.ones(2), np.zeros(2), {"a": np.ones(1)}, {"b", "c"}, {"c", "d"})]
    buffered = Scaled(1.0)
    buffered.kept += 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scaled, "forward", lambda self, x: x.flatten(1))
        hashes = [Module(spec, net).hash for net in [*nets, buffered]]
        assert len({*hashes}) == len(hashes) and Module(spec, Scaled(1.0)).hash == hashes[0]


def test_the_config_that_an_extractor_was_made_by_is_part_of_its_hash():
    """For what a net keeps in a closure, say, nobody can tell."""
    spec, module = Spec("image", (1, 8, 8), 17), {"_target_": "genlab.extractors.module.Module", "size": None}
    nodes = [{"_target_": "torch.nn.Flatten"}, {"_target_": "torch.nn.Flatten", "start_dim": 1}]
    (one,), (other,) = (extractors({"extractor": module | {"net": net}}, spec)[0] for net in nodes)
    assert one.extractor.hash == other.extractor.hash and one.hash != other.hash
    bundled = {"_target_": "genlab.extractors.digits.Digits", "weights": None}
    (named,), _ = extractors({"extractor": bundled}, build(DIGITS).spec)
    assert named.hash == named.extractor.hash  # as where nobody names it


def test_weights_that_an_extractor_draws_are_the_same_every_time():
    """Else the rows of one table were seen by nets of their own."""
    spec, module = Spec("image", (1, 8, 8), 17), {"_target_": "genlab.extractors.module.Module", "size": None}
    net = {"_target_": "genlab.models.vae.mlp.Encoder", "outputs": 3}
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found += extractors({"extractor": module | {"net": net}}, spec)[0]
        assert torch.get_rng_state().equal(before)
    assert found[0].hash == found[1].hash


def test_code_beside_a_module_s_class_is_part_of_its_hash(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "scaled_net").mkdir()
    (tmp_path / "scaled_net" / "__init__.py").write_text(
        "from torch import nn\nfrom scaled_net.inner import f\n"
        "class Net(nn.Module):\n    def forward(self, x):\n        return f(x).flatten(1)\n"
    )
    hashes = []
    for factor in (1, 10, 1):
        (tmp_path / "scaled_net" / "inner.py").write_text(f"def f(x):\n    return {factor} * x\n")
        for name in ("scaled_net", "scaled_net.inner"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        hashes.append(Shared(Module(Spec("image", (1, 8, 8), 17), importlib.import_module("scaled_net").Net())).hash)
    assert hashes[0] == hashes[2] != hashes[1]


class Plain:
    """An extractor of a user's own that is no torch module."""

    name, dimensions, classes, hash, factor = "plain", 64, 0, "", 1

    def __call__(self, x):
        return Features(self.factor * x.flatten(1).float(), x.new_empty(len(x), 0, dtype=torch.float32))


def test_features_are_kept_by_what_an_extractor_does_whatever_it_is_made_of(tmp_path, monkeypatch):
    """A file that it reads, a package that nobody named: no hash knows of these."""
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    x = torch.randint(0, 17, (20, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    spec, examples = Spec("image", (1, 8, 8), 17), Examples(x)
    for factor in (1, 3, 1):
        monkeypatch.setattr(Plain, "factor", factor)
        found = seen(Shared(Plain()), examples, content(examples, spec), None, 7, torch.device("cpu"))
        assert torch.equal(found, factor * x.flatten(1).float())
    assert len([*tmp_path.rglob("plain-*.npy")]) == 2


def test_a_value_of_the_environment_that_a_preset_refers_to_is_measured_anew(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run")
    (tmp_path / "mine" / "metric").mkdir(parents=True)
    preset = (conf_folder() / "metric" / "kernel_distance.yaml").read_text()
    path = tmp_path / "mine" / "metric" / "kernel_distance.yaml"
    path.write_text(preset.replace("size: 1000", "size: ${oc.decode:${oc.env:SIZE,2}}"))
    found = []
    for size in ("10", "20"):
        monkeypatch.setenv("SIZE", size)
        _, (row,) = measured(capsys, f"run={run.path}", "metrics=kid", f"config_dir=[{tmp_path / 'mine'}]")
        found.append(row["metrics"]["kid_digits"]["protocol"]["subset size"])
    assert found == [10, 20]


def test_a_preset_builds_on_others_and_one_that_is_amiss_is_left_out_with_a_line(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    folder = tmp_path / "mine" / "extractor"
    folder.mkdir(parents=True)
    (folder / "flat.yaml").write_text("defaults: [module, _self_]\nname: flat\nnet: {_target_: torch.nn.Flatten}\n")
    options = compose(f"config_dir=[{tmp_path / 'mine'}]")
    assert presets("extractor", options)["flat"] == presets("extractor", compose())["module"] | {
        "name": "flat",
        "net": {"_target_": "torch.nn.Flatten"},
    }
    (folder / "worse.yaml").write_text("_target_: genlab.extractors.module.Module\nsize: ${metric.nothing.size}\n")
    mine = f"config_dir=[{tmp_path / 'mine'}]"
    code = evaluate.main(compose(f"run={run.path}", "metrics=fid", "n=70", "real=none", mine))
    told = capsys.readouterr().err
    assert code == 0 and f"extractor/worse={folder / 'worse.yaml'}: Interpolation key 'metric.nothing.size'" in told


def test_a_module_takes_no_name_of_an_extractor_of_genlab_s():
    with pytest.raises(ConfigError, match=r"^extractor\.name=digits: is an extractor of genlab's"):
        Module(Spec("image", (1, 8, 8), 17), torch.nn.Flatten(), name="digits")


def test_every_figure_has_its_whole_protocol_and_the_caption_says_it(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    assert evaluate.main(compose(f"run={run.path}", "k=2", "n=70", "real=none")) == 0
    caption = capsys.readouterr().out
    entries = {entry["name"]: entry["protocol"] for entry in run.metrics["figures"]}
    assert {"nats", "bpd", "fid_digits", "is_digits", "kid_digits", "support_digits", "latent_kl"} <= set(entries)
    for name, protocol in entries.items():
        assert {"data", "checkpoint", "step", "weights"} <= set(protocol)
        assert all(f"{key} {value}" in caption for key, value in protocol.items())
        if name.endswith("_digits"):
            assert protocol["extractor"].startswith("digits:") and len(protocol["extractor"]) == len("digits:") + 12
            assert {
                "resize": "none",
                "rounding": "to 17 levels",
                "n generated": 70,
                "seeds": "0-69",
            }.items() <= protocol.items()
        if "split" in protocol:
            assert len(protocol["split hash"].split(", ")) == len(protocol["split"].split(", "))
            assert {"n", "n real", "n train"} & set(protocol)
    assert {"splits": 1, "split seed": 2020}.items() <= entries["is_digits"].items()
    assert entries["bpd"]["seed"] == 0 and entries["fid_digits"]["n real"] == 40


def test_only_the_figures_asked_for_are_there(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    for asked, names in (
        ("bpd", {"bpd"}),
        ("likelihood", {"nats", "bpd", "negative_elbo", "gap", "distortion", "ess"}),
        ("[nats,bpd]", {"nats", "bpd"}),
    ):
        _, (row,) = measured(capsys, f"run={run.path}", f"metrics={asked}", "k=2")
        assert set(row["metrics"]) == names


def test_a_report_of_runs_never_measured_says_what_to_do(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    report.main({"run": str(tmp_path)}, True)
    printed = capsys.readouterr()
    assert "1 of 1 runs not measured yet: genlab eval run=" in printed.err and "run" in printed.err
    (row,) = json.loads(printed.out)
    assert row["runs"] == 1 and row["metrics"] == {}
    measured(capsys, f"run={run.path}", "metrics=bpd", "k=2")
    report.main({"run": str(tmp_path)}, True)
    assert "not measured" not in capsys.readouterr().err


def test_what_does_not_apply_is_left_out_with_the_reason(tmp_path, capsys):
    gan, flow = make_run(tmp_path / "gan", GAN), make_run(tmp_path / "flow", FLOW, MOONS)
    evaluate.main(config.compose("eval", [f"run='{gan.path},{flow.path}'", "n=70"]).config, True)
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert set(rows[0]) == {"run", "model", "data", "step", "metrics"}
    assert {"is_digits", "fid_digits"} <= set(rows[0]["metrics"]) and "nats" not in rows[0]["metrics"]
    assert (
        "no nats, bpd, negative_elbo, gap, distortion, ess: GAN has no density and has no bound of the likelihood"
        in printed.err
    )
    marks = {name: figure["mark"] for name, figure in rows[1]["metrics"].items()}
    assert {"nats": "=", "integral": "~"}.items() <= marks.items() and "fid_digits" not in marks
    assert "no is, mode_score, mode_score_train, class_kl: extractor=raw has no classes" in printed.err


def test_a_checkpoint_alone_will_do(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    moved = (run.checkpoints / "last.ckpt").rename(tmp_path / "moved.ckpt")
    _, (row,) = measured(capsys, f"ckpt={moved}", "metrics=bpd", "k=2")
    assert row["run"] == str(moved) and row["metrics"]["bpd"]["value"] > 0


@pytest.mark.parametrize("part", ["model", "penalty", "data", "loss"])
def test_whatever_a_checkpoints_config_names_that_is_not_trusted_is_told_with_its_key_and_the_file(
    tmp_path, capsys, part
):
    state = checkpoint.read(make_run(tmp_path / "run", GAN).checkpoint("last"))
    state["genlab"]["config"][part] = {"_target_": "subprocess.Popen", "args": ["touch", str(tmp_path / "ran")]}
    torch.save(state, evil := tmp_path / "evil.ckpt")
    words = [["eval", f"ckpt={evil}", "real=none"], ["sample", f"ckpt={evil}", "task=neighbours", "n=1"]]
    for line in words[: 1 if part == "loss" else 2]:  # a sampler needs no loss
        assert cli.main(line) == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith(f"error: {part}._target_=subprocess.Popen: 'subprocess' is not a trusted package; ")
        assert said.endswith(f"(config in {evil})")
    assert not (tmp_path / "ran").exists()


def test_another_data_set_must_be_of_the_same_kind(tmp_path, capsys):
    run = make_run(tmp_path / "run", FLOW, MOONS)
    _, (row,) = measured(capsys, f"run={run.path}", "data=ring")
    assert row["data"] == "ring"
    with pytest.raises(ConfigError, match="its kind is image"):
        measured(capsys, f"run={run.path}", "data=digits")


def test_wrong_names_are_told_with_the_right_ones(tmp_path, capsys):
    run = make_run(tmp_path / "run", FLOW, MOONS)
    with pytest.raises(ConfigError, match="did you mean 'bpd'"):
        measured(capsys, f"run={run.path}", "metrics=bdp")
    with pytest.raises(ConfigError, match="extractor=digits"):
        measured(capsys, f"run={run.path}", "extractor=digits")


def test_one_run_that_fails_does_not_stop_the_others(tmp_path, capsys):
    """Without a checkpoint; with a damaged one, config or metrics.json; with weights that are NaN."""
    for name in "abcdef":
        make_run(tmp_path / name, FLOW, MOONS | {"train": 300})
    (tmp_path / "a/checkpoints/last.ckpt").unlink()
    whole = (tmp_path / "b/checkpoints/last.ckpt").read_bytes()
    (tmp_path / "b/checkpoints/last.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c/config.yaml").write_text(": [")
    (tmp_path / "d/metrics.json").write_text('{"figures": {}}')
    state = checkpoint.read(tmp_path / "e/checkpoints/last.ckpt")
    next(value for value in state["state_dict"].values() if value.is_floating_point()).fill_(math.nan)
    checkpoint.write(tmp_path / "e/checkpoints/last.ckpt", state)
    assert evaluate.main(compose(f"run={tmp_path}", "metrics=nats"), True) == 1
    printed = capsys.readouterr()
    assert [row["run"] for row in json.loads(printed.out)] == [str(tmp_path / "f")]
    told = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    for name, said in zip("abcde", ("no checkpoint", "damaged", "not valid YAML", "delete it", "NaN"), strict=True):
        (line,) = (line for line in told if f"{tmp_path / name}" in line)
        assert said in line
        with pytest.raises(GenlabError, match=said):
            measured(capsys, f"run={tmp_path / name}", "metrics=nats")
    assert len(told) == 5


@pytest.mark.parametrize(
    "when, error",
    [("update", RuntimeError("at\nleast\none")), ("compute", GenlabError("no luck")), ("compute", MemoryError())],
)
def test_one_metric_that_fails_does_not_stop_the_others(tmp_path, capsys, monkeypatch, when, error):
    def fail(*_, **__):
        raise error

    run = make_run(tmp_path / "run")
    monkeypatch.setattr(f"genlab.metrics.frechet.FrechetDistance.{when}", fail)
    assert evaluate.main(compose(f"run={run.path}", "metrics=[fid,is]", "n=70", "real=none"), True) == 0
    printed = capsys.readouterr()
    assert list(json.loads(printed.out)[0]["metrics"]) == ["is_digits"]
    (line,) = (line for line in printed.err.splitlines() if "no fid_digits" in line)
    assert line.startswith("run: no fid_digits: ") and " ".join(str(error).split()) in line
    assert evaluate.main(compose(f"run={run.path}", "metrics=[fid,is]", "n=70", "real=none"), True) == 0
    assert line in capsys.readouterr().err  # also of an evaluation that is remembered
    assert evaluate.main(compose(f"run={run.path}", "metrics=fid", "n=70", "real=none"), True) == 1
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_no_figure(tmp_path, capsys, monkeypatch, value):
    run = make_run(tmp_path / "run")
    found = {"is": Figure(value, stderr=1.0)}
    monkeypatch.setattr("genlab.metrics.inception_score.InceptionScore.compute", lambda self: found)
    assert evaluate.main(compose(f"run={run.path}", "metrics=[fid,is]", "n=70", "real=none"), True) == 0
    printed = capsys.readouterr()
    assert list(json.loads(printed.out)[0]["metrics"]) == ["fid_digits"] and "no is_digits: it is" in printed.err
    assert "NaN" not in (run.path / "metrics.json").read_text()


def test_damaged_weights_of_the_package_cost_only_the_figures_that_need_them(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run")
    whole, sums = ((WEIGHTS / name).read_bytes() for name in ("digits.safetensors", "SHA256SUMS"))
    monkeypatch.setattr("genlab.extractors.base.WEIGHTS", tmp_path)
    (tmp_path / "SHA256SUMS").write_bytes(sums)
    flipped = bytearray(whole)
    flipped[-1000] ^= 1  # a digit of one weight: the file is well formed
    for spoilt, said in ((whole[:1000], "damaged"), (flipped, "damaged, expected sha256:"), (None, "No such file")):
        (tmp_path / "digits.safetensors").unlink(missing_ok=True)
        if spoilt is not None:
            (tmp_path / "digits.safetensors").write_bytes(spoilt)
        words = [f"run={run.path}", "metrics=[bpd,fid]", "k=2", "n=70", "real=none", "force=true"]
        assert evaluate.main(compose(*words), True) == 0
        printed = capsys.readouterr()
        assert list(json.loads(printed.out)[0]["metrics"]) == ["bpd"]
        evaluate.main(compose(*words, "extractor=digits"), True)  # nor of one that is named
        named = capsys.readouterr()
        assert list(json.loads(named.out)[0]["metrics"]) == ["bpd"] and said in named.err
        assert "no fid: " in printed.err and said in printed.err and "install genlab again" in printed.err
        with pytest.raises(GenlabError, match=said) as error:
            measured(capsys, f"run={run.path}", "extractor=digits", "metrics=fid", "force=true")
        assert error.value.exit_code == 1
    (tmp_path / "digits.safetensors").write_bytes(whole)
    evaluate.main(compose(*words[:-1], "extractor=digits"), True)  # as soon as they are there
    assert {*json.loads(capsys.readouterr().out)[0]["metrics"]} == {"bpd", "fid_digits"}


def test_weights_that_are_not_where_the_user_says_are_a_mistake_of_the_command_line(capsys, tmp_path):
    words = [f"run={make_run(tmp_path / 'run').path}", "extractor=digits", "metrics=fid"]
    for place in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ConfigError, match=rf"^extractor.weights={place}: "):
            measured(capsys, *words, f"extractor.weights={place}")


@pytest.fixture
def full():
    """A function after which the disk takes files of at most so many bytes: the kernel refuses more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_figures_are_shown_and_earlier_ones_kept(tmp_path, capsys, full):
    run = make_run(tmp_path / "run", data=DIGITS | {"root": str(tmp_path / "root")})
    measured(capsys, f"run={run.path}", "metrics=bpd", "k=2")
    before = (run.path / "metrics.json").read_bytes()
    full(1000)
    code = evaluate.main(compose(f"run={run.path}", "metrics=fid", "n=70", "real=none"), True)
    full(resource.RLIM_INFINITY)
    printed = capsys.readouterr()
    assert code == 1 and "fid_digits" in json.loads(printed.out)[0]["metrics"]
    assert f"error: {run.path}/metrics.json: not kept: " in printed.err
    assert f"features are not kept: {tmp_path / 'root' / 'cache'}: " in printed.err
    assert (run.path / "metrics.json").read_bytes() == before
    left = [path.name for path in (*run.path.iterdir(), *(tmp_path / "root" / "cache").iterdir())]
    assert not [name for name in left if name.endswith(".partial")]


def test_figures_that_cannot_be_kept_are_told_once(tmp_path, capsys, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("keep", "keep_controls"):
        monkeypatch.setattr(f"genlab.evaluation.results.{name}", refuse)
    run = make_run(tmp_path / "run")
    assert evaluate.main(compose(f"run={run.path}", "metrics=fid", "n=70", "real=train"), True) == 1
    assert capsys.readouterr().err.count("not kept: Read-only file system") == 1


def test_a_run_whose_training_has_not_ended_is_told(tmp_path, capsys):
    run = make_run(tmp_path / "run", FLOW, MOONS)
    run.note(status="training")
    assert evaluate.main(compose(f"run={run.path}", "metrics=nats"), True) == 0
    assert "run: its training has not ended (training)" in capsys.readouterr().err


def test_data_without_classes_lack_only_what_takes_them(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (130, 28, 28), np.uint8)):
        Image.fromarray(image).save(tmp_path / "pictures" / f"{number}.png")
    data = ["data=folder", f"++data.path={tmp_path / 'pictures'}", "++data.grey=true", f"++data.root={tmp_path}"]
    words = [f"samples={tmp_path / 'pictures'}", *data, "real=none"]
    assert evaluate.main(compose(*words, "metrics=[fid,is,class_accuracy]", "extractor=mnist"), True) == 0
    printed = capsys.readouterr()
    assert set(json.loads(printed.out)[0]["metrics"]) == {"fid_mnist", "is_mnist"}
    assert "no class_accuracy: the data have no classes" in printed.err
    assert evaluate.main(compose(*words, "metrics=fid"), True) == 1
    assert "no fid: no extractor is taken for such data unasked; extractor=cifar10, " in capsys.readouterr().err


def test_a_metric_of_the_users_own_is_one_file_and_one_yaml(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine" / "metric").mkdir(parents=True)
    (tmp_path / "mine" / "metric" / "brightness.yaml").write_text("# mean\n_target_: own_metric.Mean\nscale: ${n}\n")
    (tmp_path / "own_metric.py").write_text(
        "import torch\nfrom torchmetrics import Metric\n"
        "from genlab.metrics.base import Figure\nfrom genlab.models.base import Samples\n"
        "class Mean(Metric):\n"
        "    needs, figures, reads = (Samples,), ('brightness',), ('generated',)\n"
        "    def __init__(self, scale: float):\n"
        "        super().__init__()\n        self.scale = scale\n"
        "        self.add_state('count', torch.tensor(0), dist_reduce_fx='sum')\n"
        "    def refuses(self, spec):\n        return ''\n"
        "    def update(self, batch, source, model):\n        self.count += len(batch['x'])\n"
        "    def compute(self):\n        return {'brightness': Figure(float(self.count) / self.scale)}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("genlab.build._admitted", ["own_metric."])
    run = make_run(tmp_path / "run")
    _, (row,) = measured(capsys, f"run={run.path}", "metrics=[brightness]", f"config_dir=[{tmp_path / 'mine'}]")
    assert row["metrics"]["brightness"]["value"] == 1


def test_two_ranks_measure_what_one_does(tmp_path, capsys):
    run = make_run(tmp_path / "run", FLOW, MOONS)
    words = [f"run={run.path}", "batch=100"]
    _, (one,) = measured(capsys, *words)
    command = [sys.executable, "-m", "genlab", "eval", *words, "n=70", "devices=2", "device=cpu", "--json"]
    (two,) = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    assert two["metrics"]["nats"]["value"] == pytest.approx(one["metrics"]["nats"]["value"], rel=1e-7)
    assert two["metrics"]["nats"]["protocol"] == one["metrics"]["nats"]["protocol"]


def planted(path, figures, seed=0, rate=1.0, model="vae"):
    """A run folder with these figures in its metrics.json."""
    path.mkdir(parents=True)
    resolved = {"model": {"_target_": model}, "data": {"_target_": "d", "root": str(path)}, "optimizer": {"lr": rate}}
    resolved |= {"seed": seed, "choices": {"model": model, "data": "digits"}}
    (path / "config.yaml").write_text(yaml.safe_dump(resolved))
    (path / "run.yaml").write_text("status: done\n")
    run = Run(path)
    run.save_metrics({"figures": [{"name": name, "step": 1, **figure._asdict()} for name, figure in figures]})
    return run


def bpd(value, **protocol):
    return ("bpd", Figure(value, "<=", 0.1, {"checkpoint": "best", "n": 10, "k": 5} | protocol))


def cells(table):
    return [[text for text in row if text] for row in table.cells()]


def test_a_report_averages_over_seeds(tmp_path):
    runs = [planted(tmp_path / str(seed), [bpd(value)], seed) for seed, value in enumerate([1.0, 2.0, 6.0])]
    table = report.tabulate(runs)
    assert cells(table) == [["vae", "digits", "best", "3", "<= 3.0 ± 2.6"]]
    (figure,) = table.rows[0][1].values()
    assert figure.value == pytest.approx(3) and figure.stderr == pytest.approx(math.sqrt(7))


UNLIKE = {
    "data": "y", "checkpoint": "last", "weights": "as trained", "n": 20, "n generated": 20, "n real": 20, "k": 6,
    "extractor": "digits:0", "resize": "other", "rounding": "other", "splits": 5, "split seed": 1, "split": "val",
    "split hash": "0", "seeds": "1-9", "seed": 1, "batch": 128,
}  # fmt: skip


@pytest.mark.parametrize("key", UNLIKE)
def test_a_report_never_averages_unlike_protocols(tmp_path, key):
    runs = [planted(tmp_path / "a", [bpd(1.0)], 0), planted(tmp_path / "b", [bpd(2.0, **{key: UNLIKE[key]})], 1)]
    values = sorted(figure.value for _, row in report.tabulate(runs).rows for figure in row.values())
    assert values == [1.0, 2.0]


def test_steps_are_averaged_over_only_where_validation_chose_them(tmp_path):
    """A seed's best step is a result; the last step is how long it was trained."""
    best = [planted(tmp_path / f"a{i}", [bpd(i, step=i)], i) for i in (1, 2)]
    last = [planted(tmp_path / f"b{i}", [bpd(i, step=i, checkpoint="last")], i, model="gan") for i in (1, 2)]
    table = report.tabulate([*best, *last])
    assert sorted(figure.value for _, row in table.rows for figure in row.values()) == [1.0, 1.5, 2.0]
    assert any("step 1, 2" in line for line in table.caption)


def test_a_report_refuses_to_average_what_was_measured_in_two_ways(tmp_path, capsys):
    def cells_of(*words):
        """Of two seeds, the first measured by the first words: how many runs each figure of the table is of."""
        for run, one in zip(runs, words, strict=True):
            if run is runs[0] and one == before[-1]:
                continue
            (run.path / "metrics.json").unlink(missing_ok=True)
            measured(capsys, f"run={run.path}", "real=none", *one)
        before.append(words[0])
        shown = [figure for _, row in report.tabulate(runs).rows for figure in row.values()]
        return sorted(figure.protocol.get("runs", 1) for figure in shown)

    before, runs = [[]], [make_run(tmp_path / f"{seed}") for seed in (0, 1)]
    (runs[1].path / "config.yaml").write_text((runs[0].path / "config.yaml").read_text().replace("seed: 0", "seed: 1"))
    state = load_file(WEIGHTS / "digits.safetensors")
    save_file({**state, "classify.bias": state["classify.bias"] + 1e-3}, tmp_path / "other.safetensors")
    (tmp_path / "mine" / "metric").mkdir(parents=True)
    preset = (conf_folder() / "metric" / "inception_score.yaml").read_text()
    (tmp_path / "mine" / "metric" / "inception_score.yaml").write_text(
        preset.replace("splits: 10", "splits: 10\nseed: 7")
    )
    fid, flat = ["metrics=fid"], ["metrics=fid", "extractor=module", "++extractor.net._target_=torch.nn.Flatten"]
    assert cells_of(fid, fid) == [2]
    assert cells_of(fid, [*fid, "split=val"]) == [1, 1]
    assert cells_of(fid, [*fid, "data=digits", "++data.limit=30"]) == [1, 1]
    assert cells_of(fid, [*fid, "extractor=digits", f"extractor.weights={tmp_path / 'other.safetensors'}"]) == [1, 1]
    assert cells_of([*flat, "extractor.size=4"], [*flat, "extractor.size=2"]) == [1, 1]
    assert cells_of(["metrics=bpd", "k=2"], ["metrics=bpd", "k=2", "seed=1"]) == [1, 1]
    assert cells_of(["metrics=is"], ["metrics=is", f"config_dir=[{tmp_path / 'mine'}]"]) == [1, 1]
    last = runs[1].checkpoints / "last.ckpt"
    whole = checkpoint.read(last)
    weights = {key.removeprefix("model."): value for key, value in whole["state_dict"].items()}
    for changed in ({"genlab": whole["genlab"] | {"step": 8}}, {"average": weights}):
        checkpoint.write(last, whole | changed)
        assert cells_of(fid, fid) == [1, 1]
    checkpoint.write(runs[1].checkpoints / "best.ckpt", whole)
    checkpoint.write(last, whole)
    assert cells_of(fid, fid) == [1, 1] and cells_of(fid, [*fid, "ckpt=last"]) == [2]


@pytest.mark.parametrize("other, columns", [({"n": 20}, ["bpd", "bpd (b)"]), ({"k": 6}, ["bpd"])])
def test_unlike_protocols_never_share_a_column_but_bounds_of_any_k_do(tmp_path, other, columns):
    runs = [planted(tmp_path / "a", [bpd(1.0)]), planted(tmp_path / "b", [bpd(2.0, **other)], model="flow")]
    assert report.tabulate(runs).figures == columns


def test_runs_that_differ_in_more_than_the_seed_stand_apart_and_say_in_what(tmp_path):
    runs = [planted(tmp_path / str(rate), [bpd(rate)], rate=rate) for rate in (1.0, 2.0)]
    table = report.tabulate(runs)
    assert [row[2] for row in table.cells()] == ["optimizer.lr=1.0", "optimizer.lr=2.0"]


def test_one_damaged_run_does_not_stop_a_report_of_others(tmp_path, capsys):
    planted(tmp_path / "a", [bpd(1.0)])
    for name, damaged in (("b", "metrics.json"), ("c", "config.yaml")):
        planted(tmp_path / name, [bpd(2.0)])
        (tmp_path / name / damaged).write_text('{"figures": [1')
        with pytest.raises(GenlabError, match=damaged):
            report.main({"run": str(tmp_path / name)}, True)
    assert report.main({"run": str(tmp_path)}, True) == 1
    printed = capsys.readouterr()
    assert [row["metrics"]["bpd"]["value"] for row in json.loads(printed.out)] == [1.0]
    assert printed.err.count("error: ") == 2


def test_what_a_run_has_not_is_a_dash(tmp_path):
    table = report.tabulate([planted(tmp_path / "a", [bpd(1.0)]), planted(tmp_path / "b", [], model="gan")])
    assert {row[0]: row[-1] for row in table.cells()} == {"vae": "<= 1.00 ± 0.10", "gan": tables.NOTHING}


def test_many_figures_stand_on_lines_of_their_own_in_a_terminal(capsys):
    names = [f"figure{number}" for number in range(tables.WIDE + 1)]
    made = tables.Table(["run", "model"], names, [(["a", "vae"], {"figure3": bpd(1.0)[1]}), (["b", "gan"], {})], [])
    tables.show(made)
    lines = [line.replace("│", " ").replace("┃", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["run", "a", "b"] in lines and ["model", "vae", "gan"] in lines
    assert ["figure3", "<=", "1.00", "±", "0.10", tables.NOTHING] in lines


def test_every_format_keeps_marks_and_figures(tmp_path, capsys):
    planted(tmp_path / "a", [bpd(1.0)], model="vae_iwae")
    printed = {}
    for name in tables.FORMATS:
        out = {"out": str(tmp_path / "page.html")} if name == "html" else {}
        report.main({"run": str(tmp_path), "format": name, "metrics": "bpd", **out})
        printed[name] = capsys.readouterr()
    assert "<= 1.00 ± 0.10" in printed["rich"].out and "k 5" in printed["rich"].out
    assert r"vae\_iwae" in printed["latex"].out and r"$\le$ 1.00 $\pm$ 0.10 \\" in printed["latex"].out
    assert "| <= 1.00 ± 0.10 |" in printed["markdown"].out
    (row,) = csv.DictReader(io.StringIO(printed["csv"].out))
    assert (float(row["bpd"]), row["bpd mark"], float(row["bpd error"])) == (1.0, "<=", 0.1)
    assert "k 5" in printed["csv"].err
    report.main({"run": str(tmp_path)}, True)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["model"] == "vae_iwae" and row["metrics"]["bpd"]["mark"] == "<="
    with pytest.raises(ConfigError, match="did you mean 'csv'"):
        report.main({"run": str(tmp_path), "format": "csvv"})
    with pytest.raises(ConfigError, match="no run has it"):
        report.main({"run": str(tmp_path), "metrics": "fid"})


def test_a_report_has_each_real_row_in_the_column_of_what_it_was_measured_beside(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    beside = {}
    for n in (100, 30, 60):
        evaluate.main(compose(f"run={run.path}", "metrics=fid", f"n={n}", "real=train"), True)
        rows = json.loads(capsys.readouterr().out)
        beside[rows[0]["metrics"]["fid_digits"]["value"]] = rows[1]["metrics"]["fid_digits"]["value"]
    rows = {texts[0]: figures for texts, figures in report.tabulate([run]).rows}
    real, (model,) = rows.pop("real train"), rows.values()
    assert len(model) == len(beside) == 3 and model.keys() == real.keys()
    assert {figure.value: real[title].value for title, figure in model.items()} == pytest.approx(beside)
    assert not any("beside" in line for line in report.tabulate([run]).caption)


def test_real_examples_of_unlike_numbers_have_columns_of_their_own_where_they_control_nothing(tmp_path, capsys):
    run = make_run(tmp_path / "run")  # without classes, so that its samples have no class_accuracy
    for n in (30, 40):
        evaluate.main(compose(f"run={run.path}", "metrics=class_accuracy", f"n={n}", "real=train", "force=true"), True)
    capsys.readouterr()
    (real,) = (figures for texts, figures in report.tabulate([run]).rows if texts[0] == "real train")
    numbers = {title: figure.protocol["n generated"] for title, figure in real.items()}
    assert numbers == {"class_accuracy_digits": 30, "class_accuracy_digits (b)": 40}


def test_real_examples_of_unlike_training_sets_are_rows_of_their_own(tmp_path, capsys):
    more, fewer = (
        make_run(tmp_path / name, data=DIGITS | {"limit": 100, "validation": v}) for name, v in (("a", 0), ("b", 50))
    )
    words = [f"run='{more.path},{fewer.path}'", "metrics=[fid,is]", "n=40"]
    tables = []
    for again in ("false", "false", "true"):
        evaluate.main(compose(*words, "real=train", f"force={again}"), True)
        rows = json.loads(capsys.readouterr().out)
        real = [row["metrics"]["fid_digits"] for row in rows if row["run"] == "real train"]
        assert len({figure["protocol"]["examples hash"] for figure in real}) == len(real) == 2
        tables.append(sorted(figure["value"] for figure in real))
        evaluate.main(compose(*words, "real=train"))
        assert {"real train of a", "real train of b"} <= {*re.split(r" *[│┃] *", capsys.readouterr().out)}
    assert tables[0] == tables[1] == tables[2]
    rows = [(texts, cells) for texts, cells in report.tabulate([more, fewer]).rows if texts[0] == "real train"]
    assert [texts[2] for texts, _ in rows] == ["of data.validation=0", "of data.validation=50"]
    assert [*rows[0][1]] == [*rows[1][1]] == ["fid_digits", "is_digits"]


def test_unlike_ways_of_one_model_have_columns_of_their_own_and_like_ways_one(tmp_path):
    """By numbers of importance samples, most first; whichever checkpoints and runs were measured by which."""
    last = {"checkpoint": "last"}
    seeds = [
        planted(tmp_path / "a", [bpd(3.0, k=5), bpd(2.0, k=50), bpd(3.5, k=5, **last)], 0),
        planted(tmp_path / "b", [bpd(2.2, k=50)], 1),
    ]
    table = report.tabulate(seeds)
    rows = {
        (texts[3], texts[4]): {title: figure.value for title, figure in found.items()} for texts, found in table.rows
    }
    assert rows == {("best", "2"): {"bpd": 2.1}, ("best", "1"): {"bpd (b)": 3.0}, ("last", "1"): {"bpd (b)": 3.5}}


def test_unlike_runs_of_one_model_share_columns_by_their_ways(tmp_path):
    one = planted(tmp_path / "a", [bpd(3.0, k=5), bpd(2.0, k=50)])
    other = planted(tmp_path / "b", [bpd(3.1, k=5)], rate=2.0)
    exact = planted(tmp_path / "c", [("bpd", Figure(1.0, "=", 0.1, {"checkpoint": "best", "n": 10}))], model="pixelcnn")
    rows = [
        {title: figure.value for title, figure in found.items()}
        for _, found in report.tabulate([one, other, exact]).rows
    ]
    assert rows == [{"bpd": 1.0}, {"bpd": 2.0, "bpd (b)": 3.0}, {"bpd (b)": 3.1}]


def test_what_a_model_lacks_is_done_whatever_the_extractor(tmp_path, capsys):
    words = [f"run={make_run(tmp_path / 'run').path}", "extractor=digits", "metrics=[bpd,modes]", "k=2", "real=none"]
    evaluate.main(compose(*words), True)
    assert "measured before" not in capsys.readouterr().err
    evaluate.main(compose(*words), True)
    assert "1 of 1 measured before" in capsys.readouterr().err


def test_figures_of_one_run_each_are_no_row_of_one_run(tmp_path):
    is_of = {"checkpoint": "last", "n generated": 9}
    seeds = [
        planted(tmp_path / "a", [("fid_digits", Figure(1.0, "", None, is_of))], 0),
        planted(tmp_path / "b", [("is_digits", Figure(2.0, "", None, is_of))], 1),
    ]
    assert [(texts[4], [*found]) for texts, found in report.tabulate(seeds).rows] == [
        ("1", ["fid_digits"]),
        ("1", ["is_digits"]),
    ]
    shown = report.tabulate(seeds, "fid_digits").rows  # the other run has no figure that is asked for, and says so
    assert [(texts[4], [*found]) for texts, found in shown] == [("1", ["fid_digits"]), ("1", [])]


def test_runs_that_show_a_figure_are_no_row_without_one(tmp_path):
    is_of = {"checkpoint": "last", "n generated": 9}
    both = [
        planted(tmp_path / run, [("fid_digits", Figure(1.0, "", None, is_of)), *more], seed)
        for seed, (run, more) in enumerate({"a": [("is_digits", Figure(2.0, "", None, is_of))], "b": []}.items())
    ]
    assert len(report.tabulate(both).rows) == 2
    assert [(texts[4], [*found]) for texts, found in report.tabulate(both, "fid_digits").rows] == [
        ("2", ["fid_digits"])
    ]


def test_real_examples_that_are_fewer_than_the_samples_are_told(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    few = len(build(DIGITS).split("train"))
    evaluate.main(compose(f"run={run.path}", "metrics=[fid,bpd]", "k=2", "n=60", "real=train"))
    told = f"real train has {few} examples where models have 60, so not to be compared with theirs: fid_digits\n"
    assert few < 60 and told in capsys.readouterr().out
    report.main({"run": str(run.path)})
    assert told in capsys.readouterr().out
    evaluate.main(compose(f"run={run.path}", "metrics=fid", f"n={few}", "real=train"))
    assert "not to be compared" not in capsys.readouterr().out


def test_figures_that_fewer_seeds_have_are_a_row_that_says_so(tmp_path):
    fid = ("fid_digits", Figure(7.0, "", None, {"checkpoint": "best", "n generated": 9}))
    runs = [planted(tmp_path / "a", [bpd(1.0), fid], 0), planted(tmp_path / "b", [bpd(3.0)], 1)]
    table = report.tabulate(runs)
    assert table.texts[-1] == "runs" and table.figures == ["bpd", "fid_digits"]
    assert cells(table) == [
        ["vae", "digits", "best", "2", "<= 2.0 ± 1.4", "-"],
        ["vae", "digits", "best", "1", "-", "7.000"],
    ]


def test_runs_of_one_seed_are_told_apart_from_a_spread_over_seeds(tmp_path, capsys):
    for name, seed, created in (("a", 0, "then"), ("b", 0, "later"), ("c", 1, "later")):
        planted(tmp_path / name, [bpd(1.0)], seed).note(created=created)
    report.main({"run": str(tmp_path)})
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "b: of one config and seed with " in told[0] and told[0].split(",")[0].endswith("/a")


@pytest.mark.parametrize("form", ["html", "csv"])
def test_a_report_that_cannot_be_written_names_its_own_file(tmp_path, form):
    planted(tmp_path / "a", [bpd(1.0)])
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "r.page"
    with pytest.raises(GenlabError, match=f"^{out}: cannot be written: "):
        report.main({"run": str(tmp_path), "format": form, "out": str(out)})


def test_figures_by_another_data_set_stand_in_its_table(tmp_path):
    by_other = ("bpd", Figure(9.0, "<=", 0.1, {"checkpoint": "best", "n": 10, "k": 5, "data": "other"}))
    run = planted(tmp_path / "a", [bpd(1.0, data="digits"), by_other])
    table = report.tabulate([run])
    assert [row[1] for row in cells(table)] == ["digits", "other"]
    assert {data: part.cells()[0][-1] for data, part in table.parts("data").items()} == {
        "digits": "<= 1.00 ± 0.10",
        "other": "<= 9.00 ± 0.10",
    }


def test_figures_with_an_exponent_keep_their_error():
    assert tables.written(Figure(2.5e13, "<=", 1e11)) == "<= 2.500e+13 ± 1.0e+11"
    assert tables.written(Figure(2.5e-8, "", 1e-9)) == "2.5e-08 ± 1.0e-09"


def test_what_auto_leaves_out_unless_it_is_named_is_told(tmp_path, capsys):
    run, told = make_run(tmp_path / "run", GAN), "measured only where they are named: metrics=bridge,critic_slope,"
    for _ in range(2):
        evaluate.main(compose(f"run={run.path}", "n=30", "k=2", "real=none"), True)
        assert told in capsys.readouterr().err
    evaluate.main(compose(f"run={run.path}", "metrics=fid", "n=30", "real=none"), True)
    assert "measured only where" not in capsys.readouterr().err


def test_figures_of_unlike_protocols_in_one_column_are_told(tmp_path, capsys):
    x = build(DIGITS | {"limit": 200}).split("train").x.numpy()
    for n in (20, 30):
        np.savez(tmp_path / f"{n}.npz", samples=x[:n])
    words = [f"samples={tmp_path / '*.npz'}", "data=digits", "real=none"]
    assert evaluate.main(compose(*words, "metrics=[fid,memorised]")) == 0
    assert "not to be compared from row to row, for their protocols differ: fid_digits" in capsys.readouterr().out


def test_a_figure_that_was_named_and_is_not_there_is_told_and_no_other(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(50, 2))
    np.savez(tmp_path / "x.npz", samples=x)
    words = [f"samples={tmp_path / 'x.npz'}", "data=ring", "++data.train=500", "++data.test=300", "real=none"]
    evaluate.main(compose(*words, "metrics=[bpd,energy]"))
    told = capsys.readouterr().err
    assert "no bpd: " in told and "nats" not in told


def test_pictures_that_have_more_than_the_data_are_refused(tmp_path):
    grey = Spec("image", (1, 8, 8), 256)
    x = np.random.default_rng(0).integers(256, size=(8, 8, 4)).astype(np.uint8)
    clear = Image.new("RGBA", (8, 8), (9, 9, 9, 255))
    clear.paste((9, 9, 9, 0), (0, 0, 4, 8))
    for kind in ("png", "gif"):  # of a palette, one of whose colours is transparent
        (tmp_path / kind).mkdir()
        clear.quantize(8).save(tmp_path / kind / f"1.{kind}", transparency=0)
        with pytest.raises(DataError, match=f"1.{kind}: partly transparent"):
            of_files(str(tmp_path / kind), Spec("image", (3, 8, 8), 256), 2)
    for name, mode, told in (("colour", "RGB", "in colour"), ("clear", "RGBA", "partly transparent")):
        (tmp_path / name).mkdir()
        Image.fromarray(x[..., : len(mode)]).save(tmp_path / name / "0.png")
        with pytest.raises(DataError, match=rf"0\.png: {told}, and the data are"):
            of_files(str(tmp_path / name), grey, 2)
    (tmp_path / "grey").mkdir()  # written as colour, or with nothing to see through
    Image.fromarray(x[..., 0]).convert("RGB").save(tmp_path / "grey" / "0.png")
    Image.fromarray(x[..., 0]).convert("RGBA").save(tmp_path / "grey" / "1.png")
    assert of_files(str(tmp_path / "grey"), grey, 2).n == 2


def test_an_extractor_to_which_all_examples_are_one_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "blind_net.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return torch.ones(len(x), 3)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("genlab.build._admitted", ["blind_net."])
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))  # nothing of it is kept
    np.savez(tmp_path / "x.npz", samples=build(DIGITS | {"limit": 200}).split("train").x.numpy()[:30])
    net = ["extractor=module", "++extractor.net._target_=blind_net.Net"]
    evaluate.main(compose(f"samples={tmp_path / 'x.npz'}", "data=digits", "real=none", *net, "metrics=[fid,kid]"), True)
    assert "the extractor module makes the same of all test examples" in capsys.readouterr().err


def test_real_examples_beside_samples_alone_are_as_many(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", samples=build(DIGITS | {"limit": 200}).split("train").x.numpy()[:30])
    evaluate.main(compose(f"samples={tmp_path / 'x.npz'}", "data=digits", "real=train", "metrics=fid"), True)
    samples, real = json.loads(capsys.readouterr().out)
    assert [row["metrics"]["fid_digits"]["protocol"]["n generated"] for row in (samples, real)] == [30, 30]


def test_the_name_that_an_option_was_chosen_by_does_not_measure_anew(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    asked = compose(f"run={run.path}", "metrics=bpd", "k=2", "real=none")
    assert evaluate.main(asked, True) == 0
    capsys.readouterr()
    assert evaluate.main(asked | {"choices": {"data": "digits"}}, True) == 0
    assert "1 of 1 measured before" in capsys.readouterr().err


def test_captions_give_no_model_the_protocol_of_another():
    of_flow, of_vae = {"k": 1, "checkpoint": "best", "step": 7}, {"k": 1, "checkpoint": "last", "step": 9}
    told = captions.caption([("nats", "realnvp", of_flow), ("bpd", "realnvp", of_flow), ("nats", "vae", of_vae)])
    assert told == ["all figures: k 1", "realnvp: checkpoint best, step 7", "vae: checkpoint last, step 9"]
    told = captions.caption([("nats", "realnvp", of_flow), ("bpd", "realnvp", of_flow), ("nats", "vae", {"k": 9})])
    assert told == ["realnvp: checkpoint best, step 7", "nats of realnvp; bpd: k 1", "nats of vae: k 9"]


def test_captions_say_once_what_follows_from_an_extractor_or_a_split():
    digits, other = {"extractor": "digits:12", "resize": "none"}, {"extractor": "raw:34", "resize": "whole"}
    seen = [("fid_digits", "gan", digits | {"n real": 9}), ("is_digits", "gan", digits), ("fid_raw", "gan", other)]
    assert captions.caption(seen) == [
        "extractor digits:12: resize none",
        "extractor raw:34: resize whole",
        "fid_digits: extractor digits:12, n real 9",
        "is_digits: extractor digits:12",
        "fid_raw: extractor raw:34",
    ]
    unlike = [*seen, ("kid_digits", "gan", digits | {"resize": "half"})]
    assert "fid_digits: extractor digits:12, resize none, n real 9" in captions.caption(unlike)


def test_a_table_too_wide_becomes_several_with_the_same_first_column():
    titles, rows = ["run", "a" * 20, "b" * 20, "c" * 20], [["x" * 9, "1", "2", "3"]]
    assert tables.blocks(titles, rows, 1, 1000) == [[0, 1, 2, 3]]
    assert tables.blocks(titles, rows, 1, 60) == [[0, 1, 2], [0, 3]]
    assert tables.blocks(titles, rows, 1, 10) == [[0, 1], [0, 2], [0, 3]]


def test_runs_that_never_began_are_no_rows_and_are_told(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    measured(capsys, f"run={run.path}", "metrics=bpd", "k=2")
    failed = make_run(tmp_path / "failed")
    (failed.checkpoints / "last.ckpt").unlink()
    failed.note(status="failed", error="no such file")
    assert cli.main(["report", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) == 1
    assert "1 of 2 runs have no checkpoint" in printed.err and "(failed: no such file)" in printed.err
    assert cli.main(["report", str(failed.path)]) == 1
    assert cli.main(["sample", f"run={failed.path}"]) == 1
    assert "its training failed: no such file" in capsys.readouterr().err


def test_a_run_of_which_nothing_can_be_measured_is_not_offered_to_be_measured(tmp_path, capsys):
    make_run(tmp_path / "run")
    assert cli.main(["eval", f"run={tmp_path / 'run'}", "metrics=modes"]) == 1
    capsys.readouterr()
    cli.main(["report", str(tmp_path)])
    said = capsys.readouterr().err
    assert "1 of 1 runs evaluated without a figure: " in said and "not measured yet" not in said
