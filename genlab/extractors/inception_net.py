"""The Inception-v3 network of the Frechet Inception distance and the Inception Score, as their TensorFlow graph has it.

Blocks by the size of the picture within: 35x35 (``Mixed_5``), 17x17 (``Mixed_6``), 8x8 (``Mixed_7``). All names in
quotes are those of the published file of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 0.001  # of every batch norm
UNUSED = "num_batches_tracked"  # a counter of training that torch keeps beside running statistics


class InceptionV3(nn.Module):
    """Inception-v3 (Szegedy et al. 2016, arXiv 1512.00567) as released in December 2015: 1008 logits.

    It is not the network of that paper to the letter, nor any later release: the average pools of the blocks leave the
    padding out of the mean, and the pool of the last block takes the maximum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Convolution("Conv2d_1a_3x3", 3, 32, 3, stride=2, same=False),
            Convolution("Conv2d_2a_3x3", 32, 32, 3, same=False),
            Convolution("Conv2d_2b_3x3", 32, 64, 3),
            nn.MaxPool2d(3, 2),
            Convolution("Conv2d_3b_1x1", 64, 80, 1),
            Convolution("Conv2d_4a_3x3", 80, 192, 3, same=False),
            nn.MaxPool2d(3, 2),
        )
        self.blocks = nn.Sequential(
            mixed_35("Mixed_5b", 192, pooled=32),
            mixed_35("Mixed_5c", 256, pooled=64),
            mixed_35("Mixed_5d", 288, pooled=64),
            smaller_17("Mixed_6a", 288),
            mixed_17("Mixed_6b", 768, width=128),
            mixed_17("Mixed_6c", 768, width=160),
            mixed_17("Mixed_6d", 768, width=160),
            mixed_17("Mixed_6e", 768, width=192),
            smaller_8("Mixed_7a", 768),
            mixed_8("Mixed_7b", 1280, Average()),
            mixed_8("Mixed_7c", 2048, nn.MaxPool2d(3, 1, 1)),
        )
        self.classify = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, 2048), means over the last block's 8x8 pixels, of images (B, 3, 299, 299) in [-1, 1]."""
        return self.blocks(self.stem(x)).mean((2, 3))

    def unbiased(self, features: Tensor) -> Tensor:
        """Logits (B, 1008) short of the bias: the reference's Inception Score is of these."""
        return functional.linear(features, self.classify.weight)

    @torch.no_grad()
    def take(self, state: Mapping[str, Tensor]) -> None:
        """Load weights that bear the names of the published file.

        Raises:
            ValueError: they are of another net.
        """
        parts = [part for part in self.modules() if isinstance(part, Convolution)]
        shapes = {"fc.weight": self.classify.weight.shape, "fc.bias": self.classify.weight.shape[:1]}
        for part in parts:
            shapes |= part.published
        found = {name: value.shape for name, value in state.items() if not name.endswith(UNUSED)}
        for name in [*shapes, *found]:
            if shapes.get(name) != found.get(name):
                theirs, ours = (
                    f"of shape {tuple(shape)}" if shape is not None else "missing"
                    for shape in (found.get(name), shapes.get(name))
                )
                raise ValueError(f"{name} is {theirs}, {'not ' if name in shapes else 'and here '}{ours}")
        self.to_empty(device="cpu")
        for part in parts:
            part.fold(state)
        self.classify.weight.copy_(state["fc.weight"])
        self.classify.bias.copy_(state["fc.bias"])


class Convolution(nn.Conv2d):
    """relu(W * x + b), (B, inputs, H, W) to (B, outputs, H', W').

    The graph has a batch norm with its running statistics in the place of b. In a frozen net that is an affine map of
    each channel, so W and b take it in: one pass over the pixels less.

    Args:
        title: name of the convolution and its batch norm.
        same: padded with zeros, so that stride 1 keeps height and width.
    """

    def __init__(
        self, title: str, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, same: bool = True
    ):
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        super().__init__(inputs, outputs, (high, wide), stride, (high // 2, wide // 2) if same else 0)
        self.title = title

    @property
    def published(self) -> dict[str, torch.Size]:
        """Shapes of its tensors in the published file."""
        norm = ("weight", "bias", "running_mean", "running_var")
        own = {f"{self.title}.bn.{name}": self.weight.shape[:1] for name in norm}
        return {f"{self.title}.conv.weight": self.weight.shape} | own

    def fold(self, state: Mapping[str, Tensor]) -> None:
        """Take gamma (W * x - mean) / sqrt(variance + epsilon) + beta from tensors of the published file."""
        weight, gamma, beta, mean, variance = (state[name] for name in self.published)
        scale = gamma.double() / (variance.double() + EPSILON).sqrt()
        self.weight.copy_(weight.float() * scale[:, None, None, None].float())
        assert self.bias is not None
        self.bias.copy_(beta.double() - mean.double() * scale)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu_()


class Beside(nn.ModuleList):
    """Parts that look at the same x, (B, C, H, W); their channels are put together."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self], 1)


class Average(nn.Module):
    """Mean over 3x3 pixels; at the border over those that lie in the picture, as TensorFlow has it."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


Step = tuple[int, int | tuple[int, int]]
"""Number of channels and kernel of a convolution."""


def tower(title: str, inputs: int, *steps: Step, stride: int = 1, forked: bool = False) -> nn.Sequential:
    """Convolutions one upon the other, numbered from 1 in their titles where there are several.

    Args:
        stride: of the last one, which then has no padding.
        forked: at the end there are a 1x3 and a 3x1 convolution side by side, of 384 channels each.
    """
    widths = pairwise([inputs, *(channels for channels, _ in steps)])
    parts: list[nn.Module] = []
    for number, ((before, after), (_, kernel)) in enumerate(zip(widths, steps, strict=True), 1):
        name = f"{title}_{number}" if len(steps) > 1 or forked else title
        step = stride if number == len(steps) else 1
        parts.append(Convolution(name, before, after, kernel, step, same=step == 1))
    if forked:
        width, name = steps[-1][0], f"{title}_{len(steps) + 1}"
        parts.append(Beside([Convolution(f"{name}a", width, 384, (1, 3)), Convolution(f"{name}b", width, 384, (3, 1))]))
    return nn.Sequential(*parts)


def mixed_35(title: str, inputs: int, pooled: int) -> Beside:
    """224 + ``pooled`` channels of 35x35 pixels."""
    return Beside(
        [
            tower(f"{title}.branch1x1", inputs, (64, 1)),
            tower(f"{title}.branch5x5", inputs, (48, 1), (64, 5)),
            tower(f"{title}.branch3x3dbl", inputs, (64, 1), (96, 3), (96, 3)),
            nn.Sequential(Average(), tower(f"{title}.branch_pool", inputs, (pooled, 1))),
        ]
    )


def smaller_17(title: str, inputs: int) -> Beside:
    """From 35x35 to 17x17 pixels and 480 more channels."""
    return Beside(
        [
            tower(f"{title}.branch3x3", inputs, (384, 3), stride=2),
            tower(f"{title}.branch3x3dbl", inputs, (64, 1), (96, 3), (96, 3), stride=2),
            nn.MaxPool2d(3, 2),
        ]
    )


def mixed_17(title: str, inputs: int, width: int) -> Beside:
    """768 channels of 17x17 pixels; 7x7 pixels are seen by rows and columns in turn."""
    row, column = (1, 7), (7, 1)
    deep: tuple[Step, ...] = ((width, 1), (width, column), (width, row), (width, column), (192, row))
    return Beside(
        [
            tower(f"{title}.branch1x1", inputs, (192, 1)),
            tower(f"{title}.branch7x7", inputs, (width, 1), (width, row), (192, column)),
            tower(f"{title}.branch7x7dbl", inputs, *deep),
            nn.Sequential(Average(), tower(f"{title}.branch_pool", inputs, (192, 1))),
        ]
    )


def smaller_8(title: str, inputs: int) -> Beside:
    """From 17x17 to 8x8 pixels and 512 more channels."""
    return Beside(
        [
            tower(f"{title}.branch3x3", inputs, (192, 1), (320, 3), stride=2),
            tower(f"{title}.branch7x7x3", inputs, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), stride=2),
            nn.MaxPool2d(3, 2),
        ]
    )


def mixed_8(title: str, inputs: int, pool: nn.Module) -> Beside:
    """2048 channels of 8x8 pixels."""
    return Beside(
        [
            tower(f"{title}.branch1x1", inputs, (320, 1)),
            tower(f"{title}.branch3x3", inputs, (384, 1), forked=True),
            tower(f"{title}.branch3x3dbl", inputs, (448, 1), (384, 3), forked=True),
            nn.Sequential(pool, tower(f"{title}.branch_pool", inputs, (192, 1))),
        ]
    )
