r"""The tangent space of the matrices of a rank, and how a map sees it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.recovery.maps.gram import map_norm_bound, measurement_gram
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.repair import is_small, length
from tacit.recovery.projection_bound import as_real, hermitian_lanczos
from tacit.spectral import EPS, max_eigenvalue

# Singular values below this part of the largest do not count for the rank.
RANK_RTOL = 1e-6

_LARGEST_SPACE = 2000  # real dimensions
_LARGEST_IMAGES = 2**24  # entries of the map on the tangent space
_LARGEST_GRAM = 600  # real size of a Gram matrix whose spectrum is computed
_LARGEST_FORMED = 4096  # measurements whose Gram matrix is formed
_NORM_RTOL = 0.02
_BLOCK = 128  # basis matrices measured at once


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TangentSpace:
    r"""The space T at :math:`\bar X = U S V^H` of rank r.

    :math:`\{U B^H + C V^H\}`, or the Hermitian matrices among them with V = U in a
    symmetric problem: a space over the real numbers then.

    Parameters
    ----------
    u, v : Tensor, shapes (num_rows, r) and (num_columns, r)
        Singular vectors of X-bar.
    left, right : Tensor
        Factors of X-bar.
    nuclear_norm : float
        Of X-bar.
    tail : float
        At least the Frobenius norm of X-hat minus X-bar.
    margin : float
        At most the smallest singular value of :math:`w \circ \mathcal{A}` on T, at
        least 0; infinite if r is 0.
    face_margin : float
        The same on the matrices :math:`U M V^H` with a Hermitian M, a space over the
        real numbers.
    is_symmetric : bool
    """

    u: Tensor
    v: Tensor
    left: Tensor
    right: Tensor
    nuclear_norm: float
    tail: float
    margin: float
    face_margin: float
    is_symmetric: bool

    def split(self, matrix: Tensor) -> tuple[float, float, float, float]:
        r"""Return how far Y is from a subgradient of the nuclear norm at X-bar.

        Returns
        -------
        off_tangent : float
            At least :math:`\|P_{T^\perp} Y\|_2` (symmetric: its largest eigenvalue).
        error : float
            At least :math:`\|P_T Y - U V^H\|_F`.
        top : float
            :math:`\|Y\|_2` (symmetric: the largest eigenvalue of its Hermitian part).
        norm : float
            At least :math:`\|Y\|_2`.
        """
        if self.is_symmetric:
            matrix = (matrix + matrix.mH) / 2.0
        beyond = matrix - self.u @ (self.u.mH @ matrix)
        beyond = beyond - (beyond @ self.v) @ self.v.mH
        error = length(matrix - beyond - self.u @ self.v.mH)
        norm = float(torch.linalg.matrix_norm(matrix, 2))
        rounding = 8.0 * max(matrix.shape) * EPS * (norm + 1.0)
        if self.is_symmetric:
            # Zero belongs to U, so a negative largest eigenvalue does not show.
            top = float(torch.linalg.eigvalsh(matrix)[-1])
            off = float(torch.linalg.eigvalsh(beyond)[-1])
        else:
            top, off = norm, float(torch.linalg.matrix_norm(beyond, 2))
        return off + rounding, error + rounding, top, norm + rounding


def tangent_space(
    program: NuclearProgram, left: Tensor, right: Tensor
) -> TangentSpace | None:
    """Return the tangent space at a point and how the map sees it; None if too large.

    Parameters
    ----------
    program : NuclearProgram
    left, right : Tensor, shapes (num_rows, k) and (num_columns, k)

    Returns
    -------
    TangentSpace or None
    """
    u, values, v = _decomposed(left, right)
    rank = int((values > RANK_RTOL * values[:1]).sum())
    u, v, kept = u[:, :rank], v[:, :rank], values[:rank]
    is_symmetric = program.problem.is_symmetric
    v = u if is_symmetric else v
    spec = program.problem.linear_map.spec
    parts = 2 if spec.dtype.is_complex else 1
    dimension = rank * (sum(spec.in_shape) - rank)
    if (
        not is_small(program)
        or parts * dimension > _LARGEST_SPACE
        or dimension * spec.num_measurements > _LARGEST_IMAGES
    ):
        return None
    return TangentSpace(
        u=u,
        v=v,
        left=u * kept.sqrt(),
        right=v * kept.sqrt(),
        nuclear_norm=float(kept.sum()),
        tail=length(values[rank:]) + 64.0 * EPS * length(left) * length(right),
        margin=_margin(
            program,
            _hermitian_basis(u, v, torch.cat((u, _complement(u)), 1))
            if is_symmetric
            else _basis(u, v),
            over_reals=is_symmetric,
        ),
        face_margin=_margin(program, _hermitian_basis(u, v, u), over_reals=True),
        is_symmetric=is_symmetric,
    )


def _decomposed(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first, second = torch.linalg.qr(left), torch.linalg.qr(right)
    u, values, vh = torch.linalg.svd(first.R @ second.R.mH, full_matrices=False)
    return first.Q @ u, values, second.Q @ vh.mH


def _margin(
    program: NuclearProgram,
    basis: Iterator[tuple[Tensor, Tensor]],
    *,
    over_reals: bool,
) -> float:
    """Bound the smallest singular value of the map on a space from below."""
    problem = program.problem
    pairs = list(basis)
    is_split = over_reals and problem.measurements.is_complex()
    seen = float(problem.weights.sum()) * (2.0 if is_split else 1.0)
    if sum(len(firsts) for firsts, _ in pairs) > seen:
        return 0.0  # more dimensions than measurements
    images = [
        problem.weights * problem.linear_map.apply_factors(left, right)
        for firsts, seconds in pairs
        for left, right in zip(firsts.split(_BLOCK), seconds.split(_BLOCK), strict=True)
        if left.numel() > 0
    ]
    if not images:
        return math.inf
    rows = torch.cat(images)
    if is_split:
        rows = torch.view_as_real(rows).flatten(1)
    values = torch.linalg.eigvalsh(rows.conj() @ rows.mT)
    slack = 8.0 * len(rows) * EPS * float(values[-1])
    return math.sqrt(max(0.0, float(values[0]) - slack))


def _complement(u: Tensor) -> Tensor:
    return torch.linalg.qr(u, mode="complete").Q[:, u.shape[1] :]


def _columns(rows: Tensor) -> Tensor:
    """Return rows as a batch of single columns, with strides that products fold."""
    return rows.contiguous()[:, None, :].mT


def _outer(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return all pairs of a column of each, as batches of factors of one column."""
    left = first.mT.repeat_interleave(second.shape[1], 0)
    right = second.mT.repeat(first.shape[1], 1)
    return _columns(left), _columns(right)


def _basis(u: Tensor, v: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an orthonormal basis of the tangent space, as factors."""
    units = torch.eye(v.shape[0], dtype=v.dtype, device=v.device)
    if u.shape[1] == 0:
        return
    yield _outer(u, units)
    if u.shape[0] > u.shape[1]:
        yield _outer(_complement(u), v)


def _hermitian_basis(
    u: Tensor, v: Tensor, every: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    r"""Yield a basis, orthonormal over the real numbers, as factors.

    Of the matrices :math:`U M V^H` with Hermitian M where ``every`` is u; of the
    Hermitian tangent space where v is u and ``every`` a basis that begins with it.
    """
    rank = u.shape[1]
    if rank == 0:
        return
    yield _columns(u.mT), _columns(v.mT)
    others = v if every is u else every
    pairs = [(i, j) for i in range(rank) for j in range(i + 1, every.shape[1])]
    if not pairs:
        return
    rows, columns = torch.tensor(pairs, device=u.device).T
    a, b = (every.mT[places, :, None] for places in (rows, columns))
    c, d = (others.mT[places, :, None] for places in (rows, columns))
    right = torch.cat((d, c), 2) / math.sqrt(2.0)
    yield torch.cat((a, b), 2), right
    if u.is_complex():
        yield torch.cat((1j * a, -1j * b), 2), right


def map_norm(
    program: NuclearProgram, *, failure_probability: float, generator: torch.Generator
) -> float:
    r"""Return at least the norm of :math:`w \circ \mathcal{A}`, from Frobenius norms.

    The closed-form bound where the map has one; else the square root of the largest
    eigenvalue of the Gram matrix of the measurements fitted: dense up to a real size of
    600, by Lanczos to 2 % beyond.

    Parameters
    ----------
    program : NuclearProgram
        In double precision.
    failure_probability : float
        In (0, 1), of Lanczos over its random start.
    generator : torch.Generator
        Draws that start.

    Returns
    -------
    float
    """
    problem = program.problem
    linear_map, weights = problem.linear_map, problem.weights
    cheap = map_norm_bound(linear_map)
    if cheap is not None:
        return cheap
    size = linear_map.num_measurements
    parts = 2 if linear_map.spec.dtype.is_complex else 1
    gram = None
    if size <= _LARGEST_FORMED:
        gram = weights[:, None] * measurement_gram(linear_map) * weights
    if gram is not None and parts * size <= _LARGEST_GRAM:
        return math.sqrt(max(0.0, max_eigenvalue(as_real(gram)).upper))

    def apply(vector: Tensor) -> Tensor:
        if gram is not None:
            return gram @ vector
        return weights * linear_map.apply(linear_map.adjoint_apply(weights * vector))

    bound = hermitian_lanczos(
        apply, size, linear_map, failure_probability, generator, _NORM_RTOL
    )
    return math.sqrt(bound.upper)
