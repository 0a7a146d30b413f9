r"""Matrices that fit, near one that does not: what makes a primal value an upper bound.

Only a matrix within the noise bound says something about the optimal value, and an
iterate of a solver misses it by a little. The correction of least Frobenius norm is
exact linear algebra and no search.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.recovery.maps.gram import measurement_gram
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import inner
from tacit.spectral import EPS

# Two sides of a constraint computed by different routes differ by rounding; more than
# this, relative to the measurements, is a violation.
RESIDUAL_RTOL = 1e-13
_ROUNDING = 64.0 * EPS

_LARGEST_GRAM = 4096  # measurements
_LARGEST_MATRIX = 2**24  # entries: 128 MB in float64
_LARGEST_SPECTRUM = 1000  # smaller side (real) of a matrix decomposed in full
_ROUNDS = 6
_CONE_ROUNDS = 60
_LOOK_EVERY = 6  # rounds, in which the excess must halve
_MAX_STEPS = 300  # of conjugate gradients, and twice the number of unknowns
_TINY = 1e-300

Correct = Callable[[Tensor], Tensor]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Repair:
    """A matrix that fits, or why none was found.

    Parameters
    ----------
    nuclear_norm : float
        At least that of the matrix; infinite if there is none.
    matrix : Tensor or None, shape (num_rows, num_columns)
        Fits within the noise bound and rounding.
    reason : str
        Why there is none; empty if there is.
    """

    nuclear_norm: float
    matrix: Tensor | None
    reason: str


def length(tensor: Tensor) -> float:
    """Return the Frobenius norm."""
    return float(torch.linalg.vector_norm(tensor))


def is_small(program: NuclearProgram) -> bool:
    """Whether all singular values of a matrix are within reach."""
    spec = program.problem.linear_map.spec
    parts = 2 if spec.dtype.is_complex else 1
    return parts * min(spec.in_shape) <= _LARGEST_SPECTRUM


def repaired(
    program: NuclearProgram, left: Tensor, right: Tensor, nuclear_norm: float
) -> Repair:
    r"""Move a matrix as little as it takes to fit within the noise bound.

    With :math:`r = w \circ (\mathcal{A}(X) - y)` and the correction D of least
    Frobenius norm with :math:`w \circ \mathcal{A}(D)` closest to r, X becomes
    :math:`X - u D` for the smallest u in [0, 1] with :math:`\|r - u\, w \circ
    \mathcal{A}(D)\| \le \tau`. That is repeated on what rounding has left. D is
    :math:`\mathcal{A}^*(G^{-1} r)` with the Gram matrix :math:`G = \mathcal{A}
    \mathcal{A}^*` of the measurements fitted, by a Cholesky factorisation up to 4096 of
    them, or comes from conjugate gradients on the least squares problem, which need no
    inverse. Among positive semidefinite matrices, corrections and projections onto the
    cone take turns.

    Parameters
    ----------
    program : NuclearProgram
        With a noise bound.
    left, right : Tensor, shapes (num_rows, k) and (num_columns, k)
    nuclear_norm : float
        At least that of :math:`L R^H`.

    Returns
    -------
    Repair
        Its matrix is measured again before it is trusted: the residual is at most
        :math:`\tau` plus 1e-13 of the measurements, and what that could change is
        added to the norm.
    """
    rows, columns = program.problem.linear_map.in_shape
    if rows * columns > _LARGEST_MATRIX:
        return _nothing(f"a matrix of {rows} x {columns} is too large to correct")
    start = left @ right.mH
    if program.problem.is_symmetric:
        if not is_small(program):
            return _nothing(f"a cone of size {rows} is too large to project on")
        return _in_cone(program, (start + start.mH) / 2.0)
    return _anywhere(program, start, nuclear_norm)


def _nothing(reason: str) -> Repair:
    return Repair(nuclear_norm=math.inf, matrix=None, reason=reason)


def _misfit(program: NuclearProgram, matrix: Tensor) -> Tensor:
    problem = program.problem
    return problem.weights * (problem.linear_map.apply(matrix) - problem.measurements)


def _sizes(program: NuclearProgram) -> tuple[float, float]:
    """Return the noise bound and the length of the measurements fitted."""
    problem = program.problem
    return program.noise_bound or 0.0, length(problem.weights * problem.measurements)


def _anywhere(program: NuclearProgram, start: Tensor, nuclear_norm: float) -> Repair:
    noise_bound, size = _sizes(program)
    rounding = _ROUNDING * (size + noise_bound)
    target = max(0.0, noise_bound - rounding)
    enough = target if target > 0.0 else rounding
    matrix, residual = start, _misfit(program, start)

    def iteratively(vector: Tensor) -> Tensor:
        return _least_squares(program, vector)

    directly = _by_gram(program)
    ways = [iteratively] if directly is None else [directly, iteratively]
    cost = 0.0  # of a unit of residual, in Frobenius norm
    for _ in range(_ROUNDS):
        before = length(residual)
        if before <= enough:
            break
        change = ways[0](residual)
        cost = max(cost, length(change) / before)
        step = _smallest_step(program, residual, change, target)
        matrix = matrix - step * change
        residual = _misfit(program, matrix)
        if not length(residual) - enough < 0.5 * (before - enough):
            if len(ways) == 1:
                break
            ways = ways[1:]
    left_over = max(0.0, length(residual) - noise_bound)
    if not left_over <= RESIDUAL_RTOL * size:
        return _nothing(
            "no matrix was found that fits: the closest misses the noise bound by "
            f"{left_over:.1e}"
        )
    width = math.sqrt(min(matrix.shape))
    if is_small(program):
        norm = nuclear_norm_of(matrix)
    else:
        norm = nuclear_norm + width * length(matrix - start)
    return Repair(
        nuclear_norm=norm + width * cost * left_over, matrix=matrix, reason=""
    )


def _in_cone(program: NuclearProgram, start: Tensor) -> Repair:
    noise_bound, size = _sizes(program)
    matrix, residual, cost = start, _misfit(program, start), 0.0
    goal = math.inf  # for the excess, at the next look
    for count in range(_CONE_ROUNDS):
        before = length(residual)
        excess = before - noise_bound
        if not excess > _ROUNDING * size:
            break
        if count % _LOOK_EVERY == 0:
            if not excess <= goal:
                break
            goal = excess / 2.0
        # Beyond the boundary, so that the projection need not be undone for ever.
        target = max(0.0, noise_bound - excess)
        change = _least_squares(program, residual)
        cost = max(cost, length(change) / before)
        step = _smallest_step(program, residual, change, target)
        values, vectors = torch.linalg.eigh(matrix - step * change)
        matrix = (vectors * values.clamp_min(0.0)) @ vectors.mH
        residual = _misfit(program, matrix)
    left_over = max(0.0, length(residual) - noise_bound)
    if not left_over <= RESIDUAL_RTOL * size:
        return _nothing(
            "no positive semidefinite matrix was found that fits: the closest misses "
            f"the noise bound by {left_over:.1e}"
        )
    trace = float(matrix.diagonal().real.sum()) * (1.0 + 8.0 * len(matrix) * EPS)
    return Repair(
        nuclear_norm=trace + math.sqrt(len(matrix)) * cost * left_over,
        matrix=matrix,
        reason="",
    )


def nuclear_norm_of(matrix: Tensor) -> float:
    """Return at least the nuclear norm of a matrix, rounding included."""
    values = torch.linalg.svdvals(matrix)
    slack = 4.0 * max(matrix.shape) * EPS * len(values) * float(values[0])
    return float(values.sum()) + slack


def _smallest_step(
    program: NuclearProgram, residual: Tensor, change: Tensor, target: float
) -> float:
    r"""Return the smallest u with :math:`\|r - u c\| \le` target, or the best u."""
    problem = program.problem
    image = problem.weights * problem.linear_map.apply(change)
    found = smallest_multiple(image, residual, target)
    if found is not None:
        return min(found, 1.0)
    energy = float(inner(image, image))
    return float(inner(image, residual)) / energy if energy > 0.0 else 0.0


def smallest_multiple(image: Tensor, target: Tensor, distance: float) -> float | None:
    r"""Return the smallest t >= 0 with :math:`\|t a - y\| \le` distance, if any."""
    excess = float(inner(target, target)) - distance * distance
    if excess <= 0.0:
        return 0.0
    energy, along = float(inner(image, image)), float(inner(image, target))
    root = along * along - energy * excess
    if along <= 0.0 or root < 0.0:
        return None
    return excess / (along + math.sqrt(root))


def _by_gram(program: NuclearProgram) -> Correct | None:
    r"""Return :math:`r \mapsto \mathcal{A}^*(G^{-1} r)`, if G can be factored."""
    problem = program.problem
    kept = problem.weights > 0.0
    if problem.linear_map.num_measurements > _LARGEST_GRAM:
        return None
    gram = measurement_gram(problem.linear_map)[kept][:, kept]
    factor, info = torch.linalg.cholesky_ex(gram)
    if int(info) != 0:
        return None

    def correct(residual: Tensor) -> Tensor:
        solved = torch.cholesky_solve(residual[kept][:, None], factor)[:, 0]
        spread = torch.zeros_like(residual)
        spread[kept] = solved
        return problem.linear_map.adjoint_apply(spread)

    return correct


def _least_squares(program: NuclearProgram, residual: Tensor) -> Tensor:
    r"""Return the D of least norm with :math:`w \circ \mathcal{A}(D)` closest to r.

    Conjugate gradients on the normal equations (CGLS), from zero; in a symmetric
    problem over the Hermitian matrices, a space over the real numbers.
    """
    problem = program.problem
    linear_map, weights = problem.linear_map, problem.weights

    def back(vector: Tensor) -> Tensor:
        matrix = linear_map.adjoint_apply(weights * vector)
        return (matrix + matrix.mH) / 2.0 if problem.is_symmetric else matrix

    rest = residual
    gradient = direction = back(rest)
    found = torch.zeros_like(gradient)
    square = first = float(inner(gradient.flatten(), gradient.flatten()))
    size = length(residual)
    unknowns = 2 * min(found.numel(), linear_map.num_measurements)
    for _ in range(min(_MAX_STEPS, 2 * unknowns)):
        if square <= _TINY or square <= EPS * EPS * first:
            break
        image = weights * linear_map.apply(direction)
        energy = float(inner(image, image))
        if energy <= _TINY:
            break
        step = square / energy
        found = found + step * direction
        rest = rest - step * image
        if length(rest) <= 0.01 * RESIDUAL_RTOL * size:
            break
        gradient = back(rest)
        before, square = square, float(inner(gradient.flatten(), gradient.flatten()))
        direction = gradient + square / before * direction
    return found
