r"""Sparse plus low-rank matrices: their products, and their leading singular triplets.

Every iterate of reweighted least squares and of soft-impute has this form. Products
with a few columns cost one pass over the entries; rows x columns is formed only where
that is the quicker way.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.problem import RecoveryProblem

# Numbers in a matrix (512 x 512) that is formed: products with it cost less than the
# calls of sparse ones.
_FORMED = 2**18


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SparseLowRank:
    r"""The matrix :math:`\mathcal{A}^*(v) + L R^H`.

    Parameters
    ----------
    entries : EntriesMap
        Where the sparse part has entries.
    values : Tensor, shape (num_measurements,)
        v.
    left : Tensor, shape (num_rows, k)
    right : Tensor, shape (num_columns, k)
    """

    entries: EntriesMap
    values: Tensor
    left: Tensor
    right: Tensor

    @cached_property
    def formed(self) -> Tensor | None:
        """The matrix itself if it is small, else None."""
        rows, columns = self.entries.shape
        if rows * columns > _FORMED:
            return None
        return self.entries.adjoint_apply(self.values).addmm_(self.left, self.right.mH)

    def times(self, block: Tensor) -> Tensor:
        """Return the matrix times ``block``, shape (num_rows, width)."""
        if self.formed is not None:
            return self.formed @ block
        nothing = self.left[:, :0]
        product, _ = self.entries.adjoint_times(self.values, nothing, block)
        return product.addmm_(self.left, self.right.mH @ block)

    def adjoint_times(self, block: Tensor) -> Tensor:
        """Return its conjugate transpose times ``block``: (num_columns, width)."""
        if self.formed is not None:
            return self.formed.mH @ block
        nothing = self.right[:, :0]
        _, product = self.entries.adjoint_times(self.values, block, nothing)
        return product.addmm_(self.right, self.left.mH @ block)


def leading_svd(
    matrix: SparseLowRank, basis: Tensor, *, num_sweeps: int
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return approximate leading singular triplets, from a start near them.

    Subspace iteration: ``num_sweeps`` times the basis is replaced by an orthonormal
    basis of :math:`M^H M` times its span, then M is diagonalised on it. The error of
    the j-th vector falls by :math:`(\sigma_{w+1} / \sigma_j)^2` a sweep, for w columns.

    Parameters
    ----------
    matrix : SparseLowRank
    basis : Tensor, shape (num_columns, w)
        The start; its columns need not be orthonormal.
    num_sweeps : int
        At least 1.

    Returns
    -------
    left : Tensor, shape (num_rows, w)
        Orthonormal.
    values : Tensor, shape (w,)
        Largest first; each at most the singular value of the same number.
    right : Tensor, shape (num_columns, w)
        Orthonormal.
        All three are NaN if the matrix has a value that is not finite: a decomposition
        of it would be refused, and callers end with a status.

    References
    ----------
    Halko, Martinsson and Tropp (2011), Finding structure with randomness, algorithm
    4.4.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.completion.problem import completion_problem
    >>> from tacit.recovery.completion.sparse_low_rank import SparseLowRank, leading_svd
    >>> entries = completion_problem([0, 1], [0, 1], [3.0, 4.0]).linear_map
    >>> nothing = torch.zeros(2, 0, dtype=torch.float64)
    >>> matrix = SparseLowRank(entries=entries, left=nothing, right=nothing,
    ...     values=torch.tensor([3.0, 4.0]).double())
    >>> leading_svd(matrix, torch.ones(2, 2).triu().double(), num_sweeps=1)[1].tolist()
    [4.0, 3.0]
    """
    left = torch.linalg.qr(matrix.times(basis)).Q
    basis = matrix.adjoint_times(left)
    for _ in range(num_sweeps - 1):
        left = torch.linalg.qr(matrix.times(basis)).Q
        basis = matrix.adjoint_times(left)
    # M^H Q = (basis) R, so M is about Q R^H basis^H.
    right, triangle = torch.linalg.qr(basis)
    if not bool(torch.isfinite(triangle).all()):
        nan = triangle.real.new_full(triangle.shape[-2:-1], torch.nan)
        return left * torch.nan, nan, right * torch.nan
    u, values, vh = torch.linalg.svd(triangle)
    return left @ vh.mH, values, right @ u


def draw_basis(
    entries: EntriesMap, width: int, *, generator: torch.Generator
) -> Tensor:
    """Return a random start for :func:`leading_svd`, shape (num_columns, width)."""
    dtype = entries.dtype
    double = torch.complex128 if dtype.is_complex else torch.float64
    shape = (entries.shape[1], width)
    drawn = torch.randn(shape, generator=generator, dtype=double)
    return drawn.to(dtype=dtype, device=entries.rows.device)


def require_entries(problem: RecoveryProblem) -> EntriesMap:
    """Return the problem's map.

    Raises
    ------
    InputError
        Unless it is an :class:`~tacit.recovery.maps.entries.EntriesMap` and there is a
        single vector of measurements.
    """
    entries = problem.linear_map
    if not isinstance(entries, EntriesMap):
        raise InputError(
            "completion needs a problem whose map is an EntriesMap; got "
            f"{type(entries).__name__}; use completion_problem"
        )
    if problem.measurements.dim() != 1:
        raise InputError(
            "completion takes one vector of measurements; got shape "
            f"{tuple(problem.measurements.shape)}; complete the matrices one by one"
        )
    return entries


def fitted_part(
    problem: RecoveryProblem, chosen: Tensor | None = None
) -> RecoveryProblem:
    """Return the problem without its held-out entries, or with the chosen ones alone.

    Parameters
    ----------
    problem : RecoveryProblem
    chosen : Tensor or None, shape (num_measurements,)
        True for the entries to keep; None keeps those not held out.

    Returns
    -------
    RecoveryProblem
        On fewer entries, none of them held out.
    """
    entries = require_entries(problem)
    if chosen is None:
        if problem.held_out is None:
            return problem
        chosen = ~problem.held_out
    kept = EntriesMap(
        rows=entries.rows[chosen],
        columns=entries.columns[chosen],
        shape=entries.shape,
        dtype=entries.dtype,
    )
    return replace(
        problem,
        linear_map=kept,
        measurements=problem.measurements[chosen],
        held_out=None,
    )


def mirrored(problem: RecoveryProblem) -> RecoveryProblem:
    r"""Return a symmetric problem as a rectangular one that sees both triangles.

    An entry off the diagonal is given at its mirror place, too, conjugated; both copies
    are held out if one is. A problem that is not symmetric is returned as it is.
    """
    if not problem.is_symmetric:
        return problem
    entries = require_entries(problem)
    off = entries.rows != entries.columns
    rows = torch.cat([entries.rows, entries.columns[off]])
    columns = torch.cat([entries.columns, entries.rows[off]])
    values = torch.cat([problem.measurements, problem.measurements[off].conj()])
    keys, order = torch.sort(rows * entries.shape[1] + columns)
    kept = torch.cat([keys.new_ones(1, dtype=torch.bool), keys.diff() > 0])
    order = order[kept]
    held_out = problem.held_out
    if held_out is not None:
        held_out = torch.cat([held_out, held_out[off]])[order]
    both = EntriesMap(
        rows=rows[order],
        columns=columns[order],
        shape=entries.shape,
        dtype=entries.dtype,
    )
    return replace(
        problem,
        linear_map=both,
        measurements=values[order],
        is_symmetric=False,
        held_out=held_out,
    )


def symmetric_factor(left: Tensor, right: Tensor) -> Tensor:
    r"""Return U whose :math:`U U^H` is nearest to the Hermitian part of :math:`L R^H`.

    Parameters
    ----------
    left, right : Tensor, shape (size, rank)

    Returns
    -------
    Tensor, shape (size, rank)
        Columns orthogonal, longest first; zero where the Hermitian part has fewer than
        ``rank`` positive eigenvalues.

    Examples
    --------
    >>> import torch
    >>> from tacit.recovery.completion.sparse_low_rank import symmetric_factor
    >>> left = torch.tensor([[4.0], [0.0]])
    >>> symmetric_factor(left, left / 4.0).abs().tolist()
    [[2.0], [0.0]]
    """
    basis, triangle = torch.linalg.qr(torch.cat([left, right], -1))
    rank = left.shape[-1]
    first, second = triangle[:, :rank], triangle[:, rank:]
    core = first @ second.mH
    values, vectors = torch.linalg.eigh((core + core.mH) / 2.0)
    values, vectors = values.flip(-1)[:rank], vectors.flip(-1)[:, :rank]
    factor = basis @ (vectors * values.clamp(min=0.0).sqrt())
    if factor.shape[-1] < rank:
        missing = rank - factor.shape[-1]
        factor = torch.cat([factor, factor.new_zeros(factor.shape[0], missing)], -1)
    return factor
