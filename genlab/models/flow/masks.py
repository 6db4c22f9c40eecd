"""Masks of couplings: which dimensions stay and decide."""

import torch
from torch import Tensor


def parity(shape: tuple[int, ...], offset: int) -> Tensor:
    """1 where row + column (an image, (H, W)) or index (a vector, (D,)) has the parity of ``offset``."""
    indices = torch.meshgrid(*(torch.arange(size) for size in shape[-2:]), indexing="ij")
    return ((torch.stack(indices).sum(0) + offset + 1) % 2).float()
