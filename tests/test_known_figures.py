"""``genlab eval`` on models and samplers whose figures are known beforehand."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from runs import GAN, make_run
from torch.nn import functional

from genlab import checkpoint, config, evaluate
from genlab.data.digits import Digits
from genlab.models.gan import dcgan, mlp, resnet
from genlab.spec import Spec

PIXELCNN = {"_target_": "genlab.models.autoregressive.pixelcnn.pixelcnn", "channels": 4, "blocks": 1, "head": 4}
VAE = {
    "_target_": "genlab.models.vae.vae.VAE",
    "latent": 2,
    "likelihood": "categorical",
    "encoder": {"_target_": "genlab.models.vae.mlp.Encoder", "width": 8},
    "decoder": {"_target_": "genlab.models.vae.mlp.Decoder", "width": 8},
}
HELD_OUT = 400


def rows(capsys, *words):
    """Figures of each row, as values, and what else was told."""
    assert evaluate.main(config.compose("eval", [*words]).config, True) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def refused(capsys, *words):
    """What is told where there is no figure."""
    assert evaluate.main(config.compose("eval", [*words]).config, True) == 1
    printed = capsys.readouterr()
    assert [row["metrics"] for row in json.loads(printed.out)] == [{}]
    return printed.err


# A uniform model


@pytest.fixture
def pictures(tmp_path):
    """20 colour images of 256 levels, 4 x 4."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)):
        Image.fromarray(image).save(folder / f"{number}.png")
    return {"_target_": "genlab.data.folder.Folder", "path": str(folder), "size": 4, "root": str(tmp_path / "root")}


@pytest.mark.parametrize("model, mark", [(PIXELCNN, "="), (VAE, "<=")])
def test_a_uniform_model_of_256_levels_has_8_bits_a_dimension(tmp_path, capsys, pictures, model, mark):
    """Of a net without weights: all logits are 0, and a VAE's posterior is its prior."""
    run = make_run(tmp_path / "run", model, pictures)
    last = run.checkpoints / "last.ckpt"
    state = checkpoint.read(last)
    state["state_dict"] = {key: torch.zeros_like(value) for key, value in state["state_dict"].items()}
    checkpoint.write(last, state)
    ((row,), _) = rows(capsys, f"run={run.path}", "metrics=likelihood", "k=7", "split=train")
    for name in {"bpd"} | ({"ess"} & set(row["metrics"])):
        figure = row["metrics"][name]
        assert figure["value"] == pytest.approx({"bpd": 8, "ess": 7}[name], rel=1e-6), name
        assert figure["stderr"] == pytest.approx(0, abs=1e-6)
    assert row["metrics"]["bpd"]["mark"] == mark
    assert row["metrics"]["nats"]["value"] == pytest.approx(48 * math.log(256), rel=1e-6)


# Samplers with a known fault, of digits


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Figures by sampler, each of 400 images: held-out digits, but for one fault."""
    folder, random = tmp_path_factory.mktemp("samplers"), np.random.default_rng(0)
    data = Digits(validation=HELD_OUT)
    train, held_out = data.split("train"), data.split("val")
    x, y = held_out.x.numpy(), held_out.y.numpy()
    samplers = {
        "copies": train.x[:HELD_OUT].numpy(),
        "few": x[random.choice(40, HELD_OUT)],
        "half": x[y < 5],
        "noise": random.integers(0, 17, x.shape, np.uint8),
        "one": np.repeat(x[:1], HELD_OUT, 0),
        "real": x,
    }
    for name, samples in samplers.items():
        np.savez(folder / f"{name}.npz", samples=samples)
    words = [f"samples={folder}/*.npz", "data=digits", f"++data.validation={HELD_OUT}", "real=none"]
    with pytest.MonkeyPatch.context() as patch:
        kept = []
        patch.setattr("genlab.evaluate.tables.show", lambda table: kept.append(table))
        assert evaluate.main(config.compose("eval", words).config) == 0
    return {texts[0].removesuffix(".npz"): figures for texts, figures in kept[0].rows}


def test_each_fault_is_found_by_the_figure_that_is_meant_to_find_it(found):
    assert list(found) == ["copies", "few", "half", "noise", "one", "real"]  # as a glob finds them
    figures = {name: {key: figure.value for key, figure in row.items()} for name, row in found.items()}
    real = figures["real"]
    assert figures["copies"]["memorised_digits"] == 1 and real["memorised_digits"] < 0.05
    assert figures["copies"]["nearest_train_digits"] == 0 and real["nearest_train_digits"] == pytest.approx(1, abs=0.1)
    assert 20 < figures["few"]["support_digits"] < 80 and found["few"]["support_digits"].mark == "~"
    assert found["real"]["support_digits"].mark == ">=" and real["support_digits"] > 4000
    assert figures["one"]["support_digits"] == 1 and figures["one"]["is_digits"] == pytest.approx(1)
    assert figures["half"]["class_kl_digits"] > 1 and real["class_kl_digits"] < 0.05
    assert figures["half"]["is_digits"] == pytest.approx(5, abs=0.3) and real["is_digits"] > 9
    for name in ("few", "half", "noise", "one"):
        assert figures[name]["coverage_digits"] < 0.7 < 0.85 < real["coverage_digits"]
        assert figures[name]["fid_digits"] > 3 * real["fid_digits"]
    assert figures["one"]["recall_3_digits"] == 0
    assert figures["noise"]["density_digits"] < 0.3 < 0.9 < real["density_digits"]


@pytest.mark.parametrize("name", ["is", "precision_3", "recall_3", "coverage"])
def test_other_figures_do_not_find_copies(found, name):
    copies, real = (found[sampler][f"{name}_digits"].value for sampler in ("copies", "real"))
    assert copies > 0.95 * real


def test_one_place_that_cannot_be_scored_does_not_stop_the_others(tmp_path, capsys):
    x = Digits().split("val").x.numpy()
    np.savez(tmp_path / "good.npz", samples=x)
    np.savez(tmp_path / "bad.npz", samples=x[:, :, :5])
    options = config.compose("eval", [f"samples='{tmp_path}/*.npz'", "data=digits", "metrics=is_digits", "real=none"])
    assert evaluate.main(options.config, True) == 1
    printed = capsys.readouterr()
    assert [row["model"] for row in json.loads(printed.out)] == ["good"]
    assert printed.err.count("bad.npz") == 1 and "'samples' of shape" in printed.err


# A critic's features


NETS = [
    (dcgan.Discriminator, Spec("image", (3, 32, 32), 256), (8 + 16 + 32) * 16),
    (dcgan.Discriminator, Spec("image", (1, 28, 28), 256), (8 + 16) * 16),
    (dcgan.Discriminator, Spec("image", (1, 8, 8), 17), 8 * 16 + 16 * 4),
    (resnet.Discriminator, Spec("image", (3, 32, 32), 256), 4 * 8 * 16),
    (mlp.Discriminator, Spec("vector", (2,)), 3 * 8),
]


@pytest.mark.parametrize("net, spec, size", NETS, ids=lambda value: getattr(value, "__module__", None))
def test_features_are_maxima_of_what_each_layer_hands_on(net, spec, size):
    """Heard by hooks on the layers behind, whose input they are; the last layer's shows in the critic's value."""
    torch.manual_seed(0)
    critic = net(spec, width=8).eval()
    x = torch.rand(5, *spec.shape) * 2 - 1
    heard = []
    for layer in critic.blocks[1:] if net is resnet.Discriminator else weighted(critic):
        layer.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    found = critic.hidden(x)
    assert found.shape == (5, size) and found.isfinite().all()
    start = 0
    for told in heard:
        told = told.relu() if net is resnet.Discriminator else told
        if told.ndim == 4 and max(told.shape[2:]) > 4:
            told = functional.adaptive_max_pool2d(told, 4)
        stop = start + told[0].numel()
        torch.testing.assert_close(found[:, start:stop], told.flatten(1))
        start = stop
    assert start < size  # the last layer's are there too
    linear = critic.head.linear
    if linear.in_features == size - start:  # and were not pooled
        torch.testing.assert_close(linear(found[:, start:]).squeeze(1), critic(x))


def weighted(critic):
    """The layers with weights below the head but for the first."""
    return [layer for layer in critic.layers if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)][1:]


def test_a_probe_of_the_critic_is_measured_of_a_gan_only(tmp_path, capsys):
    data = {"_target_": "genlab.data.digits.Digits"}
    run = make_run(tmp_path / "run", GAN, data)
    ((row,), _) = rows(capsys, f"run={run.path}", "metrics=critic_svm")
    figure = row["metrics"]["critic_svm"]
    assert figure["value"] > 0.9  # a net that has learnt nothing, wide enough for digits
    assert figure["protocol"]["n train"] == 1294 and figure["protocol"]["C"] == 1e-3
    other = make_run(tmp_path / "other", VAE, data)
    told = refused(capsys, f"run={other.path}", "metrics=critic_svm")
    assert "no critic_svm: VAE gives no features" in told


class Opaque(torch.nn.Module):
    """A critic that does not show what its layers see."""

    def __init__(self, spec):
        super().__init__()
        self.linear = torch.nn.Linear(spec.dimensions, 1)

    def forward(self, x):
        return self.linear(x.flatten(1)).squeeze(1)


def test_a_critic_without_features_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genlab.build._admitted", ["test_known_figures."])
    model = GAN | {"discriminator": {"_target_": "test_known_figures.Opaque"}}
    run = make_run(tmp_path / "run", model)
    assert "Opaque has no method hidden" in refused(capsys, f"run={run.path}", "metrics=critic_svm")
