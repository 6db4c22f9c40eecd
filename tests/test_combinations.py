"""Every adversarial loss goes with every game that admits it, and what is refused is refused by training too."""

import functools
import json

import pytest
import torch

from genlab import validate
from genlab.assembly import build_module
from genlab.build import build
from genlab.catalogue import contents
from genlab.cli import main
from genlab.combinations import Combinations
from genlab.errors import ConfigErrors
from genlab.presets import groups
from genlab.signatures import keys_of

KNOWN = groups()
GAMES = [name for name in KNOWN["model"] if "Adversarial" in str(contents("model", name).get("training"))]
LIKELIHOODS = ("nll", "elbo", "elbo_mc", "iwae", "reconstruction", "vector_quantised")
LOSSES = [name for name in KNOWN["loss"] if name not in LIKELIHOODS]
DATA = {"segment": "segment", "noised": "ring", "gaussian": "mixture"}
LATENT = {"segment": 1, "noised": 3, "gaussian": 1}
NARROW = {"width": 8, "depth": 2, "code_width": 8, "latent": 8, "maps": 2}
ROWS = 4


@functools.cache
def config(game):
    """Of a game on digits, with nets so narrow that all combinations take seconds; the data's spec and a batch."""
    made = validate.check([f"model={game}", f"data={DATA.get(game, 'digits')}", "loss=minimax"]).config

    def narrow(node):
        if not isinstance(node, dict):
            return node
        return {key: NARROW[key] if key in NARROW and value else narrow(value) for key, value in node.items()}

    model = narrow(made["model"])
    if "latent" in model:
        model["latent"] = LATENT.get(game, 8)
    data = build(made["data"])
    part = data.split("train")
    rows = torch.arange(ROWS * 2)
    return made | {"model": model}, data.spec, {"x": part.x[rows]} | ({} if part.y is None else {"y": part.y[rows]})


@functools.cache
def combinations():
    return Combinations()


def turns(game, loss, penalty, precision):
    """A step's worth of turns, and the parameters that no gradient reached, by player."""
    described, spec, batch = config(game)
    chosen = {"loss": contents("loss", loss), "penalty": contents("penalty", penalty)}
    for node in chosen.values():
        node.pop("defaults", None)
    torch.manual_seed(0)
    module = build_module(described | chosen, spec, build(described["trainer"]), 1)
    module.model.train()
    reached = {}
    for _ in range(2):  # a layer that starts at zero hides others in the first
        for name, players in module.take_players().items():
            module.model.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                value, parts = module.model.turn(name, batch, module.loss, module.penalty)
            assert value.dtype == torch.float32 and value.isfinite(), (name, value)
            assert all(part.isfinite().all() if torch.is_tensor(part) else True for part in parts.values()), parts
            value.backward()
            mine = {key: weight for player in players for key, weight in player.named_parameters(str(id(player)))}
            for key, weight in mine.items():
                assert weight.grad is None or weight.grad.isfinite().all(), (name, key)
            found = reached.setdefault(name, set())
            found |= {key for key, weight in mine.items() if weight.grad is not None}
            reached[f"all {name}"] = set(mine)
            with torch.no_grad():
                for weight in mine.values():
                    weight += 0 if weight.grad is None else -1e-3 * weight.grad
    return {name: sorted(reached[f"all {name}"] - found) for name, found in reached.items() if name[:4] != "all "}


@pytest.mark.parametrize("game", GAMES)
def test_who_plays_is_known_from_the_source(game):
    described, spec, _ = config(game)
    module = build_module(described, spec, build(described["trainer"]), 1)
    assert keys_of(described["model"]["_target_"], "players") == list(module.model.players())


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("game", GAMES)
def test_every_loss_takes_a_step_with_every_game_that_admits_it(game, loss, precision):
    known = combinations()
    if [*known.reasons(game, {"loss": loss})]:
        with pytest.raises(ConfigErrors):
            validate.check([f"model={game}", f"data={DATA.get(game, 'digits')}", f"loss={loss}"])
        return
    penalty = (known.picked("model", game) | known.picked("loss", loss)).get("penalty", "none")
    missed = turns(game, loss, penalty, precision)
    assert not any(missed.values()), missed


@pytest.mark.parametrize("penalty", ["feature_matching", "pulling_away", "consistency", "gradient", "r1_r2", "clip"])
@pytest.mark.parametrize("game", GAMES)
def test_every_penalty_goes_with_every_game_that_admits_it_in_16_bits(game, penalty):
    known = combinations()
    loss = known.picked("model", game)["loss"]
    if [*known.reasons(game, {"penalty": penalty})]:
        with pytest.raises(ConfigErrors):
            validate.check([f"model={game}", f"data={DATA.get(game, 'digits')}", f"penalty={penalty}"])
    else:
        assert not any(turns(game, loss, penalty, "bf16").values())


def test_refused_pairs_are_listed_with_their_reasons(capsys):
    assert main(["list", "refused"]) == 0
    told = capsys.readouterr().out
    assert "the loss takes a critic that is held Lipschitz\n    loss=wasserstein\n" in told
    names = "contrastive_divergence, elbo, elbo_mc, hybrid, iwae, nll, ot_flow, reconstruction, semi_supervised"
    likelihoods = f"loss={names},\n      vector_quantised"
    assert f"the model is a game, the loss a likelihood objective\n    {likelihoods}\n" in told
    assert max(map(len, told.splitlines())) <= 120
    assert main(["list", "refused", "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)
    assert ("penalty=gradient", "trainer.precision=16-mixed") in [(pair["choice"], pair["other"]) for pair in pairs]


def test_what_is_listed_is_what_training_refuses():
    """Of both kinds some, spread over all models and losses."""
    known = combinations()
    pairs = [(model, loss) for model in KNOWN["model"] for loss in KNOWN["loss"] if model not in DATA]
    for model, loss in pairs[::41]:
        expected = bool([*known.reasons(model, {"loss": loss})])
        try:
            validate.check([f"model={model}", f"loss={loss}", "data=digits"])
            assert not expected, (model, loss)
        except ConfigErrors:
            assert expected, (model, loss)
