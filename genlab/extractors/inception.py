"""The Inception network of 2015 as the reference implementations of FID, KID and the Inception Score use it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from genlab import ranks
from genlab.data.base import data_root
from genlab.data.files import Download, fetch
from genlab.errors import GenlabError
from genlab.extractors.base import WHOLE, Features, read_state
from genlab.extractors.inception_net import InceptionV3
from genlab.spec import Spec

SIZE = 299  # pixels, in both directions
CHUNK = 32  # images computed at once: memory does not grow with the batch

WEIGHTS = Download(
    "weights-inception-2015-12-05-6726825d.pth",
    "sha256:6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    (
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    ),
)
"""TensorFlow's weights of 5 December 2015, converted by the makers of pytorch-fid; 95,628,359 bytes. The makers publish
no checksum but the 8 digits in the file's name, the beginning of its SHA-256; the whole of it is as others state it who
have the file."""


class Inception(nn.Module):
    """The Inception network of 2015: features and logits of FID, KID, IS and precision/recall in the literature.

    Features are the means over the last block's pixels, (B, 2048); logits, (B, 1008), are without the bias of the last
    layer, for so the reference implementations of the Inception Score have them. Both as in torch-fidelity 0.4.0:

    x = (resize(round(255 level / (levels - 1))) - 128) / 128,  ``resize`` to 299x299,  float32 throughout

    So images of other than 256 levels are seen with 8 bits, as an image file would hold them. Grey ones are repeated
    to three channels. One core of a processor does about 6 images/s.

    The weights are downloaded once, into ``weights`` below the data root, and only where this extractor is named. Their
    SHA-256 is verified whenever they are read.

    Args:
        spec: of the images that it will be shown.
        weights: a .pth or .safetensors file in place of the published one, with tensors of the same names.
    """

    name: ClassVar[str] = "inception"
    dimensions: ClassVar[int] = 2048
    classes: ClassVar[int] = 1008
    resize: ClassVar[str] = f"bilinear of TensorFlow 1 to {SIZE}x{SIZE}"

    def __init__(self, spec: Spec, weights: str | None = None):
        super().__init__()
        self.levels = spec.levels
        self.rounding = WHOLE if spec.levels == 256 else "to 8 bits"
        path = Path(weights).expanduser() if weights else published()
        expected = "" if weights else WEIGHTS.checksum.removeprefix("sha256:")
        state, digest = read_state(path, self.name, expected, "" if weights else "delete it")
        with torch.device("meta"):  # no weights are drawn only to be replaced
            self.net = InceptionV3()
        try:
            self.net.take(state)
        except ValueError as error:
            raise GenlabError(f"weights of extractor inception: {path}: of another net: {error}") from None
        self.hash = digest[:12]
        self.requires_grad_(False).eval()
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a processor

    @staticmethod
    def refuses(spec: Spec) -> str:
        """It looks at grey and at colour pictures."""
        if spec.kind != "image" or spec.levels is None:
            return "the inception net looks at images with integer levels"
        if spec.shape[0] not in (1, 3):
            return f"the inception net looks at images of 1 or 3 channels, not {spec.shape[0]}"
        return ""

    @staticmethod
    def suits(spec: Spec) -> bool:
        """Whatever it can look at, once its weights are there."""
        return not Inception.refuses(spec) and place().is_file()

    def prepare(self, x: Tensor) -> Tensor:
        """Integer levels (B, C, H, W) to (B, 3, 299, 299) in [-1, 1]."""
        assert self.levels is not None  # refused before
        x = x.float() if self.levels == 256 else (x.float() * (255 / (self.levels - 1))).round()
        x = (resize(x, SIZE) - 128) / 128
        return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Features:
        """Features (B, 2048) and logits (B, 1008)."""
        features = torch.cat([self.net(self.prepare(part)) for part in x.split(CHUNK)])
        return Features(features, self.net.unbiased(features))


def resize(x: Tensor, size: int) -> Tensor:
    """Bilinear resize (B, C, H, W) to (B, C, size, size) as TensorFlow 1 does it, its error kept: pixel i of the result
    is taken at i * H / size (not at (i + 1/2) * H / size - 1/2), so the picture moves up and left.

    y = x[l] + (x[min(l + 1, H - 1)] - x[l]) * (p - l),  p = i * float32(H / size),  l = floor(p)

    along rows, then columns, in float32 and in this order, to the bit. Nothing is smoothed before it is made smaller.
    """
    for dim in (3, 2):
        length = x.shape[dim]
        position = torch.arange(size, dtype=x.dtype, device=x.device)
        position = position * torch.tensor(length / size, dtype=torch.float32)
        low = position.long()
        share = (position - low).view((size, 1) if dim == 2 else (size,))
        left = x.index_select(dim, low)
        x = left + (x.index_select(dim, (low + 1).clamp(max=length - 1)) - left) * share
    return x


def place() -> Path:
    """Where the published weights lie, or would lie."""
    return data_root() / "weights" / WEIGHTS.name


def published() -> Path:
    """The published weights, downloaded by the first rank where they are not there.

    Raises:
        DataError: no mirror delivers them.
    """
    path = place()
    try:
        if ranks.first() and not path.is_file():
            fetch(path.parent, WEIGHTS)
    finally:  # also where it fails, lest the others wait for ever
        if dist.is_initialized():
            dist.barrier()
    return path
