"""Masks of couplings: which dimensions stay and decide."""

import torch
from torch import Tensor


def parity(shape: tuple[int, ...], offset: int) -> Tensor:
    """1 where row + column (an image, (H, W)) or index (a vector, (D,)) has the parity of ``offset``."""
    indices = torch.meshgrid(*(torch.arange(size) for size in shape[-2:]), indexing="ij")
    return ((torch.stack(indices).sum(0) + offset + 1) % 2).float()


def halves(channels: int, which: int) -> Tensor:
    """1 for the first (0) or the second (1) half of the channels, (C, 1, 1)."""
    return ((torch.arange(channels) < channels // 2) != bool(which)).float().view(-1, 1, 1)
