"""Run folders as training leaves them, of models that have learnt nothing."""

from genlab import checkpoint
from genlab.build import build
from genlab.run import Run

DIGITS = {"_target_": "genlab.data.digits.Digits", "limit": 40}
MOONS = {"_target_": "genlab.data.planar.Moons", "test": 300}
VAE = {
    "_target_": "genlab.models.vae.vae.VAE",
    "latent": 2,
    "encoder": {"_target_": "genlab.models.vae.mlp.Encoder"},
    "decoder": {"_target_": "genlab.models.vae.mlp.Decoder"},
}
FLOW = {"_target_": "genlab.models.flow.realnvp.realnvp", "layers": 2, "width": 8, "net": "mlp"}
GAN = {
    "_target_": "genlab.models.gan.gan.GAN",
    "generator": {"_target_": "genlab.models.gan.mlp.Generator"},
    "discriminator": {"_target_": "genlab.models.gan.mlp.Discriminator"},
}


def make_run(path, model=VAE, data=DIGITS):
    """A run folder as training leaves it, of a model that has learnt nothing."""
    resolved = {"model": model, "data": data, "seed": 0}
    run = Run.create(path, resolved, ["genlab", "train"])
    built = build(data)
    network = build(model, spec=built.spec)
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    run.checkpoints.mkdir()
    checkpoint.write(
        run.checkpoints / "last.ckpt", {"genlab": checkpoint.card(resolved, built.spec, 7), "state_dict": state}
    )
    return run


def each_learns_in_its_turn(model, batch, loss):
    """In a player's turn the gradient reaches all of its own weights and nobody else's."""
    for player, modules in model.players().items():
        own = {id(p) for m in modules for p in m.parameters()}
        for p in model.parameters():
            p.requires_grad_(id(p) in own)
        model.turn(player, batch, loss, None)[0].backward()
        assert all((p.grad is not None) == (id(p) in own) for p in model.parameters())
        for p in model.parameters():
            p.grad = None
