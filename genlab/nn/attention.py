"""Self-attention over the places of a map of features."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, scaled_dot_product_attention


class SelfAttention(nn.Module):
    """x + gamma o,   o_i = W_o sum over j of softmax_j(q_i . k_j) v_j,   gamma = 0 at first.

    Queries and keys have an eighth of the channels, values a half; keys and values are pooled to a quarter of the
    places, as in the released code. (Zhang et al. 2019, arXiv 1805.08318, eq. 1 to 3) The products are not divided by
    the root of their length, as there.

    Args:
        channels: of the map.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner, half = max(1, channels // 8), max(1, channels // 2)
        self.query, self.key = nn.Conv2d(channels, inner, 1, bias=False), nn.Conv2d(channels, inner, 1, bias=False)
        self.value, self.out = nn.Conv2d(channels, half, 1, bias=False), nn.Conv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        pooled = min(x.shape[2:]) > 1

        def places(maps: Tensor, pool: bool) -> Tensor:
            return (max_pool2d(maps, 2) if pool else maps).flatten(2).transpose(1, 2)  # (B, H W, C)

        q, k, v = places(self.query(x), False), places(self.key(x), pooled), places(self.value(x), pooled)
        q = q * math.sqrt(q.shape[2])  # torch divides by it
        seen = scaled_dot_product_attention(q, k, v).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.gamma * self.out(seen)
