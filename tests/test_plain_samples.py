"""The loop that the speed of sampling is compared with draws what genlab draws."""

import sys
from pathlib import Path

import pytest
import torch

from genlab.models.autoregressive.gated_pixelcnn import gated_pixelcnn
from genlab.models.autoregressive.image_transformer import image_transformer
from genlab.models.autoregressive.pixelcnn import pixelcnn
from genlab.models.autoregressive.pixelcnnpp import pixelcnnpp
from genlab.noise import Noise
from genlab.spec import Spec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
import plain_samples

SIZES = {
    pixelcnn: {"channels": 8, "head": 8, "blocks": 2},
    gated_pixelcnn: {"channels": 8, "head": 8, "layers": 3},
    pixelcnnpp: {"filters": 8, "blocks": 1},
    image_transformer: {"width": 8, "layers": 2, "heads": 2},
}


@pytest.mark.parametrize("make", SIZES)
def test_a_pass_for_each_pixel_draws_what_cached_activations_draw(make):
    torch.manual_seed(0)
    model = make(Spec("image", (1, 5, 6), 4), **SIZES[make]).double().eval()
    plain = plain_samples.by_full_passes(model, Noise([0, 1, 2]))
    assert plain.unique().numel() > 1
    assert torch.equal(plain, model.sample(Noise([0, 1, 2])))
