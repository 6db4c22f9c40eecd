"""The Inception network beside torch-fidelity's on the same random weights, and the extractors without one of ours."""

import functools
import hashlib
import http.server
import math
import threading
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from fidelity import fidelity
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from genlab.build import build
from genlab.data.files import Download
from genlab.errors import ConfigError, DataError, GenlabError
from genlab.extractors import inception
from genlab.extractors.base import Features
from genlab.extractors.inception import Inception, resize
from genlab.extractors.inception_net import Convolution, InceptionV3
from genlab.extractors.module import Module
from genlab.extractors.raw import Raw
from genlab.metrics.choose import extractors
from genlab.metrics.frechet import FrechetDistance, frechet_distance
from genlab.metrics.inception_score import InceptionScore
from genlab.spec import Spec

COLOUR, GREY = Spec("image", (3, 32, 32), 256), Spec("image", (1, 32, 32), 256)
PLANE = Spec("vector", (2,))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n, *shape, levels=256, seed=0):
    return torch.randint(levels, (n, *shape), generator=generator(seed), dtype=torch.uint8)


def names_and_shapes():
    """Of the published file."""
    with torch.device("meta"):
        parts = [part for part in InceptionV3().modules() if isinstance(part, Convolution)]
    shapes = {name: shape for part in parts for name, shape in part.published.items()}
    counters = {f"{part.title}.bn.num_batches_tracked": torch.Size() for part in parts}
    return shapes | counters | {"fc.weight": torch.Size([1008, 2048]), "fc.bias": torch.Size([1008])}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as the published one, of random weights under which activations stay of order 1."""
    random, state = generator(), {}
    for name, shape in names_and_shapes().items():
        normal = torch.randn(shape, generator=random)
        if normal.ndim > 1:
            state[name] = normal * math.sqrt((1 if name.startswith("fc") else 2) / normal[0].numel())
        else:
            state[name] = (normal / 5).exp() if name.endswith(("bn.weight", "running_var")) else normal / 10
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def extractor(weights):
    return Inception(COLOUR, str(weights))


def flat():
    """Weights that are the same throughout each tensor: their file is small."""
    shapes = names_and_shapes()
    return {name: torch.tensor(0.5 + i / 1000).expand(shape) for i, (name, shape) in enumerate(shapes.items())}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file as the published one, of the weights ``flat``."""
    path = tmp_path_factory.mktemp("weights") / "flat.pth"
    torch.save(flat(), path)
    return path


def apart(found, expected):
    """Largest difference by the scale of what is expected."""
    return float((found - expected).abs().max() / expected.std())


@pytest.fixture(scope="module")
def theirs(weights):
    make = fidelity("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    with pytest.MonkeyPatch.context() as patch:  # no weights are drawn only to be replaced
        patch.setattr(nn.Conv2d, "reset_parameters", lambda self: None)
        return make("theirs", ["2048", "logits_unbiased", "logits"], str(weights))


@pytest.mark.parametrize("size", [32, 64, 299])
def test_features_and_logits_are_those_of_torch_fidelity(size, extractor, theirs):
    x = pictures(1, 3, size, size)
    with torch.no_grad():
        features, unbiased, logits = theirs(x)
        found = extractor(x)
        biased = extractor.net.classify(found.features)
    assert 0.1 < float(features.std()) < 10 and 0.1 < float(unbiased.std()) < 10
    assert apart(found.features, features) < 1e-4
    assert apart(found.logits, unbiased) < 1e-4
    assert apart(biased, logits) < 1e-4


def at(x, size, row, column):
    """Pixel (row, column) of a picture, a list of rows, resized by TensorFlow 1's formula in exact arithmetic."""
    (top, down), (left, right) = (divmod(Fraction(i * n, size), 1) for i, n in ((row, len(x)), (column, len(x[0]))))
    value = Fraction(0)
    for i, share in ((top, 1 - down), (top + 1, down)):
        for j, part in ((left, 1 - right), (left + 1, right)):
            value += share * part * Fraction(x[min(i, len(x) - 1)][min(j, len(x[0]) - 1)])
    return float(value)


@pytest.mark.parametrize("height, width, size", [(5, 7, 12), (8, 8, 8), (9, 31, 4), (1, 3, 5)])
def test_the_resize_is_the_direct_formula(height, width, size):
    x = 255 * torch.rand(1, 2, height, width, generator=generator())
    direct = torch.tensor([[[at(c, size, i, j) for j in range(size)] for i in range(size)] for c in x[0].tolist()])
    torch.testing.assert_close(resize(x, size)[0], direct, atol=1e-3, rtol=0)


@pytest.mark.parametrize("height, width", [(32, 32), (28, 61), (400, 310), (299, 299)])
def test_the_resize_is_that_of_torch_fidelity_to_the_bit(height, width):
    x = pictures(1, 3, height, width).float()
    theirs = fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    assert torch.equal(resize(x, 299), theirs(x, size=(299, 299), align_corners=False))


def test_the_resize_is_not_that_of_half_pixels():
    x = pictures(1, 1, 32, 32).float()
    half = functional.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
    assert float((resize(x, 299) - half).abs().mean()) > 10  # of 255: this is what the protocols differ by


def test_images_of_any_levels_and_channels_are_seen_as_8_bit_colour(extractor):
    ends = torch.tensor([0, 128, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(-1, 3, 32, 32)
    assert extractor.prepare(ends).shape == (3, 3, 299, 299)
    assert extractor.prepare(ends).amax((1, 2, 3)).tolist() == [-1, 0, 127 / 128]
    for levels in (2, 17, 256):
        x = pictures(2, 1, 32, 32, levels=levels)
        bytes_ = (x.double() * 255 / (levels - 1)).round().to(torch.uint8)
        extractor.levels = levels
        found = extractor.prepare(x)
        extractor.levels = 256
        assert torch.equal(found, extractor.prepare(bytes_.repeat(1, 3, 1, 1)))


def test_features_do_not_depend_on_the_batch(extractor, monkeypatch):
    x = pictures(3, 1, 32, 32)
    whole = extractor(x)
    monkeypatch.setattr(inception, "CHUNK", 2)
    for found, expected in zip(extractor(x), whole, strict=True):
        assert apart(found, expected) < 1e-5
    assert [part.shape for part in extractor(x[:0])] == [(0, 2048), (0, 1008)]


def test_what_the_inception_net_cannot_look_at_it_refuses(monkeypatch, tmp_path):
    for spec in (PLANE, replace(COLOUR, levels=None), replace(COLOUR, shape=(4, 8, 8))):
        assert Inception.refuses(spec) and not Inception.suits(spec)
    assert not Inception.refuses(COLOUR) and not Inception.refuses(GREY)
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    assert not Inception.suits(COLOUR)  # the weights would have to be downloaded
    inception.place().parent.mkdir()
    inception.place().touch()
    assert Inception.suits(COLOUR)


@pytest.fixture
def site(small, tmp_path, monkeypatch):
    """The published weights are those of ``small``, from a server of this machine; the requests it has had."""
    asked = []

    class Server(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    handler = functools.partial(Server, directory=small.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        digest = hashlib.sha256(small.read_bytes()).hexdigest()
        url = f"http://127.0.0.1:{server.server_port}/{small.name}"
        monkeypatch.setattr(inception, "WEIGHTS", Download("published.pth", f"sha256:{digest}", (url,)))
        monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield asked
        server.shutdown()


def test_weights_are_downloaded_once_and_verified_whenever_they_are_read(site, small, tmp_path):
    options = {"extractor": {"_target_": "genlab.extractors.inception.Inception", "weights": None}}
    for _ in range(2):
        (shared,), _ = extractors(options, COLOUR)
        assert shared.hash == hashlib.sha256(small.read_bytes()).hexdigest()[:12]
        assert (shared.dimensions, shared.classes) == (2048, 1008)
    assert len(site) == 1 and Inception.suits(COLOUR)
    path = tmp_path / "weights" / "published.pth"
    whole = path.read_bytes()
    for damaged in (whole[:-1] + b"?", whole[:1000]):
        path.write_bytes(damaged)
        with pytest.raises(GenlabError, match=r"published\.pth: damaged, expected sha256:.*, found sha256:") as error:
            Inception(COLOUR)
        assert "\n" not in str(error.value) and len(site) == 1


def test_an_extractor_that_is_not_named_is_never_downloaded(site, tmp_path):
    named = [one.name for one in extractors({}, COLOUR)[0]]
    assert "inception" not in named and not site and not list(tmp_path.iterdir())


def test_a_download_of_other_weights_is_told_and_not_kept(site, tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "WEIGHTS", replace(inception.WEIGHTS, checksum=f"sha256:{'0' * 64}"))
    with pytest.raises(DataError, match="wrong content") as error:
        Inception(COLOUR)
    assert "\n" not in str(error.value) and "by hand" in str(error.value)
    assert not inception.place().exists()


def test_the_checksum_begins_as_the_published_file_is_named():
    assert inception.WEIGHTS.checksum.removeprefix("sha256:").startswith("6726825d")
    assert all(url.endswith("6726825d.pth") for url in inception.WEIGHTS.mirrors)


def test_weights_in_any_format_are_the_same_net(small, tmp_path):
    expected = Inception(COLOUR, str(small)).state_dict()
    save_file({name: value.contiguous() for name, value in flat().items()}, tmp_path / "state.safetensors")
    torch.save(flat(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("state.safetensors", "old.pth"):
        other = Inception(COLOUR, str(tmp_path / name))
        assert all(torch.equal(value, expected[key]) for key, value in other.state_dict().items())
        assert other.hash == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()[:12]


def test_weights_that_are_damaged_or_of_another_net_are_one_line(small, tmp_path):
    whole, state = small.read_bytes(), flat()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.safetensors").write_bytes(b"<html>no</html>")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"net": nn.Linear(1, 1)}, tmp_path / "code.pth")
    torch.save({**state, "fc.weight": state["fc.weight"][:1000]}, tmp_path / "classes.pth")
    torch.save({key: value for key, value in state.items() if "Mixed_7c" not in key}, tmp_path / "less.pth")
    torch.save({**state, "AuxLogits.fc.bias": torch.zeros(3)}, tmp_path / "more.pth")
    for name, said in {
        "absent.pth": "No such file", "half.pth": "damaged", "page.safetensors": "damaged", "list.pth": "state dict",
        "code.pth": "state dict", "classes.pth": r"fc\.weight is of shape \(1000, 2048\), not of shape \(1008, 2048\)",
        "less.pth": r"Mixed_7c.branch1x1.conv.weight is missing", "more.pth": r"AuxLogits.*and here missing",
    }.items():  # fmt: skip
        with pytest.raises(GenlabError, match=said) as error:
            Inception(COLOUR, str(tmp_path / name))
        assert "\n" not in str(error.value) and str(tmp_path / name) in str(error.value)


def moments(x):
    return x.mean(0), torch.cov(x.T)


@pytest.mark.parametrize("n, m, d", [(400, 400, 256), (80, 80, 256)])
def test_the_frechet_distance_is_torch_fidelity_s_at_full_and_at_deficient_rank(n, m, d):
    theirs = fidelity("metric_fid")
    x = torch.randn(n, d, generator=generator(), dtype=torch.float64)
    y = torch.randn(m, d, generator=generator(1), dtype=torch.float64) * torch.linspace(0.5, 2, d) + 0.1
    statistics = [theirs.fid_features_to_statistics(features) for features in (x, y)]
    expected = theirs.fid_statistics_to_metric(*statistics, False)[theirs.KEY_METRIC_FID]
    assert frechet_distance(*moments(x), *moments(y)) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_at_d_2048_is_that_of_the_singular_values_between_few_examples():
    """Tr (S_a S_b)^1/2 is the sum of the singular values of A B^T, A and B centred examples over the root of n - 1."""
    x, y = (
        feature.double().relu() for feature in (pictures(300, 2048).float() - 100, pictures(200, 2048, seed=1) - 90.0)
    )
    a, b = ((part - part.mean(0)) / (len(part) - 1) ** 0.5 for part in (x, y))
    apart, spread = (x.mean(0) - y.mean(0)).square().sum(), a.square().sum() + b.square().sum()
    expected = float(apart + spread - 2 * torch.linalg.svdvals(a @ b.T).sum())
    assert frechet_distance(*moments(x), *moments(y)) == pytest.approx(expected, rel=1e-9)


class Planted:
    """An extractor whose logits are its input."""

    name, hash, dimensions, classes = "planted", "0", 1008, 1008

    def __call__(self, x):
        return Features(x, x)


@pytest.mark.parametrize("n, scale", [(2000, 3.0), (1234, 20.0), (1000, 0.1)])
def test_the_inception_score_is_torch_fidelity_s(n, scale):
    logits = scale * torch.randn(n, 1008, generator=generator())
    metric = InceptionScore(Planted(), n=n)
    for index in torch.arange(n).split(300):
        metric.update({"x": logits[index], "index": index}, "generated")
    found = metric.compute()["is"]
    expected = fidelity("metric_isc").isc_features_to_metric(logits, splits=10, shuffle=True, rng_seed=2020)
    assert found.value == pytest.approx(expected["inception_score_mean"], rel=0, abs=1e-8)
    assert found.stderr * 3 == pytest.approx(expected["inception_score_std"], rel=0, abs=1e-8)  # ddof 1, of 10 parts


def test_raw_examples_are_their_own_features():
    x = torch.randn(5, 2, generator=generator(), dtype=torch.float64)
    found = Raw(PLANE)(x)
    assert torch.equal(found.features, x) and found.logits.shape == (5, 0)
    black_white = torch.tensor([0, 16], dtype=torch.uint8).repeat(1, 1, 3, 1)
    found = Raw(Spec("image", (1, 3, 2), 17))(black_white)
    assert torch.equal(found.features, torch.tensor([[0.0, 1.0] * 3])) and Raw(Spec("image", (1, 3, 2))).dimensions == 6


def test_raw_suits_points_and_looks_at_small_images_where_it_is_named():
    assert Raw.suits(PLANE) and not Raw.suits(COLOUR) and not Raw.refuses(COLOUR)
    for spec in (Spec("image", (3, 64, 64), 256), Spec("vector", (5000,)), Spec("sequence", (4,)), Spec("text", (9,))):
        assert Raw.refuses(spec) and not Raw.suits(spec)
    assert [one.name for one in extractors({}, PLANE)[0]] == ["raw"]
    named = {"extractor": {"_target_": "genlab.extractors.raw.Raw"}}
    assert [one.dimensions for one in extractors(named, COLOUR)[0]] == [3072]


def test_the_frechet_distance_of_points_in_the_plane_is_that_of_their_moments():
    metric, x = FrechetDistance(Raw(PLANE)), torch.randn(500, 2, generator=generator())
    metric.update({"x": x}, "generated")
    metric.update({"x": x + torch.tensor([3.0, 4.0])}, "test")
    assert metric.compute()["fid"].value == pytest.approx(25, rel=1e-5)


class Net(nn.Module):
    """Features are the sums over pixels times a factor; logits their negatives."""

    def __init__(self, spec: Spec, wide: int = 0, both: bool = True):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(spec.shape[0] + wide))
        self.dropout, self.both = nn.Dropout(0.5), both

    def forward(self, x):
        features = self.dropout(x.sum((2, 3)) * self.factor)
        return (features, -features) if self.both else features


def test_a_module_of_the_user_s_is_shown_images_between_0_and_1():
    x = pictures(4, 3, 32, 32)
    found = Module(COLOUR, Net(COLOUR))
    assert (found.dimensions, found.classes, found.name) == (3, 3, "module")
    torch.testing.assert_close(found(x).features, x.float().sum((2, 3)) / 255)
    torch.testing.assert_close(found(x).logits, -found(x).features)
    alone = Module(COLOUR, Net(COLOUR, both=False), name="mine")
    assert (alone.dimensions, alone.classes, alone.name) == (3, 0, "mine") and alone(x).logits.shape == (4, 0)
    assert not Module.suits(COLOUR) and Module.refuses(PLANE) and not Module.refuses(COLOUR)


def test_a_module_s_images_are_averaged_over_areas():
    x = pictures(4, 3, 32, 32)
    small = Module(COLOUR, nn.Flatten(), size=4)
    assert small.dimensions == 48
    torch.testing.assert_close(small(x).features, functional.avg_pool2d(x / 255, 8).flatten(1))


def test_a_module_is_made_from_a_config_with_the_spec_and_a_file_of_weights(tmp_path):
    state = {"factor": torch.tensor([1.0, 2.0, 3.0])}
    save_file(state, tmp_path / "mine.safetensors")
    torch.save(state, tmp_path / "mine.pth")
    made = [
        Module(COLOUR, functools.partial(Net, both=False), str(tmp_path / f"mine.{kind}"))
        for kind in ("safetensors", "pth")
    ]
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    for one in made:
        torch.testing.assert_close(one(white).features, 1024 * state["factor"][None])
    node = {"_target_": "genlab.extractors.module.Module", "net": {"_target_": "torch.nn.Flatten"}, "size": 2}
    assert build(node, spec=COLOUR).dimensions == 12


def test_a_module_s_hash_changes_with_its_weights_its_kind_and_its_size():
    changed = Net(COLOUR)
    changed.factor.data += 1
    nets = [Module(COLOUR, Net(COLOUR)), Module(COLOUR, changed), Module(COLOUR, Net(COLOUR), size=8)]
    nets += [Module(COLOUR, nn.Flatten()), Module(COLOUR, nn.Flatten(), size=8)]
    assert len({one.hash for one in nets}) == 5
    assert Module(COLOUR, Net(COLOUR)).hash == nets[0].hash


def test_what_is_wrong_with_a_module_is_one_line(tmp_path):
    save_file({"other": torch.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.pth").write_bytes(b"PK no")
    for options, said in (
        ({}, "name a torch module"),
        ({"net": functools.partial(nn.Linear, 3)}, "lacks out_features"),
        ({"net": functools.partial(nn.init.zeros_)}, "lacks tensor"),
        ({"net": nn.Conv2d(3, 8, 3)}, r"returns torch.float32 \(2, 8, 30, 30\) for 2 images, not features \(2, D\)"),
        ({"net": nn.Linear(5, 5)}, r"cannot look at images \(3, 32, 32\)"),
        ({"net": Net(COLOUR, wide=1)}, "cannot look at images"),
        ({"net": Net(COLOUR), "weights": str(tmp_path / "other.safetensors")}, "of another net"),
        ({"net": Net(COLOUR), "weights": str(tmp_path / "damaged.pth")}, "damaged"),
        ({"net": Net(COLOUR), "name": "my net"}, "letters, digits"),
        ({"net": Net(COLOUR), "size": 0}, "at least 1"),
    ):
        with pytest.raises(GenlabError, match=said) as error:
            Module(COLOUR, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="integer levels"):
        extractors({"extractor": {"_target_": "genlab.extractors.module.Module"}}, PLANE)
