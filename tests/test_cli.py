"""The command itself: verbs, flags, exit codes, one line for each error; and from a command line to a run folder."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from genlab import cli, submit
from genlab.__main__ import run as command
from genlab.cli import options, resume
from genlab.errors import ConfigError, ConfigErrors, GenlabError
from genlab.run import Run, alone

ROOT = Path(__file__).parent.parent


def genlab(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"} | environment
    command = [sys.executable, "-m", "genlab", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables)


def main(*arguments: str) -> int:
    return cli.main(list(arguments))


@pytest.mark.parametrize("verb", ["", *cli.VERBS])
def test_help_of_everything_goes_to_stdout(verb, capsys):
    assert main(*[verb][: len(verb)], "--help") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("genlab") and not shown.err


def test_help_loads_nothing_but_the_standard_library():
    script = (
        "import sys\nfrom genlab.cli import main\nmain(['--help'])\n"
        "print([name for name in ('yaml', 'hydra', 'rich', 'numpy', 'torch') if name in sys.modules])"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]" and time.perf_counter() - start < 5


def test_help_of_a_verb_comes_in_any_order(capsys):
    shown = []
    for words in (["train", "--help"], ["help", "train"], ["train", "help"]):
        assert main(*words) == 0
        shown.append(capsys.readouterr().out)
    assert len(set(shown)) == 1 and "--dry-run" in shown[0]


def test_version(capsys):
    assert main("--version") == 0
    assert capsys.readouterr().out.split()[0] == "genlab"


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["trian"], "train"),
        (["train", "--dryrun"], "--dry-run"),
        (["train", "--multi-run"], "--multirun"),
        (["sample", "--jsn"], "--json"),
        (["completion", "bsh"], "bash"),
        (["sample", f"ckpt={__file__}", "temprature=2"], "temperature"),
        (["sample", "rnu=x"], "run"),
        (["help", "trian"], "train"),
        (["train", "--model", "vae"], "model=vae"),
        (["train", "--trainer.max-steps=3"], "trainer.max_steps=3"),
        (["sample", "-n", "5"], "n=5"),
        (["train", "wgan_gp"], "model=wgan_gp"),
        (["train", "model:vae"], "model=vae"),
        (["train", "--cfg", "job", "--package", "optimiser"], "optimizer"),
        (["list", "vae"], "model=vae"),
        (["list", "metrics=bpd"], "likelihood"),
        (["eval", f"ckpt={__file__}", "metrics"], "metrics=..."),
        (["train", "init_from=testz"], "tests"),
        (["train", "model = vae"], "model=vae"),
        (["list", "model=wgan_pg"], "wgan_gp"),
    ],
)
def test_slips_exit_with_2_and_one_line_with_a_suggestion(arguments, suggestion, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(*arguments) == 2
    shown = capsys.readouterr()
    assert not shown.out and shown.err.count("\n") == 1
    assert shown.err.startswith("error: ") and f"did you mean '{suggestion}'" in shown.err


def test_errors_are_one_line_and_traceback_is_for_the_asking(monkeypatch, capsys):
    def fail(arguments):
        raise ValueError("two\nlines")

    monkeypatch.setattr(cli, "run", fail)
    monkeypatch.delenv("GENLAB_DEBUG", raising=False)
    assert main("train") == 1
    assert capsys.readouterr().err.startswith("error: ValueError: two lines")
    monkeypatch.setenv("GENLAB_DEBUG", "1")
    with pytest.raises(ValueError, match="two"):
        main("train")


def test_errors_stand_in_columns_that_a_long_one_does_not_widen():
    rows = [("n=0:", "must be at least 1", "command line"), ("loss=lsgn:", "no such loss", "genlab list losses")]
    table = [
        "error: n=0:       must be at least 1   (command line)",
        "error: loss=lsgn: no such loss         (genlab list losses)",
    ]
    assert cli.laid_out(rows, None) == cli.laid_out(rows, 120) == table
    long = [("x" * 50, "y", "a.yaml"), ("k=", "z" * 200, "command line")]
    assert cli.laid_out(rows + long, None)[:2] == table and max(map(len, cli.laid_out(long, None))) < 240
    narrow = cli.laid_out([*rows, *long], 50)
    assert narrow[0] == "error: n=0:       must be at least 1"
    assert narrow[1] == "error: loss=lsgn: no such loss   (genlab list losses)"
    assert cli.laid_out(rows[:1], 40) == ["error: n=0: must be at least 1"]
    assert all("\n" not in line and line == line.rstrip() for line in narrow)


def test_files_that_cannot_be_had_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main("train", "model=gan", "data=moons", "hydra.run.dir=file/run") == 1
    assert capsys.readouterr().err == "error: hydra.run.dir: no folder can be made at file/run: Not a directory\n"


def after(first, then):
    """An error that came of another."""
    then.__context__ = first
    return then


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GenlabError("x"), 1),
        (ConfigError("a", 1, "b"), 2),
        (ConfigErrors([ConfigError("a", 1, "b")]), 2),
        (KeyboardInterrupt(), 130),
        (after(KeyboardInterrupt(), ValueError("what a library fails with once it is broken off")), 130),
        (after(ValueError("x"), GenlabError("y")), 1),
    ],
)
def test_exit_codes(error, code, monkeypatch):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli, "run", fail)
    assert main("train") == code


def test_flags_are_found_anywhere():
    line = cli.take_apart("train", ["-m", "a=1", "--cfg", "job", "--dry-run", "b=2", "--package=x"])
    assert line.words == ["a=1", "b=2"] and line.flags == {"--dry-run"}
    assert line.hydra == ["-m", "--cfg", "job", "--package", "x"]


def test_wrong_flags_are_told_together_and_with_what_is_wrong_beside_them(tmp_path, capsys):
    for arguments in (["--cfg"], ["--cfg", "jobb"], ["--config-dir", str(tmp_path / "none")], ["--nonsense", "3"]):
        assert len(cli.take_apart("train", arguments).wrong) == 1
    words = ["--nonsense", "3", "--cfg", "jobb", "model=vae", "optimizer.lrr=1", "data=cifar01"]
    assert main("train", *words) == 2
    starts = ["--nonsense: ", "--cfg=jobb: ", "data=cifar01:", "optimizer.lrr=1:"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("error: ").startswith(start) for line, start in zip(lines, starts, strict=True)] == [
        True
    ] * 4
    assert main("train", "--config-dir", str(tmp_path / "none"), "experiment=of_that_folder") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_ctrl_c_counts_from_the_first_import_on(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert command() == 130 and capsys.readouterr().err == "interrupted\n"


def test_hydra_prints_the_config_it_composes():
    done = genlab("train", "--cfg", "job", "--package", "optimizer", "model=wgan_gp", "data=mnist", "optimizer.lr=0.5")
    assert done.returncode == 0 and yaml.safe_load(done.stdout)["lr"] == 0.5


@pytest.fixture
def compose(tmp_path, monkeypatch):
    """The way from words to a run folder, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["genlab", "train"])

    def make(*words: str) -> Path:
        place = submit.claim("outputs/now")
        folder = submit.submit(["model=gan", "data=moons", *words, f"hydra.run.dir={place}"], [])
        assert folder is not None
        return folder

    return make


def test_a_run_folder_holds_the_resolved_config_and_nothing_of_hydras(compose):
    folder = compose("seed=7")
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "run.yaml"}
    run = Run(folder)
    assert run.config["seed"] == 7 and "${" not in (folder / "config.yaml").read_text()
    assert run.config["choices"]["model"] == "gan" and "hydra" not in run.config
    assert run.info["command"][:2] == ["genlab", "train"] and "seed=7" in run.info["command"]


def test_two_runs_of_one_second_get_two_folders(compose):
    assert compose() != compose()


def test_hydra_leaves_no_global_state(compose):
    from hydra.core.global_hydra import GlobalHydra

    arguments = list(sys.argv)
    compose()
    assert not GlobalHydra.instance().is_initialized()
    assert sys.argv == arguments and "HYDRA_FULL_ERROR" not in os.environ


def test_a_folder_that_holds_another_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["model=gan", "data=moons", "hydra.run.dir=here"]
    assert submit.submit(words, []) == submit.submit(words, [])
    with pytest.raises(ConfigError, match="another run"):
        submit.submit([*words, "seed=2"], [])


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GenlabError, match=r"cannot make .* hydra\.run\.dir=\.\.\. puts it elsewhere"):
        submit.claim(str(tmp_path / "file" / "run"))


def test_resuming_changes_the_trainer_and_nothing_else(compose):
    folder = str(compose())
    before = Run(folder).config
    resumed = resume.check(folder, ["trainer.max_steps=11", "trainer.ema=1e-1"], record=True)
    assert Run(folder).config == resumed.config
    assert resumed.config["trainer"] == before["trainer"] | {"max_steps": 11, "ema": 0.1}
    assert {**resumed.config, "trainer": 0} == {**before, "trainer": 0}
    assert Run(folder).info["changes"] == ["trainer.max_steps=11", "trainer.ema=1e-1"]
    with pytest.raises(ConfigErrors) as caught:
        resume.check(folder, ["model.latent=3", "trainer.max_step=3", "trainer.batch_size=x"])
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"model.latent", "trainer.batch_size", "trainer.max_step"}


def test_a_run_whose_config_names_something_untrusted_is_refused(compose):
    folder = compose()
    plain = Run(folder).config | {"model": {"_target_": "os.system", "command": "touch ran"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(plain))
    done = genlab("train", f"run={folder}", cwd=folder)
    assert done.returncode == 2 and "os.system" in done.stderr and "trusted" in done.stderr
    assert not (folder / "ran").exists() and done.stderr.count("\n") == 1


def test_resuming_nothing_is_an_error(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    for words in (
        ["train", f"run={tmp_path}/runz"],
        ["sample", f"run={tmp_path}/runz"],
        ["report", f"{tmp_path}/runz"],
    ):
        assert main(*words) == 2
        assert (
            f"no run there (a run is a folder with a config.yaml); did you mean '{tmp_path}/runs'"
            in capsys.readouterr().err
        )


def test_a_wrong_run_is_told_before_torch_is_loaded():
    script = "import sys; from genlab.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    for verb in ("train", "sample", "eval", "report"):
        done = subprocess.run([sys.executable, "-c", script, verb, "run=nowhere"], capture_output=True, text=True)
        assert done.stdout == "2 False\n", done.stderr


@pytest.fixture
def trained(tmp_path, monkeypatch) -> Path:
    """A folder with a run in it, ``run``, that has a checkpoint."""
    monkeypatch.chdir(tmp_path)
    run = Run.create("run", {"data": {"_target_": "genlab.data.cifar10.CIFAR10"}}, [])
    run.checkpoints.mkdir()
    (run.checkpoints / "last.ckpt").write_text("")
    return tmp_path


def test_folders_of_configs_reach_the_page_of_evaluation(trained):
    (trained / "conf").mkdir()
    assert options.options("eval", ["run=run"], ["conf"])["config_dir"] == ["conf"]


def test_what_a_page_returns_is_the_exit_code(monkeypatch):
    monkeypatch.chdir(ROOT)
    from genlab import evaluate

    monkeypatch.setattr(evaluate, "main", lambda options, as_json: 1)
    assert main("eval", "ckpt=pyproject.toml") == 1


def test_every_option_of_a_verb_is_read_by_its_page():
    from genlab.presets import conf_folder, read

    pages = {
        "sample": ["sample", "tasks/*"],
        "eval": ["evaluate", "evaluation/*", "metrics/choose"],
        "report": ["report"],
    }
    for verb, patterns in pages.items():
        files = [path for pattern in patterns for path in (ROOT / "genlab").glob(f"{pattern}.py")]
        source = "".join(path.read_text() for path in files)
        presets = "".join(path.read_text() for path in conf_folder().glob("metric/*.yaml"))
        for key in read(conf_folder() / f"{verb}.yaml"):
            named = f'"{key}"' in source or f"${{{key}}}" in presets
            assert named or key in ("defaults", "plugins"), f"{verb}: {key}"


def test_options_take_paths_with_signs_of_hydras(trained):
    folder = "sweep (a)/model=vae__seed=1"
    (trained / "run").rename(trained / "model=vae")
    Run.create(folder, {}, [])
    given = options.options("sample", [f"run={folder}", "temperature=1", "seeds=0-7"])
    assert (given["run"], given["temperature"], given["seeds"]) == (folder, 1, "0-7")
    assert options.options("sample", [str(trained / "model=vae")])["run"] == str(trained / "model=vae")
    assert options.options("report", [str(trained / "model=v*")])["run"] == str(trained / "model=v*")


def mistaken(verb: str, *words: str) -> dict[str, ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        options.options(verb, words)
    return {problem.setting: problem for problem in caught.value.problems}


def test_all_mistakes_in_what_is_sampled_are_told_at_once(trained):
    wrong = {
        "rnu=x": "run", "n=0": "", "devices=0": "", "temperature=hot": "", "task=gird": "grid",
        "path=sphericl": "spherical", "device=gpuu": "gpu", "seeds=9-2": "", "ckpt=lst": "last", "run=rnn": "run",
        "y=1,,2": "",
    }  # fmt: skip
    found = mistaken("sample", *wrong)
    assert {setting: error.suggestion for setting, error in found.items()} == wrong
    assert set(mistaken("sample", "run=run", "y=dgo", "seeds=[1,2", "temperature=0")) == {
        "y=dgo", "seeds=[1,2", "temperature=0",
    }  # fmt: skip
    assert mistaken("sample", "run=run", "y=dgo")["y=dgo"].suggestion == "dog"
    options.options("sample", ["run=run", "y=[dog,3]", "seeds=[1,2]", "ckpt=run/checkpoints/last.ckpt"])


def test_all_mistakes_in_what_is_evaluated_are_told_at_once(trained):
    wrong = {
        "run=rnn": "run", "metrics=bdp": "bpd", "metrics=fid_digtis": "fid_digits", "extractor=incepton": "inception",
        "data=mnits": "mnist", "ckpt=bets": "best", "split=tets": "test", "real=tran": "train", "n=0": "", "k=0": "",
        "batch=x": "", "seed=-1": "", "samples=nowhere": "", "devcies=3": "devices",
    }  # fmt: skip
    joined = [word for word in wrong if not word.startswith(("metrics", "run"))]
    found = mistaken("eval", "run=run,rnn", "metrics=bdp,bpd,fid_digtis,frechet,precision_3_raw", *joined)
    assert {setting: error.suggestion for setting, error in found.items()} == wrong
    assert mistaken("eval", "run=run", "k=few")["k=few"].reason == "must be a whole number"
    options.options("eval", ["run=run", "metrics=fid_mine,nats", "extractor=module", "extractor.name=mine", "ckpt=all"])


def test_mistakes_in_what_is_evaluated_exit_with_2_before_torch(trained):
    script = "import sys; from genlab.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    for verb, word in (("sample", "task=gird"), ("eval", "metrics=bdp")):
        command = [sys.executable, "-c", script, verb, "run=rnu", word, "n=0"]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert done.stdout == "2 False\n" and done.stderr.count("error: ") == done.stderr.count("\n") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample"], "run=: give run=<folder> or ckpt=<file>"),
        (["sample", "run=run", "ckpt="], "ckpt=: no value"),
        (["train", "run=run", "--json"], "add that, too"),
        (["train", "--resolve"], "add that, too"),
        (["eval"], "or samples=<folder or .npz>"),
        (["eval", "samples=run"], "data=mnist"),
        (["sample", "ckpt=best"], "of which run?"),
        (["sample", "ckpt=run"], "a folder; did you mean 'run=run'"),
        (["sample", "run=run/checkpoints/last.ckpt"], "did you mean 'ckpt=run/checkpoints/last.ckpt'"),
        (["sample", "ckpt=run/checkpoints/lst.ckpt"], "did you mean 'run/checkpoints/last.ckpt'"),
        (["sample", "run=[run,other]"], "2 runs are there; sample takes one"),
        (["eval", "run=run,other", "ckpt=run/checkpoints/last.ckpt"], "a file belongs to one run; 2 are named"),
        (["sample", "run=run", "plugins=[nowhere_at_all]"], "neither a folder nor a package"),
        (["report", "run=run", "format=htm"], "did you mean 'html'"),
        (["eval", "samples=a.npz,run", "data=digits"], "samples=a.npz: no such folder or file"),
        (["sample", "run=run", "task=interpolate", "ends=tst"], "did you mean 'test'"),
        (["sample", "run=run", "terms=8-3"], "terms=8-3: is of task=arithmetic, and here it is task=grid"),
        (["sample", "run=run", "seeds=0-3", "n=7"], "n=7: seeds=0-3 says already how many"),
        (["sample", "run=run/config.yaml"], "a file of a run; did you mean 'run'"),
        (["train", "run=run/checkpoints/last.ckpt"], "a file of a run; did you mean 'run'"),
        (["train", "run=."], "2 runs are below it, and one is wanted here; did you mean 'other'"),
        (["train", "run"], "one folder of a run is wanted"),
        (["train", "run=run", "run=other"], "one folder of a run is wanted"),
        (["train", "run=run", "-m"], "leave this flag out"),
        (["train", "run"], "one folder of a run is wanted"),
        (["train", "other"], "did you mean 'run=other'"),
        (["check", "run=run"], "takes no run but a config"),
        (["sample", "run=run", "seeds=0-99999999999"], "more than 10000000 of them"),
    ],
)
def test_a_run_or_checkpoint_that_is_not_there_is_told(words, said, trained, capsys):
    Run.create("other", {}, [])
    assert main(*words) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_words_that_are_known_before_torch_are_those_of_the_code():
    import importlib

    from genlab import choices
    from genlab.data.base import SPLITS
    from genlab.presets import conf_folder, read
    from genlab.tasks.interpolate import PATHS
    from genlab.validation import requests

    assert choices.SPLITS == SPLITS and tuple(PATHS) == requests.PATHS
    for name, figures in choices.metrics().items():
        module, _, target = read(conf_folder() / "metric" / f"{name}.yaml")["_target_"].rpartition(".")
        assert figures == getattr(importlib.import_module(module), target).figures
    names = set(requests.extractors([]))
    for path in (conf_folder() / "extractor").glob("*.yaml"):
        module, _, target = read(path)["_target_"].rpartition(".")
        assert getattr(getattr(importlib.import_module(module), target), "name", path.stem) in names


def test_options_of_a_data_set_given_to_eval_are_checked(trained):
    options_of = options.options("eval", ["run=run", "data=digits", "data.limit=40", "data.levels=4"])
    assert options_of["data"]["limit"] == 40
    for word, said in (
        ("data.limt=40", "did you mean 'limit'"),
        ("data.limit=many", "a whole number"),
    ):
        with pytest.raises(ConfigErrors, match=said):
            options.options("eval", ["run=run", "data=digits", word])
    with pytest.raises(ConfigErrors, match=r"data\.limit=3: choose one first: data="):
        options.options("eval", ["run=run", "data.limit=3"])


def test_a_sweep_trains_each_job_and_tells_of_failures_at_the_end(tmp_path):
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "sitecustomize.py").write_text(
        "from pathlib import Path\n"
        "from genlab import jobs\n"
        "def run_job(folder):\n"
        "    from genlab.run import Run\n"
        "    if Run(folder).config['seed'] == 1:\n"
        "        raise RuntimeError('out of luck')\n"
        "    Path(folder, 'trained').write_text('')\n"
        "jobs.run_job = run_job\n"
    )
    words = ["-m", "model=gan", "data=moons,ring", "seed=1,2", "hydra.sweep.dir=sweep"]
    done = genlab("train", *words, cwd=tmp_path, PYTHONPATH=f"{stub}{os.pathsep}{ROOT}")
    assert done.returncode == 1
    names = [f"data={data}__seed={seed}" for data in ("moons", "ring") for seed in (1, 2)]
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()) == names
    for name in names:
        assert (tmp_path / "sweep" / name / "trained").exists() == name.endswith("2")
        assert Run(tmp_path / "sweep" / name).config["data"]["_target_"].lower().endswith(name.split("__")[0][5:])
    last = done.stderr[done.stderr.index("error: ") :]
    assert last.startswith("error: 2 jobs") and last.count("out of luck") == 2
    assert done.stderr.count("failed: out of luck\n") == 2
    assert done.stdout == "genlab eval run=sweep    genlab report sweep\n"
    assert "Error executing job" not in done.stderr and "Traceback" not in done.stderr


def test_a_failed_job_costs_neither_the_other_jobs_nor_the_table(tmp_path):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-python.tar.gz").write_bytes(b"damaged")
    words = ["-m", "model=gan", "data=cifar10,moons", "hydra.sweep.dir=sweep", "logger=csv", "trainer.max_steps=1"]
    words += ["hydra/callbacks=table", "hydra.callbacks.table.n=16", "hydra.callbacks.table.format=csv"]
    done = genlab("train", *words, cwd=tmp_path, GENLAB_DATA=str(tmp_path))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-2:]
    assert last[0] == "error: 1 job of sweep failed" and "cifar-10-python.tar.gz" in last[1]
    assert done.stderr.count("\njob 0 failed\n") == 1  # after the job's own line that says why
    failed, ran = (Run(next((tmp_path / "sweep").glob(f"data={data}*"))) for data in ("cifar10", "moons"))
    assert (failed.info["status"], ran.info["status"]) == ("failed", "done")
    assert any(line.startswith("gan,moons") for line in done.stdout.splitlines())


def test_failures_of_an_earlier_sweep_in_the_same_folder_are_not_this_ones(tmp_path):
    for name in ("old", "again"):
        Run.create(tmp_path / name, {"seed": 1}, []).note(status="failed", error="x")
    before = submit.states(tmp_path)
    for run in (Run(tmp_path / "again"), Run.create(tmp_path / "new", {"seed": 1}, [])):
        run.note(status="created")
        run.note(status="failed", error="y")
    assert submit.failures(tmp_path, before) == {"again": "y", "new": "y"}


@pytest.mark.parametrize("send", [os.killpg, os.kill])
def test_an_interrupted_sweep_ends_after_its_job_has_saved(send, tmp_path):
    """Ctrl-C goes to the group of processes, ``kill -INT`` to the sweep's alone."""
    words = ["-m", "model=gan", "data=moons,ring", "hydra.sweep.dir=sweep", "logger=csv", "trainer.max_steps=1000000"]
    words += ["trainer.log_every=1", "trainer.accelerator=cpu"]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "genlab", "train", *words],
        cwd=tmp_path,
        env=variables,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        logs: list[Path] = []
        while process.poll() is None and not any(log.read_text().count("\n") > 2 for log in logs):
            time.sleep(0.1)
            logs = list(tmp_path.glob("sweep/*/metrics.csv"))
        send(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        told = process.stderr.read()
    (run,) = [Run(path.parent) for path in tmp_path.glob("sweep/*/config.yaml")]
    assert run.info["status"] == "interrupted" and (run.checkpoints / "last.ckpt").is_file()
    assert "0 of 2 jobs done\ninterrupted 1: data=moons\nnot begun 1: data=ring\ngo on with: genlab train -m " in told


def test_how_far_a_sweep_has_come_counts_every_job_once(tmp_path):
    jobs = {f"seed={seed}": {"seed": seed} for seed in range(20)}
    for seed, status in ((0, "done"), (1, "done"), (2, "failed"), (3, "interrupted"), (70, "done")):
        Run.create(tmp_path / str(seed), {"seed": seed}, []).note(status=status)
    first, *lines = submit.standing(tmp_path, jobs, beyond=5)
    assert first == "3 of 25 jobs done"
    assert lines[:2] == ["failed 1: seed=2", "interrupted 1: seed=3"]
    assert lines[2].startswith("not begun 20: seed=4; seed=5; ") and lines[2].endswith("seed=15; ...")


def test_a_run_interrupted_before_its_first_step_says_how_to_start_it(tmp_path, monkeypatch, capsys):
    from genlab import train

    def interrupted(folder):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "main", interrupted)
    assert main("train", "model=gan", "data=moons", "hydra.run.dir=run") == 130
    assert "stopped before the first step; start with: genlab train run=run" in capsys.readouterr().out
    assert Run("run").info["status"] == "interrupted"


def test_dry_run_prints_and_writes_nothing(tmp_path):
    done = genlab("train", "--dry-run", "model=gan", "data=moons", "trainer.max_steps=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"parameters", "budget", "device"} <= {line.split()[0] for line in done.stdout.splitlines()}
    assert not list(tmp_path.iterdir())


def test_dry_run_says_among_how_many_ranks_a_batch_is_shared(tmp_path):
    words = ["model=gan", "data=moons", "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
    done = genlab("train", "--dry-run", *words, "trainer.batch_size=64", cwd=tmp_path)
    assert "2 ranks of 32 examples a batch" in done.stdout, done.stderr


def test_train_goes_from_a_command_line_to_a_trained_folder(tmp_path):
    words = ["model=gan", "data=moons", "trainer.max_steps=2", "logger=csv", "hydra.run.dir=run"]
    words += ["model.generator.width=8", "model.discriminator.width=8", "trainer.accelerator=cpu"]
    done = genlab("train", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = Run(tmp_path / "run")
    assert run.info["status"] == "done" and run.info["step"] == 2
    assert "genlab sample run=run" in done.stdout


NARROW = ["model.generator.width=8", "model.discriminator.width=8", "trainer.accelerator=cpu", "logger=none"]


@pytest.mark.parametrize("launcher", ["", "joblib"])
def test_recipes_of_the_users_own_are_taken_by_training_as_they_are_by_the_checks(tmp_path, launcher):
    """Hydra composes anew what was checked, in this process or in a launcher's."""
    mine = tmp_path / "a, b"
    for path, text in {
        "data/own_moons.yaml": "_target_: genlab.data.planar.Moons\n",
        "recipe/gan/ring.yaml": "# @package _global_\nmodel: {latent: 3}\n",
    }.items():
        (mine / path).parent.mkdir(parents=True, exist_ok=True)
        (mine / path).write_text(text)
    words = ["--config-dir", str(mine), "model=gan", "logger=csv", "trainer.max_steps=1"]
    if launcher:
        words += ["-m", f"hydra/launcher={launcher}", "data=own_moons,ring", f"hydra.sweep.dir={tmp_path}"]
        done = [genlab("train", *words, cwd=tmp_path)]
    else:
        folders = {data: f"hydra.run.dir={tmp_path / data}" for data in ("own_moons", "ring")}
        done = [genlab("train", *words, f"data={data}", folder, cwd=tmp_path) for data, folder in folders.items()]
    assert all(one.returncode == 0 for one in done), done[0].stderr
    configs = [run.config for run in Run.find([str(tmp_path)])]
    taken = {config["choices"]["data"]: (config["choices"]["recipe"], config["model"]["latent"]) for config in configs}
    assert taken == {"own_moons": ("gan/points", 2), "ring": ("gan/ring", 3)}


def test_a_sweep_that_finds_its_disk_full_names_its_folder(tmp_path, capsys, monkeypatch):
    """Hydra's own writing of it tells no file."""

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("genlab.submit.submit", full)
    assert main("train", "-m", "model=vae,realnvp", "data=digits", "hydra.sweep.dir=sweep") == 1
    assert capsys.readouterr().err == "error: sweep: cannot be written: No space left on device\n"


def test_a_job_ends_with_the_sweep_that_started_it(tmp_path):
    """Even one that is killed outright: what it trained is saved, and the same sweep goes on with it."""
    words = ["-m", "model=gan", "data=moons", "seed=0", "trainer.max_steps=100000", "hydra.sweep.dir=sweep", *NARROW]
    command = [sys.executable, "-m", "genlab", "train", *words]
    quiet, variables = subprocess.DEVNULL, os.environ | {"PYTHONPATH": str(ROOT)}
    sweep = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=quiet, stderr=quiet)
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("sweep/*/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    sweep.kill()
    sweep.wait()
    (folder,) = tmp_path.glob("sweep/*/")
    while Run(folder).info.get("status") == "training" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert Run(folder).info["status"] == "interrupted" and Run(folder).info["step"] >= 100


@pytest.mark.parametrize("begun", ["multirun.yaml", "seed=0/config.yaml", "seed=1/run.yaml"])
def test_a_sweep_of_several_workers_that_is_interrupted_while_they_start_ends_quietly(tmp_path, begun):
    words = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "model=gan", "data=moons", "seed=0,1,2"]
    command = [sys.executable, "-m", "genlab", "train", *words, "trainer.max_steps=1000000", "hydra.sweep.dir=sweep"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*command, *NARROW], cwd=tmp_path, start_new_session=True, **quiet)
    deadline = time.monotonic() + 120
    while not (tmp_path / "sweep" / begun).is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "0 of 3 jobs done" in said and "seed=2" in said
    assert "Traceback" not in said and said.splitlines()[-1] == "interrupted"


@pytest.mark.parametrize("send", [os.killpg, os.kill], ids=["to all", "to the sweep alone"])
def test_an_interrupted_sweep_of_several_workers_ends_after_all_their_jobs_have_saved(tmp_path, send):
    words = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "model=gan", "data=moons", "seed=0,1,2"]
    words += ["trainer.max_steps=1000000", "hydra.sweep.dir=sweep", *NARROW]
    command = [sys.executable, "-m", "genlab", "train", *words]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    running = [tmp_path / "sweep" / f"seed={seed}" for seed in (0, 1)]
    deadline = time.monotonic() + 120
    while not all((run / "checkpoints" / "last.ckpt").is_file() for run in running) and time.monotonic() < deadline:
        time.sleep(0.1)
    send(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "interrupted 2: seed=0; seed=1" in said and "not begun 1: seed=2" in said
    assert all(Run(run).info["status"] == "interrupted" and Run(run).info["step"] > 100 for run in running)


def test_a_sweep_into_a_folder_of_other_settings_is_refused_before_its_first_job(tmp_path):
    words = ["-m", "model=gan", "data=moons", "hydra.sweep.dir=sweep", *NARROW]
    assert genlab("train", *words, "seed=0,1", "trainer.max_steps=2", cwd=tmp_path).returncode == 0
    before = sorted(path.name for path in (tmp_path / "sweep").iterdir())
    done = genlab("train", *words, "seed=2,1,0", "trainer.max_steps=3", cwd=tmp_path)
    said = (
        "hydra.sweep.dir=sweep: holds runs of other settings: seed=1 has trainer.max_steps=2 and not 3 (1 more differs)"
    )
    assert done.returncode == 2 and said in done.stderr
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == before
    done = genlab("train", *words, "seed=2,1", "trainer.max_steps=2", cwd=tmp_path)
    assert done.returncode == 0 and "seed=1: trained already" in done.stdout


def test_a_job_whose_folder_is_another_run_s_costs_none_of_the_others(tmp_path):
    """Where its folder's name is not known before."""
    words = [
        "-m",
        "model=gan",
        "data=moons",
        "hydra.sweep.dir=sweep",
        "hydra.sweep.subdir=run${hydra.job.num}",
        *NARROW,
    ]
    assert genlab("train", *words, "seed=0", "trainer.max_steps=2", cwd=tmp_path).returncode == 0
    done = genlab("train", *words, "seed=3,4", "trainer.max_steps=2", cwd=tmp_path)
    assert done.returncode == 1 and "run0: another run is there" in done.stderr.splitlines()[-1]
    assert Run(tmp_path / "sweep" / "run1").info["status"] == "done"


def test_a_sweep_leaves_alone_what_another_process_trains(tmp_path):
    words = ["-m", "model=gan", "data=moons", "seed=0", "trainer.max_steps=2", "hydra.sweep.dir=sweep", *NARROW]
    assert genlab("train", *words, cwd=tmp_path).returncode == 0
    (folder,) = tmp_path.glob("sweep/*/")
    before = (folder / "run.yaml").read_text()
    with alone(Run(folder)):
        done = genlab("train", *words, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("another process is training it") >= 1
    assert (folder / "run.yaml").read_text() == before
