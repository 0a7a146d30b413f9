r"""Upper bounds on the spectrum of a back-projection :math:`\mathcal{A}^*(q)`.

Large matrices go through Lanczos, which needs many steps where the leading singular
values are close to each other, as they are in a dual certificate: all 1. Subspaces that
hold the leading vectors, approximately, take them out; any subspaces give a bound.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.linear_map import AbstractLinearMap
from tacit.recovery.maps.stored import StoredMap
from tacit.spectral import EigenvalueBound, lanczos_max_eigenvalue, max_eigenvalue

# A dense eigenvalue problem of this size (real) takes about half a second.
_DENSE_SIZE = 1000
_FORMED_ENTRIES = 2**24  # 128 MB in float64
_MAX_STEPS = 300
RTOL = 1e-3
_NEGATIVE_RTOL = 1e-6  # of a norm, not of the eigenvalue
_COARSE_RTOL = 0.05
_ROUNDED_UP = 1.0 + 64.0 * torch.finfo(torch.float64).eps

Apply = Callable[[Tensor], Tensor]


def bound_spectral_norm(
    linear_map: AbstractLinearMap,
    measurements: Tensor,
    *,
    failure_probability: float,
    generator: torch.Generator,
    rtol: float = RTOL,
    known: tuple[Tensor, Tensor] | None = None,
) -> EigenvalueBound:
    r"""Bound :math:`\|\mathcal{A}^*(q)\|_2` from above.

    The square root of the largest eigenvalue of :math:`M^H M` or :math:`M M^H`,
    whichever is smaller: by a dense factorisation of M up to a smaller side of 1000,
    by Lanczos beyond. With orthonormal bases U, V of known subspaces, P and Q the
    projections on what is orthogonal to them,

    .. math:: \|M\|_2 \le \left\| \begin{pmatrix} \|U^H M V\|_2 & \|U^H M Q\|_F \\
              \|P M V\|_F & \|P M Q\|_2 \end{pmatrix} \right\|_2,

    whatever the subspaces are, and Lanczos has only to find the last block: roughly
    first (to 5 %), closely only if that does not bound M within ``rtol``.

    Parameters
    ----------
    linear_map : AbstractLinearMap
        In double precision.
    measurements : Tensor, shape (num_measurements,)
        q.
    failure_probability : float
        In (0, 1), of Lanczos over its random start.
    generator : torch.Generator
        Draws that start.
    rtol : float
        Lanczos stops once the bound is this close, relatively, or after 300 steps.
    known : tuple of Tensor, shapes (num_rows, k) and (num_columns, k), or None
        Columns that span the known subspaces; need not be orthonormal.

    Returns
    -------
    EigenvalueBound
        ``value`` and ``upper`` are those of the norm.

    Raises
    ------
    InputError
        If the map is not in double precision.
    """
    _require_double(linear_map)
    rows, columns = linear_map.in_shape
    if _is_dense(linear_map, min(rows, columns)):
        matrix = linear_map.adjoint_apply(measurements)
        values = torch.linalg.svdvals(matrix)
        largest = float(values[0])
        # Backward stable, as the symmetric problem is: see max_eigenvalue.
        slack = 4.0 * max(rows, columns) * torch.finfo(torch.float64).eps * largest
        return EigenvalueBound(
            value=largest, upper=largest + slack, failure_probability=0.0, num_steps=0
        )
    times, times_adjoint = _products(linear_map, measurements)
    left, right = (None, None) if known is None else map(_orthonormal, known)

    def wide(vector: Tensor) -> Tensor:
        inside = _without(left, times(_without(right, vector)))
        return _without(right, times_adjoint(inside))

    def tall(vector: Tensor) -> Tensor:
        inside = _without(right, times_adjoint(_without(left, vector)))
        return _without(left, times(inside))

    def rest(risk: float, rtol: float) -> EigenvalueBound:
        operator, size = (wide, columns) if columns <= rows else (tall, rows)
        return _root(
            hermitian_lanczos(operator, size, linear_map, risk, generator, rtol)
        )

    if left is None or right is None:
        return rest(failure_probability, rtol)
    image, image_adjoint = linear_map.adjoint_times(measurements, left, right)
    corner = float(torch.linalg.matrix_norm(left.mH @ image, 2))
    sides = (_size(_without(right, image_adjoint)), _size(_without(left, image)))
    lower = max(
        float(torch.linalg.matrix_norm(part, 2)) for part in (image, image_adjoint)
    )
    bound = rest(failure_probability / 2.0, _COARSE_RTOL)
    upper = _norm_of_blocks(corner, *sides, bound.upper)
    steps = bound.num_steps
    if upper > max(lower, bound.value) * (1.0 + rtol):
        bound = rest(failure_probability / 2.0, rtol)
        upper = min(upper, _norm_of_blocks(corner, *sides, bound.upper))
        steps += bound.num_steps
    return EigenvalueBound(
        value=max(lower, bound.value),
        upper=upper,
        failure_probability=failure_probability,
        num_steps=steps,
    )


def bound_negative_part(
    linear_map: AbstractLinearMap,
    measurements: Tensor,
    *,
    failure_probability: float,
    generator: torch.Generator,
    rtol: float = _NEGATIVE_RTOL,
    known: Tensor | None = None,
) -> EigenvalueBound:
    r"""Bound :math:`-\lambda_{\min}(H)` from above.

    H is the Hermitian part of :math:`M = \mathcal{A}^*(q)`. Dense up to size 1000.
    Beyond, :math:`c \ge \|H\|_2` is found by Lanczos on :math:`H^2`, then the largest
    eigenvalue of the positive semidefinite :math:`c - H`, to ``rtol`` of it. With an
    orthonormal basis U of a known subspace and P the projection on what is orthogonal
    to it,

    .. math:: -\lambda_{\min}(H) \le \lambda_{\max} \begin{pmatrix}
              \lambda_{\max}(-U^H H U) & \|P H U\|_F \\
              \|P H U\|_F & -\lambda_{\min}(P H P) \end{pmatrix},

    the last over the vectors that P keeps: what Lanczos has to find, as in
    :func:`bound_spectral_norm`. The runs share the failure probability.

    Parameters
    ----------
    linear_map : AbstractLinearMap
        Of square matrices, in double precision.
    measurements : Tensor, shape (num_measurements,)
        q.
    failure_probability : float
        In (0, 1), of Lanczos over its random starts.
    generator : torch.Generator
        Draws those starts.
    rtol : float
        Accuracy asked of Lanczos, relative to c.
    known : Tensor or None, shape (size, k)
        Columns that span the known subspace; need not be orthonormal.

    Returns
    -------
    EigenvalueBound
        Negative numbers mean that H is positive definite.

    Raises
    ------
    InputError
        If the map is not in double precision.
    ShapeError
        If its matrices are not square.
    """
    _require_double(linear_map)
    rows, columns = linear_map.in_shape
    if rows != columns:
        raise ShapeError(f"eigenvalues need square matrices; got {linear_map.in_shape}")
    if _is_dense(linear_map, rows):
        matrix = linear_map.adjoint_apply(measurements)
        return max_eigenvalue(as_real(-(matrix + matrix.mH) / 2.0))
    times, times_adjoint = _products(linear_map, measurements)
    basis = None if known is None else _orthonormal(known)

    def hermitian(vector: Tensor) -> Tensor:
        inside = _without(basis, vector)
        return _without(basis, (times(inside) + times_adjoint(inside)) / 2.0)

    def rest(risk: float, rtol: float) -> EigenvalueBound:
        return _shifted(hermitian, basis, linear_map, risk, generator, rtol)

    if basis is None:
        return rest(failure_probability, rtol)
    products = linear_map.adjoint_times(measurements, basis, basis)
    image = (products[0] + products[1]) / 2.0
    corner = max_eigenvalue(as_real(-(basis.mH @ image + image.mH @ basis) / 2.0))
    side = _size(_without(basis, image))
    bound = rest(failure_probability / 2.0, _COARSE_RTOL)
    upper = _top_of_blocks(corner.upper, side, bound.upper)
    lower = max(corner.value, bound.value)
    steps = bound.num_steps
    if upper > lower + rtol * abs(lower):
        bound = rest(failure_probability / 2.0, rtol)
        upper = min(upper, _top_of_blocks(corner.upper, side, bound.upper))
        lower = max(lower, bound.value)
        steps += bound.num_steps
    return EigenvalueBound(
        value=lower,
        upper=upper,
        failure_probability=failure_probability,
        num_steps=steps,
    )


def _shifted(
    hermitian: Apply,
    basis: Tensor | None,
    linear_map: AbstractLinearMap,
    failure_probability: float,
    generator: torch.Generator,
    rtol: float,
) -> EigenvalueBound:
    """Bound the largest eigenvalue of -H on the vectors orthogonal to a basis."""
    size = linear_map.in_shape[0]
    half = failure_probability / 2.0
    square = _root(
        hermitian_lanczos(
            lambda vector: hermitian(hermitian(vector)),
            size,
            linear_map,
            half,
            generator,
            max(rtol, RTOL),
        )
    )
    shift = square.upper
    if math.isinf(shift):
        return square
    bound = hermitian_lanczos(
        lambda vector: shift * _without(basis, vector) - hermitian(vector),
        size,
        linear_map,
        half,
        generator,
        rtol,
    )
    return EigenvalueBound(
        value=bound.value - shift,
        upper=bound.upper - shift,
        failure_probability=failure_probability,
        num_steps=square.num_steps + bound.num_steps,
    )


def _root(bound: EigenvalueBound) -> EigenvalueBound:
    return EigenvalueBound(
        value=math.sqrt(bound.value),
        upper=math.sqrt(bound.upper),
        failure_probability=bound.failure_probability,
        num_steps=bound.num_steps,
    )


def _orthonormal(columns: Tensor) -> Tensor:
    """Return an orthonormal basis that holds the columns, whatever they are."""
    return torch.linalg.qr(columns).Q


def _without(basis: Tensor | None, columns: Tensor) -> Tensor:
    """Return the part orthogonal to a basis."""
    return columns if basis is None else columns - basis @ (basis.mH @ columns)


def _size(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))


def _norm_of_blocks(corner: float, right: float, below: float, rest: float) -> float:
    """Return the norm of a matrix of two by two numbers, rounded up."""
    if math.isinf(rest):
        return math.inf
    largest = max(corner, right, below, rest)
    blocks = torch.tensor([[corner, right], [below, rest]], dtype=torch.float64)
    if largest > 0.0:
        blocks /= largest
    return float(torch.linalg.matrix_norm(blocks, 2)) * largest * _ROUNDED_UP


def _top_of_blocks(corner: float, side: float, rest: float) -> float:
    """Return the larger eigenvalue of a symmetric matrix of two by two numbers."""
    if math.isinf(rest):
        return math.inf
    top = (corner + rest) / 2.0 + math.hypot((corner - rest) / 2.0, side)
    return top + (_ROUNDED_UP - 1.0) * (abs(corner) + abs(rest) + side)


def _require_double(linear_map: AbstractLinearMap) -> None:
    if linear_map.spec.dtype not in (torch.float64, torch.complex128):
        raise InputError(
            "a bound is proved in double precision; got a map in "
            f"{linear_map.spec.dtype}; build it in float64 or complex128"
        )


def _is_formed(linear_map: AbstractLinearMap) -> bool:
    """Whether the back-projection is formed once, for cheap products."""
    rows, columns = linear_map.in_shape
    return isinstance(linear_map, StoredMap) or rows * columns <= _FORMED_ENTRIES


def _is_dense(linear_map: AbstractLinearMap, size: int) -> bool:
    parts = 2 if linear_map.spec.dtype.is_complex else 1
    return _is_formed(linear_map) and parts * size <= _DENSE_SIZE


def _products(
    linear_map: AbstractLinearMap, measurements: Tensor
) -> tuple[Apply, Apply]:
    """Products of the back-projection and of its adjoint with a vector."""
    if _is_formed(linear_map):
        matrix = linear_map.adjoint_apply(measurements)
        return (lambda vector: matrix @ vector), (lambda vector: matrix.mH @ vector)
    rows, columns = linear_map.in_shape

    def times(vector: Tensor) -> Tensor:
        nothing = vector.new_zeros(rows, 1)
        return linear_map.adjoint_times(measurements, nothing, vector[:, None])[0][:, 0]

    def times_adjoint(vector: Tensor) -> Tensor:
        nothing = vector.new_zeros(columns, 1)
        return linear_map.adjoint_times(measurements, vector[:, None], nothing)[1][:, 0]

    return times, times_adjoint


def as_real(matrix: Tensor) -> Tensor:
    """Return the real symmetric matrix with the eigenvalues of a Hermitian one."""
    if not matrix.is_complex():
        return matrix
    upper = torch.cat((matrix.real, -matrix.imag), 1)
    lower = torch.cat((matrix.imag, matrix.real), 1)
    return torch.cat((upper, lower), 0)


def hermitian_lanczos(
    apply: Apply,
    size: int,
    linear_map: AbstractLinearMap,
    failure_probability: float,
    generator: torch.Generator,
    rtol: float,
) -> EigenvalueBound:
    """Run Lanczos; a Hermitian operator acts on real and imaginary parts together."""
    is_complex = linear_map.spec.dtype.is_complex

    def apply_real(vector: Tensor) -> Tensor:
        image = apply(torch.view_as_complex(vector.reshape(size, 2)))
        return torch.view_as_real(image.resolve_conj()).reshape(2 * size)

    return lanczos_max_eigenvalue(
        apply_real if is_complex else apply,
        2 * size if is_complex else size,
        max_steps=_MAX_STEPS,
        failure_probability=failure_probability,
        generator=generator,
        rtol=rtol,
        device=linear_map.spec.device,
    )
