"""Laws of an auto-regressive output distribution: it sums to one, samples as a plain loop does, and hears its maps."""

from itertools import product

import pytest
import torch
from test_vae import examples
from torch import Tensor

from genlab.errors import ConfigError
from genlab.losses.elbo import ELBO
from genlab.models.autoregressive.gated_pixelcnn import gated_pixelcnn
from genlab.models.autoregressive.pixel_decoder import PixelDecoder
from genlab.models.base import Redraws
from genlab.models.vae.conv import Decoder, Encoder
from genlab.models.vae.hierarchical import HierarchicalVAE
from genlab.models.vae.vae import VAE
from genlab.noise import Noise
from genlab.spec import Spec

SMALL = {"maps": 2, "channels": 6, "layers": 2, "head": 8}


def decoder(spec: Spec, **options) -> PixelDecoder:
    """In float64, its conditionals far from uniform and maps heard."""
    torch.manual_seed(2)
    made = PixelDecoder(spec, **SMALL | options).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1.5)
    return made


def vae(spec: Spec) -> VAE:
    torch.manual_seed(0)
    nets = {"encoder": part(Encoder), "decoder": part(Decoder)}
    return VAE(spec, **nets, latent=3, likelihood=small)


def small(spec: Spec) -> PixelDecoder:
    return PixelDecoder(spec, **SMALL)


small.whole = True


def part(made: type):
    return lambda *args, **given: made(*args, width=16, channels=4, **given)


def hierarchical(spec: Spec) -> HierarchicalVAE:
    torch.manual_seed(0)
    model = HierarchicalVAE(spec, latent=3, maps=2, grids=2, width=8, likelihood=small)
    with torch.no_grad():
        for parameter in model.parameters():  # cells and priors start at zero
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def test_probabilities_of_all_images_sum_to_one_whatever_the_maps() -> None:
    spec = Spec("image", (1, 3, 3), 2)
    images = torch.tensor(list(product((0, 1), repeat=9)), dtype=torch.uint8).view(-1, 1, 3, 3)
    for maps in 3 * torch.randn(3, 1, 2, 1, 3, 3, dtype=torch.float64):
        total = decoder(spec).log_prob(maps.expand(len(images), -1, -1, -1, -1), images).exp().sum()
        assert abs(total - 1) < 1e-9


@torch.no_grad()
@pytest.mark.parametrize(
    ("shape", "levels", "options"),
    [
        ((1, 5, 4), 2, {}),
        ((1, 4, 5), 17, {"layers": 3, "kernel": 5}),
        ((3, 4, 3), 4, {}),
        ((3, 3, 4), 256, {"likelihood": "coupled_logistic_mixture"}),
    ],
)
def test_sampling_from_cached_activations_is_the_plain_loop(shape, levels, options) -> None:
    spec = Spec("image", shape, levels)
    made = decoder(spec, **options)
    maps = 2 * torch.randn(3, 2, *shape, dtype=torch.float64)
    u = torch.rand(3, made.draws, *shape, dtype=torch.float64)
    x = made.sample(maps, u)
    pixels, plain = made.pixels, torch.zeros(3, *shape, dtype=x.dtype)
    groups, each = pixels.layout.groups, shape[0] // pixels.layout.groups
    for i, j, group in product(range(shape[1]), range(shape[2]), range(groups)):
        params = pixels(plain, maps.flatten(1, 2))
        at = params[:, :, i, j] if pixels.joint else params[:, :, group, i, j]
        value = pixels.likelihood.sample(at[:, :, None], u[:, :, group, i, j, None])
        plain[:, group * each : (group + 1) * each, i, j] = value.view(3, each)
    assert torch.allclose(x.double(), plain.double(), atol=1e-9)


def test_every_map_is_heard_where_it_stands() -> None:
    made = decoder(Spec("image", (1, 4, 4), 2))
    maps = torch.randn(1, 2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randint(2, (1, 1, 4, 4), dtype=torch.uint8)
    made.log_prob(maps, x).sum().backward()
    assert maps.grad is not None and (maps.grad != 0).all()
    first = made.pixels(x, maps.flatten(1, 2))[0, 0, 0, 0, 0]
    (heard,) = torch.autograd.grad(first, maps)
    assert heard[0, :, 0, 0, 0].all() and not heard[0, :, 0, 1:].any()  # nothing from the rows below it


@torch.no_grad()
def test_maps_that_are_the_same_everywhere_are_a_condition_of_the_whole_image() -> None:
    spec = Spec("image", (1, 4, 4), 4, (), ("a", "b"))
    torch.manual_seed(0)
    model = gated_pixelcnn(spec, channels=5, layers=2, head=6, conditional=True).double()
    x, c = torch.randint(4, (3, 1, 4, 4)).to(torch.uint8), torch.randn(3, 2, dtype=torch.float64)
    everywhere = c[:, :, None, None].expand(-1, -1, 4, 4)
    assert torch.allclose(model.log_prob(x, c), model.log_prob(x, everywhere), atol=1e-12)
    assert model.sample(Noise([0, 1, 2]), c).equal(model.sample(Noise([0, 1, 2]), everywhere))


@pytest.mark.parametrize("make", [vae, hierarchical])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 9)])
def test_a_vae_trains_and_samples_by_it(make, shape) -> None:
    model, x = make(spec := Spec("image", shape, 2 if shape[0] == 1 else 16)), None
    x = examples(spec)
    loss, parts = ELBO()(model, {"x": x}, 0)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert isinstance(model, Redraws) and parts["kl"] > 0
    with torch.no_grad():
        here, there = model.eval().sample(Noise([3, 1])), model.sample(Noise([9, 1, 3]))
        assert here.equal(there[[2, 1]]) and here.shape == (2, *shape) and here.dtype == x.dtype
        again = model.decode(model.encode(x))
        assert again.shape == x.shape and again.equal(model.decode(model.encode(x)))


@torch.no_grad()
@pytest.mark.parametrize("make", [vae, hierarchical])
def test_what_is_not_drawn_anew_stays(make) -> None:
    model = make(Spec("image", (1, 8, 8), 2)).eval()
    told: list[Tensor] = []
    draw = model.likelihood.sample
    model.likelihood.sample = lambda params, u: told.append(params) or draw(params, u)
    kept, anew = [4, 7], [5, 9]
    first = model.sample(Noise(kept))
    pixels = model.redraw(Noise(kept), Noise(anew), 0)
    assert told[0].equal(told[1]) and not pixels.equal(first)
    assert model.redraw(Noise(kept), Noise(anew), model.levels).equal(model.sample(Noise(anew)))
    for level in range(1, model.levels):  # other pixels' maps, and not those of wholly other codes
        told.clear()
        model.redraw(Noise(kept), Noise(anew), level)
        model.redraw(Noise(kept), Noise([1, 2]), level)
        assert not told[0].equal(told[1])


@torch.no_grad()
def test_a_level_that_is_kept_is_that_of_the_sample() -> None:
    model = hierarchical(Spec("image", (1, 8, 8), 2)).eval()
    layers = [layer for stage in model.down for layer in stage.layers()]
    codes: dict[int, list[Tensor]] = {number: [] for number in range(len(layers))}

    def listening(number: int, generate):
        return lambda h, epsilon: codes[number].append(generate(h, epsilon)) or codes[number][-1]

    for number, layer in enumerate(layers):
        layer.generate = listening(number, layer.generate)
    model.sample(Noise([4, 7]))
    model.redraw(Noise([4, 7]), Noise([5, 9]), 1)
    *above, last = codes.values()
    assert all(sampled.equal(kept) for sampled, kept in above) and not last[0].equal(last[1])


def test_it_is_of_images_and_for_decoders() -> None:
    with pytest.raises(ConfigError, match="images"):
        PixelDecoder(Spec("vector", (2,)))
    with pytest.raises(ConfigError, match="whole images"):
        gated_pixelcnn(Spec("image", (1, 4, 4), 2), channels=4, layers=1, head=4, likelihood=PixelDecoder)
    with pytest.raises(ConfigError, match="at least one"):
        PixelDecoder(Spec("image", (1, 4, 4), 2), maps=0)
