"""The page of a report, and the curves in it: all there, nothing fetched, nothing of a run's contents executed."""

import re
from html.parser import HTMLParser

import pytest
import yaml
from matplotlib.figure import Figure as Picture
from PIL import Image

from genlab import curves, report, webpage
from genlab.errors import ConfigError
from genlab.finale.curve import Curve
from genlab.finale.table import Table, named
from genlab.metrics.base import Figure
from genlab.run import Run

HOSTILE = "<script>alert('$x^')</script><img src=http://x.test/a onerror=b>\"&"


def planted(path, figures=(), seed=0, model="vae", columns=None, controls=()):
    """A run folder with figures [(name, step, Figure)], a picture, and a log of three rows."""
    (path / "samples").mkdir(parents=True)
    config = {"model": {"_target_": "m"}, "data": {"_target_": "d"}, "seed": seed}
    (path / "config.yaml").write_text(yaml.safe_dump(config | {"choices": {"model": model, "data": "digits"}}))
    (path / "run.yaml").write_text("status: done\nstep: 30\n")
    Image.new("L", (40, 40), 128).save(path / "samples" / "final.png")
    names = columns or ["loss", "val/nats"]
    rows = "".join(
        f"{step},{','.join(str(step / 7 + number) for number in range(len(names)))}\n" for step in (10, 20, 30)
    )
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    (path / "metrics.csv").write_text(f"step,{quoted}\n{rows}")
    run = Run(path)
    kept = [{"name": name, "step": step, **figure._asdict()} for name, step, figure in figures]
    row = {"run": "real train", "model": "-", "data": "digits", "step": 0}
    shown = [row | {"metrics": {name: figure._asdict() for name, figure in controls}}]
    run.save_metrics(
        {"figures": kept, "done": {"k": {"row": row | {"metrics": {}}, "controls": shown}} if controls else {}}
    )
    return run


def course(name="fid_digits", steps=(10, 20, 30), mark="", **protocol):
    """One figure a checkpoint."""
    return [
        (name, step, Figure(100 / step, mark, 0.5, {"checkpoint": f"step_{step:07d}"} | protocol)) for step in steps
    ]


class Reader(HTMLParser):
    """All tags with their attributes, and all text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def page(runs):
    return webpage.page(report.tabulate(runs), runs)


def test_a_page_has_table_protocols_samples_and_curves(tmp_path):
    figures = [*course(n=10), ("bpd", 30, Figure(1.9, "<=", 0.1, {"checkpoint": "last", "k": 5}))]
    read = Reader(page([planted(tmp_path / "a", figures), planted(tmp_path / "b", model="gan")]))
    text = " ".join(read.text)
    assert "<= 1.90 ± 0.10" in text and "k 5" in text and "vae on digits, seed 0, step 30" in text
    tags = [tag for tag, _ in read.tags]
    assert tags.count("img") == 2 and tags.count("table") == 1
    assert tags.count("svg") == 1 + 2 * 2  # a figure over checkpoints, and two panels of what each run logged
    assert {"fid_digits", "nats", "loss"} <= {part.strip() for part in read.text}


def test_a_page_loads_nothing_and_runs_nothing(tmp_path):
    figure = Figure(1.0, "=", 0.1, {"checkpoint": "last", HOSTILE: HOSTILE})
    run = planted(
        tmp_path / "a <b>",
        [(HOSTILE, 10, figure), *course(HOSTILE)],
        seed=HOSTILE,
        model=HOSTILE,
        columns=[f"val/{HOSTILE}", HOSTILE],
        controls=[(HOSTILE, figure)],
    )
    made = page([run])
    read = Reader(made)
    assert not {"script", "iframe", "object", "link", "embed", "base"} & {tag for tag, _ in read.tags}
    for tag, attributes in read.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href", "action"):
            assert attributes.get(name, "#").startswith(("data:image/png;base64,", "#")), attributes
    assert "url(http" not in made and "@import" not in made
    (policy,) = [found["content"] for _, found in read.tags if found.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "script-src" not in policy
    assert sum(HOSTILE in part for part in read.text) >= 5  # there as text: table, protocol, names, curves


def test_a_page_of_runs_with_nothing_in_them(tmp_path):
    run = planted(tmp_path / "a")
    for path in [run.path / "metrics.csv", run.path / "samples" / "final.png"]:
        path.unlink()
    read = Reader(page([run]))
    assert "no picture of samples" in " ".join(read.text) and "svg" not in [tag for tag, _ in read.tags]
    Image.new("L", (40, 40)).save(run.samples / "step_0000010.png")  # of a run that was interrupted
    assert "img" in [tag for tag, _ in Reader(page([run])).tags]


def test_letters_and_axes_take_the_colour_of_the_page(tmp_path):
    (svg, _) = [curves.as_svg(panel) for panel in curves.of_training(planted(tmp_path / "a"))]
    assert "currentColor" in svg and "#000000" not in svg and "#ffffff" not in svg
    assert not re.search(r'<g id="', svg) and "Matplotlib" not in svg


def test_each_data_set_has_a_table_of_its_own(tmp_path):
    runs = [planted(tmp_path / "a", course("bpd", [30])), planted(tmp_path / "b", course("nats", [30]))]
    (runs[1].path / "config.yaml").write_text(
        yaml.safe_dump(runs[1].config | {"data": {"_target_": "r"}, "choices": {"model": "x", "data": "ring"}})
    )
    parts = report.tabulate([runs[0], Run(runs[1].path)]).parts("data")
    assert {name: part.figures for name, part in parts.items()} == {"digits": ["bpd"], "ring": ["nats"]}
    assert [len(part.rows) for part in parts.values()] == [1, 1]


def test_a_course_takes_three_steps_and_keeps_protocols_apart(tmp_path):
    kept = [*course(n=10), *course(n=20), *course("is_digits", (10, 20)), *course("bpd", (30, 10, 20))]
    found = curves.courses(planted(tmp_path / "a", kept))
    assert {name: list(alike) for name, alike in found.items()} == {"fid_digits": ["n 10", "n 20"], "bpd": [""]}
    assert [step for step, _ in found["bpd"][""]] == [10, 20, 30]


def test_steps_between_are_no_rows_of_a_report_where_there_is_a_last_one(tmp_path):
    steps = course("bpd", (1000, 200, 30))
    alone = report.tabulate([planted(tmp_path / "a", steps)])
    assert [texts[3] for texts, _ in alone.rows] == ["step_0000030", "step_0000200", "step_0001000"]
    last = ("bpd", 1000, Figure(1.0, "", None, {"checkpoint": "last"}))
    both = report.tabulate([planted(tmp_path / "b", [*steps, last])])
    assert [texts[3] for texts, _ in both.rows] == ["last"] and "3 checkpoints between" in " ".join(both.caption)


@pytest.mark.parametrize(
    "marks, mark",
    [("~~", "~"), (["~", ">="], ">="), (["=", "~"], "~"), (["<=", "="], "<="), (["<=", ">="], "~"), ("==", "=")],
)
def test_a_mean_is_no_surer_than_what_it_is_of(marks, mark):
    assert report.average([Figure(1.0, one) for one in marks]).mark == mark


def test_rows_stand_in_the_order_of_numbers(tmp_path):
    runs = []
    for width in (8, 256, 32):
        run = planted(tmp_path / str(width))
        config = run.config | {"model": {"_target_": "m", "width": width}, "trainer": {"keep_every": width}}
        (run.path / "config.yaml").write_text(yaml.safe_dump(config))
        runs.append(Run(run.path))
    details = [texts[2] for texts, _ in report.tabulate(runs).rows]
    assert details == ["model.width=8", "model.width=32", "model.width=256"]  # what is kept makes no experiment


def test_a_sweeps_curve_goes_through_means_with_their_deviations():
    picture = Picture()
    axes = picture.subplots()
    line = [(8.0, Figure(1.0, "~")), (8.0, Figure(3.0, "~")), (16.0, Figure(5.0, ">=")), (16.0, Figure(5.0, "~"))]
    curves.draw_kind(axes, "gan", line, "black")
    (drawn,) = axes.containers
    assert drawn.lines[0].get_xydata().tolist() == [[8, 2], [16, 5]]
    (low, high), (same, too) = drawn.lines[2][0].get_segments()
    assert high[1] - low[1] == pytest.approx(2 * 2**0.5) and same[1] == too[1] == 5
    assert [each.get_marker() for each in axes.lines[-2:]] == ["o", "^"]
    assert sorted(map(tuple, axes.collections[0].get_offsets())) == [(8, 1), (8, 3), (16, 5), (16, 5)]


def test_a_sweep_that_measured_nothing_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Table, "measure", lambda self, config, show=True: [])
    Curve("seed", {"bpd": None}).on_multirun_end(None)
    assert "no figures" in capsys.readouterr().err


def test_figures_are_found_with_and_without_their_extractors_names():
    figures = {"support_digits": 1, "support": 2, "fid_digits": 3}
    assert [named(name, figures) for name in ("support", "fid", "is")] == [1, 3, None]


def test_a_step_that_is_not_kept_is_told_with_those_that_are(tmp_path):
    run = planted(tmp_path / "a")
    run.checkpoints.mkdir()
    for name in ("step_0000100", "step_0000200", "last"):
        (run.checkpoints / f"{name}.ckpt").write_bytes(b"")
    assert run.checkpoint("200").name == run.checkpoint(200).name == "step_0000200.ckpt"
    assert [path.stem for path in run.all_checkpoints()] == ["step_0000100", "step_0000200", "last"]
    with pytest.raises(ConfigError, match=r"a step \(100, 200\), or a file; did you mean '200'"):
        run.checkpoint("201")


def test_real_examples_are_a_level_that_says_of_how_many(tmp_path):
    run = planted(tmp_path / "a", course(n=10), controls=[("fid_digits", Figure(0.5, "", None, {"n generated": 7}))])
    (panel,) = curves.of_checkpoints(run)
    axes = Picture().subplots()
    panel(axes)
    assert axes.get_legend_handles_labels()[1] == ["real train 0.5 (n 7)"]
