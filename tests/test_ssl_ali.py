"""Semi-supervised ALI: the critic's loss against its definition, who learns in whose turn; the probe of a code."""

import json
from functools import partial

import pytest
import torch
from runs import DIGITS, each_learns_in_its_turn, make_run
from torch.nn.functional import cross_entropy, softplus

from genlab import cli
from genlab.errors import ConfigError
from genlab.losses.non_saturating import NonSaturating
from genlab.models.base import Classifies, Encodes, Game, Samples
from genlab.models.gan import dcgan, mlp
from genlab.models.gan.joint import Discriminator
from genlab.models.gan.ssl_ali import SemiSupervisedALI
from genlab.spec import Spec, to_signed

IMAGES = Spec("image", (1, 8, 8), 17, classes=tuple("0123456789"))


def game(net=mlp, **more):
    torch.manual_seed(0)
    critic = partial(Discriminator, image=partial(net.Discriminator, width=16), width=16, depth=1)
    nets = partial(net.Generator, width=16), partial(net.Discriminator, width=16), critic
    return SemiSupervisedALI(IMAGES, *nets, 6, **more)


def batch(count=12):
    x = torch.randint(17, (2, count, 1, 8, 8), dtype=torch.uint8)
    y = torch.arange(count) % 10
    return {"x": x[0], "y": torch.full((count,), -1), "x_labelled": x[1], "y_labelled": y}


def test_the_critics_loss_is_its_definition():
    """Codes are drawn with a deviation near 0, so that they are known."""
    model, made = game().eval(), batch()
    with torch.no_grad():
        model.encoder.head.linear.weight[6:] = 0
        model.encoder.head.linear.bias[6:] = -100.0
    torch.manual_seed(1)
    value, parts = model.turn("critic", made, NonSaturating(), None)
    torch.manual_seed(1)
    z = torch.randn(12, 6)
    real, labelled = to_signed(made["x"], 17), to_signed(made["x_labelled"], 17)
    assert parts["critic"].isfinite() and value.requires_grad
    with torch.no_grad():
        fake = model.generator(z)
        # the clamp leaves a deviation of exp(-5)
        z_real, z_labelled = model.encode(made["x"]), model.encode(made["x_labelled"])
        on_real = model.classifier(real, z_real).logsumexp(1)
        on_fake = model.classifier(fake, z).logsumexp(1)
        supervised = cross_entropy(model.classifier(labelled, z_labelled), made["y_labelled"])
        known = supervised + (softplus(-on_real).mean() + softplus(on_fake).mean()) / 2
    torch.testing.assert_close(value.detach(), known, atol=5e-3, rtol=0)
    torch.testing.assert_close(parts["classes"], supervised, atol=5e-3, rtol=0)


@pytest.mark.parametrize("net", [mlp, dcgan])
def test_each_player_learns_in_its_turn(net):
    model = game(net)
    assert all(isinstance(model, protocol) for protocol in (Classifies, Encodes, Game, Samples))
    each_learns_in_its_turn(model, batch(), NonSaturating())
    x = batch()["x"]
    torch.testing.assert_close(model.classify(x), model.classifier(to_signed(x, 17), model.encode(x)))
    assert model.classify(x).shape == (12, 10)


def test_the_players_who_make_both_kinds_exchange_the_critics_labels():
    model, made = game().eval(), batch()
    torch.manual_seed(1)
    value, _ = model.turn("generator", made, NonSaturating(), None)
    torch.manual_seed(1)
    z = torch.randn(12, 6)
    real, fake = model.pairs(to_signed(made["x"], 17), z, None)
    on_real, on_fake = (model.classifier(*pair).logsumexp(1) for pair in (real, fake))
    torch.testing.assert_close(value, softplus(on_real).mean() + softplus(-on_fake).mean())


def test_without_the_unsupervised_part_only_labels_teach():
    value, parts = game(unsupervised=0.0).turn("critic", batch(), NonSaturating(), None)
    assert value.item() == pytest.approx(parts["classes"].item())


def test_no_classes_no_game():
    with pytest.raises(ConfigError, match="classes"):
        SemiSupervisedALI(Spec("vector", (2,)), mlp.Generator, mlp.Discriminator, Discriminator, 6)


def test_a_support_vector_machine_learns_from_few_labelled_codes(tmp_path, capsys):
    """The paper's other way, by ``metrics=probe``: of 50 codes, of an encoder that has learnt nothing: above chance."""
    nets = {
        key: {"_target_": f"genlab.models.gan.mlp.{net}"}
        for key, net in (("generator", "Generator"), ("encoder", "Discriminator"))
    }
    ali = {
        "_target_": "genlab.models.gan.ali.ALI",
        **nets,
        "discriminator": {"_target_": "genlab.models.gan.joint.Discriminator"},
    }
    run = make_run(tmp_path / "ali", ali, DIGITS | {"limit": 300})
    words = ["eval", f"run={run.path}", "metrics=probe_svm", "metric.probe.limit=50", "--json"]
    assert cli.main(words) == 0
    found = json.loads(capsys.readouterr().out)[0]["metrics"]["probe_svm"]
    assert found["protocol"]["n train"] == 50 and found["value"] > 0.4
