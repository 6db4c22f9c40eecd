"""The README says what is so: its commands run, its tables are those of conf/, its examples work as printed.

Commands run in the order of the page, in one process and one folder. Trainings are cut to a few steps, where they take
more than a look at a config is checked instead; what belongs to other programs is held against the files it is about.
"""

import io
import os
import re
import shlex
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from genlab import cli, validate
from genlab.catalogue import entry
from genlab.choices import POINTS, recipe
from genlab.cli.resume import PLUGINS
from genlab.presets import card, file_of, groups

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
FILES = dict(re.findall(r"`(mine/[\w/.]+)`[^`]*?:\n\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
LINES = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
COMMANDS = [*dict.fromkeys(line.partition("  #")[0].strip() for line in LINES)]

REDUCED = ["trainer.max_steps=2", "logger=csv"]
BUNDLED = ("digits", "moons", "circles")
SEVERAL = ("-m", "trainer=ddp", "trainer=fsdp", "devices=2")  # processes
EXTRAS_NOT_TESTED = ("hydra/launcher=ray", "hydra/sweeper=optuna")


class Outcome(NamedTuple):
    """What a command came to; for those that are not run, that nothing is wrong with them."""

    code: int
    out: str
    err: str


def words_of(command: str) -> list[str]:
    """Of ``genlab`` in a command, whoever starts it; empty where it is about something else."""
    words = shlex.split(command)
    for place, word in enumerate(words):
        if word == "genlab" and words[0] in ("genlab", "torchrun", "srun"):
            return words[place + 1 :]
    return []


def is_run(words: list[str]) -> bool:
    """Cheap enough, on data that come along."""
    if any(word in SEVERAL for word in words):
        return False
    data = [word.partition("=")[2] for word in words if word.startswith("data=")]
    return words[0] != "train" or not data or data[0] in BUNDLED


def look(words: list[str]) -> Outcome:
    """Compose and check a training without starting it."""
    if any(word.startswith(EXTRAS_NOT_TESTED) for word in words):
        extra = next(word for word in words if word.startswith(EXTRAS_NOT_TESTED)).partition("=")[2]
        assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        words = [word for word in words if not (word.startswith(("hydra/", "hydra.")) or "=interval(" in word)]
    if words[0] == "train":
        line = cli.take_apart("train", words[1:])
        validate.check(line.words, line.folders, multirun="-m" in line.hydra)
    return Outcome(0, "", "")


def run(words: list[str]) -> Outcome:
    """The real thing, trainings cut to a few steps."""
    if words[0] == "train" and not {"--cfg", "--dry-run"} & {*words}:
        kept = [word for word in words if not word.startswith(("trainer.max_epochs", "trainer.max_time"))]
        words = kept + (REDUCED[:1] if any(word.startswith("run=") for word in words) else REDUCED)
    if words[0] == "eval":
        words = [word for word in words if not word.startswith(("n=", "k="))] + ["n=64", "k=2"]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main(words)
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """All commands that are genlab's, in the order of the page; ``mine/`` holds the examples as printed."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "photographs").mkdir()
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    before, arguments, path = Path.cwd(), sys.argv, [*sys.path]
    os.chdir(folder)
    try:
        found = {}
        for command in COMMANDS:
            if words := words_of(command):
                found[command] = run(words) if is_run(words) else look(words)
        yield found
    finally:
        os.chdir(before)
        sys.argv, sys.path[:] = arguments, path
        os.environ.pop(PLUGINS, None)


@pytest.mark.parametrize("command", [command for command in COMMANDS if words_of(command)])
def test_commands_work(outcomes, command):
    outcome = outcomes[command]
    assert outcome.code == 0, outcome.err
    if is_run(words_of(command)):
        assert outcome.out.strip()


@pytest.mark.parametrize("command", [command for command in COMMANDS if not words_of(command)])
def test_other_commands_are_about_what_is_there(command):
    words = shlex.split(command)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    match words:
        case [script] if script.startswith("scripts/"):
            assert os.access(ROOT / script, os.X_OK)
        case ["eval", "$(genlab completion bash)"]:
            assert "complete" in run(["completion", "bash"]).out
        case ["pip", "install", target]:
            assert {*re.findall(r"\w+", target)} <= {*project["optional-dependencies"]}
        case ["docker", "build", *_, "."]:
            assert (ROOT / "Dockerfile").is_file()
        case ["docker", "run", *options, "train", model, data]:
            stated = (ROOT / "Dockerfile").read_text()
            inside = [mount.split(":")[1] for flag, mount in pairwise(options) if flag == "-v"]
            assert all(folder in stated for folder in inside) and 'ENTRYPOINT ["genlab"]' in stated
            validate.check([model, data])
        case _:
            pytest.fail(f"the README shows a command that no test knows: {command}")


def test_the_mistakes_shown_are_answered_as_shown():
    shown = next(text for language, text in BLOCKS if language == "console")
    command, *answer = shown.splitlines()
    outcome = run([*shlex.split(command.removeprefix("$ genlab ")), "--dry-run"])
    assert outcome.code == 2 and outcome.err.splitlines() == answer


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading, without its two head lines."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_model_is_in_the_table_with_its_paper():
    wanted = []
    for name in groups()["model"]:
        about = entry("model", name)
        paper = f"{about['authors']} {about['year']}, {about['reference']}"
        wanted.append([f"`{name}`", about["family"], about["title"], paper])
    assert rows("Models") == wanted


def test_every_data_set_is_in_the_table():
    assert rows("Data") == [[f"`{name}`", entry("data", name)["title"]] for name in groups()["data"]]


def test_every_experiment_is_in_the_table():
    table = [row for row in rows("Experiments") if len(row) == 2]
    assert table == [[f"`{name}`", entry("experiment", name)["title"]] for name in groups()["experiment"]]


@pytest.mark.parametrize("row", rows("Measured"), ids=lambda row: " ".join(row[:2]))
def test_measured_figures_are_those_of_the_recipes(row):
    words = row[0].strip("`").split()
    checked = validate.check(words)
    choices = checked.config["choices"]
    told = " ".join(card(file_of("recipe", recipe(choices["model"], choices["data"]))))
    figures = re.findall(r"\d+\.\d+", row[1])
    assert figures and all(figure in told for figure in figures)


@pytest.mark.parametrize("name", groups()["recipe"])
def test_every_recipe_composes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").mkdir()
    model, _, data = name.partition("/")
    assert data in (*groups()["data"], POINTS)
    data = "pinwheel" if data == POINTS else data
    assert validate.check([f"model={model}", f"data={data}"]).config["choices"]["recipe"] == name


def test_the_layout_shown_is_the_layout():
    shown = next(text for language, text in BLOCKS if language == "text")
    for name in re.findall(r"\b\w+\.py\b", shown):
        assert (ROOT / "genlab" / name).is_file() or (ROOT / "genlab" / "models" / name).is_file(), name
    for name in re.findall(r"^  .*?\b(\w+)/", shown, re.MULTILINE):
        assert (ROOT / "genlab" / name).is_dir(), name
