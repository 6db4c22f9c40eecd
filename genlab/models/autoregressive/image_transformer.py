"""A causal transformer over the values of an image, or of a point, row by row.

Parmar et al. 2018, Image Transformer, arXiv 1802.05751, for images as sequences and for windows of attention; Chen et
al. 2020, Generative Pretraining from Pixels, for the plain decoder; Vaswani et al. 2017, arXiv 1706.03762, eq. 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from genlab.errors import ConfigError
from genlab.likelihoods.base import Likelihood
from genlab.models.autoregressive.autoregressive import AutoRegressive
from genlab.models.autoregressive.base import Layout
from genlab.models.autoregressive.sequence import Sequence
from genlab.spec import Spec


class Attention(nn.Module):
    """o_t = W sum over s of softmax_s(q_t . k_s / sqrt(d)) v_s,   t - window < s <= t, several heads of d numbers.

    A window is computed in blocks of its length, each of which sees itself and the one before, at a cost of
    2 S window instead of S^2.

    Args:
        width: N, of what is read and made.
        heads: how many, of N / heads numbers each.
        window: how many of the latest inputs are seen, None for all.
    """

    def __init__(self, width: int, heads: int, window: int | None):
        super().__init__()
        self.heads, self.window = heads, window
        self.read = nn.Linear(width, 3 * width, bias=False)
        self.write = nn.Linear(width, width, bias=False)

    def split(self, h: Tensor) -> Tensor:
        """Queries, keys and values, (3, B, heads, S, d)."""
        return self.read(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, h: Tensor) -> Tensor:
        """(B, S, N) to the same."""
        q, k, v = self.split(h)
        if self.window is None or self.window >= h.shape[1]:
            seen = scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            seen = self.in_blocks(q, k, v, self.window)
        return self.write(seen.transpose(1, 2).flatten(2))

    @staticmethod
    def in_blocks(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        """(B, heads, S, d) each, to what queries see."""
        S = q.shape[2]
        q, k, v = (pad(part, (0, 0, 0, -S % window)).unflatten(2, (-1, window)) for part in (q, k, v))
        k, v = (torch.cat([pad(part, (0, 0, 0, 0, 1, 0))[:, :, :-1], part], 3) for part in (k, v))
        query, key = torch.arange(window, device=q.device)[:, None], torch.arange(2 * window, device=q.device)
        band = ((key > query) & (key <= query + window)).expand(q.shape[2], -1, -1).clone()
        band[0, :, :window] = False  # before the first block there is nothing
        return scaled_dot_product_attention(q, k, v, attn_mask=band).flatten(2, 3)[:, :, :S]

    def step(self, h: Tensor, cache: Tensor, t: int) -> Tensor:
        """Input t, (B, N), to its output; its key and value are put into the ``cache``, (2, B, heads, S, d)."""
        q, k, v = self.split(h[:, None])
        cache[0, :, :, t], cache[1, :, :, t] = k[:, :, 0], v[:, :, 0]
        start = 0 if self.window is None else max(0, t + 1 - self.window)
        seen = scaled_dot_product_attention(q, cache[0, :, :, start : t + 1], cache[1, :, :, start : t + 1])
        return self.write(seen.flatten(1))


class Block(nn.Module):
    """h + attention(norm(h)), then h + W gelu(V norm(h)) with 4 N hidden units; dropout on what is added.

    What is added starts divided by sqrt(2 ``depth``), so that the sum over blocks starts as large as its first part.

    Args:
        width, heads, window: of the attention.
        dropout: in training.
        depth: number of blocks.
    """

    def __init__(self, width: int, heads: int, window: int | None, dropout: float, depth: int):
        super().__init__()
        self.before_attention, self.before_mix = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, heads, window)
        last = nn.Linear(4 * width, width)
        self.mix = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), last)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.attention.write.weight.div_(math.sqrt(2 * depth))
            last.weight.div_(math.sqrt(2 * depth))

    def forward(self, h: Tensor, attend: Callable[[Attention, Tensor], Tensor] = Attention.__call__) -> Tensor:
        h = h + self.dropout(attend(self.attention, self.before_attention(h)))
        return h + self.dropout(self.mix(self.before_mix(h)))


class State(NamedTuple):
    """The number of inputs so far, and keys and values of each layer, (2, B, heads, S, d)."""

    t: int
    caches: list[Tensor]


class Transformer(nn.Module):
    """Blocks of causal attention, and a norm after the last. Norms divide by the root mean square, and come first.

    Args:
        width: N.
        layers: blocks.
        heads: of attention.
        window: how many of the latest inputs a block sees, None for all.
        dropout: in training.
    """

    def __init__(self, width: int, layers: int, heads: int, window: int | None, dropout: float):
        super().__init__()
        if width % heads:
            raise ConfigError("model.heads", heads, f"must divide the width, {width}")
        if window is not None and window < 1:
            raise ConfigError("model.context", window, "must be at least 1, or null for all that came before")
        self.blocks: Any = nn.ModuleList(Block(width, heads, window, dropout, layers) for _ in range(layers))
        self.dropout, self.norm = nn.Dropout(dropout), nn.RMSNorm(width)

    def forward(self, h: Tensor) -> Tensor:
        h = self.dropout(h)
        for block in self.blocks:
            h = block(h)
        return self.norm(h)

    def begin(self, h: Tensor, length: int) -> State:
        B, N = h.shape
        heads = [block.attention.heads for block in self.blocks]
        return State(0, [h.new_zeros(2, B, count, length, N // count) for count in heads])

    def step(self, h: Tensor, state: State) -> tuple[Tensor, State]:
        for block, cache in zip(self.blocks, state.caches, strict=True):
            h = block(h, lambda attention, x, cache=cache: attention.step(x, cache, state.t))
        return self.norm(h), State(state.t + 1, state.caches)


def image_transformer(
    spec: Spec,
    width: int = 256,
    layers: int = 12,
    heads: int = 4,
    context: int | None = None,
    dropout: float = 0.1,
    likelihood: str | Callable[..., Likelihood] | None = None,
    order: str = "raster",
    conditional: bool = False,
) -> AutoRegressive:
    """An ``AutoRegressive`` model by a ``Sequence`` through a ``Transformer``; see there for the arguments.

    Args:
        context: the transformer's window.
    """

    def net(layout: Layout) -> nn.Module:
        return Sequence(layout, width, Transformer(width, layers, heads, context, dropout))

    return AutoRegressive(spec, net, likelihood, order, conditional)
