r"""Upper bounds on the spectrum of a back-projection :math:`\mathcal{A}^*(q)`."""

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
_RTOL = 1e-3

Apply = Callable[[Tensor], Tensor]


def bound_spectral_norm(
    linear_map: AbstractLinearMap,
    measurements: Tensor,
    *,
    failure_probability: float,
    generator: torch.Generator,
) -> EigenvalueBound:
    r"""Bound :math:`\|\mathcal{A}^*(q)\|_2` from above.

    The square root of the largest eigenvalue of :math:`M^H M` or :math:`M M^H`,
    whichever is smaller: by a dense factorisation of M up to a smaller side of 1000,
    by Lanczos to a relative 0.1 % beyond.

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

    def wide(vector: Tensor) -> Tensor:
        return times_adjoint(times(vector))

    def tall(vector: Tensor) -> Tensor:
        return times(times_adjoint(vector))

    bound = _lanczos(
        wide if columns <= rows else tall,
        min(rows, columns),
        linear_map,
        failure_probability,
        generator,
    )
    return EigenvalueBound(
        value=math.sqrt(bound.value),
        upper=math.sqrt(bound.upper),
        failure_probability=bound.failure_probability,
        num_steps=bound.num_steps,
    )


def bound_negative_part(
    linear_map: AbstractLinearMap,
    measurements: Tensor,
    *,
    failure_probability: float,
    generator: torch.Generator,
) -> EigenvalueBound:
    r"""Bound :math:`-\lambda_{\min}(H)` from above.

    H is the Hermitian part of :math:`M = \mathcal{A}^*(q)`. Dense up to size 1000.
    Beyond, :math:`c \ge \|H\|_2` is found by Lanczos on :math:`H^2`, then the largest
    eigenvalue of the positive semidefinite :math:`c - H`, to 1e-6 of it; each takes
    half of the failure probability.

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
        return max_eigenvalue(_as_real(-(matrix + matrix.mH) / 2.0))
    times, times_adjoint = _products(linear_map, measurements)

    def hermitian(vector: Tensor) -> Tensor:
        return (times(vector) + times_adjoint(vector)) / 2.0

    half = failure_probability / 2.0
    square = _lanczos(
        lambda vector: hermitian(hermitian(vector)), rows, linear_map, half, generator
    )
    shift = math.sqrt(square.upper)
    if math.isinf(shift):
        return square
    bound = _lanczos(
        lambda vector: shift * vector - hermitian(vector),
        rows,
        linear_map,
        half,
        generator,
        rtol=1e-6,
    )
    return EigenvalueBound(
        value=bound.value - shift,
        upper=bound.upper - shift,
        failure_probability=failure_probability,
        num_steps=square.num_steps + bound.num_steps,
    )


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


def _as_real(matrix: Tensor) -> Tensor:
    """Return the real symmetric matrix with the eigenvalues of a Hermitian one."""
    if not matrix.is_complex():
        return matrix
    upper = torch.cat((matrix.real, -matrix.imag), 1)
    lower = torch.cat((matrix.imag, matrix.real), 1)
    return torch.cat((upper, lower), 0)


def _lanczos(
    apply: Apply,
    size: int,
    linear_map: AbstractLinearMap,
    failure_probability: float,
    generator: torch.Generator,
    rtol: float = _RTOL,
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
