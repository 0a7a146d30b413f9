r"""Soft-thresholding of singular values and of eigenvalues."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

_LEAST_THRESHOLD = 1e-3
_LARGE = 50  # from this smaller side on products are cheaper than the decomposition


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Shrunk:
    r"""A matrix whose singular values were shrunk, :math:`X = L R^H`.

    Parameters
    ----------
    left : Tensor, shape (num_rows, rank)
    right : Tensor, shape (num_columns, rank)
        Balanced: the j-th columns of both have as squared norm the j-th singular value
        of X. One tensor for both where X is positive semidefinite.
    nuclear_norm : float
        Of X.
    """

    left: Tensor
    right: Tensor
    nuclear_norm: float

    @property
    def rank(self) -> int:
        """Number of singular values above the threshold."""
        return self.left.shape[-1]

    @property
    def matrix(self) -> Tensor:
        """X, formed."""
        return self.left @ self.right.mH


def shrink_singular_values(matrix: Tensor, threshold: float) -> Shrunk:
    r"""Return the proximal point of the nuclear norm.

    .. math:: \arg\min_X \tfrac12 \|X - V\|_F^2 + t \|X\|_*
              = \sum_j \max(\sigma_j - t, 0)\, u_j v_j^H

    Parameters
    ----------
    matrix : Tensor, shape (num_rows, num_columns)
        V, with singular triples :math:`(\sigma_j, u_j, v_j)`.
    threshold : float
        t, at least 0.

    Returns
    -------
    Shrunk
        New tensors, largest singular value first; of rank 0 if none exceeds t.

    Notes
    -----
    From a smaller side of 50 on, the triples come from the eigenvectors of the smaller
    Gram matrix, whose rounding moves :math:`\sigma` by up to about :math:`n\,
    \varepsilon\, \sigma_1^2 / \sigma`: harmless where only :math:`\sigma > t` counts,
    and done only if :math:`t > 10^{-3} \sigma_1`, else it is the singular value
    decomposition.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.nuclear.shrink import shrink_singular_values
    >>> matrix = torch.tensor([[0.0, 3.0], [-1.0, 0.0]], dtype=torch.float64)
    >>> shrink_singular_values(matrix, 2.0).nuclear_norm
    1.0
    """
    rows, columns = matrix.shape
    if min(rows, columns) >= _LARGE:
        is_wide = columns > rows
        tall = matrix.mH if is_wide else matrix
        squares, vectors = torch.linalg.eigh(tall.mH @ tall)
        limit = _LEAST_THRESHOLD * max(float(squares[-1]), 0.0) ** 0.5
        if threshold > limit:
            first = int((squares <= threshold * threshold).sum())
            sigma = squares[first:].flip(0).sqrt()
            v = vectors[:, first:].flip(1)
            u = (tall @ v) / sigma
            return _shrunk(*((v, u) if is_wide else (u, v)), sigma - threshold)
    u, sigma, vh = torch.linalg.svd(matrix, full_matrices=False)
    rank = int((sigma > threshold).sum())
    return _shrunk(u[:, :rank], vh[:rank].mH, sigma[:rank] - threshold)


def shrink_eigenvalues(matrix: Tensor, threshold: float) -> Shrunk:
    r"""Return the proximal point of the trace over the Hermitian semidefinite cone.

    .. math:: \arg\min_{X = X^H \succeq 0} \tfrac12 \|X - V\|_F^2 + t\, \mathrm{tr} X
              = \sum_j \max(\lambda_j - t, 0)\, u_j u_j^H

    Parameters
    ----------
    matrix : Tensor, shape (size, size)
        V, whose Hermitian part :math:`(V + V^H) / 2` has the eigenpairs
        :math:`(\lambda_j, u_j)`; it need not be Hermitian itself.
    threshold : float
        t, at least 0.

    Returns
    -------
    Shrunk
        Largest eigenvalue first; left and right are one tensor.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.nuclear.shrink import shrink_eigenvalues
    >>> matrix = torch.diag(torch.tensor([3.0, -5.0], dtype=torch.float64))
    >>> shrink_eigenvalues(matrix, 2.0).nuclear_norm
    1.0
    """
    values, vectors = torch.linalg.eigh((matrix + matrix.mH) / 2.0)
    first = int((values <= threshold).sum())
    kept = values[first:].flip(0) - threshold
    factor = vectors[:, first:].flip(1) * kept.sqrt()
    return Shrunk(left=factor, right=factor, nuclear_norm=float(kept.sum()))


def _shrunk(u: Tensor, v: Tensor, values: Tensor) -> Shrunk:
    roots = values.sqrt()
    return Shrunk(left=u * roots, right=v * roots, nuclear_norm=float(values.sum()))
