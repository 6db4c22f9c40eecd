"""Experiments: every one composes and passes all checks, and ``families`` ends in one table."""

import csv
import math
import subprocess
import sys
from copy import deepcopy
from functools import cache
from itertools import product

import pytest
from layouts import make_celeba, make_lsun

from genlab import curves, validate
from genlab.config import Composed
from genlab.errors import ConfigErrors
from genlab.presets import groups
from genlab.run import Run

FAMILIES = ("vae", "realnvp", "pixelcnn", "wgan_gp")
DATA = ("mnist", "cifar10", "celeba", "lsun")


@cache
def jobs(experiment: str) -> list[Composed]:
    """All that ``genlab train -m`` would train."""
    return validate.check([f"experiment={experiment}"], multirun=True).jobs


@pytest.mark.parametrize("experiment", groups()["experiment"])
def test_every_job_of_every_experiment_passes_the_checks(experiment):
    assert jobs(experiment)


def test_families_are_four_by_four():
    chosen = {(job.choices["model"], job.choices["data"]): job.config for job in jobs("families")}
    assert set(chosen) == set(product(FAMILIES, DATA))
    targets = {(model, config["model"]["_target_"]) for (model, _), config in chosen.items()}
    assert len(targets) == len(dict(targets)) == len({target for _, target in targets}) == 4
    assert chosen["realnvp", "celeba"]["model"]["maps"] == 32  # recipes come along


def test_birthday_varies_the_width_of_the_discriminator_and_the_seed_alone():
    configs = [deepcopy(job.config) for job in jobs("birthday")]
    varied = [(config["model"]["discriminator"].pop("width"), config.pop("seed")) for config in configs]
    assert sorted(varied) == list(product((8, 16, 32, 64, 128, 256), (0, 1, 2)))
    assert all(config == configs[0] for config in configs)


ARCHITECTURES = ("baseline", "constant_width", "mlp", "no_norm", "gated", "tanh", "resnet101")
METHODS = ("dcgan", "lsgan", "wgan", "wgan_gp")


def test_the_robustness_grid_has_28_cells_and_one_set_of_hyperparameters_a_method():
    chosen = {(job.choices["architecture"], job.choices["method"]): job.config for job in jobs("gan_robustness")}
    assert set(chosen) == set(product(ARCHITECTURES, METHODS))
    for method in METHODS:
        columns = [chosen[architecture, method] for architecture in ARCHITECTURES]
        rest = [{key: config[key] for key in config if key not in ("model", "choices")} for config in columns]
        assert all(one == rest[0] for one in rest)
        norms = {name: chosen[name, method]["model"]["discriminator"]["norm"] for name in ARCHITECTURES}
        assert norms.pop("no_norm") is None and set(norms.values()) == {"layer" if method == "wgan_gp" else "batch"}
    nets = {name: chosen[name, "wgan_gp"]["model"]["generator"] for name in ARCHITECTURES}
    assert [name for name in nets if nets[name]["norm"] is None] == ["constant_width", "mlp", "no_norm"]
    optimizers = [chosen["baseline", method]["optimizer"]["_target_"].rpartition(".")[2] for method in METHODS]
    assert optimizers == ["Adam", "RMSprop", "RMSprop", "Adam"]


def test_the_robustness_grid_takes_other_data_and_widths():
    words = ["experiment=gan_robustness", "data=cifar10", "nets.width=64", "method=wgan,wgan_gp", "architecture=gated"]
    wgan, penalised = (job.config for job in validate.check(words, multirun=True).jobs)
    assert wgan["model"]["generator"] == penalised["model"]["generator"] and wgan["model"]["generator"]["width"] == 64
    assert (wgan["optimizer"]["lr"], penalised["optimizer"]["lr"]) == (
        5e-5,
        1e-4,
    )  # the paper's, which no recipe changes


def test_what_cannot_work_is_left_out_where_the_experiment_says_so_and_nothing_else():
    chosen = {(job.choices["loss"], job.choices["penalty"]) for job in jobs("lipschitz")}
    losses = ("minimax", "non_saturating", "lsgan", "wasserstein", "hinge")
    penalties = ("none", "clip", "gradient", "spectral_norm", "r1")
    assert chosen == {*product(losses, penalties)} - {("wasserstein", "none")}
    alone = ["experiment=lipschitz", "loss=wasserstein", "penalty=none"]
    with pytest.raises(ConfigErrors, match="held Lipschitz"):
        validate.check(alone, multirun=True)
    with pytest.raises(ConfigErrors, match="takes no 'lrr'"):
        validate.check([*alone[:1], "loss=wasserstein,hinge", "penalty=none", "optimizer.lrr=1"], multirun=True)
    with pytest.raises(ConfigErrors, match="held Lipschitz"):
        validate.check(["model=gan", "loss=wasserstein,hinge", "penalty=none"], multirun=True)


def test_a_sweep_tells_what_it_leaves_out_and_ends_in_a_montage(tmp_path):
    words = ["experiment=lipschitz", "loss=wasserstein", "penalty=none,clip", "trainer.max_steps=2", "data.train=300"]
    words += ["hydra.callbacks.montage.table.n=100", "hydra.sweep.dir=sweep"]
    command = [sys.executable, "-m", "genlab", "train", "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "job 0 left out: penalty=none: Wasserstein takes a critic that is held Lipschitz" in done.stderr
    (run,) = Run.find([str(tmp_path / "sweep")])
    assert run.config["choices"]["penalty"] == "clip" and (run.samples / "critic.png").is_file()
    assert "failed: weight clipping" in done.stdout and (tmp_path / "sweep" / "montage.png").stat().st_size > 5000


def sweep(tmp_path, experiment, *words):
    """What it prints, of two steps on digits."""
    small = ["data=digits", "data.limit=40", "trainer.max_steps=2", "trainer.max_epochs=null", "hydra.sweep.dir=sweep"]
    command = [sys.executable, "-m", "genlab", "train", "-m", f"experiment={experiment}", *small, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_several_tasks_have_a_row_each_in_a_montage(tmp_path):
    told = sweep(tmp_path, "auto_encoder_vs_vae", "hydra.callbacks.montage.table.n=40")
    runs = Run.find([str(tmp_path / "sweep")])
    assert sorted(run.config["choices"]["model"] for run in runs) == ["autoencoder", "vae"]
    pictures = {path.stem for run in runs for path in run.samples.glob("*.png")}
    assert {"latents", "manifold", "grid", "reconstruct"} <= pictures
    assert "failed: autoencoder 0 of 1, vae 0 of 1" in told and (tmp_path / "sweep" / "montage.png").is_file()


def test_bounds_stand_beside_each_other_in_a_table(tmp_path):
    options = ["data.binarize=none", "bound=elbo,hierarchical", "seed=0"]
    table = [f"hydra.callbacks.table.{word}" for word in ("k=6", "bounds='3'", "refine=2")]
    told = sweep(tmp_path, "bounds", *options, *table)
    elbo, layers = sorted(Run.find([str(tmp_path / "sweep")]), key=lambda run: run.config["choices"]["bound"])
    names = [{figure["name"] for figure in run.metrics["figures"]} for run in (elbo, layers)]
    assert {"nats", "nats_3", "negative_elbo", "gap", "refined_nats", "refined_elbo", "active_units"} <= names[0]
    assert "nats_3" in names[1] and "refined_nats" not in names[1] and "nats_3" in told


def test_what_is_typed_narrows_what_an_experiment_varies():
    words = ["model=vae", "data=mnist,cifar10", "seed=1,2", "data.limit=16"]
    narrowed = validate.check(["experiment=families", *words], multirun=True)
    chosen = [(job.choices["model"], job.choices["data"], job.config["seed"]) for job in narrowed.jobs]
    assert chosen == list(product(["vae"], ["mnist", "cifar10"], [1, 2]))  # in the order of Hydra's jobs
    assert narrowed.overrides == ["experiment=families", *words[:3], "++data.limit=16"]


def test_mistakes_in_what_an_experiment_varies_are_found(tmp_path):
    (tmp_path / "experiment").mkdir()
    params = "{model: 'gan,wgan_gpp', data: digits, data.limit: '16,32', optimizer.lr: '1e-3,fast'}"
    text = f"# @package _global_\nhydra: {{sweeper: {{params: {params}}}}}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        validate.check(["experiment=mine"], [str(tmp_path)], multirun=True)
    found = {problem.key: problem for problem in caught.value.problems}
    assert set(found) == {"model", "hydra.sweeper.params.data.limit", "optimizer.lr"}
    assert found["model"].suggestion == "wgan_gp" and "++data.limit" in found["hydra.sweeper.params.data.limit"].reason


def test_an_experiment_that_is_a_sweep_needs_multirun():
    with pytest.raises(ConfigErrors, match=r"experiment=families: a sweep of 16 runs: add -m"):
        validate.check(["experiment=families"])
    with pytest.raises(ConfigErrors, match="a sweep of 4 runs: add -m"):
        validate.check(["experiment=families", "data=mnist"])
    assert len(validate.check(["experiment=families", "model=vae", "data=mnist"]).jobs) == 1


def test_families_end_in_one_table(tmp_path):
    """Two of the sixteen jobs, on generated files, a GAN and a VAE, as a user would narrow it."""
    make_celeba(tmp_path, 24, 8, 8)
    make_lsun(tmp_path, "bedroom", 24, 8)
    words = ["model=vae,wgan_gp", "data=celeba", f"data.root={tmp_path}", "data.size=8", "logger=csv"]
    words += ["trainer.max_steps=2", "trainer.batch_size=4", "hydra.sweep.dir=sweep"]
    words += ["hydra.callbacks.table.k=2", "hydra.callbacks.table.metrics=bpd"]
    command = [sys.executable, "-m", "genlab", "train", "-m", "experiment=families", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = Run.find([str(tmp_path / "sweep")])
    assert [run.info["status"] for run in runs] == ["done", "done"]
    vae, gan = sorted(runs, key=lambda run: run.config["choices"]["model"])
    assert vae.metrics["figures"] and not gan.metrics.get("figures")
    rows = [line for line in done.stdout.splitlines() if "celeba" in line and line.startswith("│")]
    assert len(rows) == 2 and "<=" in next(row for row in rows if "vae" in row)
    assert "-" in next(row for row in rows if "wgan_gp" in row)


def test_a_sweep_may_end_in_a_curve(tmp_path):
    """Functions that jump, beside the figures of losses that mean something by them, in the order of numbers."""
    words = ["experiment=js_vs_wasserstein", "model.generator.theta=-0.25,-0.5", "logger=csv"]
    words += ["trainer.max_steps=3", "hydra.sweep.dir=sweep", "hydra.callbacks.curve.table={format: csv}"]
    done = subprocess.run(
        [sys.executable, "-m", "genlab", "train", "-m", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0 and "sweep/curve.png" in done.stdout, done.stderr
    assert (tmp_path / "sweep" / "curve.png").stat().st_size > 5000
    rows = list(csv.DictReader(line for line in done.stdout.splitlines() if line.count(",") > 3))
    thetas = ["-0.5", "-0.25"]
    assert [(row["loss"], row["theta"]) for row in rows] == [
        (loss, theta) for loss in ("minimax", "wasserstein_gp10") for theta in thetas
    ]
    for row in rows:
        jumps, distance = ("0.693147", "inf", ""), row["theta"].removeprefix("-")
        meant = row["loss"] == "minimax"
        assert (row["JS, exact"], row["KL, exact"], row["W = |theta|, exact"]) == (
            jumps if meant else ("", "", distance)
        )
        assert bool(row["critic_js"]) == meant and bool(row["critic_gap"]) != meant


def test_a_true_curve_has_lines_gaps_and_lone_points():
    jump = curves.points_of([[-1, 2], [1, 2], None, [0, 0]], [-1, 0.5])
    assert [curves.exactly(jump, x) for x in (-1, -0.5, 0, 1, 1.5)] == [2, 2, 0, 2, None] and curves.lone(jump) == [
        (0, 0)
    ]
    slope = curves.points_of([[-1, 1], [0, 0], [1, 1]], [])
    assert [curves.exactly(slope, x) for x in (-0.25, 0, 0.5)] == [0.25, 0, 0.5] and not curves.lone(slope)
    endless = curves.points_of([[-1, math.inf], [1, math.inf], None, [0, 0]], [])
    assert curves.exactly(endless, 0.5) == math.inf and curves.exactly(endless, 0) == 0
    assert curves.points_of([1, 2], [3.0, 4.0]) == [(3, 1), (4, 2)] and curves.points_of([1, 2], [3.0]) == []
