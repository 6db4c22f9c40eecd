"""``genlab sample``: what its tasks make, which seed each sample is of, and what it refuses."""

import importlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from runs import DIGITS, FLOW, GAN, MOONS, VAE, make_run

from genlab import cli, config, sample
from genlab.build import build
from genlab.checkpoint import load
from genlab.choices import tasks
from genlab.errors import ConfigError, GenlabError
from genlab.extractors.base import Shared
from genlab.extractors.digits import Digits
from genlab.images import LINE, PAPER
from genlab.models.conditions import in_turn
from genlab.noise import Noise
from genlab.run import Run
from genlab.spec import Spec
from genlab.tasks import duplicates, inpaint, interpolate
from genlab.tasks.base import labels_of


@pytest.fixture(scope="module")
def vae(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("vae"), VAE)


def sampled(run: Run, *words: str, out: str = "made") -> dict[str, np.ndarray]:
    """The arrays of samples.npz."""
    folder = run.path / out
    assert sample.main(config.compose("sample", [f"run={run.path}", f"out={folder}", *words]).config) == 0
    task = next((word.partition("=")[2] for word in words if word.startswith("task=")), "grid")
    with np.load(folder / ("samples.npz" if task == "grid" else f"{task}.npz")) as arrays:
        return dict(arrays)


def test_a_grid_its_numbers_and_what_is_printed(vae, capsys):
    made = sampled(vae, "n=7")
    assert made["samples"].shape == (7, 1, 8, 8) and made["samples"].max() <= 16
    assert made["seeds"].tolist() == list(range(7)) and made["labels"].tolist() == [-1] * 7
    with Image.open(vae.path / "made" / "grid.png") as picture:
        assert min(picture.size) > 0
    assert capsys.readouterr().out.startswith("7 samples of step 7: ")


@pytest.mark.parametrize(
    "task, rows",
    [("neighbours", 12), ("duplicates", None), ("reconstruct", None), ("manifold", 20), ("interpolate", 16)],
)
def test_pictures_say_what_stands_in_their_columns_and_are_no_longer_than_a_page(vae, task, rows):
    assert cli.main(["sample", f"run={vae.path}", f"task={task}", f"out={vae.path / 'titled'}"]) == 0
    with Image.open(vae.path / "titled" / f"{task}.png") as picture:
        pixels = np.asarray(picture)
    if task == "interpolate":
        top, left = 0, 0
    else:
        assert set(np.unique(pixels[0])) == {255} and (pixels[:LINE] < 100).any()  # a line of titles
        top, left = LINE, int((pixels[-1] == 255).sum())
        assert (left > 0) == (task == "manifold")
    gutters = (pixels[top:, left:] == PAPER).all(1)
    assert rows in (None, int((np.diff(gutters.astype(int)) == -1).sum()))


def test_a_sample_depends_on_its_seed_alone(vae):
    all_of_them = sampled(vae, "n=70")["samples"]
    some = sampled(vae, "seeds='65,3,10-12'")
    assert some["seeds"].tolist() == [65, 3, 10, 11, 12]
    assert np.array_equal(some["samples"], all_of_them[some["seeds"]])


def test_without_out_the_results_lie_in_the_run_and_a_moved_checkpoint_gives_the_same(
    vae, tmp_path, monkeypatch, capsys
):
    assert sample.main(config.compose("sample", [f"run={vae.path}", "n=3"]).config, True) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["picture"] == str(vae.samples / "grid.png") and about["n"] == 3 and about["step"] == 7
    moved = tmp_path / "moved.ckpt"
    moved.write_bytes((vae.checkpoints / "last.ckpt").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert sample.main(config.compose("sample", [f"ckpt={moved}", "n=3"]).config) == 0
    with np.load("samples/samples.npz") as here, np.load(vae.samples / "samples.npz") as there:
        assert np.array_equal(here["samples"], there["samples"])


def test_interpolation_tells_whose_codes_lie_at_the_ends_of_each_row(vae):
    made = sampled(vae, "task=interpolate", "seeds='4,9,2,7'")
    assert made["samples"].shape == (20, 1, 8, 8) and made["seeds"].shape == (20, 2)
    assert made["seeds"][0].tolist() == made["seeds"][9].tolist() == [4, 9] and made["seeds"][10].tolist() == [2, 7]
    assert made["t"][:10] == pytest.approx(np.linspace(0, 1, 10)) and made["labels"].shape == (20,)


def test_the_ends_of_an_interpolation_are_the_samples_of_their_seeds(tmp_path):
    gan = make_run(tmp_path / "gan", GAN)
    made = sampled(gan, "task=interpolate", "seeds='4,9'")["samples"]
    ends = sampled(gan, "seeds='4,9'")["samples"]
    assert np.array_equal(made[[0, -1]], ends) and not np.array_equal(made[4], made[0])


@pytest.mark.parametrize("n", [1, 3, 13])
def test_every_example_asked_for_is_reconstructed(vae, n):
    made = sampled(vae, "task=reconstruct", f"n={n}")
    real = build(DIGITS).split("test").x.numpy()
    assert np.array_equal(made["originals"], real[:n]) and made["samples"].shape == (n, 1, 8, 8)
    assert made["seeds"].tolist() == list(range(n))


def test_a_flow_reconstructs_what_it_encodes(tmp_path):
    made = sampled(make_run(tmp_path / "flow", FLOW, MOONS), "task=reconstruct", "n=5")
    assert made["samples"] == pytest.approx(made["originals"], abs=1e-4)


def test_labels_are_those_asked_for_by_number_or_name():
    spec = Spec("image", (1, 8, 8), 17, classes=("cat", "dog", "7"))
    assert labels_of(spec, 1, 3).tolist() == [1, 1, 1]
    assert labels_of(spec, "dog,cat", 4).tolist() == [1, 0, 1, 0]
    assert labels_of(spec, 7, 1).tolist() == [2]  # a name before a number
    assert in_turn(spec, 4, None).tolist() == [0, 1, 2, 0]
    with pytest.raises(ConfigError, match="y=dgo: the classes are cat, dog, 7; did you mean 'dog'"):
        labels_of(spec, "dgo", 3)


def test_attributes_are_asked_for_together_or_in_turn():
    spec = Spec("image", (1, 8, 8), 17, attributes=("bald", "male", "smiling"))
    assert labels_of(spec, "male+smiling,none,0", 4).tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 1]]
    with pytest.raises(ConfigError, match="y=smilng: the attributes are bald, male, smiling; did you mean 'smiling'"):
        labels_of(spec, "smilng", 3)
    known = torch.tensor([[1, 0, 0], [0, 1, 1]])
    assert in_turn(spec, 3, known).tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]


def test_a_temperature_narrows_what_a_flow_draws(tmp_path):
    run = make_run(tmp_path / "flow", FLOW, MOONS)
    wide, narrow = (sampled(run, "n=500", f"temperature={t}")["samples"].std() for t in (1.0, 0.25))
    assert narrow < 0.5 * wide


@pytest.mark.parametrize(
    "words, said",
    [
        (["task=gird"], "did you mean 'grid'"),
        (["task=density"], "it draws the plane"),
        (["task=warp"], "it draws the plane"),
        (["task=critic"], "it draws the plane"),
        (["task=interpolate", "path=straight"], "spherical, linear"),
        (["task=interpolate", "n=1"], "at least two"),
        (["task=duplicates", "n=1"], "at least two"),
        (["y=3"], "not class-conditional"),
        (["n=0"], "at least 1"),
        (["seeds='9-2'"], "write 0-63"),
        (["ckpt=bets"], "no such checkpoint"),
    ],
)
def test_what_cannot_be_is_refused(vae, words, said):
    with pytest.raises(ConfigError, match=said):
        sampled(vae, *words)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_sampled(vae, monkeypatch):
    monkeypatch.setattr(sample, "load", None)
    with pytest.raises(GenlabError, match=r"config\.yaml is a file; out=<folder> puts the samples elsewhere"):
        sampled(vae, f"out={vae.path / 'config.yaml'}")


def test_a_linear_path_is_straight_and_a_spherical_one_keeps_its_length():
    one, two, t = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0]), torch.linspace(0, 1, 5)[:, None]
    assert interpolate.spherical(one, two, t).norm(dim=1) == pytest.approx([3.0] * 5, rel=1e-6)
    assert interpolate.linear(one, two, t).norm(dim=1)[2] == pytest.approx(3 / 2**0.5)


def test_redrawn_pixels_are_of_the_code_of_their_sample(vae):
    made = sampled(vae, "task=redraw", "n=5")
    assert made["samples"].shape == (5, 1, 8, 8) and made["level_0"].shape == (5, 3, 1, 8, 8)
    assert (made["samples"] == sampled(vae, "n=5")["samples"]).all()
    apart = np.abs(made["level_0"].astype(float) - made["samples"][:, None].astype(float)).mean((2, 3, 4))
    others = np.abs(made["level_0"].astype(float) - made["samples"][::-1][:, None].astype(float)).mean((2, 3, 4))
    assert (apart > 0).all() and apart[[0, 1, 3, 4]].mean() < others[[0, 1, 3, 4]].mean()
    assert (sampled(vae, "task=redraw", "seeds='3'")["level_0"][0] == made["level_0"][3]).all()


@pytest.mark.parametrize("task", ["latents", "manifold", "posterior", "neighbours", "duplicates"])
def test_pictures_of_a_vae_with_two_latents(vae, task):
    made = sampled(vae, f"task={task}", "n=5")
    with Image.open(vae.path / "made" / f"{task}.png") as picture:
        assert min(picture.size) >= 400 and len(set(picture.convert("L").getdata())) > 5
    assert len(made["labels"]) == len(made["samples"]) == len(made["seeds"])


PLANE = [*((FLOW, task) for task in ("density", "warp", "latents", "interpolate", "reconstruct")), (GAN, "critic")]


@pytest.mark.parametrize("model, task", PLANE)
def test_pictures_of_the_plane(tmp_path, model, task):
    run = make_run(tmp_path / "run", model, MOONS)
    sampled(run, f"task={task}", "n=50")
    with Image.open(run.path / "made" / f"{task}.png") as picture:
        assert min(picture.size) >= 400 and len(set(picture.convert("L").getdata())) > 5


def test_neighbours_are_the_nearest_training_examples(vae):
    made = sampled(vae, "task=neighbours", "n=3")
    train = build(DIGITS).split("train").x.flatten(1).double().numpy()
    for x, rows, distances in zip(made["samples"], made["neighbours"], made["distances"], strict=True):
        every = np.sqrt(((train - x.flatten()) ** 2).sum(1))
        assert distances == pytest.approx(np.sort(every)[:5], rel=1e-4) and every[rows] == pytest.approx(distances)


def test_duplicates_are_the_closest_of_all_pairs_in_what_the_extractor_sees(vae):
    made = sampled(vae, "task=duplicates", "seeds='5-14'")
    all_of_them = sampled(vae, "seeds='5-14'")["samples"]
    seen = Shared(Digits(Spec("image", (1, 8, 8), 17)))(torch.from_numpy(all_of_them)).features
    distances = torch.pdist(seen.double()).sort().values[:20]
    assert made["distances"] == pytest.approx(distances.numpy(), rel=1e-5)
    assert len({frozenset(pair) for pair in made["seeds"].tolist()}) == 20
    for pair, seeds in zip(made["samples"], made["seeds"], strict=True):
        assert np.array_equal(pair, all_of_them[seeds - 5])


def test_pairs_are_found_block_by_block(monkeypatch):
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("genlab.metrics.features.BLOCK", 200)  # five rows at once
    distances, pairs = duplicates.closest(x, 9)
    assert distances == pytest.approx(torch.pdist(x.double()).sort().values[:9])
    assert distances == pytest.approx((x[pairs[:, 0]] - x[pairs[:, 1]]).double().norm(dim=1), rel=1e-6)


def test_a_manifold_runs_over_the_quantiles_of_the_prior(vae):
    z = sampled(vae, "task=manifold")["z"].reshape(20, 20, 2)
    assert (np.diff(z[0, :, 0]) > 0).all() and (np.diff(z[:, 0, 1]) < 0).all()  # to the right, and upwards
    uniform = 0.5 * (1 + torch.erf(torch.from_numpy(z[0, :, 0]) / 2**0.5))
    assert uniform.numpy() == pytest.approx((np.arange(20) + 0.5) / 20, abs=1e-5)


@pytest.mark.parametrize("task", ["traverse", "arithmetic"])
def test_strips_of_a_vae(vae, task):
    made = sampled(vae, f"task={task}", "terms=3-1+8", "n=5")
    with Image.open(vae.path / "made" / f"{task}.png") as picture:
        assert min(picture.size) >= 400 and len(set(picture.convert("L").getdata())) > 5
    if task == "traverse":  # of two codes, with a row for each of three seeds
        strips = made["samples"].reshape(2, 3, 10, 1, 8, 8)
        model, z = load(vae.checkpoints / "last.ckpt").model.eval(), Noise(range(3), "cpu").normal(2)
        with torch.no_grad():
            shown = model.decode(torch.stack([torch.full((3,), -3.0), z[:, 1]], 1))
        assert strips[0, :, 0] == pytest.approx(shown.numpy(), abs=1e-4)
    else:  # up to six of each term and its mean, then the sum and one for each seed
        there = [int((build(DIGITS).split("train").y == digit).sum()) for digit in (3, 1, 8)]
        assert len(made["samples"]) == sum(min(6, count) + 1 for count in there) + 6


def test_what_is_added_and_taken_away_again_changes_nothing(vae):
    codes = [sampled(vae, "task=arithmetic", f"terms={terms}")["code"] for terms in ("3", "3-1+1", "'1 - 1 + 3'", "1")]
    assert codes[1] == pytest.approx(codes[0], abs=1e-5) and codes[2] == pytest.approx(codes[0], abs=1e-5)
    assert codes[3] != pytest.approx(codes[0], abs=1e-5)


@pytest.mark.parametrize(
    "words, said",
    [
        (["task=arithmetic"], r"say which, as in terms=0-1\+2"),
        (["task=arithmetic", "terms=3+seven"], "there are 0, 1, 2"),
        (["task=inpaint"], "has no generator and critic"),
    ],
)
def test_what_a_vae_cannot_do_is_told(vae, words, said):
    with pytest.raises(ConfigError, match=said):
        sampled(vae, *words)


@pytest.fixture(scope="module")
def gan(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("gan"), GAN)


@pytest.mark.parametrize("hole", ["centre", "half", "random"])
def test_what_is_known_is_kept_and_only_the_hole_is_filled(gan, hole, monkeypatch):
    monkeypatch.setattr(inpaint, "STEPS", 5)
    made = sampled(gan, "task=inpaint", f"mask={hole}", "n=3")
    filled, originals, known = made["samples"], made["originals"], made["masks"].astype(bool)
    share = {"centre": 0.75, "half": 0.5, "random": 0.2}[hole]
    assert known.mean() == pytest.approx(share, abs=0.1 if hole == "random" else 1e-6)
    everywhere = np.broadcast_to(known[:, None], filled.shape)
    assert filled.shape == (3, inpaint.STARTS, 1, 8, 8)
    assert np.array_equal(filled[everywhere], np.broadcast_to(originals[:, None], filled.shape)[everywhere])
    assert not np.array_equal(filled[:, 0], filled[:, 1])  # of other starts
    missed = (filled[0, 0].astype(float) - originals[0])[~known[0]]
    assert made["errors"][0, 0] == pytest.approx((missed**2).mean(), rel=1e-5)


def test_a_mask_is_read_from_a_picture(gan, tmp_path, monkeypatch):
    monkeypatch.setattr(inpaint, "STEPS", 1)
    drawn = np.full((16, 16), 255, np.uint8)
    drawn[:4] = 0  # the top quarter is missing
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    known = sampled(gan, "task=inpaint", f"mask={tmp_path / 'mask.png'}", "n=1")["masks"][0, 0]
    assert not known[:2].any() and known[2:].all()
    with pytest.raises(ConfigError, match="did you mean 'centre'"):
        sampled(gan, "task=inpaint", "mask=center")


def test_descent_fits_what_lies_around_the_hole(gan, monkeypatch):
    """What the generator makes outside of the hole nears the image; the pixels beside the hole count most."""
    loaded = load(gan.checkpoints / "last.ckpt")
    real = torch.randn(2, 1, 8, 8).tanh()
    known = inpaint.mask("half", real.shape, [0, 1])
    apart = []
    for steps in (0, 200):
        monkeypatch.setattr(inpaint, "STEPS", steps)
        made = inpaint.fill(loaded.model.eval(), loaded.spec, real, known, None, Noise(range(8), "cpu"))
        apart.append((made - real[:, None])[..., 1:4].abs().mean())
    assert apart[1] < apart[0]


def test_tasks_are_the_files_of_their_folder():
    assert {"grid", "interpolate", "reconstruct", "density"} < set(tasks())
    for task in tasks():
        assert callable(importlib.import_module(f"genlab.tasks.{task}").make)


def test_what_cannot_encode_does_not_reconstruct(tmp_path):
    with pytest.raises(ConfigError, match="GAN does not encode"):
        sampled(make_run(tmp_path / "gan", GAN), "task=reconstruct")


def test_a_conditional_flow_draws_the_class_asked_for(tmp_path):
    node = {"_target_": FLOW["_target_"], "maps": 4, "blocks": 1, "scales": 1, "conditional": True}
    run = make_run(tmp_path / "conditional", node, DIGITS)
    every = sampled(run, "n=12")
    assert every["labels"].tolist() == [*range(10), 0, 1]
    sevens = sampled(run, "n=12", "y=7")
    assert sevens["labels"].tolist() == [7] * 12
    assert np.array_equal(sevens["samples"][7], every["samples"][7])  # the same seed and class
    with pytest.raises(ConfigError, match="y=12: the classes are 0, 1"):
        sampled(run, "n=3", "y=12")
    assert sampled(run, "task=interpolate", "n=4", "y=3")["labels"].tolist() == [3] * 20
    back = sampled(run, "task=reconstruct", "n=5")
    assert np.array_equal(back["samples"], back["originals"])
