"""The catalogue and tab completion: all that is under conf/, without torch and without Hydra."""

import json
import subprocess
import sys

import pytest
from safetensors import safe_open

from genlab import cli
from genlab.catalogue import PAPER, card_text, changes, choices, describe, entry, main, picks, reached
from genlab.choices import nets
from genlab.cli.completion import candidates, script
from genlab.errors import ConfigErrors
from genlab.presets import card, conf_folder, file_of, groups
from genlab.validation.launchers import installed

PRESETS = groups()["model"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys\nfrom genlab.cli import main\ncode = main(sys.argv[1:])\n" + (
        "print([name for name in ('torch', 'hydra', 'numpy') if name in sys.modules], file=sys.stderr)\nsys.exit(code)"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "model=wgan_gp"], ["list", "losses", "--json"], ["list", "extractor=mnist"]]
)
def test_listing_imports_neither_torch_nor_hydra(arguments):
    done = run(*arguments)
    assert done.returncode == 0 and done.stderr.strip() == "[]" and done.stdout


@pytest.mark.parametrize("extractor", ["digits", "mnist", "fashion_mnist", "cifar10"])
def test_an_extractor_has_the_card_of_its_weights(extractor, capsys):
    with safe_open(
        conf_folder().parent / "genlab" / "extractors" / "weights" / f"{extractor}.safetensors", "pt"
    ) as file:
        card_of_weights = json.loads(file.metadata()["card"])
    assert cli.main(["list", f"extractor={extractor}"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {key}: {value}\n" in text for key, value in card_of_weights.items()) and "test accuracy: 0.9" in text


def test_an_extractor_without_bundled_weights_has_a_card_without_them(capsys, tmp_path, monkeypatch):
    assert cli.main(["list", "extractor=inception"]) == 0 and "\nweights\n" not in capsys.readouterr().out
    monkeypatch.setattr("genlab.catalogue.WEIGHTS", tmp_path)
    for content in (b"", b"\xff" * 20, (2).to_bytes(8, "little") + b"{}"):
        (tmp_path / "mnist.safetensors").write_bytes(content)
        assert cli.main(["list", "extractor=mnist"]) == 0 and "\nweights\n" not in capsys.readouterr().out


def test_every_file_of_every_group_is_listed(capsys):
    for group in ("model", "data", "loss", "penalty", "optimizer", "trainer", "logger"):
        main([group], as_json=True)
        listed = {row["name"] for row in json.loads(capsys.readouterr().out)[group]}
        assert listed == {path.stem for path in (conf_folder() / group).glob("*.yaml")}


def test_singular_and_plural_name_the_same_group(capsys):
    main(["loss"])
    single = capsys.readouterr().out
    main(["losses"])
    assert capsys.readouterr().out == single


@pytest.mark.parametrize("preset", PRESETS)
def test_every_model_has_a_card_with_title_paper_year_and_family(preset):
    about = entry("model", preset)
    assert about["title"] and about["authors"] and 1980 < about["year"] < 2100
    assert about["family"] in {"gan", "vae", "flow", "autoregressive", "energy", "sequence", "translation"}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_card_shows_what_the_preset_picks_and_its_recipes(preset):
    about = describe("model", preset)
    text = card_text(about)
    assert all(line in text for line in card(file_of("model", preset)))
    for group, option in about["picks"].items():
        assert option in groups()[group] and f"{group}={option}" in text
    for data, recipe in about.get("recipes", {}).items():
        assert data in groups()["data"] and data in text
        assert recipe["card"] and all(line in text for line in recipe["card"])
        assert all(f"{key}=" in text for key in recipe["sets"])


def test_a_recipe_without_words_of_its_own_has_those_it_builds_on(tmp_path):
    (tmp_path / "recipe" / "mine").mkdir(parents=True)
    (tmp_path / "recipe" / "mine" / "plane.yaml").write_text("# @package _global_\n# Reaches 0.3 nats\n")
    (tmp_path / "recipe" / "mine" / "moons.yaml").write_text("# @package _global_\ndefaults: [mine/plane]\n")
    assert reached("mine/moons", [str(tmp_path)]) == ["Reaches 0.3 nats"]


def test_a_recipe_sets_what_it_builds_on_sets_and_its_own_after(tmp_path):
    (tmp_path / "recipe" / "mine").mkdir(parents=True)
    (tmp_path / "recipe" / "mine" / "plane.yaml").write_text("model: {a: {b: 1}, c: 2}\n")
    (tmp_path / "recipe" / "mine" / "moons.yaml").write_text("defaults: [mine/plane]\nmodel: {c: 3}\n")
    assert changes("mine/moons", [str(tmp_path)]) == {"model.a.b": 1, "model.c": 3}


@pytest.mark.parametrize(
    ("preset", "key", "words"),
    [
        ("wgan_gp", "model.net", ["dcgan", "mlp", "resnet"]),
        ("vae", "model.net", ["conv", "mlp"]),
        ("bigan", "model.net", ["ali_nets", "dcgan", "mlp"]),
        ("vae", "model.likelihood", ["bernoulli", "categorical", "discretised_logistic", "gaussian"]),
        ("realnvp", "model.net", ["mlp", "resnet"]),
    ],
)
def test_a_card_lists_the_words_that_an_option_takes(preset, key, words, capsys):
    main([f"model={preset}"], as_json=True)
    option = json.loads(capsys.readouterr().out)["options"][key]
    assert set(words) <= set(option["choices"])
    line = f"  {key}={option['value'] or 'null'}   (one of {', '.join(option['choices'])}"
    assert line in card_text(describe("model", preset))
    assert not {"gan", "critic", "layers", "segment", "vae"} & {*option["choices"]}


def test_a_net_that_does_not_take_what_the_file_gives_is_no_choice():
    targets = {"_target_": "genlab.models.gan.${model.net}.Generator", "depth": 3}
    assert choices({"model": {"generator": targets}}) == {"model.net": ["mlp"]}


def test_a_net_in_a_file_of_its_own_is_a_choice_where_it_has_all_that_is_asked_for(tmp_path, monkeypatch):
    package = tmp_path / "some_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    both, one = "class Generator: ...\ndef Discriminator(): ...\n", "class Generator: ...\n"
    for name, text in (("small", both), ("large", both), ("half", one), ("base", both)):
        (package / f"{name}.py").write_text(text + "raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    targets = ["some_nets.${model.net}.Generator", "some_nets.${model.net}.Discriminator", "some_nets.small.Generator"]
    assert nets(targets) == {"model.net": ["large", "small"]}


def test_a_model_that_builds_on_another_has_its_options_on_the_card(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# @package _global_\n# Mine\ndefaults: [vae]\nmodel: {latent: 3}\n")
    about = describe("model", "mine", [str(tmp_path)])["options"]
    assert about["model.latent"]["value"] == 3 and about["model.net"]["choices"] == ["conv", "mlp"]


def test_several_cards_are_shown_and_all_slips_among_them_told(capsys):
    main(["model=vae,gan", "loss=nll"], as_json=True)
    assert [card["name"] for card in json.loads(capsys.readouterr().out)] == ["vae", "gan", "nll"]
    main(["model=vae,gan"])
    cards = [card_text(describe("model", name)) for name in ("vae", "gan")]
    assert capsys.readouterr().out == "\n\n\n".join(cards) + "\n"
    with pytest.raises(ConfigErrors) as caught:
        main(["model=vea", "lossses", "data=mnits", "models"])
    suggestions = {error.setting: error.suggestion for error in caught.value.problems}
    assert suggestions.pop("model=vea lossses data=mnits models") == ""
    assert suggestions == {"model=vea": "vae", "lossses": "losses", "data=mnits": "mnist"}


def test_the_card_of_a_metric_names_its_figures(capsys):
    main(["metric=likelihood"])
    shown = capsys.readouterr().out
    assert (
        "metrics= of genlab eval: nats, bpd, negative_elbo, gap, distortion, ess" in shown and "metric.k" not in shown
    )


def test_options_of_nested_nodes_are_on_the_card():
    about = describe("model", "wgan_gp")
    assert about["options"]["model.generator"]["value"]["_target_"] == "genlab.models.gan.dcgan.Generator"
    assert about["options"]["model.generator.width"]["value"] == 128


def test_picks_follow_a_loss_to_its_penalty():
    assert picks(file_of("model", "wgan_gp"))["penalty"] == "gradient"


def test_own_configs_are_listed_too(tmp_path, capsys):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("# A loss of my own. Me 2025\n_target_: mine.Loss\n")
    main(["loss"], [str(tmp_path)], as_json=True)
    rows = json.loads(capsys.readouterr().out)["loss"]
    assert {"name": "mine", "title": "A loss of my own", "authors": "Me", "year": 2025, "reference": None} in rows


@pytest.mark.parametrize(("words", "suggestion"), [(["modells"], "models"), (["model=wgan_pg"], "wgan_gp")])
def test_slips_are_answered_with_a_suggestion(words, suggestion):
    with pytest.raises(ConfigErrors) as caught:
        main(words)
    assert [problem.suggestion for problem in caught.value.problems] == [suggestion]


@pytest.mark.parametrize(
    ("line", "title", "authors", "year"),
    [
        ("Least squares, 0-1 coding. Mao et al. 2017", "Least squares, 0-1 coding", "Mao et al.", "2017"),
        ("A net. van den Oord, K and L 2016, arXiv 1601.06759", "A net", "van den Oord, K and L", "2016"),
    ],
)
def test_the_first_line_of_a_card_is_read(line, title, authors, year):
    found = PAPER.match(line)
    assert found and found.group("title", "authors", "year") == (title, authors, year)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("genlab tr", "train"),
        ("genlab train mod", "model="),
        ("genlab train model=wgan_g", "model=wgan_gp"),
        ("genlab train -m model=gan,wgan_g", "model=gan,wgan_gp"),
        ("genlab train optimizer.l", "optimizer.lr="),
        ("genlab train model=gan model.lat", "model.latent="),
        ("genlab train trainer.max_s", "trainer.max_steps="),
        ("genlab train --dr", "--dry-run"),
        ("genlab sample tempe", "temperature="),
        ("genlab list loss=wass", "loss=wasserstein"),
        ("genlab completion fi", "fish"),
        ("genlab train data.binarize=d", "data.binarize=dynamic"),
        ("genlab train trainer.deterministic=t", "trainer.deterministic=true"),
        ("genlab train model=wgan_gp training.cri", "training.critic_steps="),
        ("genlab sample task=in", "task=interpolate"),
        ("genlab report format=h", "format=html"),
        ("genlab eval metrics=fre", "metrics=frechet"),
        ("genlab eval metrics=bpd,fid_di", "metrics=bpd,fid_digits"),
        ("genlab eval ckpt=", "ckpt=all"),
        ("genlab train model=wgan_gp model.net=r", "model.net=resnet"),
        ("genlab train -m model=vae model.net=mlp,c", "model.net=mlp,conv"),
        ("genlab train model=wgan_gp model.net=mlp model.generator.dep", "model.generator.depth="),
        ("genlab train model=vae model.likelihood=g", "model.likelihood=gaussian"),
        ("genlab train hydra/la", "hydra/launcher="),
        ("genlab train hydra/launcher=ba", "hydra/launcher=basic"),
        ("genlab train -m hydra/launcher=jo", "hydra/launcher=joblib"),
        ("genlab train -m hydra/launcher=submitit_s", "hydra/launcher=submitit_slurm"),
        ("genlab train -m hydra/launcher=joblib hydra.launcher.n_", "hydra.launcher.n_jobs="),
        ("genlab train hydra/sweeper=", "hydra/sweeper=basic"),
        ("genlab train hydra/callbacks=t", "hydra/callbacks=table"),
        ("genlab train hydra.run", "hydra.run.dir="),
        ("genlab train --conf", "--config-dir"),
        ("genlab eval --conf", "--config-dir"),
        ("genlab train --res", "--resolve"),
        ("genlab train --hydra", "--hydra-help"),
        ("genlab train -", "-m"),
        ("genlab train --cfg j", "job"),
        ("genlab train --cfg=j", "--cfg=job"),
        ("genlab train --info defaults-", "defaults-tree"),
        ("genlab list los", "losses"),
        ("genlab list metric=lik", "metric=likelihood"),
        ("genlab train +optimizer.ep", "+optimizer.eps="),
    ],
)
def test_tab_completes(line, expected):
    found = candidates(line)
    assert expected in found and all(word.startswith(line.split()[-1]) for word in found)


def test_tab_completes_run_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    (tmp_path / "outputs" / "a" / "run.yaml").write_text("status: done\n")
    assert candidates("genlab train run=out") == ["run=outputs/"]
    assert candidates("genlab sample run=outputs/") == ["run=outputs/a"]


def test_tab_completes_folders_of_configs_and_what_is_in_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "mine" / "conf" / "loss" / "hinge_of_mine.yaml").write_text("_target_: mine.Hinge\n")
    assert candidates("genlab train --config-dir ") == ["mine/"]
    assert candidates("genlab eval --config-dir mine/co") == ["mine/conf/"]
    assert candidates("genlab train --config-dir=mi") == ["--config-dir=mine/"]
    for flag in ("--config-dir mine/conf", "--config-dir=mine/conf", "-cd mine/conf"):
        assert candidates(f"genlab train {flag} loss=hinge_of") == ["loss=hinge_of_mine"]
        assert candidates(f"genlab list loss=hinge_of {flag} loss=hinge_of") == ["loss=hinge_of_mine"]


def test_tab_is_answered_without_torch_and_without_hydra():
    for line in ("genlab train model=wgan_gp model.net=", "genlab train hydra/launcher=", "genlab eval metrics="):
        done = run("__complete", line)
        assert done.returncode == 0 and done.stderr.strip() == "[]" and line.split()[-1] in done.stdout


def test_launchers_offered_are_those_that_hydra_has():
    from genlab.config import options

    for group in ("hydra/launcher", "hydra/sweeper"):
        assert sorted(installed()[group]) == sorted(options(group))


def test_nothing_is_offered_where_nothing_fits():
    assert candidates("genlab nonsense x") == [] and candidates("genlab train 'open") == []


def test_bash_takes_the_script():
    done = subprocess.run(["bash", "-n"], input=script("bash"), text=True, capture_output=True)
    assert done.returncode == 0 and not done.stderr
