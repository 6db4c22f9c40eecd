"""The loops that genlab's speed is compared with: that each minimises what its game does."""

import sys
from pathlib import Path

import pytest
import torch

from genlab import validate
from genlab.assembly import build_module
from genlab.build import build
from genlab.data.cifar10 import CIFAR10
from genlab.spec import to_signed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
import plain_games

ROWS = 8


def played(model, names, minimised):
    """What the players minimise, turn by turn, and the gradients of their own weights."""
    found = []
    for turn, player in enumerate([next(iter(names)), *names]):  # the critic twice, for some losses remember its turns
        for name, modules in model.players().items():
            for module in modules:
                module.requires_grad_(name == player)
        model.zero_grad()
        torch.manual_seed(turn)
        value = minimised(player)
        value.backward()
        slopes = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append((player, value.detach(), slopes))
    return found


@pytest.mark.parametrize("game", plain_games.CASES)
def test_a_plain_loop_minimises_what_its_game_does(game, monkeypatch):
    words = [word.replace("width=32", "width=4") for word in plain_games.CASES[game]]
    config = validate.check([f"model={game}", "data=cifar10", *words]).config
    spec = CIFAR10().spec
    module = build_module(config, spec, build(config["trainer"]), 1)
    model = module.model.train()
    torch.manual_seed(0)
    batch = {"x": torch.randint(256, (ROWS, *spec.shape), dtype=torch.uint8), "y": torch.arange(ROWS)}
    if game == "ssl_gan":
        batch |= {"x_labelled": batch["x"].flip(2), "y_labelled": batch["y"].flip(0)}
    ours = played(model, model.players(), lambda player: model.turn(player, batch, module.loss, module.penalty)[0])
    # the codes of infogan are drawn in another way
    monkeypatch.setattr(plain_games, "drawn_codes", lambda count, model: model.codes(torch.randn(count, model.latent)))
    losses = plain_games.GAMES[game](model)
    if game == "sngan":
        for _ in range(300):  # its singular vectors start as random ones
            model.critic.net(to_signed(batch["x"][:1], 256))
    given = [to_signed(part, 256) if part.dim() > 1 else part for part in batch.values()]
    plain = played(model, losses, lambda player: losses[player](*given))
    for (player, value, slopes), (same, other, others) in zip(ours, plain, strict=True):
        assert player == same and slopes.keys() == others.keys()
        torch.testing.assert_close(other, value, rtol=1e-5, atol=1e-6, msg=player)
        for name, slope in slopes.items():
            torch.testing.assert_close(others[name], slope, rtol=1e-3, atol=1e-5 * slope.abs().max().item() + 1e-7)
