"""Folders of runs that something has befallen: every verb tells it in one line, with one exit code for one damage."""

import json
import math
import shutil

import pytest
import torch
import yaml

from genlab import agreement, assembly, checkpoint, cli, config, train
from genlab.errors import CheckpointError, ConfigError, GenlabError
from genlab.evaluation.results import stored
from genlab.run import Run
from genlab.training import journal
from genlab.training.resume import whole

TYPED = ["model=vae", "data=digits", "++model.encoder.width=16", "++model.decoder.width=16", "++data.limit=200"]
TYPED += ["trainer.max_epochs=null", "trainer.max_steps=2", "trainer.log_every=1", "logger=csv"]
VERBS = {
    "sample": ["sample", "run=run", "n=2"],
    "eval": ["eval", "run=run", "metrics=bpd", "k=1", "real=none"],
    "report": ["report", "run"],
    "train": ["train", "run=run"],
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run that has been trained and evaluated."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    composed = config.compose("train", TYPED)
    run = Run.create(folder, composed.config | {"choices": composed.choices}, ["test"])
    assert train.main(run.path) == 0
    assert cli.main(["eval", f"run={folder}", *VERBS["eval"][2:]]) == 0
    return run


@pytest.fixture
def run(measured, tmp_path, monkeypatch):
    """A copy of it, which may be damaged."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(measured.path, tmp_path / "run")
    return Run(tmp_path / "run")


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def gone(name):
    return lambda folder: (folder / name).unlink()


def cut(*names):
    """The first half of files."""

    def damage(folder):
        for name in names:
            path = folder / name
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def said(**changes):
    """Values in config.yaml, by group and key."""

    def damage(folder):
        content = yaml.safe_load((folder / "config.yaml").read_text())
        for group, change in changes.items():
            content[group] = content[group] | change if isinstance(change, dict) else change
        (folder / "config.yaml").write_text(yaml.safe_dump(content))

    return damage


def in_checkpoints(edit):
    """An edit of the contents of all checkpoints."""

    def damage(folder):
        for path in (folder / "checkpoints").glob("*.ckpt"):
            state = checkpoint.read(path)
            edit(state)
            torch.save(state, path)

    return damage


BOTH = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")
ALL, READERS, MEASURERS = {*VERBS}, {"sample", "eval", "train"}, {"eval", "report"}


@pytest.mark.parametrize(
    ("damage", "code", "verbs", "told"),
    [
        (gone("config.yaml"), 2, ALL, "its config.yaml is gone; genlab sample and eval take ckpt="),
        (written("config.yaml", b""), 1, ALL, "config.yaml: not a YAML mapping"),
        (written("config.yaml", b"a: [1"), 1, ALL, "config.yaml: not valid YAML: line 1: "),
        (
            written("config.yaml", b"\xf7\x00\xff"),
            1,
            ALL,
            "config.yaml: not valid YAML: it holds bytes that are no text",
        ),
        (said(data=5), 1, ALL, "config.yaml: its data is no mapping"),
        (written("run.yaml", b"- 1"), 1, ALL, "run.yaml: not a YAML mapping"),
        (gone("run.yaml"), 0, set(), ""),
        (cut(*BOTH), 1, READERS, "damaged, or cut short"),
        (in_checkpoints(lambda state: state.pop("genlab")), 1, READERS, "not a checkpoint of genlab"),
        (in_checkpoints(lambda state: state["genlab"].pop("step")), 1, READERS, "lacks `step`"),
        (cut("metrics.json"), 1, MEASURERS, "metrics.json: not valid JSON"),
        (written("metrics.json", b"\xf7\x00\xff"), 1, MEASURERS, "metrics.json: not valid JSON"),
        (written("metrics.json", b'{"accuracy": 0.9}'), 1, MEASURERS, "metrics.json: not as evaluation wrote it"),
    ],
)
def test_one_damage_has_one_exit_code_and_one_line(run, capsys, damage, code, verbs, told):
    damage(run.path)
    for verb, words in VERBS.items():
        assert cli.main(words) == (code if verb in verbs else 0), verb
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == (verb in verbs) and all(told in line for line in errors)


def test_data_that_a_checkpoint_describes_amiss_are_told_by_their_key(run, capsys):
    in_checkpoints(lambda state: state["genlab"]["config"]["data"].update(limit="${oc.env:HOME}"))(run.path)
    assert cli.main(["eval", f"ckpt={run.checkpoint()}", "metrics=bpd", "k=1", "real=none"]) == 2
    assert "data.limit=${oc.env:HOME}: must be a whole number or null" in capsys.readouterr().err


def test_where_config_and_checkpoint_disagree_the_checkpoints_counts_and_no_training_goes_on(run, capsys):
    assert cli.main(VERBS["sample"]) == 0
    before = (run.samples / "grid.png").read_bytes()
    said(model={"latent": 5}, loss={"beta": 4.0}, data={"limit": 100})(run.path)
    for verb in ("sample", "eval"):
        capsys.readouterr()
        assert cli.main(VERBS[verb]) == 0
        told = [line for line in capsys.readouterr().err.splitlines() if "which counts" in line]
        assert len(told) == 1 and "model.latent=16, which counts" in told[0] and "has 5, and 2 more keys" in told[0]
    assert (run.samples / "grid.png").read_bytes() == before
    for words in (["trainer.max_steps=4"], []):
        assert cli.main(["train", "run=run", *words]) == 2
        assert "model.latent=5: last.ckpt was trained with 16" in capsys.readouterr().err


def test_what_may_change_in_a_config_is_no_disagreement(run, measured):
    own = run.config
    changed = own | {"trainer": own["trainer"] | {"max_steps": 9}, "logger": None}
    changed["data"] = own["data"] | {"root": "/elsewhere"}
    assert agreement.differing(changed, own) == []
    said(data={"root": "/elsewhere"})(run.path)
    loaded, told = agreement.agreed(checkpoint.load(run.checkpoint()), Run(run.path))
    assert loaded.config["data"]["root"] == "/elsewhere" and not told


def test_another_version_is_told_once_where_all_goes_well(run, capsys):
    in_checkpoints(lambda state: state["genlab"].update(version="99.0"))(run.path)
    for words in (VERBS["sample"], [*VERBS["eval"], "--force"], ["train", "run=run", "trainer.max_steps=3"]):
        capsys.readouterr()
        assert cli.main(words) == 0
        assert capsys.readouterr().err.count("written by genlab 99.0, and this is") == 1
    assert cli.main(["train", "run=run", "trainer.max_steps=4"]) == 0  # from the one that this genlab wrote
    assert "99.0" not in capsys.readouterr().err


def test_a_model_of_another_run_is_sampled_and_scored_as_what_it_is(run, capsys):
    """Although its checkpoint lies in the folder of a VAE."""
    composed = config.compose("train", ["model=realnvp", "data=moons", "trainer.max_steps=1", "logger=csv"])
    other = Run.create("other", composed.config | {"choices": composed.choices}, ["test"])
    assert train.main(other.path) == 0
    for name in BOTH:
        shutil.copy(other.path / name, run.path / name)
    assert cli.main(VERBS["sample"]) == 0
    assert cli.main(["eval", "run=run", "metrics=nats", "real=none", "--json"]) == 0
    told = capsys.readouterr()
    row = json.loads(told.out.splitlines()[-1])[0]
    assert (row["model"], row["data"]) == ("realnvp", "moons") and "nats" in row["metrics"]
    assert told.err.count("which counts") == 2
    assert cli.main(["train", "run=run", "trainer.max_steps=4"]) == 2


@pytest.fixture(scope="module")
def training(measured):
    """What goes on from the run."""
    return assembly.assemble(measured)


def validated(state):
    """What is kept of validations."""
    return next(value for key, value in state["callbacks"].items() if "Beside" in key)["Validate"]


def progress(state):
    """Lightning's count of steps."""
    return state["loops"]["fit_loop"]["epoch_loop.manual_optimization.optim_step_progress"]["total"]


def first(key, change):
    """An edit of an entry of the state of the first parameter's optimizer."""
    return lambda state: state["optimizer_states"][0]["state"][0].update({key: change})


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda state: state.pop("optimizer_states"), "holds weights alone"),
        *(
            (lambda state, key=key: state.pop(key), f"lacks `{key}`")
            for key in ("average", "meter", "callbacks", "loops")
        ),
        (lambda state: state["loops"].clear(), "its loops.fit_loop: epoch_loop.* is None"),
        (lambda state: state["loops"].update(fit_loop=5), "its loops.fit_loop: epoch_loop.* is None"),
        (lambda state: progress(state).update(completed="two"), "its loops.fit_loop: .*completed is 'two'"),
        (lambda state: progress(state).update(completed=7), "its step is 2, and Lightning counts 7"),
        (lambda state: state["genlab"].update(step=1), "its step is 1, and Lightning counts 2"),
        (
            lambda state: state["genlab"]["spec"].update(levels=4),
            "its spec: levels is 4, of the data that are there 17",
        ),
        (lambda state: state["callbacks"].clear(), "no best validation"),
        (lambda state: validated(state).update(best=math.nan), "no best validation"),
        (lambda state: state["meter"].update(elbo=([1], [math.nan])), "its meter holds no losses of elbo"),
        (lambda state: state["meter"].update(elbo=3), r"\w"),
        (lambda state: state["state_dict"].popitem(), "has no tensor "),
        (lambda state: state["average"].popitem(), "its average has no tensor "),
        (lambda state: state["optimizer_states"].clear(), "has states of 0 optimizers, and there are 1"),
        (lambda state: state["optimizer_states"][0]["param_groups"].clear(), "other parameters"),
        (lambda state: state["optimizer_states"][0]["param_groups"][0].update(lr=math.nan), "has lr nan"),
        (lambda state: state["optimizer_states"][0]["state"][0].pop("exp_avg_sq"), "has no tensor exp_avg_sq"),
        (first("exp_avg", torch.zeros(2, 2)), r"exp_avg is \[2, 2\], the optimizer's is \[16, 64\]"),
        (first("exp_avg", torch.full((16, 64), math.nan)), "exp_avg holds NaN"),
        (first("exp_avg", torch.zeros(16, 64, dtype=torch.long)), "exp_avg is int64"),
        (first("step", torch.tensor(-5.0)), "step is -5"),
    ],
)
def test_a_training_goes_on_from_a_whole_state_alone(measured, training, edit, told):
    state = checkpoint.read(measured.checkpoint("last"))
    whole("last.ckpt", state, training.module, training.trainer)
    edit(state)
    with pytest.raises(CheckpointError, match=rf"^last\.ckpt: [^\n]*{told}"):
        whole("last.ckpt", state, training.module, training.trainer)


def test_a_state_that_is_refused_costs_nothing(run, capsys):
    last = run.checkpoint("last")
    state = checkpoint.read(last)
    state["optimizer_states"][0]["state"][0]["exp_avg"].fill_(math.nan)
    torch.save(state, last)
    before = [(run.path / name).read_bytes() for name in ("config.yaml", "run.yaml", "metrics.csv", BOTH[1])]
    assert cli.main(["train", "run=run", "trainer.max_steps=4"]) == 1
    assert "exp_avg holds NaN; beside it: best.ckpt (weights alone" in capsys.readouterr().err
    assert before == [(run.path / name).read_bytes() for name in ("config.yaml", "run.yaml", "metrics.csv", BOTH[1])]


def test_weights_to_start_from_must_be_finite(run):
    in_checkpoints(lambda state: next(iter(state["average"].values())).fill_(math.inf))(run.path)
    with pytest.raises(CheckpointError, match=r"its average: .* holds Inf"):
        checkpoint.tensors(run.checkpoint())


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "step,x\n1,word\n", "step,x\n-1,2\n", "step\n1,2\n", "step,x\n,\n"])
def test_a_log_that_is_none_is_told(tmp_path, content):
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(GenlabError, match=r"metrics\.csv: not as training wrote it"):
        journal.read(tmp_path / "metrics.csv")


def test_a_log_that_was_cut_goes_on_after_its_last_whole_line(tmp_path):
    path = tmp_path / "metrics.csv"
    whole_log = "step,loss,val\n1,1.5,\n2,0.5,2.25\n3,0.25,\n"
    for end in range(len("step,loss,val\n"), len(whole_log) + 1):
        path.write_text(whole_log[:end])
        log = journal.Journal(path, step=2)
        log.write(3, {"loss": 9.0})
        kept = [line for line in whole_log[:end].splitlines(keepends=True) if line.endswith("\n") and line[0] != "3"]
        assert path.read_text().replace("\r", "") == "".join(kept) + "3,9,\n"


def test_figures_are_those_that_evaluation_writes(run):
    good = stored(run)
    assert good["figures"] and good["done"]
    (key,) = good["done"]
    for path, value in [
        *((("figures", 0, "value"), wrong) for wrong in ("x", None, math.nan, math.inf, True)),
        (("figures", 0, "stderr"), "x"),
        (("figures", 0, "protocol"), 3),
        (("figures", 0), 3),
        (("figures",), 3),
        (("done", key), 3),
        (("done", key, "row"), None),
        (("done", key, "row", "metrics"), {"bpd": 3}),
        (("done", key, "controls"), [3]),
        (("done", key, "asked"), [3]),
        (("done",), [3]),
    ]:
        bad = json.loads(json.dumps(good))
        node = bad
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = value
        run.save_metrics(bad)
        with pytest.raises(GenlabError, match=r"metrics\.json: not as evaluation wrote it; delete it"):
            stored(run)
    run.save_metrics(good)
    assert stored(run) == good


def test_of_runs_that_all_failed_there_is_no_empty_table(run, capsys):
    shutil.copytree(run.path, "both/one")
    shutil.copytree(run.path, "both/two")
    for name in ("one", "two"):
        written("config.yaml", b"")(run.path.parent / "both" / name)
    for words in (["report", "both"], ["eval", "run=both"]):
        assert cli.main(words) == 1
        told = capsys.readouterr()
        assert told.out == "" and told.err.count("not a YAML mapping") == 2
        assert cli.main([*words, "--json"]) == 1
        assert json.loads(capsys.readouterr().out) == []
    gone("metrics.json")(run.path)
    assert cli.main(["report", "run"]) == 1
    told = capsys.readouterr()
    assert told.out == "" and "1 of 1 runs not measured yet: genlab eval run=run" in told.err


def test_a_config_that_disagrees_names_its_key_and_file(run):
    own = checkpoint.card_of("x", checkpoint.read(run.checkpoint("last"))).config
    agreement.hold(run, run.checkpoint("last"), own)
    said(optimizer={"lr": 1.0})(run.path)
    with pytest.raises(ConfigError, match=r"^optimizer\.lr=1\.0: last\.ckpt was trained with .*config\.yaml\)$"):
        agreement.hold(Run(run.path), run.checkpoint("last"), own)


@pytest.mark.parametrize("name", ["a,b c=d", "a[1]", "a*"])
def test_a_run_in_a_folder_of_any_name_is_sampled_evaluated_and_reported(run, capsys, name):
    run.path.rename(name)
    for verb, words in VERBS.items():
        assert cli.main([{"run": name, "run=run": f"run={name}"}.get(word, word) for word in words]) == 0, verb
