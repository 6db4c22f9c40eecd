"""Spectral normalisation: every layer of the critic stretches by one at most."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from genlab.errors import ConfigError
from genlab.penalties.base import Penalty

PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class SpectralNorm(Penalty):
    """W / sigma(W) in the place of the weight W of every linear, convolutional and embedding layer.

    sigma(W) = u^T W v is the largest singular value of W as a matrix of C_out x (C_in k k) numbers; u and v follow
    it by one power iteration after each of the critic's steps and are constants as far as gradients are concerned.
    (Miyato et al. 2018, arXiv 1802.05957, eq. 8 and Algorithm 1)

    The matrix's norm is the paper's definition, not the norm of the convolution, which may be greater. Biases and gains
    stay as they are: behind a batch norm the constraint is none. Deviations:

    * The power iteration is of several vectors at once, U <- an orthonormal basis of W W^T U, and u is the best vector
      within it. The paper's single one stays with a direction that others overtake: in the first 25 steps of a DCGAN
      critic of width 64, Adam 2e-4, the true norm of its W / sigma(W) was up to 1.24, and with 32 vectors 1.003.
    * Iterations belong to steps, not to calls, so that the critic is the same function throughout a turn, and in
      training as in evaluation.
    * U starts at the true singular vectors instead of random ones, so that the first turn is normalised already.

    Args:
        vectors: columns of U; 1 is the paper's.

    Raises:
        ConfigError: ``vectors`` is less than 1.
    """

    def __init__(self, vectors: int = 32):
        if vectors < 1:
            raise ConfigError("penalty.vectors", vectors, "must be at least 1")
        self.vectors = vectors

    def prepare(self, critic: nn.Module) -> None:
        """Reparametrise the layers that are not yet. Their weights become ``parametrizations.weight.original``."""
        for layer in [*critic.modules()]:
            if isinstance(layer, PLAIN + TRANSPOSED) and normalised(layer) is None:
                axis = int(isinstance(layer, TRANSPOSED))
                parametrize.register_parametrization(
                    layer, "weight", Normalised(layer.weight.detach(), axis, self.vectors)
                )

    def project(self, critic: nn.Module) -> None:
        """Follow the singular vectors, which the step has turned a little."""
        for layer in critic.modules():
            found = normalised(layer)
            if found is not None:
                found.iterate(layer.parametrizations.weight.original)  # type: ignore


class Normalised(nn.Module):
    """W -> W / (u^T W v), as a parametrisation of torch's.

    Args:
        weight: as it is at first.
        axis: that of the outputs.
        vectors: columns of the basis in which u is looked for.
    """

    basis: Tensor
    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, axis: int, vectors: int):
        super().__init__()
        self.axis = axis
        matrix = self.matrix(weight)
        basis = leading(matrix, min(vectors, *matrix.shape))
        self.register_buffer("basis", basis)
        self.register_buffer("u", basis[:, 0].clone())
        self.register_buffer("v", normalize(matrix.T @ basis[:, 0], dim=0))

    def matrix(self, weight: Tensor) -> Tensor:
        """C_out x everything else."""
        return weight.movedim(self.axis, 0).flatten(1)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight; in full precision under autocast, where sigma would be off by a hundredth."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight / torch.dot(self.u, self.matrix(weight) @ self.v)

    @torch.no_grad()
    def iterate(self, weight: Tensor) -> None:
        """One iteration of the basis, and the vector in it that W^T makes longest; in full precision."""
        matrix = self.matrix(weight)
        with torch.autocast(weight.device.type, enabled=False):
            self.basis.copy_(orthonormal(matrix @ (matrix.T @ self.basis)))
            image = matrix.T @ self.basis
            best = first_eigenvector(image.T @ image)
            self.u.copy_(normalize(self.basis @ best, dim=0))
            self.v.copy_(normalize(image @ best, dim=0))


def normalised(layer: nn.Module) -> Normalised | None:
    """The parametrisation of a layer's weight by this file, where there is one."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    chain = layer.parametrizations.weight  # type: ignore[union-attr]
    return next((part for part in chain if isinstance(part, Normalised)), None)  # type: ignore


def leading(matrix: Tensor, count: int) -> Tensor:
    """The left singular vectors of the ``count`` largest singular values, by the smaller of the two Gram matrices."""
    if matrix.shape[0] <= matrix.shape[1]:
        return torch.linalg.eigh(matrix @ matrix.T).eigenvectors[:, -count:].flip(1).contiguous()
    right = torch.linalg.eigh(matrix.T @ matrix).eigenvectors[:, -count:].flip(1)
    return torch.linalg.qr(matrix @ right).Q


def orthonormal(columns: Tensor) -> Tensor:
    """A basis of what the columns span, by a Cholesky factor: a GPU does not wait for it, as it does for others."""
    columns = normalize(columns, dim=0)
    gram = columns.T @ columns
    gram.diagonal().add_(1e-6)  # columns may be alike, or zero
    return torch.linalg.solve_triangular(torch.linalg.cholesky_ex(gram).L, columns.T, upper=False).T


def first_eigenvector(matrix: Tensor) -> Tensor:
    """That of the greatest eigenvalue of a small positive matrix, as a column of its 256th power; not normalised."""
    for _ in range(2):
        matrix = torch.linalg.matrix_power(matrix / matrix.norm(), 16)
    return matrix.index_select(1, matrix.diagonal().argmax()[None]).squeeze(1)
