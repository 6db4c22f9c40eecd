"""A loss, a bijection, a data set and a model from a folder outside the repository: one file and one YAML each."""

import json
import sys
from pathlib import Path

import pytest
import torch

from genlab import build, checkpoint, cli, plugins
from genlab.cli.resume import PLUGINS
from genlab.errors import ConfigError
from genlab.run import Run

LOSS = '''
"""Hinge loss."""

from torch import Tensor
from torch.nn.functional import relu


class Hinge:
    """E[max(0, 1 - d(x))] + E[max(0, 1 + d(G(z)))] and -E[d(G(z))]. (Lim and Ye 2017, arXiv 1705.02894)

    Args:
        margin: beyond which an example counts for nothing.
    """

    def __init__(self, margin: float = 1.0):
        self.margin = margin

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(self.margin - real).mean() + relu(self.margin + fake).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -fake.mean()
'''
LOSS_YAML = """# Hinge loss. Lim and Ye 2017, arXiv 1705.02894
_target_: my_hinge.Hinge
"""

BIJECTION = '''
"""Planar shears."""

import torch
from torch import Tensor, nn

from genlab.bijections.base import Bijection, no_change


class Shear(Bijection):
    """(a, b) to (b + w tanh(v a + u), a): triangular up to the exchange, so the volume stays.

    Args:
        width: number of tanh.
    """

    def __init__(self, width: int = 16):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        a, b = x[:, :1], x[:, 1:]
        return torch.cat([b + self.net(a), a], 1), no_change(x)

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        b, a = y[:, :1], y[:, 1:]
        return torch.cat([a, b - self.net(a)], 1), no_change(y)
'''
BIJECTION_YAML = """# @package _global_
# Flow of shears in the plane
defaults:
  - override /loss: nll
  - override /optimizer: adam
model:
  _target_: genlab.models.flow.flow.Flow
  bijection:
    _target_: genlab.bijections.chain.Chain
    bijections:
      - {_target_: my_shear.Shear, width: 8}
      - {_target_: my_shear.Shear}
      - {_target_: my_shear.Shear}
  base: {_target_: genlab.models.flow.standard_normal.StandardNormal, dimensions: 2}
training: {_target_: genlab.training.likelihood.Likelihood}
trainer: {batch_size: 64, max_steps: 1000}
"""

DATA = '''
"""The unit disc."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genlab.data.planar import Planar


@dataclass(kw_only=True)
class Disc(Planar):
    """Uniform on a disc; entropy log(pi radius^2).

    Args:
        radius: of the disc.
    """

    name: ClassVar[str] = "disc"
    positive: ClassVar[tuple[str, ...]] = ("radius",)

    radius: float = 1.0

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, None]:
        angle, r = random.uniform(0, 2 * math.pi, count), self.radius * np.sqrt(random.random(count))
        return np.stack([r * np.cos(angle), r * np.sin(angle)], 1), None

    @property
    def entropy(self) -> float:
        return math.log(math.pi * self.radius**2)
'''
DATA_YAML = """# Uniform disc; entropy log(pi radius^2)
_target_: my_disc.Disc
"""

MODEL = '''
"""A mixture of Gaussians."""

import math

import torch
from torch import Tensor, nn

from genlab.noise import Noise
from genlab.spec import Spec


class Mixture(nn.Module):
    """log p(x) = log sum_k w_k N(x; m_k, s_k^2 I).

    Args:
        spec: of vectors.
        components: number K of Gaussians.
    """

    exact = True

    def __init__(self, spec: Spec, components: int = 8):
        super().__init__()
        self.spec = spec
        self.mean = nn.Parameter(torch.randn(components, spec.dimensions))
        self.log_scale, self.logit = nn.Parameter(torch.zeros(components)), nn.Parameter(torch.zeros(components))

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        z = (x[:, None] - self.mean) / self.log_scale.exp()[:, None]
        each = -(z.square().sum(2) / 2 + self.spec.dimensions * (self.log_scale + math.log(2 * math.pi) / 2))
        return (each + self.logit.log_softmax(0)).logsumexp(1)

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        which = torch.searchsorted(self.logit.softmax(0).cumsum(0), noise.uniform()).clamp(max=len(self.logit) - 1)
        deviation = self.log_scale.exp()[which][:, None] * noise.normal(self.spec.dimensions)
        return self.mean[which] + temperature * deviation
'''
MODEL_YAML = """# @package _global_
# Mixture of Gaussians. Pearson 1894
defaults:
  - override /loss: nll
  - override /optimizer: adam
model:
  _target_: my_mixture.Mixture
  components: 4
training: {_target_: genlab.training.likelihood.Likelihood}
trainer: {batch_size: 64, max_steps: 1000}
"""

FILES = {
    "code/my_hinge.py": LOSS,
    "conf/loss/my_hinge.yaml": LOSS_YAML,
    "code/my_shear.py": BIJECTION,
    "conf/model/my_shear.yaml": BIJECTION_YAML,
    "code/my_disc.py": DATA,
    "conf/data/my_disc.yaml": DATA_YAML,
    "code/my_mixture.py": MODEL,
    "conf/model/my_mixture.yaml": MODEL_YAML,
}
SHORT = [
    "trainer.max_steps=3",
    "trainer.batch_size=8",
    "logger=csv",
    "data.train=64",
    "data.validation=32",
    "data.test=64",
]


@pytest.fixture(autouse=True)
def stranger(monkeypatch):
    """Nothing is trusted, found or imported before a test that was not there before, and nothing stays after it."""
    modules = set(sys.modules)
    monkeypatch.setattr(sys, "argv", ["genlab"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(build, "_admitted", list(build._admitted))
    monkeypatch.setenv(PLUGINS, "")
    yield
    forget(modules)


def forget(modules: set[str]) -> None:
    for name in set(sys.modules) - modules:
        if name.startswith("my_"):
            del sys.modules[name]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A user's folder, and genlab called in it."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.lstrip("\n"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def genlab(verb: str, *words: str, plugins: bool = True, conf: bool = True) -> int:
    more = [*(["plugins=[code]"] if plugins else []), *(["--config-dir", "conf"] if conf else [])]
    return cli.main([verb, *words, *more])


def the_run() -> str:
    (run,) = Run.find(["outputs"])
    return str(run.path)


@pytest.mark.parametrize(
    "choice",
    [
        ["model=gan", "data=moons", "loss=my_hinge", "loss.margin=2"],
        ["model=my_shear", "data=moons"],
        ["model=realnvp", "data=my_disc", "data.radius=2"],
        ["model=my_mixture", "data=moons", "model.components=3"],
    ],
    ids="-".join,
)
def test_train_sample_eval_and_check(here, choice, capsys):
    assert genlab("train", *choice, *SHORT) == 0, capsys.readouterr().err
    run = the_run()
    assert Run(run).info["status"] == "done"
    assert genlab("sample", f"run={run}", "n=5", "out=made", conf=False) == 0, capsys.readouterr().err
    assert (here / "made" / "samples.npz").is_file() and (here / "made" / "grid.png").is_file()
    capsys.readouterr()
    assert genlab("eval", f"run={run}", "n=8", "--json", conf=False) == 0, capsys.readouterr().err
    (row,) = json.loads(capsys.readouterr().out)
    assert ("nats" in row["metrics"]) == (choice[0] != "model=gan")
    assert genlab("check", *choice, *SHORT) == 0, capsys.readouterr().out
    assert "holds" in capsys.readouterr().out


def test_the_checks_know_them(here, capsys):
    """Suggestions, types and entropies of what is not ours."""
    assert genlab("train", "model=my_mixtur", "data=my_disc", "data.radius=wide", "model.component=3", *SHORT) == 2
    said = capsys.readouterr().err
    assert "did you mean 'my_mixture'" in said and "did you mean 'components'" in said and "data.radius=wide" in said
    assert genlab("list", "model=my_mixture", plugins=False) == 0
    assert "Pearson 1894" in capsys.readouterr().out
    assert genlab("list", "model=my_mixture") == 0
    assert "model.components=" in capsys.readouterr().out
    assert genlab("check", "model=my_mixture", "data=my_disc", "data.radius=0.1") == 0
    laws = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "nats against -3.46" in laws["no density beats the entropy"]


@pytest.mark.parametrize("named", ["my_mixture", "json"])
def test_a_package_of_the_folder_one_is_in_is_named_by_name(named, here, capsys):
    (here / "code" / "my_mixture.py").rename(here / "my_mixture.py")
    words = ["--config-dir", "conf", "model=my_mixture", "data=moons", f"plugins=[{named}]"]
    assert cli.main(["train", "--dry-run", *words]) == (0 if named == "my_mixture" else 2)
    said = capsys.readouterr().err
    assert named == "my_mixture" or "not a trusted package; if you trust it, add plugins=[my_mixture]" in said


def test_a_run_goes_on_with_its_plugins(here, capsys):
    assert genlab("train", "model=my_mixture", "data=my_disc", *SHORT) == 0
    assert genlab("train", f"run={the_run()}", "trainer.max_steps=5", conf=False) == 0, capsys.readouterr().err
    assert Run(the_run()).info["step"] == 5


def test_without_plugins_nothing_of_theirs_is_run(here, monkeypatch, capsys):
    """Neither by a config, nor by a run, nor by a checkpoint alone; one line says what would."""
    modules = set(sys.modules)
    assert genlab("train", "model=my_mixture", "data=my_disc", *SHORT) == 0
    run = Run(the_run())
    monkeypatch.setattr(build, "_admitted", [name for name in build._admitted if not name.startswith("my_")])
    monkeypatch.setenv(PLUGINS, "")
    forget(modules)
    (here / "code" / "my_mixture.py").write_text("raise SystemExit('run all the same')")
    capsys.readouterr()
    for words in (
        ["sample", f"run={run.path}"],
        ["sample", f"ckpt={run.checkpoints / 'last.ckpt'}"],
        ["eval", f"run={run.path}"],
        ["train", f"run={run.path}", "trainer.max_steps=9"],
    ):
        assert genlab(*words, plugins=False, conf=False) == 2
        said = capsys.readouterr().err.splitlines()
        assert said and all("my_" in line and "not a trusted package" in line and "plugins=[" in line for line in said)
        assert len(said) == 1 or words[0] == "train"  # which names data and model both
    with pytest.raises(ConfigError, match="plugins"):
        checkpoint.load(run.checkpoints / "last.ckpt")
    assert "my_mixture" not in sys.modules
    assert isinstance(torch.load(run.checkpoints / "last.ckpt", weights_only=True), dict)


def write_loss(here: Path, source: str, name: str) -> str:
    """A loss ``my_fault`` of the user's, in a module of its own, for sources are read once."""
    (here / "code" / f"my_fault_{name}.py").write_text(source)
    (here / "conf/loss/my_fault.yaml").write_text(f"# Fault\n_target_: my_fault_{name}.Fault\n")
    return f"my_fault_{name}"


def test_an_error_about_an_object_of_the_users_names_its_file(here, monkeypatch):
    (here / "code/my_lone.py").write_text("class Lone: ...\n")
    monkeypatch.syspath_prepend(here / "code")
    import my_lone

    for admitted, told in ((False, "AttributeError: 'Lone' object"), (True, "code/my_lone.py: AttributeError: 'Lone'")):
        if admitted:
            build.trust("my_lone")
        with pytest.raises(AttributeError) as caught:
            my_lone.Lone().latent  # noqa: B018
        assert plugins.told(caught.value).startswith(told)


@pytest.mark.parametrize("plugins", [False, True])
def test_a_card_says_what_it_takes_to_read_the_options_of_ones_own_model(plugins, here, capsys):
    name = f"my_own_{plugins}"  # that nothing has been read of
    (here / f"code/{name}.py").write_text(MODEL)
    (here / f"conf/model/{name}.yaml").write_text(MODEL_YAML.replace("my_mixture", name))
    assert genlab("list", f"model={name}", plugins=plugins) == 0
    said = capsys.readouterr().out
    assert (f"options: not read; '{name}' is not a trusted package; if you trust it, add" in said) != plugins
    assert ("model.components=" in said) == plugins


def test_a_model_of_ones_own_is_looked_for_where_config_dir_says(here, capsys):
    assert genlab("train", "--dry-run", "model=my_mixture", "data=moons", conf=False) == 2
    assert "those of your own are where --config-dir says" in capsys.readouterr().err


FAULTS = {
    "Vector": ("return (1 - real).relu()", "what the critic minimises has shape (256,), and must be one number"),
    "Broken": ("return (real @ fake[:3]).mean()", "code/my_fault_{0}.py, line 7: RuntimeError: "),
    "Unknown": ("return relu(real).mean()", "code/my_fault_{0}.py, line 7: NameError: name 'relu' is not defined"),
    "Lacking": ("return self.margin", "code/my_fault_{0}.py, line 7: AttributeError: 'Fault' object has no attribute"),
    "Unreadable": ("return (", "my_fault_{0}.py, line 7: '(' was never closed   (conf/loss/my_fault.yaml)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_plugin_is_told_with_the_line_it_is_in(fault, here, capsys):
    wrong, told = FAULTS[fault]
    right = "def generator(self, fake, real=None):\n        return -fake.mean()\n"
    source = f"class Fault:\n    {right}\n    def critic(self, real, fake):\n\n        {wrong}\n"
    write_loss(here, source, fault)
    assert genlab("train", "model=gan", "data=moons", "loss=my_fault", "logger=csv", "trainer.max_steps=2") in (1, 2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert told.format(fault) in error
    if fault != "Unreadable":
        assert Run(the_run()).info["error"] in error


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("def critic(self, real, fake): ...", "Fault has no generator; a loss of games is its critic(real, fake) and"),
        ("def other(self): ...", "Fault has no critic and no generator; a loss of games is"),
        ("def __call__(self, model, batch, step): ...", "GAN is a game, Fault a likelihood objective; did you mean"),
    ],
)
def test_a_loss_that_lacks_a_part_is_refused_before_anything_is_imported(loss, told, here, capsys):
    module = write_loss(here, f"class Fault:\n    {loss}\n", loss[4:8].strip("_"))
    assert genlab("train", "--dry-run", "model=gan", "data=moons", "loss=my_fault") == 2
    assert told in capsys.readouterr().err
    assert module not in sys.modules


def test_a_density_of_another_shape_than_one_number_an_example_is_refused(here, capsys):
    (here / "code/my_mixture.py").write_text(MODEL.replace(".logsumexp(1)", ""))
    assert genlab("train", "model=my_mixture", "data=my_disc", *SHORT) == 2
    told = "model=Mixture: log p(x) of 8 examples has shape (8, 4), and must be a number for each"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("plugins", ["my_package", "."])
def test_a_package_needs_no_init_file(plugins, here, capsys):
    (here / "my_package/parts").mkdir(parents=True)
    (here / "my_package/parts/good.py").write_text(LOSS)
    (here / "conf/loss/my_hinge.yaml").write_text("# Hinge\n_target_: my_package.parts.good.Hinge\n")
    words = ["--config-dir", "conf", f"plugins=[{plugins}]", "model=gan", "data=moons", "loss=my_hinge"]
    assert cli.main(["train", "--dry-run", *words]) == 0, capsys.readouterr().err


def test_a_folder_admits_no_module_by_the_name_of_one_of_python_s_own(here, capsys):
    (here / "code/os.py").write_text("def system(command): ...\n")
    (here / "conf/loss/my_hinge.yaml").write_text("# Not a loss\n_target_: os.system\n")
    assert genlab("train", "--dry-run", "model=gan", "data=moons", "loss=my_hinge") == 2
    assert "'os' is not a trusted package; it is Python's own" in capsys.readouterr().err


def test_a_class_variable_of_any_annotation_is_no_option(here, capsys):
    (here / "code/my_disk.py").write_text(DATA.replace("name: ClassVar[str]", "name: ClassVar"))
    (here / "conf/data/my_disk.yaml").write_text("# Uniform disc\n_target_: my_disk.Disc\n")
    assert genlab("train", "--dry-run", "model=my_mixture", "data=my_disk", "data.name=disk") == 2
    assert "Disc takes no 'name'" in capsys.readouterr().err
