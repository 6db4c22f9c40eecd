"""Several generators: what they share, who made an example, and the softmax over all sources."""

from functools import partial

import pytest
import torch
from runs import each_learns_in_its_turn

from genlab.losses.non_saturating import NonSaturating
from genlab.models.gan import dcgan, mlp, resnet
from genlab.models.gan.critic import packed
from genlab.models.gan.mad import MADGAN
from genlab.noise import Noise
from genlab.penalties.feature_matching import FeatureMatching
from genlab.spec import Spec, to_signed

DIGITS = Spec("image", (1, 8, 8), 17)


def game(net=mlp, k=3, pack=1):
    torch.manual_seed(0)
    nets = partial(net.Generator, width=8), partial(net.Discriminator, width=8)
    return MADGAN(DIGITS, *nets, generators=k, noise=5, pack=pack)


@pytest.mark.parametrize("net", [mlp, dcgan, resnet])
def test_generators_share_all_but_their_last_layer(net):
    model = game(net)
    one, two, _ = (list(make.parameters()) for make in model.generators)
    own = [a is not b for a, b in zip(one, two, strict=True)]
    assert 1 <= sum(own) <= 2 and not any(own[: -sum(own)])  # a weight and a bias, at the end
    assert all(p.shape == q.shape for p, q in zip(one, two, strict=True))
    z = torch.randn(4, 5)
    assert not torch.equal(model.generators[0](z), model.generators[1](z))


def test_the_critics_loss_is_the_cross_entropy_of_all_sources():
    """-E[log D_(k+1)(x)] - mean over i of E[log D_i(G_i(z))], D a softmax over k + 1."""
    model = game().eval()
    x = torch.randint(17, (12, 1, 8, 8), dtype=torch.uint8)
    torch.manual_seed(1)
    value, parts = model.turn("critic", {"x": x}, NonSaturating(), None)
    torch.manual_seed(1)
    made = [make(z) for make, z in zip(model.generators, torch.randn(12, 5).chunk(3), strict=True)]
    net = model.critic.net.net
    known = -net(to_signed(x, 17)).log_softmax(1)[:, 0].mean()
    for number, fake in enumerate(made, 1):
        known = known - net(fake).log_softmax(1)[:, number].mean() / 3
    torch.testing.assert_close(value, known)
    assert 0 < parts["names"].item() < 3


def test_generators_minimise_the_logarithm_of_being_told():
    model = game().eval()
    x = torch.randint(17, (12, 1, 8, 8), dtype=torch.uint8)
    torch.manual_seed(1)
    value, _ = model.turn("generator", {"x": x}, NonSaturating(), None)
    torch.manual_seed(1)
    made = torch.cat([make(z) for make, z in zip(model.generators, torch.randn(12, 5).chunk(3), strict=True)])
    torch.testing.assert_close(value, -model.critic.net.net(made).log_softmax(1)[:, 0].mean())


def test_every_generator_draws_its_share():
    model = game().eval()
    z = torch.randn(3000, 6, generator=torch.Generator().manual_seed(0))
    made = torch.stack([make(z[:, :5]) for make in model.generators])
    from genlab.spec import from_signed

    drawn, all_of_them = model.decode(z), from_signed(made, 17)
    shares = [(drawn == each).flatten(1).all(1).double().mean().item() for each in all_of_them]
    assert all(share == pytest.approx(1 / 3, abs=0.04) for share in shares)
    assert model.sample(Noise(range(4))).shape == (4, 1, 8, 8)


@pytest.mark.parametrize("pack", [1, 2])
def test_each_player_learns_in_its_turn(pack):
    model = game(pack=pack)
    batch = {"x": torch.randint(17, (12, 1, 8, 8), dtype=torch.uint8)}
    each_learns_in_its_turn(model, batch, NonSaturating())


def test_packs_of_two_generators_name_each_by_its_share():
    """Of three generators' two examples each, packs of three are of the first two, and of the last two."""
    model = game(pack=3).eval()
    x = torch.randint(17, (6, 1, 8, 8), dtype=torch.uint8)
    torch.manual_seed(1)
    _, parts = model.turn("critic", {"x": x}, NonSaturating(), None)
    torch.manual_seed(1)
    logs = model.critic.net.net(packed(model.make(torch.randn(6, 5)), 3))[:, 1:].log_softmax(1)
    known = -(2 * logs[0, 0] + logs[0, 1] + logs[1, 1] + 2 * logs[1, 2]) / 6
    torch.testing.assert_close(parts["names"], known.detach())


def test_features_can_be_matched():
    model = game()
    batch = {"x": torch.randint(17, (12, 1, 8, 8), dtype=torch.uint8)}
    values = []
    for penalty in (None, FeatureMatching(weight=3.0)):
        torch.manual_seed(1)
        values.append(model.turn("generator", batch, NonSaturating(), penalty)[0])
    torch.manual_seed(1)
    net, made = model.critic.net.net, model.make(torch.randn(12, 5))
    apart = net.features(to_signed(batch["x"], 17)).mean(0) - net.features(made).mean(0)
    torch.testing.assert_close(values[1] - values[0], 3 * apart.square().mean())
