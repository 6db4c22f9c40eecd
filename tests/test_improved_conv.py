"""The convolutional nets of semi-supervised CIFAR-10 and SVHN, and the recipes that take them."""

import math

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import nn

from genlab import cli, validate
from genlab.models.gan.improved_conv import Discriminator, Generator
from genlab.run import Run
from genlab.spec import Spec

CIFAR = Spec("image", (3, 32, 32), 256)


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_parameters_are_those_of_the_paper():
    """Counted by hand from the layers of the released code: kernels, biases, and lengths where these are learnt."""
    convolutions = 9 * (3 * 96 + 2 * 96**2 + 96 * 192 + 2 * 192**2 + 192**2) + 2 * 192**2
    assert count(Discriminator(CIFAR, outputs=10)) == convolutions + 3 * 96 + 6 * 192 + 192 * 10 + 2 * 10 == 1_406_804
    narrow = 9 * (3 * 64 + 2 * 64**2 + 64 * 128 + 2 * 128**2 + 128**2) + 2 * 128**2
    assert count(Discriminator(CIFAR, width=64, outputs=10)) == narrow + 3 * 64 + 6 * 128 + 128 * 10 + 2 * 10 == 626_580
    kernels = 25 * (512 * 256 + 256 * 128 + 128 * 3)
    assert count(Generator(CIFAR, 100)) == 100 * 8192 + 8192 + kernels + 256 + 128 + 2 * 3 == 4_933_382


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_nets_size_themselves(shape):
    spec = Spec("image", shape, 256)
    generator, critic = Generator(spec, 7, width=4).eval(), Discriminator(spec, width=4, outputs=10).eval()
    x = generator(torch.randn(3, 7))
    assert x.shape == (3, *shape) and x.abs().max() < 1
    assert critic.features(x).shape == (3, 8) and critic(x).shape == (3, 10)
    assert Discriminator(spec, width=4)(x).shape == (3,)


def test_sums_start_with_variance_one_and_those_of_last_layers_with_much_less():
    torch.manual_seed(0)
    critic = Discriminator(CIFAR, width=32, outputs=200).eval()
    for dropout in [layer for layer in critic.modules() if isinstance(layer, nn.Dropout)]:
        dropout.train()
    x, sums = (torch.rand(16, 3, 32, 32) - 0.5) * math.sqrt(3), []  # of mean square 1 / 4
    for layer in critic.layers:
        x = layer(x)
        sums += [x.square().mean().item()] if isinstance(layer, nn.Conv2d) else []
    assert len(sums) == 9 and sums == pytest.approx([1] * 9, abs=0.3)
    assert 0.04 < critic.head(x.mean((2, 3))).std().item() < 0.12
    assert Generator(CIFAR, 100, width=32)(torch.randn(16, 100)).std().item() == pytest.approx(0.1, rel=0.3)


def test_lengths_of_weights_are_fixed_but_in_the_last_layer():
    critic = Discriminator(CIFAR, width=8, outputs=10)

    def lengths():
        layers = [*critic.layers, critic.head.linear]
        return [m.weight.flatten(1).norm(dim=1) for m in layers if isinstance(m, nn.Conv2d | nn.Linear)]

    before, optimizer = [length.detach().clone() for length in lengths()], torch.optim.SGD(critic.parameters(), 1.0)
    critic(torch.randn(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    *hidden, last = [bool((a - b).abs().max() > 1e-3) for a, b in zip(before, lengths(), strict=True)]
    assert not any(hidden) and last
    assert all(length.std() < 1e-3 for length in before[:-1])


def test_an_experiment_takes_the_nets_of_the_data():
    words = ["experiment=ssl", "data=cifar10", "data.labelled=1000,8000", "seed=0"]
    found = [job.config for job in validate.check(words, multirun=True).jobs]
    known = [(labelled, weight) for labelled in (1000, 8000) for weight in (0, 1)]
    assert [(config["data"]["labelled"], config["model"]["unsupervised"]) for config in found] == known
    for config in found:
        assert config["model"]["net"] == "improved_conv" and config["model"]["norm"] == "absolute"
        assert (config["optimizer"]["lr"], config["trainer"]["batch_size"]) == (3e-4, 100)
        assert (config["trainer"]["max_steps"], config["trainer"]["max_epochs"]) == (None, 1200)


@pytest.mark.parametrize("model", ["ssl_gan", "ssl_ali"])
def test_a_step_on_house_numbers(tmp_path, monkeypatch, model):
    """Generated files in the makers' layout; the recipe's own nets, but for the size of the batch."""
    (tmp_path / "svhn").mkdir()
    random = np.random.RandomState(0)
    for part, many in (("train", 80), ("test", 20)):
        x, y = random.randint(0, 256, (32, 32, 3, many)).astype(np.uint8), np.arange(many) % 10 + 1
        savemat(tmp_path / "svhn" / f"{part}_32x32.mat", {"X": x, "y": y.astype(np.uint8)[:, None]})
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    words = ["experiment=ssl", f"model={model}", "data=svhn", "data.labelled=20", "model.unsupervised=1", "seed=0"]
    small = ["trainer.max_steps=1", "trainer.batch_size=4", "data.validation=10", "trainer.sample_every=9"]
    run = tmp_path / "run"
    assert cli.main(["train", *words, *small, f"hydra.run.dir='{run}'"]) == 0
    assert Run(run).info["status"] == "done"
    assert cli.main(["eval", f"run={run}", "metrics=classification"]) == 0
    assert {entry["name"] for entry in Run(run).metrics["figures"]} == {"error", "purity"}
