"""``genlab sample task=manipulate``: directions by their definition, at every level, and what has none."""

import numpy as np
import pytest
import torch
from layouts import make_celeba
from PIL import Image
from runs import DIGITS, FLOW, GAN, MOONS, VAE, make_run
from test_reconstruction import HALI

from genlab import cli, config, sample
from genlab.build import build
from genlab.checkpoint import load
from genlab.data.celeba import ATTRIBUTES
from genlab.errors import ConfigError
from genlab.tasks import manipulate

STEPS = manipulate.STEPS + 1


def made(run, *words, task="manipulate"):
    """The arrays of the task's file."""
    assert sample.main(config.compose("sample", [f"run={run.path}", f"task={task}", *words]).config) == 0
    with np.load(run.samples / f"{task}.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def hali(tmp_path_factory):
    torch.manual_seed(0)
    return make_run(tmp_path_factory.mktemp("hali"), HALI)


def test_each_level_has_its_direction_and_begins_with_the_reconstruction(hali):
    arrays = made(hali, "attribute=3", "seeds='4,9'", "strength=1.5")
    assert arrays["levels"].tolist() == [1] * 2 * STEPS + [2] * 2 * STEPS
    assert arrays["seeds"].tolist() == ([4] * STEPS + [9] * STEPS) * 2
    assert arrays["strengths"] == pytest.approx(np.tile(np.linspace(0, 1.5, STEPS), 4))
    model, train = load(hali.checkpoints / "last.ckpt").model.eval(), build(DIGITS).split("train")
    test = build(DIGITS).split("test").x[[4, 9]]
    strips = torch.from_numpy(arrays["samples"]).unflatten(0, (2, 2, STEPS))
    assert np.array_equal(arrays["originals"], test.numpy())
    with torch.no_grad():
        for level in (1, 2):
            codes, has = model.ascend(train.x, level).double(), train.y == 3
            known = codes[has].mean(0) - codes[~has].mean(0)
            assert arrays[f"direction_{level}"] == pytest.approx(known.numpy(), abs=1e-5)
            for step, strength in ((0, 0), (2, 0.5), (6, 1.5)):
                shown = model.descend(model.ascend(test, level) + strength * known.float(), level)
                assert (shown.int() - strips[level - 1, :, step]).abs().max() <= 1  # of 17 levels, where one is near
    back = made(hali, "seeds='4,9'", task="reconstruct")
    assert np.array_equal(strips[:, :, 0].numpy(), np.stack([back["level_1"], back["level_2"]]))
    alone = made(hali, "attribute=3", "seeds='4,9'", "strength=1.5", "level=2")
    assert np.array_equal(alone["samples"], strips[1].flatten(0, 1).numpy()) and "direction_1" not in alone
    far = torch.from_numpy(made(hali, "attribute=3", "seeds='4,9'", "strength=10000")["samples"])
    far = far.unflatten(0, (2, 2, STEPS))  # the nets have learnt nothing, so a code does little
    assert torch.equal(far[:, :, 0], strips[:, :, 0]) and (far[:, :, 0] != far[:, :, -1]).flatten(2).any(2).all()


def test_a_whole_step_carries_the_mean_without_to_the_mean_with(tmp_path):
    run = make_run(tmp_path / "flow", FLOW, DIGITS)
    arrays, train = made(run, "attribute=7", "n=1"), build(DIGITS).split("train")
    with torch.no_grad():
        codes = load(run.checkpoints / "last.ckpt").model.eval().encode(train.x).double()
    carried = codes[train.y != 7].mean(0) + torch.from_numpy(arrays["direction_1"])
    torch.testing.assert_close(carried, codes[train.y == 7].mean(0), atol=1e-5, rtol=1e-5)
    assert set(arrays["levels"]) == {1} and np.array_equal(arrays["samples"][0], arrays["originals"][0])  # a flow's


def test_examples_without_a_known_label_are_left_out(tmp_path):
    run = make_run(tmp_path / "vae", VAE, {"_target_": DIGITS["_target_"], "labelled": 20})
    train = build({"_target_": DIGITS["_target_"], "labelled": 20}).split("train")
    with torch.no_grad():
        codes = load(run.checkpoints / "last.ckpt").model.eval().encode(train.x)
    known = codes[train.y == 3].mean(0) - codes[(train.y >= 0) & (train.y != 3)].mean(0)
    assert made(run, "attribute=3", "n=1")["direction_1"] == pytest.approx(known.numpy(), abs=1e-5)


@pytest.mark.parametrize(
    "words, said",
    [
        (["attribute=13"], "attribute=13: the classes are 0, 1, 2"),
        ([], "say which of the classes, as in attribute=9"),
        (["attribute=3", "level=3"], "the levels of HALI are 1 to 2"),
    ],
)
def test_what_there_is_not_is_told(hali, words, said):
    with pytest.raises(ConfigError, match=said):
        made(hali, *words)


@pytest.mark.parametrize(
    "model, data, said", [(GAN, DIGITS, "GAN does not encode"), (VAE, MOONS, "draws images, and these data are vector")]
)
def test_models_without_codes_and_data_that_are_no_images_are_told(tmp_path, model, data, said):
    with pytest.raises(ConfigError, match=said):
        made(make_run(tmp_path / "run", model, data), "attribute=1")


def test_none_has_it(tmp_path):
    run = make_run(tmp_path / "vae", VAE, DIGITS | {"limit": 1})
    with pytest.raises(ConfigError, match=r"none of the first 1 training examples (has|lacks) it"):
        made(run, "attribute=1")


def test_attributes_of_faces_from_the_command_line(tmp_path, monkeypatch, capsys):
    make_celeba(tmp_path, train=40, val=8, test=8)
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    run = tmp_path / "run"
    small = ["data.size=16", "trainer.max_steps=2", "trainer.batch_size=8", "logger=csv", f"hydra.run.dir='{run}'"]
    nets = ["model.generator={width: 8}", "model.encoder={width: 8}", "model.discriminator.width=8"]
    assert cli.main(["train", "model=hali", "data=celeba", *small, *nets, "model.halvings=2"]) == 0
    assert cli.main(["sample", f"run={run}", "task=manipulate", "attribute=Smiling", "n=2"]) == 0
    with np.load(run / "samples" / "manipulate.npz") as arrays:
        assert arrays["samples"].shape == (2 * 2 * STEPS, 3, 16, 16)
        by_name = arrays["direction_2"]
    assert cli.main(["sample", f"run={run}", "task=manipulate", f"attribute={ATTRIBUTES.index('Smiling')}", "n=2"]) == 0
    with np.load(run / "samples" / "manipulate.npz") as arrays:
        assert np.array_equal(arrays["direction_2"], by_name)
    with Image.open(run / "samples" / "manipulate.png") as picture:
        assert picture.width > picture.height and picture.mode == "RGB"  # eight columns, four rows
    capsys.readouterr()
    assert cli.main(["sample", f"run={run}", "task=manipulate", "attribute=smilin"]) == 2
    assert "did you mean 'Smiling'" in capsys.readouterr().err
