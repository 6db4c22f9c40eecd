"""Evaluation of run folders, and the report on them."""

import csv
import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from runs import DIGITS, FLOW, GAN, MOONS, make_run

from genlab import checkpoint, config, evaluate, report, tables
from genlab.build import build
from genlab.errors import ConfigError, DataError, GenlabError
from genlab.evaluation.subject import of_files
from genlab.extractors.digits import Digits
from genlab.metrics.base import Figure
from genlab.run import Run


def measured(capsys, *words):
    """Rows of ``genlab eval``."""
    options = config.compose("eval", [*words, "n=70"]).config
    code = evaluate.main(options, True)
    return code, json.loads(capsys.readouterr().out)


def test_a_row_has_figures_marks_and_protocols(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    code, (row,) = measured(capsys, f"run={run.path}", "k=3")
    assert code == 0
    assert (row["run"], row["model"], row["data"], row["step"]) == (str(run.path), "vae", "digits", 7)
    marks = {"nats": "<=", "bpd": "<=", "negative_elbo": "<=", "ess": "~", "is_digits": "", "fid_digits": ""}
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
    names = [("bpd", 3), ("bpd", 4), ("ess", 3), ("ess", 4), ("nats", 3), ("nats", 4), ("negative_elbo", 1)]
    assert sorted(stored) == names


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


def test_samples_from_elsewhere_are_scored(tmp_path, capsys):
    x = build(DIGITS).split("train").x.numpy()
    np.savez(tmp_path / "made.npz", samples=x[:30])
    _, (row,) = measured(capsys, f"samples={tmp_path / 'made.npz'}", "data=digits", "++data.limit=40")
    assert {"is_digits", "fid_digits"} <= set(row["metrics"]) and row["model"] == "made"
    assert row["metrics"]["fid_digits"]["protocol"]["n generated"] == 30
    run = make_run(tmp_path / "run")
    _, rows = measured(capsys, f"run={run.path}", f"samples={tmp_path / 'made.npz'}", "metrics=fid_digits")
    assert rows[1]["metrics"]["fid_digits"]["value"] == row["metrics"]["fid_digits"]["value"]


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("a.npz", {"samples": np.zeros((3, 1, 9, 9), np.uint8)}, "examples of shape"),
        ("a.npz", {"samples": np.zeros((3, 1, 8, 8), np.float32)}, "float32"),
        ("a.npz", {"samples": np.full((3, 1, 8, 8), 17, np.uint8)}, "up to 17"),
        ("a.npz", {"other": np.zeros(3)}, "an array 'samples'"),
        ("a.npz", b"PK\x03\x04 cut short", "cannot be read"),
        ("a", None, "no such folder or file"),
    ],
)
def test_samples_that_cannot_be_scored_are_one_line(tmp_path, capsys, name, content, said):
    if isinstance(content, dict):
        np.savez(tmp_path / name, **content)
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(GenlabError, match=said) as error:
        measured(capsys, f"samples={tmp_path / name}", "data=digits")
    assert "\n" not in str(error.value)


def test_a_folder_of_images_is_scored(tmp_path, capsys):
    (tmp_path / "mnist").mkdir()
    spec = build({"_target_": "genlab.data.mnist.MNIST"}).spec
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    assert of_files(str(tmp_path), spec, 2).n == 5
    Image.new("L", (30, 28)).save(tmp_path / "6.png")
    with pytest.raises(DataError, match=r"6\.png: 30 x 28 pixels"):
        of_files(str(tmp_path), spec, 2)
    for name in ("6.png", "7.png"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(DataError, match=r"^2 images cannot be read: .*6\.png \(of no known format\), .*7\.png$"):
        of_files(str(tmp_path), spec, 2)


def test_features_of_real_examples_are_kept(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run", data=DIGITS | {"root": str(tmp_path / "root")})
    words = [f"run={run.path}", "metrics=fid_digits", "force=true"]
    _, first = measured(capsys, *words)
    (kept,) = (tmp_path / "root" / "cache").glob("digits-*.npy")
    seen = []
    monkeypatch.setattr(Digits, "forward", lambda self, x, old=Digits.forward: seen.append(len(x)) or old(self, x))
    assert measured(capsys, *words)[1] == first and sum(seen) == 70
    kept.write_bytes(kept.read_bytes()[:200])
    assert measured(capsys, *words)[1] == first
    assert [path.name for path in (tmp_path / "root" / "cache").iterdir()] == [kept.name]


def test_only_the_figures_asked_for_are_there(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    for asked, names in (
        ("bpd", {"bpd"}),
        ("likelihood", {"nats", "bpd", "negative_elbo", "ess"}),
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
    assert "no nats, bpd, negative_elbo, ess: GAN is no Density or Bound" in printed.err
    marks = {name: figure["mark"] for name, figure in rows[1]["metrics"].items()}
    assert {"nats": "=", "integral": "~"}.items() <= marks.items() and "fid_digits" not in marks
    assert "no is: extractor=raw has no classes" in printed.err


def test_a_checkpoint_alone_will_do(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    moved = (run.checkpoints / "last.ckpt").rename(tmp_path / "moved.ckpt")
    _, (row,) = measured(capsys, f"ckpt={moved}", "metrics=bpd", "k=2")
    assert row["run"] == str(moved) and row["metrics"]["bpd"]["value"] > 0


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
    empty, good = make_run(tmp_path / "a"), make_run(tmp_path / "b", FLOW, MOONS)
    (empty.checkpoints / "last.ckpt").unlink()
    code, rows = measured(capsys, f"run={tmp_path}")
    assert code == 1 and [row["run"] for row in rows] == [str(good.path)]
    with pytest.raises(GenlabError, match="no checkpoint"):
        measured(capsys, f"run={empty.path}")


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
    monkeypatch.setattr("genlab.build._trusted", ["genlab.", "own_metric."])
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


@pytest.mark.parametrize("other", [{"n": 20}, {"k": 6}, {"extractor": "x"}, {"checkpoint": "last"}, {"data": "y"}])
def test_a_report_never_averages_unlike_protocols(tmp_path, other):
    runs = [planted(tmp_path / "a", [bpd(1.0)], 0), planted(tmp_path / "b", [bpd(2.0, **other)], 1)]
    values = sorted(figure.value for _, row in report.tabulate(runs).rows for figure in row.values())
    assert values == [1.0, 2.0]


@pytest.mark.parametrize("other, columns", [({"n": 20}, ["bpd", "bpd (b)"]), ({"k": 6}, ["bpd"])])
def test_unlike_protocols_never_share_a_column_but_bounds_of_any_k_do(tmp_path, other, columns):
    runs = [planted(tmp_path / "a", [bpd(1.0)]), planted(tmp_path / "b", [bpd(2.0, **other)], model="flow")]
    assert report.tabulate(runs).figures == columns


def test_runs_that_differ_in_more_than_the_seed_stand_apart_and_say_in_what(tmp_path):
    runs = [planted(tmp_path / str(rate), [bpd(rate)], rate=rate) for rate in (1.0, 2.0)]
    table = report.tabulate(runs)
    assert [row[2] for row in table.cells()] == ["optimizer.lr=1.0", "optimizer.lr=2.0"]


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
        report.main({"run": str(tmp_path), "format": name, "metrics": "bpd", "out": str(tmp_path / "page.html")})
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
