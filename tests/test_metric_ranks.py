"""Every metric in conf/metric, built from its YAML: two processes give the figures of one."""

import datetime
import math
import multiprocessing

import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf

from genlab import ranks
from genlab.build import build
from genlab.data.mixtures import Ring
from genlab.data.stacked_mnist import StackedMNIST
from genlab.extractors.base import Features
from genlab.losses.fgan import KL
from genlab.metrics.choose import presets
from genlab.presets import conf_folder
from genlab.spec import Spec

OPTIONS = OmegaConf.to_container(OmegaConf.load(conf_folder() / "eval.yaml")) | {"extractor": None, "k": 4}
PRESETS = presets("metric", OPTIONS)
CHUNK = 150


class Planted:
    """An extractor whose features and logits are its input."""

    name, hash, dimensions, classes = "planted", "0", 2, 2

    def __call__(self, x):
        return Features(x.flatten(1), x.flatten(1))


class Corner:
    """A classifier of digits that are written into the first pixel."""

    name, hash, dimensions, classes = "corner", "0", 1, 10

    def __call__(self, x):
        digit = x[:, 0, 0, 0].long()
        return Features(digit[:, None].float(), torch.nn.functional.one_hot(digit, 10).float())


class Able(torch.nn.Module):
    """All that a metric may ask of a model; its density is a standard normal one."""

    latent, exact, supervised, size = 2, True, True, 3

    def __init__(self):
        super().__init__()
        self.annealing = {"chains": 3, "temperatures": 5, "AIS seed": 0}
        self.scale = torch.nn.Linear(2, 2, dtype=torch.float64)
        torch.nn.init.eye_(self.scale.weight)
        torch.nn.init.ones_(self.scale.bias)

    def encode(self, x, y=None):
        return x

    def decode(self, z, y=None):
        return z

    def codes(self, x, y=None):
        return x.long().clamp(-1, 1) + 1

    def features(self, x):
        return torch.cat([x, x.square()], 1)

    def criticise(self, x):
        return self.scale(x.double()).square().sum(1)

    def classify(self, x):
        return x

    def players(self):
        return {"critic": [], "generator": [self.scale]}

    def turn(self, player, batch, loss, penalty):
        fake = self.scale(batch["x"].double())
        return loss.generator(fake.sum(1), None), {}

    def evaluations(self):
        return 8

    def trajectories(self, z, points):
        return z.expand(points, *z.shape)

    def posterior(self, x):
        return x, x / 10

    def partition(self):
        return 7.5, 0.0

    def anneal(self):
        return 7.25, 0.25

    def log_prob(self, x, y=None):
        return -x.square().sum(1) / 2 - math.log(2 * math.pi)


class Bounded(Able):
    """A latent-variable model whose draws are functions of the example."""

    log_prob = None

    def terms(self, x, y=None):
        return self.bound(x, y), torch.zeros(len(x), 1)

    def bound(self, x, y=None, k=1):
        return self.log_weights(x, y, k).mean(0)

    def log_weights(self, x, y=None, k=1):
        return torch.outer(torch.arange(k, dtype=torch.float64), x.sum(1)).cos()


def normal(count):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(count))


def stacks(count):
    return torch.randint(0, 10, (count, 3, 28, 28), generator=torch.Generator().manual_seed(count), dtype=torch.uint8)


SHOWN = {"generated": 300, "train": 400, "test": 130}  # two chunks, three, and one
CASES = {name: (name, Able) for name in PRESETS} | {"likelihood of a bound": ("likelihood", Bounded)}


def figures(case):
    """What a metric says of this rank's share of all sources."""
    name, model = CASES[case]
    if name == "stacked_modes":
        draw, data, extractor = stacks, StackedMNIST(), Corner()
    else:
        draw, data, extractor = normal, Ring(std=0.3), Planted()
    spec = Spec("vector", (2,), classes=("a", "b")) if draw is normal else data.spec
    loss = None if name == "critic_divergence" else KL()  # both of its figures, of a critic of any loss
    metric = build(PRESETS[name], spec=spec, data=data, n=SHOWN["generated"], extractor=extractor, loss=loss)
    for source in metric.reads:
        x = draw(SHOWN[source])
        share = ranks.share(len(x), CHUNK)
        for start in range(share.start, share.stop, CHUNK):
            index = torch.arange(start, min(start + CHUNK, share.stop))
            metric.update({"x": x[index], "y": index % 2, "index": index}, source, model())
    return metric.compute()


def of_rank(rank, place, found):
    """The figures of all metrics by one of two ranks."""
    dist.init_process_group("gloo", f"file://{place}", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=60))
    try:
        told = {case: {name: tuple(figure) for name, figure in figures(case).items()} for case in CASES}
        found.put((rank, told))
        dist.barrier()
    except Exception as error:  # the other one waits for this one
        found.put((rank, f"rank {rank}: {error!r}"))
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """What each of two ranks says; the second is shown no test example."""
    context = multiprocessing.get_context("fork")
    found, place = context.Queue(), tmp_path_factory.mktemp("ranks") / "store"
    processes = [context.Process(target=of_rank, args=(rank, place, found)) for rank in range(2)]
    for process in processes:
        process.start()
    told = dict(found.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    wrong = [error for error in told.values() if isinstance(error, str)]
    assert not wrong, wrong
    return told


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_give_the_figures_of_one(of_two, case):
    alone = figures(case)
    assert alone
    for rank in (0, 1):
        found = of_two[rank][case]
        if rank == 1 and case == "integral":  # it was shown no model
            assert found == {}
            continue
        assert set(found) == set(alone)
        for name, figure in alone.items():
            value, mark, stderr, protocol = found[name]
            assert value == pytest.approx(figure.value, rel=1e-9, abs=1e-12), name
            assert stderr == (None if figure.stderr is None else pytest.approx(figure.stderr, rel=1e-6, abs=1e-12))
            assert (mark, protocol) == (figure.mark, figure.protocol), name


@pytest.mark.parametrize("count, chunk, world", [(40, 256, 2), (1000, 64, 3), (0, 10, 2), (640, 64, 4), (3, 1, 8)])
def test_shares_are_whole_chunks_that_make_up_all_and_the_first_rank_has_one(monkeypatch, count, chunk, world):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: world)
    parts = []
    for rank in range(world):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        parts.append(ranks.share(count, chunk))
    assert [item for part in parts for item in part] == [*range(count)]
    assert all(part.start % chunk == 0 or not part for part in parts)
    assert len(parts[0]) > 0 or count == 0
    assert max(map(len, parts)) <= (math.ceil(math.ceil(count / chunk) / world)) * chunk
