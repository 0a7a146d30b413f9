r"""Dual certificates at a known truth, by dense linear algebra.

Memory for L matrices of size K x N.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import AbstractLinearMap

_LEVELS = (0.95, 0.85, 0.7, 0.5, 0.3)  # of theta that certificates are tried for


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TruthCertificate:
    r"""A dual vector at the truth, and what makes it a certificate.

    For :math:`X_0 = U \Sigma V^H` of rank r, T its tangent space, and
    :math:`\mathcal{A}_T` the map restricted to T:

    Parameters
    ----------
    dual : Tensor, shape (num_measurements,)
        q.
    dual_size : float
        :math:`\|q\|_2`.
    tangent_defect : float
        :math:`\gamma = \|P_T \mathcal{A}^*(q) - U V^H\|_F`; zero up to rounding for the
        certificates made here.
    off_tangent_norm : float
        :math:`\theta = \|P_{T^\perp} \mathcal{A}^*(q)\|_2`; below 1 for a certificate.
    tangent_gain : float
        :math:`\sigma = \sigma_{\min}(\mathcal{A}_T)`.
    leakage : float
        :math:`\beta = \|\mathcal{A}_T^+ \mathcal{A} P_{T^\perp}\|_2`, the dimension
        factor: about :math:`\sqrt{KN / L}`.
    size : float
        :math:`\|X_0\|_F`.
    rank : int
        r.
    """

    dual: Tensor
    dual_size: float
    tangent_defect: float
    off_tangent_norm: float
    tangent_gain: float
    leakage: float
    size: float
    rank: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TruthCoordinates:
    """The map at a truth, in the basis of its singular vectors.

    Parameters
    ----------
    tangent : Tensor, shape (L, dim T)
        The map on T, as a matrix.
    rest : Tensor, shape (L, (K - r) (N - r))
        The map off T.
    sign : Tensor, shape (dim T,)
        U V^H.
    block : tuple of int
        ``(K - r, N - r)``.
    singular_values : Tensor, shape (r,)
        Of the truth.
    """

    tangent: Tensor
    rest: Tensor
    sign: Tensor
    block: tuple[int, int]
    singular_values: Tensor


def truth_certificate(
    linear_map: AbstractLinearMap,
    left: Tensor,
    right: Tensor,
    *,
    dual: Tensor | None = None,
    num_steps: int = 60,
) -> TruthCertificate:
    r"""Return a dual certificate at the truth :math:`X_0 = L R^H`.

    By default the shortest q with :math:`P_T \mathcal{A}^*(q) = U V^H`, improved in
    ``num_steps`` steps towards small :math:`\|q\| / (1 - \theta)`, which is what the
    bounds depend on: for some levels :math:`\rho`

    .. math:: \min \tfrac12 \|q\|^2 \quad \text{subject to} \quad
        P_T \mathcal{A}^*(q) = U V^H, \; \|P_{T^\perp} \mathcal{A}^*(q)\|_2 \le \rho

    by accelerated proximal gradients on its dual. Every step's q is admissible, and the
    best one seen is returned.

    Parameters
    ----------
    linear_map : AbstractLinearMap
        :math:`\mathcal{A}`.
    left, right : Tensor, shape (num_rows, r) and (num_columns, r)
        The truth, of rank r exactly.
    dual : Tensor or None, shape (num_measurements,)
        Judge this q instead, as it is.
    num_steps : int
        For each level; 0 keeps the shortest q.

    Returns
    -------
    TruthCertificate
        Its ``off_tangent_norm`` may be 1 or more: then nothing is certified.

    Raises
    ------
    ShapeError
        If the factors do not belong to the map, or the dual vector does not.
    InputError
        If the truth has a smaller rank than its factors have columns, or the map is not
        injective on T, as with fewer measurements than T has dimensions.

    Examples
    --------
    >>> import tacit, torch
    >>> from tacit.recovery.deconvolution.theory.truth_certificate import (
    ...     truth_certificate)
    >>> gaussian = tacit.gaussian_map((3, 3), 40, generator=tacit.make_generator(0))
    >>> ones = torch.ones(3, 1, dtype=torch.float64)
    >>> truth_certificate(gaussian, ones, ones).off_tangent_norm < 1.0
    True
    """
    parts = truth_coordinates(linear_map, left, right)
    basis, triangle = torch.linalg.qr(parts.tangent)
    gains = torch.linalg.svdvals(triangle)
    if basis.shape[1] < parts.sign.shape[0] or float(gains[-1]) < 1e-12 * gains[0]:
        raise InputError(
            f"the map must be injective on the tangent space of {parts.sign.shape[0]} "
            f"dimensions; got {linear_map.num_measurements} measurements and smallest "
            f"singular value {float(gains[-1]):.1e}; measure more"
        )
    if dual is None:
        shortest = basis @ torch.linalg.solve_triangular(
            triangle.mH, parts.sign[:, None], upper=False
        )
        chosen = _improved(parts, basis, shortest[:, 0], num_steps)
    elif dual.shape != (linear_map.num_measurements,):
        raise ShapeError(
            f"dual must have shape ({linear_map.num_measurements},); got "
            f"{tuple(dual.shape)}"
        )
    else:
        chosen = dual
    leak = torch.linalg.solve_triangular(triangle, basis.mH @ parts.rest, upper=True)
    return TruthCertificate(
        dual=chosen,
        dual_size=float(torch.linalg.vector_norm(chosen)),
        tangent_defect=float(
            torch.linalg.vector_norm(parts.tangent.mH @ chosen - parts.sign)
        ),
        off_tangent_norm=_off_tangent_norm(parts, chosen),
        tangent_gain=float(gains[-1]),
        leakage=_spectral_norm(leak),
        size=float(torch.linalg.vector_norm(parts.singular_values)),
        rank=left.shape[1],
    )


def truth_coordinates(
    linear_map: AbstractLinearMap, left: Tensor, right: Tensor
) -> TruthCoordinates:
    """Return the map at the truth ``left @ right^H``, as matrices.

    Raises
    ------
    ShapeError
        If the factors do not belong to the map.
    InputError
        If the truth has a smaller rank than its factors have columns.
    """
    rows, columns = linear_map.in_shape
    rank = left.shape[-1]
    if left.shape != (rows, rank) or right.shape != (columns, rank) or rank < 1:
        raise ShapeError(
            f"left and right must have shapes ({rows}, r) and ({columns}, r) as the "
            f"map's matrices have; got {tuple(left.shape)} and {tuple(right.shape)}"
        )
    u, values, vh = torch.linalg.svd(left @ right.mH)
    if rank > min(rows, columns) or not float(values[rank - 1]) > 1e-12 * values[0]:
        raise InputError(
            f"the truth must have the rank of its factors, {rank}; got singular values "
            f"from {float(values[0]):.1e} to {float(values[-1]):.1e}; use fewer columns"
        )
    size = linear_map.num_measurements
    units = torch.eye(size, dtype=left.dtype, device=left.device)
    # Row l is the matrix A*(e_l) in the basis of the singular vectors.
    turned = u.mH @ linear_map.adjoint_apply(units) @ vh.mH
    in_tangent = torch.ones(rows, columns, dtype=torch.bool, device=left.device)
    in_tangent[rank:, rank:] = False
    sign = torch.zeros(rows, columns, dtype=left.dtype, device=left.device)
    sign.diagonal()[:rank] = 1.0
    return TruthCoordinates(
        tangent=turned[:, in_tangent].conj(),
        rest=turned[:, rank:, rank:].reshape(size, -1).conj(),
        sign=sign[in_tangent],
        block=(rows - rank, columns - rank),
        singular_values=values[:rank],
    )


def _spectral_norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2)) if matrix.numel() else 0.0


def _off_tangent_norm(parts: TruthCoordinates, dual: Tensor) -> float:
    return _spectral_norm((parts.rest.mH @ dual).reshape(parts.block))


def _quality(parts: TruthCoordinates, dual: Tensor) -> float:
    """Return |q| / (1 - theta), which is to be small; infinite if not a certificate."""
    slack = 1.0 - _off_tangent_norm(parts, dual)
    return float(torch.linalg.vector_norm(dual)) / slack if slack > 0.0 else math.inf


def _improved(
    parts: TruthCoordinates, basis: Tensor, shortest: Tensor, num_steps: int
) -> Tensor:
    """Return the best q seen on the way to certificates of given spectral norms.

    With A the map off T and P the projection orthogonal to the range of the map on T,
    the dual of the problem of :func:`truth_certificate` is to minimise
    |P A Z|^2 / 2 - Re<A*(shortest), Z> + level |Z|_*, and q = shortest - P A Z.
    """
    chosen, best = shortest, _quality(parts, shortest)
    if not parts.rest.numel() or num_steps < 1:
        return chosen
    free = parts.rest - basis @ (basis.mH @ parts.rest)
    step = 1.0 / max(_spectral_norm(free) ** 2, 1e-300)
    for level in _LEVELS:
        point = momentum = torch.zeros_like(parts.rest[0])
        for k in range(num_steps):
            dual = shortest - free @ momentum
            quality = _quality(parts, dual)
            if quality < best:
                chosen, best = dual, quality
            moved = momentum + step * (parts.rest.mH @ dual)
            last, point = point, _shrunk(moved.reshape(parts.block), step * level)
            momentum = point + k / (k + 3.0) * (point - last)
    return chosen


def _shrunk(matrix: Tensor, amount: float) -> Tensor:
    """Return the matrix with its singular values lowered by ``amount``, as a vector."""
    u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
    lowered = (values - amount).clamp(min=0.0).to(u.dtype)
    return ((u * lowered) @ vh).reshape(-1)
