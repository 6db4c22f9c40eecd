"""Random numbers of which example i's depend on seed i alone, whatever the batch it is computed in."""

from collections.abc import Iterable

import torch
from torch import Tensor


class Noise:
    """One random stream for each example.

    Numbers are drawn on the CPU and then moved, so they are the same on every device. A model that samples asks for
    all it needs in few large draws: every draw costs a call for each example.

    Args:
        seeds: one seed an example.
        device: where the drawn tensors go.
    """

    def __init__(self, seeds: Iterable[int], device: torch.device | str = "cpu"):
        self.seeds = list(seeds)
        self.device = torch.device(device)
        self._streams = [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def __len__(self) -> int:
        return len(self.seeds)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, (B, *shape)."""
        return torch.stack([torch.randn(shape, generator=stream) for stream in self._streams]).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape)."""
        return torch.stack([torch.rand(shape, generator=stream) for stream in self._streams]).to(self.device)
