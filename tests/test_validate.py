"""Mistakes of a command line are found together, with suggestions and sources, and without torch."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from genlab import build, validate
from genlab.config import folder_name
from genlab.errors import ConfigError, ConfigErrors
from genlab.signatures import signature
from genlab.training.settings import Settings
from genlab.validation.contradictions import contradictions, kind, levels
from genlab.validation.fits import fits, spell
from genlab.validation.mistakes import mistakes

PLAIN = ["model=wgan_gp", "data=digits"]


def problems(*words: str, **options) -> dict[str, ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        validate.check(words, **options)
    return {problem.key: problem for problem in caught.value.problems}


def test_five_planted_mistakes_are_told_at_once_and_without_torch():
    script = """
import sys
from genlab.cli import main
code = main(sys.argv[1:])
loaded = [name for name in ("torch", "pytorch_lightning", "numpy") if name in sys.modules]
print(code, loaded)
"""
    words = [
        "model=wgan_gp",
        "data=cifar01",
        "optimizer.lrr=1e-3",
        "trainer.max_steps=many",
        "model.generator._target_=genlab.models.gan.dcgan.Generatr",
        "trainer.precision=16-mixed",
    ]
    done = subprocess.run([sys.executable, "-c", script, "train", *words], capture_output=True, text=True)
    assert done.stdout.split(maxsplit=1) == ["2", "[]\n"]
    lines = done.stderr.splitlines()
    assert len(lines) == 5 and all(line.startswith("error: ") for line in lines)
    for line, key, suggestion, source in zip(
        sorted(lines),
        ["data=cifar01", "model.generator._target_=", "optimizer.lrr=", "trainer.max_steps=many", "trainer.precision="],
        ["'cifar10'", "'genlab.models.gan.dcgan.Generator'", "'lr'", "a whole number", "'bf16-mixed'"],
        ["genlab list data", *["command line"] * 4],
        strict=True,
    ):
        assert line.startswith(f"error: {key}") and suggestion in line and f"({source})" in line


def test_a_right_command_line_passes():
    checked = validate.check([*PLAIN, "optimizer.lr=1e-3", "seed=3"])
    assert checked.config["optimizer"]["lr"] == 1e-3
    assert checked.config["choices"]["model"] == "wgan_gp"
    assert checked.overrides == [*PLAIN, "optimizer.lr=1e-3", "seed=3"]


def test_arguments_that_no_file_lists_are_taken_from_the_signature():
    checked = validate.check([*PLAIN, "optimizer.eps=1e-7", "data.limit=100", "penalty.one_sided=true"])
    assert checked.config["optimizer"]["eps"] == 1e-7
    assert checked.config["data"]["limit"] == 100
    assert checked.overrides[2:] == ["++optimizer.eps=1e-7", "++data.limit=100", "++penalty.one_sided=true"]


def test_an_unlisted_argument_is_checked_against_the_class_that_an_override_chose():
    assert "optimizer.momentum" in problems(*PLAIN, "optimizer=adam", "optimizer.momentum=0.9")
    assert validate.check([*PLAIN, "optimizer=sgd", "optimizer.nesterov=true"]).config["optimizer"]["nesterov"] is True


def test_a_loss_typed_by_the_user_wins_over_the_models():
    assert validate.check([*PLAIN, "loss=lsgan"]).config["loss"]["_target_"].endswith("LeastSquares")


@pytest.mark.parametrize(("model", "suggestion"), [("wgan_gp", "resnet"), ("realnvp", "resnet")])
def test_a_wrong_net_is_one_mistake_with_the_choices(model, suggestion):
    found = problems(f"model={model}", "data=digits", "model.net=resnt", "optimizer.lrr=1")
    assert set(found) == {"model.net", "optimizer.lrr"} and found["model.net"].suggestion == suggestion
    assert "mlp" in found["model.net"].reason


def test_a_net_that_lacks_a_part_and_a_net_taken_away_are_told():
    found = problems("model=wgan_gp", "data=digits", "model.net=gan")
    assert list(found) == ["model.net"] and "dcgan" in found["model.net"].reason
    assert "refers to it" in problems("model=wgan_gp", "data=digits", "~model.net")["~model.net"].reason
    validate.check(["model=segment", "model.net=whatever"])  # names none there


def test_a_mistaken_model_does_not_hide_other_mistakes():
    found = problems("model=wgan_gpp", "model.latnt=3", "sed=1")
    assert found["model"].suggestion == "wgan_gp"
    assert found["model.latnt"].suggestion == "latent"
    assert found["sed"].suggestion == "seed"


def test_a_mistaken_group_does_not_hide_other_mistakes():
    found = problems("moddel=vae", "data=digits", "model.latent=half", "optimiser=adamm", "lr=3")
    assert [found[key].suggestion for key in ("moddel", "optimiser", "optimizer", "lr")] == [
        "model",
        "optimizer",
        "adam",
        "optimizer.lr",
    ]
    assert found["model.latent"].reason == "must be a whole number"  # of a VAE; the model of no choice has no such key


def test_a_sweep_takes_each_value_once():
    with pytest.raises(ConfigErrors, match=r"seed=0,1,0: names a value twice"):
        validate.check(["seed=0,1,0"], multirun=True)


def test_a_group_without_anything_near_lists_what_there_is():
    found = problems("loss=zzzzzz", "loss.nothing=1")
    assert list(found) == ["loss"] and "nll" in found["loss"].reason


def test_several_values_need_multirun():
    assert "-m" in problems("data=moons,digits")["data"].reason


def test_every_job_of_a_sweep_is_checked():
    checked = validate.check(["model=wgan_gp,gan", "data=digits,moons"], multirun=True)
    assert len(checked.jobs) == 4
    found = problems("model=wgan_gp,gann", "data=digits", "seed=1,x", multirun=True)
    assert found["model"].suggestion == "gan"


def test_what_cannot_be_read_is_told():
    assert "key=value" in problems(*PLAIN, "seed")["seed"].reason
    assert "read" in problems(*PLAIN, "seed=a)b")["seed"].reason
    assert "key=value" in problems(*PLAIN, "=5")[""].reason
    assert "no value" in problems(*PLAIN, "seed=")["seed"].reason


def test_a_value_where_a_list_is_wanted_is_put_in_brackets():
    assert problems("data=cifar10", "data.classes=cat")["data.classes"].suggestion == "[cat]"
    found = problems(*PLAIN, "optimizer.betas=0.5")["optimizer.betas"]
    assert (found.reason, found.suggestion) == ("must be a list of 2 numbers", "")


def test_paths_with_letters_that_hydra_does_not_know_need_no_quotes():
    checked = validate.check([*PLAIN, "data.root=~/bücher/x y"])
    assert checked.config["data"]["root"] == "~/bücher/x y"


@pytest.mark.parametrize(
    "word",
    [
        "seed=abc",
        "seed=-1",
        "compile=1",
        "init_from=[1]",
        "trainer.max_steps=0",
        "trainer.batch_size=0",
        "trainer.ema=1",
        "trainer.gradient_clip_val=-1",
        "optimizer.lr=0",
    ],
)
def test_values_that_cannot_be_are_refused(word):
    assert list(problems(*PLAIN, word)) == [word.partition("=")[0]]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["model=wgan_gp", "trainer.precision=16-mixed"], "trainer.precision"),
        (["model=wgan_gp", "loss=nll"], "loss"),
        (["model=gan", "trainer.precision=16-mixed", "trainer.accelerator=cpu"], "trainer.precision"),
        (["model=gan", "trainer=fsdp", "trainer.accelerator=cpu"], "trainer.strategy"),
        (["model=gan", "trainer.patience=3"], "trainer.patience"),
        (["model=gan", "loss=wasserstein"], "penalty"),
        (["model=gan", "loss=wasserstein", "penalty=feature_matching"], "penalty"),
        (["model=gan", "model.conditional=true", "data.labelled=20"], "data.labelled"),
        (["model=acgan", "data.labelled=20"], "data.labelled"),
        (["model=gan", "loss.smoothing=0.5"], "loss.smoothing"),
        (["model=gan", "loss=loss_sensitive", "loss.slope=2"], "loss.slope"),
        (["model=wgan_gp", "penalty.every=0"], "penalty.every"),
        (["model=vae", "penalty=gradient"], "penalty"),
        (["model=vae", "loss=wasserstein"], "loss"),
        (["model=realnvp", "data=digits", "loss=elbo"], "loss"),
        (["model=realnvp", "data=digits", "loss=iwae"], "loss"),
        (["model=vae", "loss=elbo_mc", "loss.k=0"], "loss.k"),
        (["model=autoencoder", "loss=nll"], "loss"),
        (["model=autoencoder", "loss=elbo"], "loss"),
        (["model=autoencoder", "trainer.patience=3"], "trainer.patience"),
        (["model=vae", "model.likelihood=bernouli"], "model.likelihood"),
        (["model=vae", "trainer.max_time=banana"], "trainer.max_time"),
        (["model=vae", "model.latent=0"], "model.latent"),
        (["model=gan", "training.critic_steps=0"], "training.critic_steps"),
        (["model=realnvp", "data=moons", "data.noise=-1"], "data.noise"),
        (["model=realnvp", "data=ring", "data.std=0"], "data.std"),
    ],
)
def test_contradictions_are_refused(words, key):
    assert list(problems(*words, "data=digits")) == [key]


def test_a_penalty_that_restrains_a_critic_will_do():
    validate.check(["model=gan", "loss=wasserstein", "penalty=r1", "data=digits"])
    validate.check(["model=ssl_gan", "data.labelled=20", "data=digits"])


def test_a_loss_that_stands_in_for_a_slip_contradicts_nothing():
    found = problems("model=wgan_gp", "loss=wassserstein", "trainer.precision=16-mixed", "loss.beta=1")
    assert set(found) == {"loss", "trainer.precision", "loss.beta"}


@pytest.mark.parametrize("slip", ["optimizer=adan", "loss=hing", "penalty=gradiant"])
def test_an_option_that_stands_in_for_a_slip_hides_no_contradiction(slip):
    """Keys among them that no file lists, as ``data.limit``."""
    found = problems("model=wgan_gp", slip, "data.limit=0", "data.levels=300", "training.critic_steps=0")
    assert set(found) == {slip.partition("=")[0], "data.limit", "data.levels", "training.critic_steps"}


def test_points_without_a_recipe_of_their_own_have_that_of_points(tmp_path):
    for data, expected in (("moons", "points"), ("ring", "ring"), ("pinwheel", "points")):
        chosen = validate.check(["model=realnvp", f"data={data}"]).config["choices"]
        assert chosen["recipe"] == f"realnvp/{expected}"
    assert validate.check(["model=realnvp", "data=pinwheel"]).config["model"]["layers"] == 8
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("_target_: genlab.data.planar.Moons\n")
    assert validate.check(["model=gan", "data=mine"], [str(tmp_path)]).config["choices"]["recipe"] == "gan/points"
    (tmp_path / "recipe" / "gan").mkdir(parents=True)
    (tmp_path / "recipe" / "gan" / "mine.yaml").write_text("# @package _global_\nmodel: {latent: 3}\n")
    made = validate.check(["model=gan", "data=mine"], [str(tmp_path)]).config
    assert made["choices"]["recipe"] == "gan/mine" and made["model"]["latent"] == 3


def test_an_untrusted_target_hides_no_contradiction():
    found = problems("model=vae", "model._target_=os.system", "optimizer=addam", "loss=minimax", "optimizer.lrr=2")
    assert set(found) == {"model._target_", "optimizer", "loss", "optimizer.lrr"}


def test_a_folder_of_images_that_is_not_there_is_told_before_torch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    validate.check(["model=vae", "data=folder", "data.path=photos", "data.size=8"])
    assert problems("model=vae", "data=folder", "data.path=photo", "data.size=8")["data.path"].suggestion == "photos"


def test_levels_follow_the_options_of_the_data():
    digits = "genlab.data.digits.Digits"
    assert levels({"data": {"_target_": digits}}) == 17
    assert levels({"data": {"_target_": digits, "levels": 4}}) == 4
    assert levels({"data": {"_target_": digits, "levels": 4, "binarize": "dynamic"}}) == 2
    assert levels({"data": {"_target_": "genlab.data.planar.Moons"}}) is None


def test_the_kind_that_a_data_set_declares_is_that_of_its_spec():
    from genlab.build import build
    from genlab.presets import conf_folder, read

    for path in (conf_folder() / "data").glob("*.yaml"):
        node = read(path)
        if path.stem not in ("folder", "imagenet"):  # theirs depends on files
            assert kind({"data": node}) == build(node).spec.kind, path.stem


def test_what_hydra_refuses_hides_nothing_else():
    found = problems("+optimizer.lr=1", "~model.nothing", "~data", "hydra.run.dirr=x", "trainer.max_steps=x")
    assert found["+optimizer.lr"].suggestion == "optimizer.lr=1" and "no such key" in found["~model.nothing"].reason
    assert "a run needs one" in found["~data"].reason and "hydra.run.dirr" in found
    assert "whole number" in found["trainer.max_steps"].reason


def test_a_launcher_or_sweeper_that_is_not_installed_names_its_extra():
    assert "genlab[ray]" in problems("hydra/launcher=ray", multirun=True)["hydra/launcher"].reason
    assert problems("hydra/launcher=basicc", multirun=True)["hydra/launcher"].suggestion == "basic"


def test_keys_of_hydras_are_mended_too():
    found = problems(*PLAIN, "hydra.run.dr=x", "hydra.launcher.n_jbs=3", "hydra/launcher=joblib", multirun=True)
    suggestions = {key: error.suggestion for key, error in found.items()}
    assert suggestions == {"hydra.run.dr": "hydra.run.dir", "hydra.launcher.n_jbs": "hydra.launcher.n_jobs"}


@pytest.mark.parametrize(
    ("word", "said", "suggestion"),
    [
        ("model=null", "a run needs one", ""),
        ("logger=null", "null is no name", "none"),
        ("experiment=null", "null is no name", ""),
        ("model=[vae,gan]", "a sweep is -m model=vae,gan", ""),
        ("trainer={max_steps: 3}", "keys are set one by one", "trainer.max_steps=3"),
        ("~seed", "a run needs one", ""),
        ("~training", "a run needs one", ""),
        ("~model._target_", "a run needs one", ""),
        ("trainer.max_time=5", "write it as 90s", ""),
        ("trainer.devices=two", "auto for all", "auto"),
        ("experiment=famlies", "no such experiment", "families"),
        ("++foo.bar=3", "no such group or key", ""),
    ],
)
def test_what_is_no_name_or_cannot_be_taken_away_is_one_mistake(word, said, suggestion):
    (error,) = problems(*PLAIN[1:], word).values()
    assert said in error.reason and error.suggestion == suggestion


def test_a_name_in_quotes_is_a_name():
    assert validate.check(['model="vae"', "data=digits"]).config["choices"]["model"] == "vae"


def test_a_key_without_its_group_is_found():
    found = problems("lr=3", "max_steps=5", "penlty=r1")
    suggestions = {key: error.suggestion for key, error in found.items()}
    assert suggestions == {"lr": "optimizer.lr", "max_steps": "trainer.max_steps", "penlty": "penalty"}


def test_mistakes_of_a_file_of_ones_own_are_told_together_and_name_it(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "experiment").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - vae\n  - override /loss: elob\n  - override /optimizer: nothing\n"
        "penlty: 3\nwidth: 7\nmodel: {latent: '${width}'}\ntrainer: {max_stepss: 10}\n"
    )
    (tmp_path / "model" / "below.yaml").write_text("# @package _global_\ndefaults:\n  - vea\n")
    (tmp_path / "experiment" / "all.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: mine\n  - override /data: cifra10\n"
    )
    folders = [str(tmp_path)]
    found = problems("experiment=all", "seed=x", folders=folders)
    assert {key: error.suggestion for key, error in found.items()} == {
        "loss": "elbo", "optimizer": "", "data": "cifar10", "penlty": "penalty", "trainer.max_stepss": "max_steps",
        "seed": "",
    }  # fmt: skip
    files = {key: error.source.rpartition("/")[2] for key, error in found.items()}
    assert files["loss"] == files["penlty"] == files["trainer.max_stepss"] == "mine.yaml"
    assert files["data"] == "all.yaml" and files["seed"] == "command line"
    found = problems("model=below", "seed=x", folders=folders)
    assert (found["model"].value, found["model"].suggestion) == ("vea", "vae") and "seed" in found
    assert "loss" not in problems("model=mine", "loss=elbo", "seed=x", folders=folders)


def written_experiment(folder: Path, *entries: str) -> list[str]:
    """A folder with experiment=mine, of these defaults and three mistakes."""
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n" + "".join(f"  - {entry}\n" for entry in entries) + "optimizer: {lrr: 3}\n"
        "trainer: {max_epochs: three}  # of four\nloss: {_target_: genlab.losses.wasserstein.Wassersten}\n"
    )
    return [str(folder)]


def test_a_wrong_group_in_the_defaults_of_a_file_hides_nothing_and_loads_no_torch(tmp_path):
    script = "import sys; from genlab.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    (folder,) = written_experiment(tmp_path, "override /modle: wgan_gp", "override /data: moons")
    words = ["train", "--config-dir", folder, "experiment=mine", "trainer.precision=16-mixed"]
    (spare := tmp_path / "spare").mkdir()
    command, variables = [sys.executable, "-c", script, *words], os.environ | {"TMPDIR": str(spare)}
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert done.stdout == "2 False\n"
    first, *others = done.stderr.splitlines()
    assert first.split() == [
        *("error:", "modle=wgan_gp:", "no", "such", "group;", "did", "you", "mean", "'model'?"),
        f"({tmp_path}/experiment/mine.yaml)",
    ]
    for told in ("optimizer.lrr=3", "trainer.max_epochs=three", "loss._target_=", "trainer.precision=16-mixed"):
        assert sum(told in line for line in others) == 1, told
    assert len(others) == 4 and not list(spare.glob("**/mine.yaml"))


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        (["override /optimizr: adam"], ["optimizr=adam: no such group; did you mean 'optimizer'?"]),
        (
            ["/optimizr: adam", "override /data: moons"],
            [
                "optimizr=adam: no such group; did you mean 'optimizer'?",
                "- /optimizr: adam: a run has its optimizer already; write: - override /optimizer: adam",
            ],
        ),
        (
            ["override /modle: wgan_gpp"],
            [
                "modle=wgan_gpp: no such group; did you mean 'model'?",
                "model=wgan_gpp: no such model; did you mean 'wga",
            ],
        ),
        (["override /zzz: adam"], ["zzz=adam: no such group; there are data, experiment, logger, loss, model"]),
        (["/model: wgan_gp"], ["- /model: wgan_gp: a run has its model already; write: - override /model: wgan_gp"]),
        (
            ["override /data: moons", "/model: vae"],
            ["- /model: vae: a run has its model already; write: - override /m"],
        ),
        (["model: vae"], ["- model: vae: without a slash it is experiment/model; write: - override /model: vae"]),
        (["override data: moons"], ["- override data: moons: without a slash it is experiment/data; write: - overrid"]),
        (["/logger: null"], ["- /logger: null: a run has its logger already; write: - override /logger: null"]),
        (["override /extractor: digits"], ["- override /extractor: digits: there is no extractor to override; there"]),
        (
            ["override /data: moons", "famillies"],
            ["experiment=famillies: no such experiment; did you", "- families: s"],
        ),
        (["/loss/minmax"], ["loss=minmax: no such loss; did you mean 'minimax'?"]),
        (["override /hydra/launcher: basicc"], ["hydra/launcher=basicc: no such launcher; did you mean 'basic'?"]),
    ],
)
def test_what_hydra_would_not_read_in_a_file_is_one_line_that_names_it_and_hides_nothing(tmp_path, entries, told):
    with pytest.raises(ConfigErrors) as caught:
        validate.check(["experiment=mine", "seed=x"], written_experiment(tmp_path, *entries))
    found = caught.value.problems
    for error, start in zip(found, told, strict=False):
        assert str(error).startswith(start) and error.source.endswith("mine.yaml")
    others = {error.key for error in found[len(told) :]}
    assert {"optimizer.lrr", "trainer.max_epochs", "loss._target_", "seed"} <= others and "config" not in others


def test_what_hydra_reads_in_the_defaults_of_a_file_is_no_mistake(tmp_path):
    (tmp_path / "extra").mkdir()
    (tmp_path / "experiment").mkdir()
    (tmp_path / "extra" / "x.yaml").write_text("{}\n")
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - /extra: x\n  - optional /extras: y\n  - /loss/elbo\n  - _self_\n"
        "  - override /model: vae\n  - override /data: digits\n  - override /hydra/launcher: joblib\n"
    )
    checked = validate.check(["experiment=mine"], [str(tmp_path)])
    assert checked.config["choices"]["extra"] == "x" and checked.config["choices"]["model"] == "vae"
    (tmp_path / "experiment" / "on.yaml").write_text(
        "# @package _global_\ndefaults:\n  - gan_robustness\n  - override /architecture: no_norm\n"
    )
    assert validate.check(["experiment=on"], [str(tmp_path)], multirun=True)


def test_files_that_what_is_typed_takes_the_place_of_are_not_judged(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "other.yaml").write_text("# @package _global_\ndefaults:\n  - vae\n  - /loss: elbo\n")
    folders = written_experiment(tmp_path, "override /model: other")
    assert "loss" in problems("experiment=mine", folders=folders)
    assert "loss" not in problems("experiment=mine", "model=vae", folders=folders)


def test_neither_a_slip_of_the_list_s_own_name_nor_an_unreadable_file_hides_the_rest(tmp_path):
    (tmp_path / "experiment").mkdir()
    path, folders = tmp_path / "experiment" / "mine.yaml", [str(tmp_path)]
    listed = "  - override /model: vea\n  - _slef_\nmodel: {latnt: 3}\n"
    path.write_text(f"# @package _global_\ndefalts:  # ours\n{listed}")
    found = problems("experiment=mine", "seeed=3", folders=folders)
    assert {error.key: error.suggestion for error in found.values()} == {
        "defalts": "defaults", "model": "vae", "experiment": "_self_", "model.latnt": "latent", "seeed": "seed"
    }  # fmt: skip
    path.write_text("defaults: [\n")
    found = problems("experiment=mine", "seeed=3", "model=vea", folders=folders)
    assert {*found} == {"config", "seeed", "model"} and "mine.yaml" in found["config"].source


def test_a_group_at_a_place_that_no_run_has_hides_nothing():
    found = problems("model=vae", "data=digits", "loss@foo=nll", "optimizer.lrr=3")
    assert found["loss"].reason == "a run has no loss at 'foo'; write loss=nll" and "optimizer.lrr" in found


def test_a_target_within_a_package_is_found_where_it_stands():
    for target in ("genlab.models.vae.Vae", "genlab.models.vae.VAE"):
        found = problems("model=vae", "data=digits", f"model._target_={target}")
        assert found["model._target_"].suggestion == "genlab.models.vae.vae.VAE"


def test_a_group_that_is_no_mapping_is_told_with_its_file(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "bad.yaml").write_text(
        "# @package _global_\ndefault:\n  - override /model: vae\ntrainer: [1, 2]\noptimizer: 3\n"
    )
    found = problems("experiment=bad", "seed=x", folders=[str(tmp_path)])
    assert {"trainer", "optimizer", "default", "seed"} <= set(found) and found["default"].suggestion == "defaults"
    assert found["trainer"].source.endswith("bad.yaml")


def test_mistakes_beneath_a_wrong_target_are_checked_against_the_nearest():
    found = problems("model=vae", "model._target_=genlab.models.vae.vae.VEA", "model.latent=many")
    assert found["model._target_"].suggestion.endswith("VAE") and "whole number" in found["model.latent"].reason


def test_options_of_single_players_are_those_of_the_optimizer():
    found = problems("training.players.critic.lrr=1e-4", "trainer.accelerator=gpuu", "trainer.devices=0")
    assert found["training.players.critic.lrr"].suggestion == "lr"
    assert found["trainer.accelerator"].suggestion == "gpu" and "trainer.devices" in found
    validate.check(["training.players.critic.lr=1e-4"])


def test_of_steps_and_epochs_the_one_that_is_typed_counts():
    def budget(*words):
        trainer = validate.check(["data=digits", *words]).config["trainer"]
        return trainer.get("max_steps"), trainer.get("max_epochs")

    assert budget("model=wgan_gp", "trainer.max_epochs=3") == (None, 3)
    assert budget("model=vae", "trainer.max_steps=7") == (7, None)
    assert budget("model=vae", "trainer.max_steps=7", "trainer.max_epochs=3") == (7, 3)
    assert Settings(max_steps=7, max_epochs=3, batch_size=10).steps(100) == 7
    assert Settings(max_steps=70, max_epochs=3, batch_size=10).steps(100) == 30


def test_what_a_data_set_says_of_its_options_is_known_before_torch():
    assert "give the folder" in problems("data=folder")["data.path"].reason
    assert problems("data=cifar10", "data.classes=[dgo]")["data.classes"].suggestion == "dog"


def test_bit_depth_is_checked_against_the_makers():
    assert "2 to 17" in problems("data.levels=1000")["data.levels"].reason
    assert "data.levels" in problems("data=cifar10", "data.levels=1", "seed=x")


def test_untrusted_targets_are_refused_and_nothing_of_them_is_run(tmp_path, monkeypatch):
    (tmp_path / "wicked.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Loss: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for target in ("os.system", "wicked.Loss", "builtins.eval", "torch.hub.load"):
        found = list(mistakes({"loss": {"_target_": target}}))
        assert [error.key for error in found] == ["loss._target_"] and "trusted" in found[0].reason
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "target",
    [
        "genlab.cli.main",
        "genlab.train.main",
        "genlab.cli.launch.admit",
        "genlab.build.trust",
        "genlab.run.Run",
        "genlab.data.files.os.system",
        "genlab.data.store.decode",
        "genlab.extractors.train.main",
        "torch.nn.functional.relu",
    ],
)
def test_a_file_can_name_parts_of_a_run_and_nothing_that_does_things(target):
    """Of genlab's own, too: its command line would take plugins, and with them anything, from a checkpoint."""
    with pytest.raises(ConfigError, match=r"trusted|No module named"):
        build.locate(target)


def test_a_source_file_is_named_where_the_mistake_stands_in_one(tmp_path):
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("_target_: torch.optim.Adam\neps: small\n")
    found = problems(*PLAIN, "optimizer=mine", folders=[str(tmp_path)])["optimizer.eps"]
    assert found.source.endswith("optimizer/mine.yaml") and "number" in found.reason


def test_what_would_never_end_or_has_no_model_is_told(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "empty.yaml").write_text("# @package _global_\n")
    found = problems("model=vae", "data=digits", "trainer.max_epochs=null")["trainer"]
    assert "give trainer.max_steps=" in found.reason
    assert "no model._target_" in problems("model=empty", "data=digits", folders=[str(tmp_path)])["model"].reason


def test_a_class_says_for_itself_what_it_requires(tmp_path, monkeypatch):
    (tmp_path / "pictures.py").write_text(
        "class Net:\n    requires = {'data.kind': ('image',)}\n    def __init__(self, spec, width: int = 3): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = {"model": {"_target_": "pictures.Net"}, "data": {"_target_": "genlab.data.planar.Moons"}}
    (found,) = contradictions(config)
    assert found.key == "model" and found.reason == "Net takes data.kind=image, and here it is vector"
    assert not list(contradictions(config | {"data": {"_target_": "genlab.data.digits.Digits"}}))
    (tmp_path / "points.py").write_text(
        "class Net:\n    requires = {'data.kind': 'points'}\n    def __init__(self): ...\n"
    )
    (found,) = contradictions(config | {"model": {"_target_": "points.Net"}})
    assert "points, and here it is vector; no data are of another kind than image, vector" in found.reason


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [3], [3.0, True, "3", None]),
        ("float", [3, 0.1], ["fast", True, None]),
        ("bool", [True], [1, "true"]),
        ("str", ["x"], [1, None, ["x"]]),
        ("float | None", [None, 1], ["x"]),
        ("Optional[int]", [None, 1], [1.5]),
        ("Union[int, str]", [1, "auto"], [1.5, None]),
        ("Literal['a', 'b']", ["a"], ["c", None]),
        ("Literal['32', 'bf16']", ["32", 32], [16]),
        ("list[int]", [[], [1, 2]], [["a"], 1, {}]),
        ("tuple[float, float]", [[0.5, 0.9]], [[0.5], [0.5, "x"], 0.5]),
        ("tuple[int, ...]", [[], [1, 2, 3]], [["a"]]),
        ("dict[str, float]", [{"a": 1.0}], [{"a": "x"}, [1]]),
        ("'int | None'", [1, None], ["x"]),
        ("Callable[..., nn.Module]", [{"_target_": "x.Y"}], ["x", 1, None]),
        ("Any", [1, None, "x", {}], []),
    ],
)
def test_values_fit_annotations(annotation, good, bad):
    expression = ast.parse(annotation, mode="eval").body
    assert all(fits(expression, value, "genlab.spec") for value in good)
    assert not any(fits(expression, value, "genlab.spec") for value in bad)
    assert spell(expression)


def test_signatures_equal_those_of_the_imported_classes():
    import importlib
    import inspect

    for path in (
        "torch.optim.Adam",
        "torch.optim.SGD",
        "genlab.losses.least_squares.LeastSquares",
        "genlab.losses.non_saturating.NonSaturating",
        "genlab.training.settings.Settings",
        "genlab.training.likelihood.Likelihood",
        "genlab.data.mnist.MNIST",
        "genlab.models.gan.dcgan.Generator",
    ):
        module, _, name = path.rpartition(".")
        live = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        read = signature(path)
        named = [key for key, item in live.items() if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)]
        assert read is not None and set(read.arguments) == set(named), path
        assert {key for key, item in read.arguments.items() if item.required} == {
            key for key in named if live[key].default is inspect.Parameter.empty
        }


def test_trainer_options_of_the_file_equal_those_of_the_class():
    from genlab.presets import conf_folder, read
    from genlab.training.settings import Settings

    listed = read(conf_folder() / "trainer" / "default.yaml")
    listed.pop("_target_")
    assert Settings(**listed) == Settings() and set(listed) == set(vars(Settings()))


def test_folder_names_are_safe_and_short():
    name = folder_name("a=[1,2]__data.root=/x/y__b='c d'")
    assert not set(name) & set("/,[]'\" *?")
    assert folder_name("++data.limit=3__+x=1") == "data.limit=3__x=1"
    long = [folder_name("x=" + "y" * 400 + end) for end in "ab"]
    assert len(set(long)) == 2 and max(map(len, long)) <= 200


@pytest.mark.parametrize("model", ["dcgan"])
def test_nets_of_images_refuse_points_of_the_plane(model):
    assert "data.kind=image" in problems(f"model={model}", "data=moons")["model"].reason


def presets() -> list[str]:
    from genlab.presets import groups

    return groups()["model"]


@pytest.mark.parametrize("preset", presets())
def test_every_preset_is_without_mistakes(preset):
    assert validate.check([f"model={preset}"]).config["training"]["_target_"]


def test_a_package_of_the_users_own_takes_one_file_and_one_yaml(tmp_path):
    package, conf = tmp_path / "code" / "mine", tmp_path / "conf" / "loss"
    package.mkdir(parents=True)
    conf.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "hinge.py").write_text(
        "from genlab.losses.least_squares import LeastSquares\n"
        "class Hinge(LeastSquares):\n    def __init__(self, margin: float = 1.0): ...\n"
    )
    (conf / "mine.yaml").write_text("_target_: mine.hinge.Hinge\n")
    words = [*PLAIN, "loss=mine", f"plugins=[{tmp_path / 'code'}]"]
    arguments = [sys.executable, "-m", "genlab", "train", "--cfg", "job", "--package", "loss", *words]
    folder = ["--config-dir", str(tmp_path / "conf")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([*arguments, *folder], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert "mine.hinge.Hinge" in done.stdout, done.stderr
    script = (  # in a process of its own: trust lasts as long as the process
        "import sys\nfrom genlab import validate\n"
        "try:\n    checked = validate.check(sys.argv[2:], [sys.argv[1]])\n"
        "except Exception as error:\n    print(error)\n"
        "else:\n    print(checked.config['loss'])\n"
    )

    def run(*extra: str) -> str:
        command = [sys.executable, "-c", script, folder[1], *extra]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path).stdout

    assert run(*words, "loss.margin=2").strip() == "{'_target_': 'mine.hinge.Hinge', 'margin': 2}"
    assert "did you mean 'margin'" in run(*words, "loss.margn=2")
    assert "not a trusted package" in run(*PLAIN, "loss=mine")
    assert "can be found" in run(*PLAIN, "plugins=[no_such_package]")


def test_a_star_a_relative_import_and_a_factory_are_followed(tmp_path, monkeypatch):
    package = tmp_path / "starred"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import *\n")
    (package / "inner.py").write_text(
        "from dataclasses import dataclass\nfrom typing import Literal\nfrom . import base\n"
        "Pace = Literal['slow', 'fast']\n"
        "@dataclass\nclass Mine(base.Base):\n    pace: Pace = 'slow'\n"
        "def make(width: int = 2) -> Mine: ...\n"
    )
    (package / "base.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Base:\n    size: int\n    def critic(self): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    read = signature("starred.Mine")
    assert read is not None and list(read.arguments) == ["size", "pace"] and read.arguments["size"].required
    pace = read.arguments["pace"]
    assert fits(pace.annotation, "fast", pace.module) and not fits(pace.annotation, "hasty", pace.module)
    made = signature("starred.make")
    assert made is not None and list(made.arguments) == ["width"] and made.methods["critic"] == "Base"


@pytest.mark.parametrize(
    "content, said",
    [
        (b"\x97a: 1\n", "no UTF-8 text: byte 0"),
        (b"a: [1", "not valid YAML: "),
    ],
)
def test_a_file_of_the_user_s_that_cannot_be_read_is_named(tmp_path, content, said):
    path = tmp_path / "experiment" / "mine.yaml"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ConfigErrors, match=f"^config=mine.yaml: {said}") as error:
        validate.check([*PLAIN, "experiment=mine"], [str(tmp_path)])
    assert error.value.exit_code == 2 and str(path) in str(error.value)


@pytest.mark.parametrize("word", ["+model=vae", "+loss=elbo", "++model=vae"])
def test_a_group_that_every_run_has_is_not_added_and_hides_nothing(word):
    with pytest.raises(ConfigErrors) as error:
        validate.check(["model=vae", "data=digits", word, "optimizer.lrr=3", "experimnt=x"])
    told = str(error.value)
    assert f"{word}: a run has its {word.strip('+').partition('=')[0]} already; write {word.strip('+')}" in told
    assert "optimizer.lrr" in told and "experimnt" in told


def test_a_file_that_overrides_other_groups_without_saying_so_is_told_how(tmp_path):
    (tmp_path / "experiment").mkdir()
    path = tmp_path / "experiment" / "mine.yaml"
    path.write_text("defaults:\n  - override /loss: elbo\n  - override /modle: vae\n")
    with pytest.raises(ConfigErrors) as error:
        validate.check(["model=vae", "data=digits", "experiment=mine", "optimizer.lrr=3"], [str(tmp_path)])
    told = str(error.value)
    assert f"- override /loss: elbo: takes '# @package _global_' as the first line of its file   ({path})" in told
    assert "optimizer.lrr=3" in told


def test_an_experiment_has_its_seed_and_all_the_keys_of_no_group_but_for_what_is_trusted(tmp_path):
    (tmp_path / "experiment").mkdir()
    path, folders = tmp_path / "experiment" / "mine.yaml", [str(tmp_path)]
    path.write_text("# @package _global_\nseed: 5\ncompile: true\n")
    words = ["model=vae", "data=digits", "experiment=mine"]
    config = validate.check(words, folders).config
    assert (config["seed"], config["compile"]) == (5, True)
    assert validate.check([*words, "seed=7"], folders).config["seed"] == 7
    path.write_text("# @package _global_\nseed: q\ninit_from: /abc\nplugins: [wicked]\n")
    found = problems(*words, folders=folders)
    assert {*found} == {"seed", "init_from", "plugins"} and all("mine.yaml" in error.source for error in found.values())
    assert not build.trusted("wicked.Net")


def planted(folder: Path, name: str, text: str, *words: str) -> dict[str, ConfigError]:
    """What is wrong with a line that takes a file, besides the two mistakes in words that follow, which are there."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    group, _, option = name.removesuffix(".yaml").rpartition("/")
    found = problems("data=digits", *words, f"{group}={option}", "seed=q", "optimizer.lrr=1", folders=[str(folder)])
    assert found.pop("seed").reason == "must be a whole number" and found.pop("optimizer.lrr").suggestion == "lr"
    return found


@pytest.mark.parametrize(
    ("written", "key", "said"),
    [
        ("model: vae", "model", "must be a mapping, or stand in defaults: - override /model: vae"),
        ("defaults: [override /model: 3]", "model", "takes the name of an option"),
        ("defaults: [override /model: {a: b}]", "model", "takes the name of an option"),
        ("model: {latent: '${nope.x}'}", "model.latent", "Interpolation key 'nope.x' not found"),
        ("model: {latent: '${oc.nope:3}'}", "model.latent", "Unsupported interpolation type oc.nope"),
        ("model: {latent: '${model.latent}'}", "model.latent", "Recursive interpolation detected"),
        ("model: {latent: '${bad'}", "model.latent", "no viable alternative at input '${bad'"),
        ("hydra: {run: {dr: x}}", "hydra.run.dr", "Hydra has no such key"),
        ("hydra: 3", "hydra", "Merge error: int is not a subclass of HydraConf."),
        ("hydra: {sweeper: {params: [a]}}", "hydra.sweeper.params", "Cannot merge DictConfig with ListConfig"),
        ("model: {decoder: [1]}", "model.decoder", "Cannot merge DictConfig with ListConfig"),
    ],
)
def test_what_hydra_cannot_compose_of_an_experiment_hides_nothing(tmp_path, written, key, said):
    found = planted(tmp_path, "experiment/mine.yaml", f"# @package _global_\n{written}\n", "model=vae")
    assert {*found} == {key} and found[key].reason == said and "mine.yaml" in found[key].source


def test_two_places_that_cannot_be_composed_are_told_beside_what_is_wrong_around_them(tmp_path):
    text = "defaults: [vae, _self_]\nlatent: ${nope}\nencoder: {width: '${oc.nope:3}', widht: 3}\ndecoder: {layrs: 2}\n"
    found = planted(tmp_path, "model/mine.yaml", text)
    assert {*found} == {"model.latent", "model.encoder.width", "model.encoder.widht", "model.decoder.layrs"}
    assert all("mine.yaml" in error.source for error in found.values())


def test_a_file_that_builds_on_itself_is_told(tmp_path):
    found = planted(tmp_path, "model/mine.yaml", "defaults: [mine]\n")
    assert found["model"].reason == "builds on itself: model/mine.yaml -> model/mine.yaml"
    (tmp_path / "model" / "other.yaml").write_text("defaults: [mine]\n")
    found = planted(tmp_path, "model/mine.yaml", "defaults: [other]\n")
    (error,) = found.values()
    assert error.reason.endswith("mine.yaml -> model/other.yaml -> model/mine.yaml") and "other.yaml" in error.source


def test_mistakes_of_a_file_that_has_a_package_of_its_own_name_it(tmp_path):
    found = planted(tmp_path, "model/mine.yaml", "defaults: [vae, _self_]\nlatent: q\nencoder: {widht: 3}\n")
    assert {*found} == {"model.latent", "model.encoder.widht"}
    assert all("mine.yaml" in error.source for error in found.values())


def test_a_slip_in_a_target_is_mended_by_what_is_nearest_to_it():
    found = problems("model=vae", "data=digits", "optimizer._target_=torch.optim.Adm", "optimizer.lrr=1")
    assert found["optimizer._target_"].suggestion == "torch.optim.Adam" and found["optimizer.lrr"].suggestion == "lr"
    found = problems("model=vae", "data=digits", "loss._target_=genlab.loses.elbo.ELBO")
    assert found["loss._target_"].suggestion == "genlab.losses.elbo.ELBO"


@pytest.mark.parametrize("target", ["torch.optm.Adam", "torch.Adam", "torch.nnn.Linear"])
def test_what_a_package_of_torch_has_from_its_compiled_part_is_not_looked_for_without_end(target):
    # torch/__init__.py imports everything from torch._C, of which there is no source
    assert "optimizer._target_" in problems(
        "model=vae", "data=digits", f"optimizer._target_={target}", "optimizer.lrr=1"
    )


def test_modules_that_import_everything_from_each_other_are_looked_through_once(tmp_path, monkeypatch):
    for one, other in (("one", "other"), ("other", "one")):
        (tmp_path / f"stars_{one}.py").write_text(f"from stars_{other} import *\n\n\ndef in_{one}(lr=1): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert signature("stars_one.in_other") and signature("stars_one.absent") is None


def test_words_that_an_alias_of_another_module_admits_are_told():
    found = problems("model=svi", "data=digits", "model.gradient=reinforc")
    assert found["model.gradient"].suggestion == "reinforce"
    assert found["model.gradient"].reason == "must be one of reparameterised, reinforce"


def test_of_names_that_differ_in_capitals_the_one_written_alike_is_suggested():
    found = problems("model=vae", "data=digits", "optimizer._target_=torch.optim.adamw.AdamWW", "optimizer.lrr=1")
    assert found["optimizer._target_"].suggestion == "torch.optim.adamw.AdamW"  # not adamw, the function beside it
    assert {*found} == {"optimizer._target_", "optimizer.lrr"}


def test_what_stands_in_for_a_slip_of_one_experiment_is_not_in_the_jobs_of_another(tmp_path):
    (tmp_path / "experiment").mkdir()
    head = "# @package _global_\ndefaults:\n  - override /data: moons\n  - override /model: "
    (tmp_path / "experiment" / "slip.yaml").write_text(f"{head}vaee\n")
    (tmp_path / "experiment" / "flow.yaml").write_text(f"{head}realnvp\nmodel: {{couplings: x}}\n")
    for both in ("slip,flow", "flow,slip"):
        found = problems(f"experiment={both}", folders=[str(tmp_path)], multirun=True)
        assert {*found} == {"model", "model.couplings"} and found["model.couplings"].reason == "must be a whole number"


def test_classes_of_digits_and_ways_of_sharing_are_checked_with_all_else():
    for data in ("digits", "mnist", "svhn"):
        found = problems("model=vae", f"data={data}", "data.classes=[77]", "model.foo=1")
        assert "data.classes" in found and "model.foo" in found
    found = problems("model=vae", "data=digits", "trainer.strategy=ddpp", "model.foo=1")
    assert found["trainer.strategy"].suggestion == "ddp" and "model.foo" in found


def test_a_slip_in_a_target_of_a_file_hides_no_contradiction_beside_it(tmp_path):
    text = "# @package _global_\ndefaults: [override /model: wgan_gp, override /loss: elbo]\n"
    text += "training: {_target_: genlab.training.adversarial.Adversaril}\n"
    found = planted(tmp_path, "experiment/mine.yaml", text)
    assert {*found} == {"loss", "training._target_"}


def test_who_does_not_play_and_what_no_optimizer_takes_is_told_with_all_else():
    found = problems(
        "model=vae_gan",
        "data=digits",
        "training.players={encodr: {lr: 1}, critic: {lr: fast, eps: -1, btas: 2}, generator: {lr: 0, betas: [0, 3]}}",
        "optimizer.betas=[2,3]",
        "optimizer.weight_decay=-1",
        "optimizer.lrr=1",
    )
    assert found.pop("training.players.encodr").suggestion == "encoder"
    assert found.pop("training.players.critic.btas").suggestion == "betas"
    assert found.pop("training.players.critic.lr").reason == "must be a number"
    told = {"training.players.critic.eps", "training.players.generator.betas", "optimizer.betas"}
    assert {*found} == told | {"optimizer.weight_decay", "optimizer.lrr"}


def test_a_key_that_stands_twice_in_a_file_hides_nothing_else_of_it(tmp_path):
    text = "# @package _global_\ntrainer:\n  max_steps: 1\n  max_steps: many\n  precisionn: 3\nfoo: 1\n"
    path = tmp_path / "experiment" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(text + "defaults:\n- override /data: cifar01\n")
    with pytest.raises(ConfigErrors) as error:
        validate.check(["model=vae", "experiment=mine"], [str(tmp_path)])
    told = {problem.setting: problem.reason for problem in error.value.problems}
    assert told["trainer.max_steps"] == "stands twice, again in line 4"
    assert {*told} - {"trainer.max_steps"} == {
        "trainer.max_steps=many",
        "trainer.precisionn=3",
        "foo=1",
        "data=cifar01",
    }
    assert all(problem.source == str(path) for problem in error.value.problems)


def test_what_a_file_sweeps_wrongly_is_told_of_the_file(tmp_path):
    params = "{seed: '0,q', modl: 'vae,gan', loss: 'elbo,nl', optimizer.lrr: 1, optimizer.lr: '1 ['}"
    text = f"# @package _global_\nhydra: {{sweeper: {{params: {params}}}}}\n"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    words = ["model=vae", "data=digits", "experiment=mine", "trainer.log_every=x"]
    found = problems(*words, folders=[str(tmp_path)], multirun=True)
    assert found.pop("trainer.log_every").source == "command line"
    assert {*found} == {"seed", "modl", "loss", "optimizer.lrr", "optimizer.lr"}
    assert all("mine.yaml" in error.source for error in found.values())


def test_two_slips_of_one_file_are_not_said_to_contradict_each_other(tmp_path):
    entries = "- override /model: wgn\n- override /loss: elboo\n- override /penalty: clpi\n"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\ndefaults:\n{entries}")
    with pytest.raises(ConfigErrors) as error:
        validate.check(["data=digits", "experiment=mine", "trainer.precision=16-mixed"], [str(tmp_path)])
    assert {problem.setting for problem in error.value.problems} == {"model=wgn", "loss=elboo", "penalty=clpi"}


@pytest.mark.parametrize("group", ["optimizer: lion", "penalty: r9"])
def test_a_slip_of_a_file_with_nothing_near_hides_no_contradiction(tmp_path, group):
    (tmp_path / "model").mkdir()
    entries = f"- vae\n- override /loss: hinge\n- override /{group}\n"
    (tmp_path / "model" / "mine.yaml").write_text(
        f"# @package _global_\n# mine\ndefaults:\n{entries}model: {{widht: 3}}\n"
    )
    found = problems("model=mine", "data=digits", folders=[str(tmp_path)])
    assert {*found} == {group.partition(":")[0], "loss", "model.widht"} and found["loss"].suggestion == "elbo"


def test_what_a_slip_takes_the_place_of_is_what_the_model_picks(tmp_path):
    """And not what a file says, which the typed word would beat."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n- override /loss: wasserstein\n"
    )
    words = ["model=wgan_gp", "data=digits", "experiment=mine", "loss=hingee", "trainer.precision=16-mixed"]
    found = problems(*words, folders=[str(tmp_path)])
    assert {*found} == {"loss", "trainer.precision"} and found["loss"].suggestion == "hinge"


def test_globs_choose_of_the_options_of_a_group():
    jobs = validate.check(["model=glob(wgan*)", "data=digits"], multirun=True).jobs
    assert [job.choices["model"] for job in jobs] == ["wgan", "wgan_gp"]
    found = problems("model=glob(q*)", "trainer.max_steps=glob(1*)", "optimizer.lrr=1", multirun=True)
    assert {*found} == {"model", "trainer.max_steps", "optimizer.lrr"}
    assert {*problems("optimizer.lr=interval(1,2)", multirun=True)} == {"optimizer.lr"}


@pytest.mark.parametrize(
    "made",
    [
        "callbacks: {mine: {_target_: shutil.rmtree, path: PLACE}}",
        "callbacks: {mine: {_target_: genlab.finale.table.Table, n: {_target_: shutil.rmtree, path: PLACE}}}",
        "job_logging: {version: 1, root: {handlers: [h]}, handlers: {h: {(): shutil.rmtree, path: PLACE}}}",
        "job_logging: {version: 1, root: {handlers: [h]}, handlers: {h: {class: shutil.rmtree, path: PLACE}}}",
        "launcher: {_target_: shutil.rmtree}",
        "sweeper: {_target_: shutil.rmtree}",
    ],
)
def test_of_hydras_own_node_a_file_makes_nothing_that_is_not_trusted(tmp_path, made):
    kept, folder = tmp_path / "kept", tmp_path / "experiment"
    kept.mkdir()
    folder.mkdir()
    written = made.replace("PLACE", str(kept))
    (folder / "mine.yaml").write_text(f"# @package _global_\nhydra: {{{written}}}\n")
    words = ["--config-dir", str(tmp_path), "model=vae", "data=digits", "experiment=mine", "trainer.max_steps=1"]
    for flags in ([], ["--multirun"], ["--cfg", "hydra"]):
        script = "import sys; from genlab.cli import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run([sys.executable, "-c", script, "train", *flags, *words], capture_output=True, text=True)
        assert done.returncode == 2 and "shutil.rmtree: 'shutil' is not a trusted package" in done.stderr
        assert "mine.yaml" in done.stderr and kept.is_dir()


@pytest.mark.parametrize("group", ["data", "loss", "optimizer", "penalty", "trainer", "logger"])
def test_a_file_that_names_no_class_is_told_before_torch(tmp_path, group):
    (tmp_path / group).mkdir()
    (tmp_path / group / "mine.yaml").write_text("_targt_: genlab.losses.nll.NLL\n")
    found = problems("model=vae", f"{group}=mine", "seed=q", folders=[str(tmp_path)])
    assert found.pop("seed")
    assert f"it has no {group}._target_" in found[group].reason and "_targt_" in found[group].reason


def test_what_a_class_needs_and_is_not_given_is_told(tmp_path):
    text = "_target_: genlab.models.vae.vae.VAE\nlatent: 4\nencoder: {target: genlab.models.vae.mlp.Encoder}\n"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [override /loss: elbo]\nmodel:\n  "
        + text.replace("\n", "\n  ").rstrip()
        + "\ntraining: {_target_: genlab.training.likelihood.Likelihood}\ntrainer: {max_steps: 3}\n"
    )
    found = problems("model=mine", "trainer.log_every=x", folders=[str(tmp_path)])
    assert {*found} == {"model.decoder", "model.encoder", "trainer.log_every"}
    assert found["model.decoder"].reason == "VAE needs it, a node with a _target_"


def test_in_a_sweep_a_slip_hides_no_contradiction_of_the_other_values():
    with pytest.raises(ConfigErrors) as error:
        validate.check(["model=vae", "data=digits", "loss=hinge,elboo"], multirun=True)
    assert {problem.setting for problem in error.value.problems} == {"loss=hinge", "loss=elboo"}


def test_arguments_of_callbacks_are_checked(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n- override /hydra/callbacks: table\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(f"{text}hydra: {{callbacks: {{table: {{kk: 3, n: ten}}}}}}\n")
    found = problems("model=vae", "experiment=mine", "seed=q", folders=[str(tmp_path)], multirun=True)
    assert {*found} == {"seed", "hydra.callbacks.table.kk", "hydra.callbacks.table.n"}


def test_of_a_file_that_cannot_be_read_nothing_is_made_up(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("defaults: [override /model: vae\n")
    words = ["experiment=mine", "model.likelihood=gaussian", "loss.beta=2", "data.noise=0.1", "trainer.patience=3"]
    found = problems(*words, "seed=q", "optimizer.lrr=1", folders=[str(tmp_path)])
    assert {*found} == {"config", "seed", "optimizer.lrr"}


def test_references_in_a_list_of_defaults_are_checked(tmp_path, monkeypatch):
    monkeypatch.delenv("NOSUCH", raising=False)
    entries = ["override /loss: ${modell}", "override /data: ${oc.env:NOSUCH}"]
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n" + "".join(f"- {entry}\n" for entry in entries)
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigErrors) as error:
        validate.check(["experiment=mine", "seed=q"], [str(tmp_path)])
    told = "\n".join(str(problem) for problem in error.value.problems)
    assert "${modell} refers to no group; did you mean '${model}'?" in told and "seed=q" in told
    assert "there is no NOSUCH in the environment" in told and len(error.value.problems) == 3


def test_what_hydra_sweeps_is_typed_without_more(tmp_path):
    found = problems("model=vae", "hydra.sweeper.params.data=moons,ring", "seed=q", multirun=True)
    assert found["hydra.sweeper.params.data"].suggestion == "data=moons,ring" and "seed" in found


def test_a_slip_of_hydras_hides_nothing_that_a_file_sweeps(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra: {sweeper: {params: {data: 'minst,digits'}}}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    words = ["model=vae", "experiment=mine", "hydra.swep.dir=1"]
    assert {*problems(*words, folders=[str(tmp_path)], multirun=True)} == {"data", "hydra.swep.dir"}


@pytest.mark.parametrize(
    "words",
    [
        ["model=vae", "data=moons", "loss=nll"],
        ["model=wgan", "data=moons", "loss=wasserstein", "penalty=gradient"],
        ["model=pixelcnnpp", "data=digits", "optimizer=sgd"],
        ["model=ot_flow", "data=digits", "loss=nll"],
    ],
)
def test_what_a_recipe_says_of_another_loss_is_no_mistake_of_the_one_that_is_typed(words):
    config = validate.check(words).config
    for group in ("loss", "penalty", "optimizer"):
        assert {*config[group]} - {"_target_"} <= {*signature(config[group]["_target_"]).arguments}
    typed = "loss.warmup=3" if words[-1] == "loss=nll" else "optimizer.betas=[0.5,0.9]"
    if words[0] in ("model=vae", "model=pixelcnnpp"):
        assert {*problems(*words, typed)} == {typed.partition("=")[0]}


def test_text_in_the_place_of_a_number_is_told_to_leave_its_quotes(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nseed: '0'\ncompile: 'true'\noptimizer: {lr: '1e-3'}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    found = problems("model=vae", "experiment=mine", folders=[str(tmp_path)])
    assert {key: error.suggestion for key, error in found.items()} == {
        "seed": "0",
        "compile": "true",
        "optimizer.lr": "0.001",
    }
    assert all("leave out the quotes" in error.reason for error in found.values())


def test_a_file_that_has_the_name_of_one_of_genlabs_is_told(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "vae.yaml").write_text("latent: 7\n")
    found = problems("model=vae", "data=digits", folders=[str(tmp_path)])
    assert "which counts" in found["model"].reason and "vae.yaml" in found["model"].source


def test_slips_of_plugins_and_of_packages_have_what_is_nearest(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert problems("model=vae", "plugins=[mien]")["plugins"].suggestion == "mine"
    found = problems("model=vae", "optimizer._target_=trch.optim.Adam")
    assert found["optimizer._target_"].suggestion == "torch.optim.Adam"


def test_of_several_experiments_the_one_that_sets_a_value_is_named(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "one.yaml").write_text("# @package _global_\nseed: 1\n")
    (tmp_path / "experiment" / "two.yaml").write_text("# @package _global_\noptimizer: {lr: slow}\n")
    found = problems("model=vae", "data=digits", "experiment=[one,two]", folders=[str(tmp_path)])
    assert found["optimizer.lr"].source.endswith("two.yaml")
