"""Invertible linear maps of the channels: Glow's 1 x 1 convolution, a permutation that is learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genlab.bijections.base import Bijection
from genlab.errors import GenlabError


class NotInvertibleError(GenlabError):
    """A layer of a flow can no longer be undone."""


class InvertibleLinear(Bijection):
    """y = W x at every pixel, W = P L (U + diag(sign e^s)),   log|det| = H W sum of s.

    P is a permutation, L lower triangular with ones on its diagonal, U strictly upper triangular; P and the signs stay
    as they start, from a random rotation. One C x C parameter holds L and U off its diagonal and s on it. No
    determinant is computed, and the inverse is two triangular solves, so neither direction loses digits to the inverse
    of a matrix. Images (a 1 x 1 convolution) and vectors. (Kingma and Dhariwal 2018, Glow, arXiv 1807.03039, section
    3.2, eq. 10 and 11; the released code trains W itself by default)

    Args:
        channels: C.
        name: of the layer, for the error of a W that has lost its inverse.
    """

    order: Tensor
    back: Tensor
    sign: Tensor

    def __init__(self, channels: int, name: str = "invertible linear map"):
        super().__init__()
        self.name = name
        rotation = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))[0]
        P, L, U = torch.linalg.lu(rotation)
        diagonal, kind = U.diagonal(), torch.get_default_dtype()
        self.triangles = nn.Parameter((L.tril(-1) + U.triu(1) + diagonal.abs().log().diag()).to(kind))
        self.register_buffer("sign", diagonal.sign().to(kind))
        self.register_buffer("order", P.argmax(1))  # (P v)[i] = v[order[i]]
        self.register_buffer("back", P.argmax(0))

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        L, U = self._triangles(x.dtype)
        W = (L @ U)[self.order]
        y = x @ W.T if x.dim() == 2 else nn.functional.conv2d(x, W[:, :, None, None])
        return y.to(x.dtype), self._log_det(x)

    def inverse(self, y: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Raises:
        NotInvertibleError: an entry of the diagonal has become 0, infinite or NaN.
        """
        L, U = self._triangles(y.dtype)
        diagonal = U.diagonal()
        if not bool((diagonal.isfinite() & (diagonal != 0)).all()):
            worst = self.triangles.detach().diagonal().abs().max().item()
            raise NotInvertibleError(f"{self.name}: no inverse, the largest abs(log s) is {worst:.3g}")
        v = y.transpose(0, 1).flatten(1)[self.back]
        v = torch.linalg.solve_triangular(L, v, upper=False, unitriangular=True)
        v = torch.linalg.solve_triangular(U, v, upper=True)
        return v.unflatten(1, (len(y), *y.shape[2:])).transpose(0, 1), -self._log_det(y)

    def _triangles(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        both = self.triangles.to(dtype)
        diagonal = self.sign.to(dtype) * both.diagonal().exp()
        identity = torch.eye(len(both), dtype=dtype, device=both.device)
        return both.tril(-1) + identity, both.triu(1) + diagonal.diag()

    def _log_det(self, x: Tensor) -> Tensor:
        return (math.prod(x.shape[2:]) * self.triangles.to(x.dtype).trace()).expand(len(x))
