"""Training from a run folder: the step as the one clock, resuming to the bit, orderly stops, guards, and ranks."""

import contextlib
import csv
import gc
import math
import os
import resource
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from genlab import assembly, checkpoint, cli, config, train
from genlab.errors import CheckpointError, ConfigError, GenlabError, PictureError
from genlab.run import Run, alone, settled
from genlab.training.average import Average
from genlab.training.callbacks import Keep, Stop
from genlab.training.journal import Journal
from genlab.training.meter import Meter, NotFiniteError
from genlab.training.settings import Settings

VAE = ["model=vae", "data=digits", "model.encoder.width=32", "model.decoder.width=32"]
GAN = ["model=wgan_gp", "data=digits", "model.net=mlp", "model.generator.width=32", "model.discriminator.width=32"]
FLOW = ["model=realnvp", "data=moons", "++data.train=2000", "++data.validation=500", "++data.test=500"]


def make(folder: Path, *overrides: str) -> Run:
    typed = ["logger=csv", "trainer.log_every=5", "trainer.checkpoint_every=10", "trainer.max_epochs=null"]
    listed = [f"++{word}" if word.startswith("model.") or ".width" in word else word for word in overrides]
    composed = config.compose("train", [*typed, *listed])
    return Run.create(folder, composed.config | {"choices": composed.choices}, ["test"])


def weights(run: Run, name: str = "last") -> dict[str, torch.Tensor]:
    state = checkpoint.read(run.checkpoint(name))
    return state["state_dict"] | {f"average.{key}": value for key, value in state["average"].items()}


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


class Death(BaseException):
    """As sudden as kill -9: nothing is saved on the way."""


@pytest.mark.parametrize("model", [VAE, GAN], ids=["vae", "gan"])
def test_a_killed_run_goes_on_to_the_weights_and_the_log_of_an_undisturbed_one(model, tmp_path, monkeypatch):
    undisturbed, killed = (make(tmp_path / name, *model, "trainer.max_steps=34") for name in "ab")
    assert train.main(undisturbed.path) == 0
    keep = Keep.after

    def dying(self, trainer, module, step):
        if step == 27:
            raise Death
        keep(self, trainer, module, step)

    monkeypatch.setattr(Keep, "after", dying)
    with pytest.raises(Death):
        train.main(killed.path)
    monkeypatch.setattr(Keep, "after", keep)
    assert checkpoint.read(killed.checkpoint("last"))["genlab"]["step"] == 20
    assert train.main(killed.path) == 0
    assert equal(weights(undisturbed), weights(killed))
    logs = [list(csv.DictReader((run.path / "metrics.csv").open())) for run in (undisturbed, killed)]
    for row in (row for log in logs for row in log):
        del row["steps_per_second"], row["seconds"]  # the clock's, all else is the run's
    assert logs[0] == logs[1]
    assert Run(killed.path).info["status"] == "done"


def test_checkpoints_that_stay_are_those_of_their_steps(tmp_path):
    same = [*VAE, "trainer.schedule=constant"]
    run = make(tmp_path / "a", *same, "trainer.max_steps=25", "trainer.keep_every=10")
    shorter = make(tmp_path / "b", *same, "trainer.max_steps=10")
    assert train.main(run.path) == train.main(shorter.path) == 0
    assert [path.stem for path in run.all_checkpoints()][:2] == ["step_0000010", "step_0000020"]
    assert checkpoint.read(run.checkpoint("20"))["genlab"]["step"] == 20
    assert equal(weights(run, "10"), weights(shorter))
    assert "optimizer_states" not in checkpoint.read(run.checkpoint("10"))
    assert not list(shorter.checkpoints.glob("step_*"))


def test_interrupting_saves_the_step_and_goes_on_from_it(tmp_path, monkeypatch, capsys):
    undisturbed, stopped = (make(tmp_path / name, *GAN, "trainer.max_steps=30") for name in "ab")
    train.main(undisturbed.path)
    step = train.Module.training_step

    def interrupted(self, batch, index):
        if self.global_step == 12:
            os.kill(os.getpid(), signal.SIGINT)
        step(self, batch, index)

    monkeypatch.setattr(train.Module, "training_step", interrupted)
    assert train.main(stopped.path) == 130
    monkeypatch.setattr(train.Module, "training_step", step)
    assert checkpoint.read(stopped.checkpoint("last"))["genlab"]["step"] == 13
    assert stopped.info["status"] == "interrupted"
    assert "genlab train run=" in capsys.readouterr().out
    assert train.main(stopped.path) == 0
    assert equal(weights(undisturbed), weights(stopped))


def interrupting(step: int, times: int):
    """Training steps of which one is under way when Ctrl-C comes so many times."""
    take = train.Module.training_step

    def interrupted(self, batch, index):
        for _ in range(times if self.global_step == step else 0):
            os.kill(os.getpid(), signal.SIGINT)
        take(self, batch, index)

    return interrupted


@pytest.mark.parametrize("times", [2, 3])
def test_a_key_that_bounces_interrupts_once(tmp_path, monkeypatch, capsys, times):
    run = make(tmp_path / "a", *GAN, "trainer.max_steps=30")
    monkeypatch.setattr(train.Module, "training_step", interrupting(12, times))
    assert train.main(run.path) == 130
    assert run.info["status"] == "interrupted" and run.info["step"] == 13
    assert "stopped after step 13, saved; go on with: genlab train run=" in capsys.readouterr().out
    assert checkpoint.read(run.checkpoint("last"))["genlab"]["step"] == 13


def test_interrupting_again_later_ends_it_at_once(tmp_path, monkeypatch, capsys):
    run = make(tmp_path / "a", *GAN, "trainer.max_steps=30", "trainer.checkpoint_every=10")
    monkeypatch.setattr(Stop, "AGAIN", -1.0)  # whatever comes is later
    monkeypatch.setattr(train.Module, "training_step", interrupting(12, 2))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train.main(run.path)
    signal.signal(signal.SIGINT, before)  # which Lightning leaves ignored
    assert run.info["status"] == "interrupted"
    assert "stopped before it could save; " in capsys.readouterr().out
    assert checkpoint.read(run.checkpoint("last"))["genlab"]["step"] == 10


def test_what_a_killed_process_was_writing_does_not_stay(tmp_path):
    run = make(tmp_path / "run", *GAN, "trainer.max_steps=1")
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / ".last.ckpt.123.partial").write_bytes(b"half")
    assert train.main(run.path) == 0
    assert run.checkpoint("last").is_file() and not list(run.checkpoints.glob(".*"))


def test_a_run_leaves_signals_and_memory_as_they_were(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    training = assembly.assemble(make(tmp_path / "a", *GAN, "trainer.max_steps=1"))
    training.trainer.fit(training.module)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    trainer = weakref.ref(training.trainer)
    del training
    gc.collect()
    assert trainer() is None


def test_a_step_is_one_generator_update(tmp_path):
    run = make(tmp_path / "run", *GAN, "training.critic_steps=3", "trainer.max_steps=7")
    train.main(run.path)
    state = checkpoint.read(run.checkpoint("last"))
    assert {key.split(".")[0] for key in state["state_dict"]} == {"model"}  # nothing is saved twice
    assert state["global_step"] == state["genlab"]["step"] == 7
    updates = [next(iter(optimizer["state"].values()))["step"].item() for optimizer in state["optimizer_states"]]
    assert updates == [21, 7]


def test_accumulating_parts_of_a_batch_gives_the_gradient_of_the_whole(tmp_path):
    runs = [
        make(tmp_path / parts, *FLOW, "trainer.max_steps=5", f"trainer.accumulate_grad_batches={parts}")
        for parts in "14"
    ]
    for run in runs:
        train.main(run.path)
    one, two = map(weights, runs)
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-3, atol=1e-5)


def test_channels_innermost_in_memory_change_no_weight(tmp_path):
    """But by rounding: sums are taken in another order."""
    small = [
        "model=wgan_gp",
        "data=digits",
        "model.net=dcgan",
        "model.generator.width=8",
        "model.discriminator.width=8",
    ]
    runs = [make(tmp_path / w, *small, "trainer.max_steps=3", f"trainer.channels_last={w}") for w in ("false", "true")]
    assert [train.main(run.path) for run in runs] == [0, 0]
    usual, innermost = map(weights, runs)
    for name, weight in usual.items():
        torch.testing.assert_close(innermost[name], weight, rtol=1e-4, atol=1e-6)
    wide = [name for name, weight in usual.items() if weight.ndim == 4 and min(weight.shape) > 1]
    assert wide and all(innermost[name].is_contiguous(memory_format=torch.channels_last) for name in wide)


def test_a_loss_that_is_no_number_stops_with_step_part_and_checkpoint(tmp_path, monkeypatch):
    run = make(tmp_path / "run", *VAE, "trainer.max_steps=40")
    objective = train.Module.update

    def spoilt(self, name, loss, parts=1):
        def poisoned():
            value, logged = loss()
            bad = float("nan") if self.global_step == 22 else 1.0
            return value * bad, {key: part * bad for key, part in logged.items()}

        objective(self, name, poisoned, parts)

    monkeypatch.setattr(train.Module, "update", spoilt)
    with pytest.raises(
        NotFiniteError, match=r"step 23: .* is nan; training stopped; the last good checkpoint is .*last"
    ):
        train.main(run.path)
    assert all(torch.isfinite(value).all() for value in weights(run).values())
    assert checkpoint.read(run.checkpoint("last"))["genlab"]["step"] == 20
    assert run.info["status"] == "failed"


def test_weights_that_a_step_has_spoilt_are_not_kept(tmp_path):
    """No loss has told of them yet."""
    run = make(tmp_path / "run", *GAN, "trainer.max_steps=1", "++training.players.generator.lr=1e39")
    with pytest.raises(
        NotFiniteError, match=r"step 1: \S+ is not finite; training stopped; there is no checkpoint yet"
    ):
        train.main(run.path)
    assert not list(run.checkpoints.glob("*.ckpt")) and run.info["status"] == "failed"


def test_patience_and_max_time_end_a_run_in_order(tmp_path):
    patient = make(tmp_path / "a", *VAE, "trainer.max_steps=100000", "trainer.validate_every=2", "trainer.patience=2",
                   "optimizer.lr=1.0")  # fmt: skip
    assert train.main(patient.path) == 0
    assert 4 <= patient.info["step"] < 1000
    timed = make(tmp_path / "b", *GAN, "trainer.max_steps=1000000", "trainer.max_time=2s")
    assert train.main(timed.path) == 0
    assert timed.info["status"] == "done"
    assert checkpoint.read(timed.checkpoint("last"))["genlab"]["step"] == timed.info["step"]


@pytest.mark.parametrize("word", ["trainer.max_time=1s", "trainer.patience=1"])
def test_a_run_that_its_limit_ended_goes_on_where_a_limit_is_given_again(tmp_path, capsys, word):
    run = make(tmp_path / "run", *VAE, "trainer.max_steps=100000", "trainer.validate_every=2", "optimizer.lr=1.0", word)
    train.main(run.path)
    step = run.info["step"]
    assert f"done, {step} steps, ended by {word}: " in capsys.readouterr().out and run.info["ended"] == word
    assert cli.main(["train", f"run={run.path}"]) == 0
    assert f"trained already, {step} steps: {word} ended it" in capsys.readouterr().out and run.info["step"] == step
    assert cli.main(["train", f"run={run.path}", word]) == 0
    assert run.info["step"] > step and run.info["ended"] == word
    assert (
        cli.main(["train", f"run={run.path}", f"trainer.max_steps={run.info['step'] + 1}", "trainer.patience=null"])
        == 0
    )
    assert run.info["ended"] is None


def test_a_run_whose_epochs_are_over_is_told_in_epochs(tmp_path, capsys):
    run = make(tmp_path / "run", *VAE, "trainer.max_epochs=0.2")
    train.main(run.path)
    step = run.info["step"]
    capsys.readouterr()
    assert cli.main(["train", f"run={run.path}", "trainer.max_epochs=0.1"]) == 0
    assert f"{step} steps, where trainer.max_epochs=0.1 makes " in capsys.readouterr().out
    assert cli.main(["train", f"run={run.path}", "trainer.max_epochs=0.3", "--dry-run"]) == 0
    assert f"trained     {step} steps so far" in capsys.readouterr().out


def test_a_run_that_lost_its_checkpoints_says_that_it_starts_over(tmp_path, capsys):
    run = make(tmp_path / "run", *GAN, "trainer.max_steps=5")
    train.main(run.path)
    run.checkpoint("last").unlink()
    capsys.readouterr()
    train.main(run.path)
    assert "none of its checkpoints is left, so its 5 steps start over" in capsys.readouterr().err
    os.replace(run.checkpoint("last"), run.checkpoints / "best.ckpt")
    best = (run.checkpoints / "best.ckpt").read_bytes()
    with pytest.raises(CheckpointError, match=r"last\.ckpt: .*beside it: best\.ckpt"):
        train.main(run.path)
    assert (run.checkpoints / "best.ckpt").read_bytes() == best


def test_ctrl_c_while_ranks_start_waits_for_their_first_step(tmp_path):
    run = make(
        tmp_path / "run",
        *GAN,
        "trainer.max_steps=100000",
        "trainer=ddp",
        "trainer.devices=2",
        "trainer.accelerator=cpu",
    )
    command = [sys.executable, "-m", "genlab", "train", f"run={run.path}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    deadline = time.monotonic() + 120
    while not second_rank(run.path) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and run.info["status"] == "interrupted"
    assert "saved; go on with: genlab train run=" in printed
    assert checkpoint.read(run.checkpoint("last"))["genlab"]["step"] == run.info["step"] >= 1


def second_rank(folder: Path) -> bool:
    """Whether the second rank of a training in a folder has been started, by Linux's list of processes."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command, environment = ((process / name).read_bytes() for name in ("cmdline", "environ"))
            if str(folder).encode() in command and b"LOCAL_RANK=1" in environment:
                return True
    return False


def test_a_finished_run_is_not_trained_again_and_a_longer_budget_goes_on(tmp_path, capsys):
    run = make(tmp_path / "run", *GAN, "trainer.max_steps=5")
    train.main(run.path)
    before = run.checkpoint("last").stat().st_mtime_ns
    assert train.main(run.path) == 0
    assert "trained already" in capsys.readouterr().out
    assert run.checkpoint("last").stat().st_mtime_ns == before


def test_a_budget_that_is_spent_already_changes_nothing(tmp_path, capsys):
    run = make(tmp_path / "run", *GAN, "trainer.max_steps=5")
    train.main(run.path)
    before = [(run.path / name).read_text() for name in ("config.yaml", "run.yaml")]
    assert cli.main(["train", f"run={run.path}", "trainer.max_steps=2"]) == 0
    assert "trained already, 5 steps" in capsys.readouterr().out
    assert [(run.path / name).read_text() for name in ("config.yaml", "run.yaml")] == before
    assert cli.main(["train", f"run={run.path}", "trainer.max_steps=6"]) == 0
    assert Run(run.path).info["step"] == 6 and Run(run.path).config["trainer"]["max_steps"] == 6


def test_training_starts_from_the_weights_of_another_run(tmp_path, capsys):
    source = make(tmp_path / "a", *VAE, "trainer.max_steps=3")
    train.main(source.path)
    run = make(
        tmp_path / "b",
        *VAE,
        "trainer.max_steps=1",
        "optimizer.lr=1e-30",
        "trainer.ema=null",
        f"init_from={source.path}",
    )
    train.main(run.path)
    taken, given = weights(run), checkpoint.read(source.checkpoint())["average"]
    assert all(torch.equal(taken[f"model.{name}"], value) for name, value in given.items())
    assert "tensors taken" in capsys.readouterr().out
    other = make(tmp_path / "c", *FLOW, "trainer.max_steps=1", f"init_from={source.path}")
    with pytest.raises(ConfigError, match="init_from"):
        train.main(other.path)


def test_a_generator_starts_as_the_decoder_of_a_vae_of_its_shape(tmp_path, capsys):
    mlp = ["model.decoder.width=16", "model.decoder.depth=2", "model.latent=4", "model.likelihood=bernoulli"]
    source = make(tmp_path / "vae", "model=vae", "data=digits", "++data.binarize=static", *mlp, "trainer.max_steps=2")
    train.main(source.path)
    nets = ["model.generator.width=16", "model.generator.depth=2", "model.generator.norm=null", "model.latent=4"]
    game = ["model=gan", "data=digits", "++data.binarize=static", *nets, "optimizer.lr=1e-30", "trainer.ema=null"]
    run = make(tmp_path / "gan", *game, "trainer.max_steps=1", f"init_from={source.path}")
    train.main(run.path)
    found, given = weights(run), checkpoint.read(source.checkpoint())["average"]
    pairs = run.info["initialised"]
    assert pairs and all(key.startswith("generator.") and other.startswith("decoder.") for key, other in pairs.items())
    assert all(torch.equal(found[f"model.{key}"], given[other]) for key, other in pairs.items())
    assert len(pairs) == sum(key.startswith("model.generator.") for key in found)
    told = capsys.readouterr().out
    assert "generator: 6 of 6 tensors taken from decoder" in told and "critic: 0 of" in told


def test_two_processes_do_not_train_one_run(tmp_path):
    run = make(tmp_path / "run", *GAN, "trainer.max_steps=5")
    with train.alone(run), pytest.raises(GenlabError, match="another process"), train.alone(Run(run.path)):
        pass


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path):
    path = tmp_path / "last.ckpt"
    checkpoint.write(path, {"genlab": {}, "x": torch.zeros(10)})
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(CheckpointError, match="cannot write the checkpoint"):
            checkpoint.write(path, {"genlab": {}, "x": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_that_cannot_be_written_says_how_to_go_on(tmp_path, monkeypatch):
    run = make(tmp_path / "run", *GAN, "trainer.max_steps=30", "trainer.checkpoint_every=10", "trainer.sample_every=15")
    monkeypatch.chdir(tmp_path)
    run.samples.write_bytes(b"")  # a file where the folder was to be
    with pytest.raises(PictureError, match=r"cannot write the picture: .*last\.ckpt; .*genlab train run=run$"):
        train.main(run.path)
    assert run.info["status"] == "failed" and run.info["step"] == 10
    run.samples.unlink()
    assert train.main(run.path) == 0


def test_checkpoints_that_are_damaged_or_not_to_be_trusted_are_refused(tmp_path):
    run = make(tmp_path / "run", *VAE, "trainer.max_steps=2")
    train.main(run.path)
    good, witness = run.checkpoint("last"), tmp_path / "witness"
    whole = good.read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "script.ckpt").write_bytes((Path(__file__).parent.parent / "scripts" / "quickstart").read_bytes())
    (tmp_path / "pop.ckpt").write_bytes(b"0.")  # a pickle that takes from an empty stack
    torch.save({"weights": 1}, tmp_path / "foreign.ckpt")
    state = checkpoint.read(good)
    state["genlab"]["config"]["model"] = {"_target_": "os.system", "command": f"touch {witness}"}
    torch.save(state, tmp_path / "system.ckpt")
    state["genlab"]["config"]["model"] = {"_target_": "genlab.jobs.subprocess.run", "args": ["touch", str(witness)]}
    torch.save(state, tmp_path / "detour.ckpt")

    class Code:
        def __reduce__(self):
            return os.system, (f"touch {witness}",)

    torch.save({"genlab": Code()}, tmp_path / "code.ckpt")
    for name in ("half", "text", "script", "pop", "foreign", "code", "none"):
        with pytest.raises(CheckpointError, match=f"{name}.ckpt"):
            checkpoint.load(tmp_path / f"{name}.ckpt")
    for name in ("system", "detour"):
        with pytest.raises(ConfigError, match=f"{name}.ckpt"):
            checkpoint.load(tmp_path / f"{name}.ckpt")
        good.write_bytes((tmp_path / f"{name}.ckpt").read_bytes())
        with pytest.raises(ConfigError, match=r"^model\._target_=.* trusted .*config in .*last\.ckpt") as error:
            train.main(run.path)
        assert "put that back" not in str(error.value)
    assert not witness.exists()


def changed(*keys, by):
    """An edit of what stands at some keys of a checkpoint."""

    def edit(state):
        for key in keys[:-1]:
            state = state[key]
        by(state, keys[-1])

    return edit


def set_at(*keys, to):
    return changed(*keys, by=lambda node, key: node.update({key: to}))


def lacking(*keys):
    return changed(*keys, by=lambda node, key: node.pop(key))


SAID, MODEL, FIRST = ("genlab", "spec"), ("genlab", "config", "model"), "decoder.layers.0.weight"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lacking("state_dict"), "lacks `state_dict`"),
        (set_at("state_dict", to=[1]), "holds no tensors by name"),
        (set_at("state_dict", 3, to=torch.zeros(1)), "has 3, the model no such tensor"),
        (set_at("state_dict", to={}), r"has no tensor \w[\w.]+ \(and \d+ more\)"),
        (set_at("average", to=[3]), "its average holds no tensors by name"),
        (set_at("average", FIRST, to="x"), f"its average has {FIRST}, which is no tensor"),
        *((lacking("genlab", key), f"lacks `{key}`") for key in ("step", "spec", "config")),
        *((set_at("genlab", "step", to=step), f"its step is {step}") for step in (-4, "x", 1.5)),
        (set_at("genlab", "config", to=None), "its config is no mapping"),
        (set_at(*MODEL, to="vae"), "its config has no model"),
        (set_at(*MODEL, to={"_target_": "genlab.data.digits.Digits"}), ".*Digits is none"),
        (set_at(*MODEL, "_target_", to=5), "its config has no model"),
        (set_at(*MODEL, "latent", to="16"), "model.latent=16: must be"),
        (set_at(*MODEL, "encoder", "width", to=-1), "its config describes no model: "),
        (set_at(*MODEL, "encoder", "_target_", to="torch.nn.parallel.DistributedDataParallel"), r"\w"),
        (lacking(*SAID, "shape"), "it lacks `shape`"),
        (set_at(*SAID, "size", to=8), "it has no `size`"),
        *((set_at(*SAID, "levels", to=value), f"levels is {value}") for value in ("17", 17.0, -17)),
        *(
            (set_at(*SAID, "shape", to=value), "shape is|its config describes no model")
            for value in ("188", [1, -8, 8], [64], [1, 100_000, 100_000])
        ),
        *((set_at(*SAID, "kind", to=value), "kind is foo|shape is .* axes") for value in ("foo", "text")),
        *((set_at(*SAID, "classes", to=value), "classes is no list of names") for value in (10, [None] * 10)),
    ],
)
def test_whatever_a_checkpoint_says_amiss_is_a_fault_of_the_file(whole_vae, tmp_path, edit, said):
    state = checkpoint.read(whole_vae)
    edit(state)
    torch.save(state, tmp_path / "bad.ckpt")
    told = rf"bad\.ckpt: (its spec: |its config describes no model: )?({said})[^\n]*$"
    with pytest.raises(CheckpointError, match=told):
        checkpoint.load(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("place", [("state_dict", f"model.{FIRST}"), ("average", FIRST)], ids=["raw", "average"])
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda named, key: named.pop(key), f"has no tensor {FIRST}"),
        (lambda named, key: named.update({f"{key}s": named[key]}), f"has {FIRST}s, the model no such tensor"),
        (lambda named, key: named.update({key: named[key][:3]}), rf"{FIRST} is \[3, 16\], the model's is \[32, 16\]"),
        (lambda named, key: named.update({key: named[key].long()}), f"{FIRST} is int64, the model's is float32"),
        (lambda named, key: named.update({key: named[key] > 0}), f"{FIRST} is bool, "),
        (lambda named, key: named.update({key: named[key].cfloat()}), f"{FIRST} is complex64, "),
        (lambda named, key: named.update({key: named[key].half()}), f"{FIRST} is float16, "),
        (lambda named, key: named[key].fill_(math.nan), f"{FIRST} holds NaN"),
        (lambda named, key: named[key].fill_(math.inf), f"{FIRST} holds Inf"),
    ],
)
def test_weights_and_their_average_must_be_the_models_own(whole_vae, tmp_path, place, edit, said):
    state = checkpoint.read(whole_vae)
    changed(*place, by=edit)(state)
    torch.save(state, tmp_path / "bad.ckpt")
    of = "its average:? " if place[0] == "average" else ""
    with pytest.raises(CheckpointError, match=rf"bad\.ckpt: {of}{said}[^\n]*$"):
        checkpoint.load(tmp_path / "bad.ckpt")


def test_an_average_is_of_what_training_averages(tmp_path):
    """Of a game the closing player's weights alone: the critic's must not come from there."""
    run = make(tmp_path / "run", *GAN, "trainer.max_steps=2")
    train.main(run.path)
    state = checkpoint.read(run.checkpoint())
    assert checkpoint.load(run.checkpoint()).averaged
    name = next(key for key in state["state_dict"] if key.startswith("model.critic."))
    state["average"][name.removeprefix("model.")] = state["state_dict"][name]
    torch.save(state, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match="its average has critic"):
        checkpoint.load(tmp_path / "bad.ckpt")


def test_reasons_are_not_cut_within_a_word():
    words = " ".join(f"word{number}" for number in range(100))
    told = checkpoint.in_words(RuntimeError(words))
    assert len(told) <= 160 and set(told.removesuffix(" ...").split()) <= set(words.split())


@pytest.fixture(scope="module")
def whole_vae(tmp_path_factory):
    """A checkpoint of a VAE."""
    run = make(tmp_path_factory.mktemp("whole") / "run", *VAE, "trainer.max_steps=2")
    train.main(run.path)
    return run.checkpoint("last")


def test_a_checkpoint_s_errors_name_the_key_within_the_model_and_the_version(whole_vae, tmp_path):
    bad = tmp_path / "bad.ckpt"
    state = checkpoint.read(whole_vae)
    state["genlab"]["config"]["model"]["encoder"]["_target_"] = "os.system"
    torch.save(state, bad)
    with pytest.raises(ConfigError, match=r"model\.encoder\._target_=os\.system"):
        checkpoint.load(bad)
    for part in ("loss", "data", "trainer", "logger"):  # of which a model needs nothing to sample
        state = checkpoint.read(whole_vae)
        state["genlab"]["config"][part] = {"_target_": "mine.Part", "inner": [{"_target_": "os.system"}]}
        torch.save(state, bad)
        for take in (checkpoint.load, checkpoint.tensors, checkpoint.read):  # to sample, to start from, to go on
            with pytest.raises(ConfigError, match=rf"^{part}\.inner\.0\._target_=os\.system"):
                take(bad)
        state["genlab"]["config"][part] = {"_target_": "mine.Part"}  # of a plugin
        torch.save(state, bad)
        checkpoint.load(bad)
    state = checkpoint.read(whole_vae)
    state["genlab"]["config"]["model"]["likelihood"] = "bernoulli"
    torch.save(state, bad)
    with pytest.raises(ConfigError, match=r"^model\.likelihood=bernoulli"):
        checkpoint.load(bad)
    state = checkpoint.read(whole_vae)
    state["genlab"]["version"] = "99.0"
    assert isinstance(state["genlab"]["config"]["model"].pop("_target_"), str)
    torch.save(state, bad)
    with pytest.raises(CheckpointError, match=r"written by genlab 99\.0, and this is"):
        checkpoint.load(bad)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xf7\x00\xff", "not valid YAML"),
        (b"model: {_target_: genlab.models.vae.vae.VAE}", "it has no trainer, so there is nothing to train"),
    ],
)
def test_a_damaged_config_of_a_run_is_named(tmp_path, content, said):
    run = make(tmp_path / "run", *VAE, "trainer.max_steps=2")
    (run.path / "config.yaml").write_bytes(content)
    with pytest.raises(GenlabError, match=f"config.yaml: {said}"):
        train.main(run.path)


def test_what_can_be_done_without_a_damaged_last_checkpoint_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = make(Path("run"), *VAE, "trainer.max_steps=2")
    train.main(run.path)
    last, best = run.checkpoint("last"), run.checkpoints / "best.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    capsys.readouterr()
    again = "to start over: rm -r run/checkpoints && genlab train run=run"
    for there in (True, False):
        assert cli.main(["train", "run=run", "trainer.max_steps=4"]) == 1
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and "last.ckpt: no checkpoint, or damaged, or cut short" in told
        assert told.rstrip().endswith(again)
        assert ("beside it: best.ckpt (weights alone" in told) == there and ("init_from=run " in told) == there
        best.unlink(missing_ok=True)
    last.unlink()
    assert cli.main(["train", "run=run"]) == 0
    assert checkpoint.read(last)["genlab"]["step"] == 2  # what a training that failed was given is not kept


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("late", [1, 1, 1, 0.5]),
        ("cosine", [1, 0.8536, 0.5, 0.1464]),
    ],
)
def test_learning_rates_fall_as_their_schedule_says(tmp_path, schedule, expected):
    run = make(tmp_path / "run", *GAN, f"trainer.schedule={schedule}", "trainer.max_steps=100")
    module = assembly.assemble(run).module
    assert [module.rate_factor(step) for step in (0, 25, 50, 75)] == pytest.approx(expected, abs=1e-4)
    assert module.rate_factor(100) == (1 if schedule == "constant" else pytest.approx(0, abs=1e-9))


def test_two_ranks_train_to_the_weights_of_one(tmp_path):
    """The likelihood of a flow on continuous data has no noise, so that only rounding may tell the two apart."""
    typed = [*FLOW, "trainer.max_steps=20", "trainer.accelerator=cpu"]
    one, two = make(tmp_path / "one", *typed), make(tmp_path / "two", *typed, "trainer=ddp", "trainer.devices=2")
    train.main(one.path)
    command = [sys.executable, "-m", "genlab", "train", f"run={two.path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    alone, shared = weights(one), weights(two)
    for key in alone:
        torch.testing.assert_close(alone[key], shared[key], rtol=1e-3, atol=1e-4)
    last = [list(csv.DictReader((run.path / "metrics.csv").open()))[-1] for run in (one, two)]
    assert float(last[0]["val/nats"]) == pytest.approx(float(last[1]["val/nats"]), rel=1e-3)
    assert float(last[0]["nll"]) == pytest.approx(float(last[1]["nll"]), rel=1e-4)  # of the whole batch


def test_the_average_is_the_weighted_sum_of_past_weights():
    parameter = nn.Parameter(torch.tensor([0.0]))
    average = Average({"w": parameter}, decay=0.5)
    expected = 0.0
    for step in range(1, 40):
        parameter.data.fill_(float(step**0.5))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step**0.5
    assert average.state_dict()["w"].item() == pytest.approx(expected, rel=1e-5)
    live = parameter.item()
    with average.applied():
        assert parameter.item() == pytest.approx(expected, rel=1e-5)
    assert parameter.item() == live


def test_the_meter_names_the_first_step_that_went_wrong():
    meter = Meter()
    for step in range(1, 6):
        meter.add(step, {"a": torch.tensor(float(step)), "b": torch.tensor(float("inf") if step >= 3 else 0.0)})
    with pytest.raises(NotFiniteError, match="step 3: b is inf"):
        meter.flush()
    healthy = Meter()
    for step in range(1, 6):
        healthy.add(step, {"a": torch.tensor(float(step))})
    restored = Meter()
    restored.load_state_dict(healthy.state_dict(), torch.device("cpu"))
    assert restored.flush() == healthy.flush() == {"a": 3.0}
    assert healthy.flush() == {}


def test_the_journal_takes_new_columns_and_drops_rows_after_a_checkpoint(tmp_path):
    journal = Journal(tmp_path / "metrics.csv")
    journal.write(1, {"loss": 1.0})
    journal.write(2, {"loss": 2.0})
    journal.write(2, {"val": 5.0})
    journal.write(3, {"loss": 3.0})
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,loss,val", "1,1,", "2,2,5", "3,3,"]
    resumed = Journal(tmp_path / "metrics.csv", step=2)
    resumed.write(3, {"loss": 4.0})
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,loss,val", "1,1,", "2,2,5", "3,4,"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("00:01:00:05", 3605), ("1.5h", 5400)]
)
def test_durations_are_read(text, seconds):
    assert Settings(max_time=text).seconds() == seconds


@pytest.mark.parametrize("text", ["soon", "10", "1x", "s"])
def test_durations_that_cannot_be_read_are_refused(text):
    with pytest.raises(ConfigError, match="max_time"):
        Settings(max_time=text).seconds()


def test_a_run_that_is_being_trained_is_not_changed(tmp_path):
    run = make(tmp_path / "run", *VAE, "trainer.max_steps=3")
    before = (run.path / "config.yaml").read_bytes(), (run.path / "run.yaml").read_bytes()
    with alone(run), pytest.raises(GenlabError, match="another process is training it"):
        cli.train(cli.take_apart("train", [f"run={run.path}", "trainer.max_steps=9"]))
    assert before == ((run.path / "config.yaml").read_bytes(), (run.path / "run.yaml").read_bytes())


def test_a_checkpoint_that_is_cut_anywhere_is_damaged(tmp_path):
    run = make(tmp_path / "run", *VAE, "trainer.max_steps=2")
    assert train.main(run.path) == 0
    whole = run.checkpoint("last").read_bytes()
    for kept in (100, 10_000, 20_000, 65_536, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.ckpt").write_bytes(whole[:kept])
        with pytest.raises(CheckpointError, match="damaged, or cut short; there is no other beside it"):
            checkpoint.read(tmp_path / "cut.ckpt")


def test_flipped_bytes_of_a_checkpoint_are_noticed(tmp_path):
    path = tmp_path / "last.ckpt"
    checkpoint.write(path, {"genlab": {"step": 1}, "weights": torch.zeros(5000)})
    raw = bytearray(path.read_bytes())
    middle = raw.index(bytes(4000)) + 2000
    raw[middle : middle + 64] = b"x" * 64
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="is not as it was written"):
        checkpoint.read(path)


def test_a_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        assembly.there(Settings(accelerator="gpu", max_steps=1))


def test_paths_of_data_are_kept_so_that_they_mean_the_same_everywhere(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert settled({"data": {"path": "photos"}}, [])["data"]["path"] == str(tmp_path / "photos")
    assert settled({"data": {"path": "elsewhere"}}, [])["data"]["path"] == "elsewhere"
