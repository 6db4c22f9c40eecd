"""Experiments: every one composes and passes all checks, and ``families`` ends in one table."""

import subprocess
import sys
from functools import cache
from itertools import product

import pytest
from hydra import compose, initialize_config_dir
from layouts import make_celeba, make_lsun

from genlab import validate
from genlab.catalogue import conf_folder, groups
from genlab.config import Composed
from genlab.run import Run

FAMILIES = ("vae", "realnvp", "pixelcnn", "wgan_gp")
DATA = ("mnist", "cifar10", "celeba", "lsun")


def sweep(experiment: str) -> dict[str, list[str]]:
    """What an experiment varies, by key."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("train", [f"experiment={experiment}"], return_hydra_config=True)
    return {key: str(values).split(",") for key, values in (config.hydra.sweeper.params or {}).items()}


@cache
def jobs(experiment: str) -> list[Composed]:
    """All combinations, checked as ``genlab train -m`` checks what is typed."""
    varied = sweep(experiment)
    words = [f"experiment={experiment}", *(f"{key}={','.join(values)}" for key, values in varied.items())]
    return validate.check(words, multirun=bool(varied)).jobs


@pytest.mark.parametrize("experiment", groups()["experiment"])
def test_every_job_of_every_experiment_passes_the_checks(experiment):
    assert len(jobs(experiment)) == len(list(product(*sweep(experiment).values())))


def test_families_are_four_by_four():
    chosen = {(job.choices["model"], job.choices["data"]): job.config for job in jobs("families")}
    assert set(chosen) == set(product(FAMILIES, DATA))
    targets = {(model, config["model"]["_target_"]) for (model, _), config in chosen.items()}
    assert len(targets) == len(dict(targets)) == len({target for _, target in targets}) == 4
    assert chosen["realnvp", "celeba"]["model"]["maps"] == 32  # recipes come along


def test_families_end_in_one_table(tmp_path):
    """Two of the sixteen jobs, on generated files, a GAN and a VAE, as a user would narrow it."""
    make_celeba(tmp_path, 24, 8, 8)
    make_lsun(tmp_path, "bedroom", 24, 8)
    words = ["model=vae,wgan_gp", "data=celeba", f"data.root={tmp_path}", "data.size=8", "logger=csv"]
    words += ["trainer.max_steps=2", "trainer.batch_size=4", "hydra.sweep.dir=sweep", "hydra.callbacks.table.k=2"]
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
