"""The wheel: it carries the configs and the weights, and works from an empty folder; and what is pinned."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import genlab

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def call(installed: Path, empty: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``genlab`` of the unpacked wheel, before any other that this interpreter knows."""
    return subprocess.run(
        [sys.executable, "-m", "genlab", *arguments],
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_the_package_and_the_configs_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = [path for path in (ROOT / "genlab").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {path.relative_to(ROOT).as_posix() for path in sources}
    wanted |= {"genlab/" + path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert held == wanted
    assert {"genlab/py.typed", "genlab/conf/train.yaml", "genlab/extractors/weights/digits.safetensors"} <= held


def test_the_wheel_says_who_it_is(wheel, installed):
    assert wheel.name == f"genlab-{genlab.__version__}-py3-none-any.whl"
    scripts = ConfigParser()
    scripts.read(next(installed.glob("*.dist-info")) / "entry_points.txt")
    assert scripts["console_scripts"]["genlab"] == "genlab.__main__:run"
    assert (next(installed.glob("*.dist-info")) / "licenses" / "LICENSE").is_file()


def test_an_installed_genlab_reads_its_own_configs_from_any_folder(installed, tmp_path):
    assert call(installed, tmp_path, "--help").stdout.startswith(f"genlab {genlab.__version__}")
    done = call(installed, tmp_path, "list", "model=wgan_gp", "--json")
    assert Path(json.loads(done.stdout)["file"]) == installed / "genlab" / "conf" / "model" / "wgan_gp.yaml"


def test_an_installed_genlab_trains_from_an_empty_folder(installed, tmp_path):
    words = ["model=vae", "data=digits", "trainer.max_steps=2", "logger=csv", "hydra.run.dir=run"]
    done = call(installed, tmp_path, "train", *words)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    assert (tmp_path / "run" / "samples" / "final.png").is_file()


@pytest.mark.parametrize("requirement", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
def test_every_direct_dependency_is_pinned_to_a_version_it_admits(requirement):
    wanted = Requirement(requirement)
    assert wanted.specifier.contains(PINS[canonical(wanted.name)])


@pytest.mark.parametrize("script", ["scripts/install", "scripts/quickstart", "scripts/test", ".ci/run"])
def test_scripts_can_be_executed_and_parse(script):
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_no_index_is_named_where_packages_are_installed():
    for name in ("constraints.txt", "pyproject.toml", "Dockerfile", *(f"scripts/{s}" for s in ("install", "test"))):
        assert not re.search("https?://", (ROOT / name).read_text()), name
