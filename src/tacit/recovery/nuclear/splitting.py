r"""Douglas-Rachford splitting for nuclear norm programmes.

The residual is a variable of its own, r = c r':

.. math:: \min_{X, r} \|X\|_* + h(r) \quad \text{subject to} \quad
          w \circ (\mathcal{A}(X) - y) = r

with h the indicator of the ball of radius :math:`\tau`, or :math:`\|r\|^2 / (2
\lambda)`. Then both halves of a step are exact and the projection onto the constraint
is one linear system with :math:`G + c^2 I`, :math:`G = \mathcal{A} \mathcal{A}^*`,
whatever the step size: one Cholesky factorisation, a tenth of an eigendecomposition.
Without noise r = 0 and the projection is that onto the matrices that fit.
"""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.iterate import AbstractSolver
from tacit.recovery.nuclear.anderson import Memory, extrapolate
from tacit.recovery.nuclear.constraint import Constraint, constraint
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.shrink import (
    Shrunk,
    shrink_eigenvalues,
    shrink_singular_values,
)

_RELAXATION = 1.6
_START_STEP = 0.1  # of the top singular value of the best rank-one fit
_START_STEP_EXACT = 0.3
_ADAPT_AT = (6, 16, 40, 100, 250)  # steps after which the step size is looked at
_BALANCE = 0.15  # of the relative primal change over the dual one; measured
_BALANCE_EXACT = 0.5
_AVERAGED = 5  # steps before, over which that is averaged
_LEAST_CHANGE = 2.0
_LARGEST_CHANGE = 10.0
_PATIENCE = 40  # checks without progress


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SplittingState:
    r"""Where Douglas-Rachford is.

    Parameters
    ----------
    left : Tensor, shape (num_rows, rank)
    right : Tensor, shape (num_columns, rank)
        The low-rank point :math:`X = L R^H`, balanced.
    feasible : Tensor, shape (num_rows, num_columns)
        X moved until it fits (first form, as of the last check), or X itself.
    dual : Tensor, shape (num_measurements,)
        q, 0 where held out; not yet scaled into the dual's feasible set.
    value : float
        Objective at X, whether or not X fits.
    relative_gap : float
        The larger of (upper - lower) / upper and \|upper - value\| / upper at the last
        check, upper the value of ``feasible`` and lower that of q scaled; infinite
        before the first. A solver's estimate, not a certificate.
    num_steps : int
    num_passes : int
        Products with the map or its adjoint.
    step_size : float
        gamma.
    fit : Constraint
        The factorised Gram matrix.
    point : Tensor
        What is iterated: Z, z and the measurements of Z, one after the other.
    memory : Memory
        Of the extrapolation.
    balance : float
        Relative primal change over the dual one, averaged geometrically.
    best_gap : float
    num_stale : int
        The least gap, and checks since it fell.
    """

    left: Tensor
    right: Tensor
    feasible: Tensor
    dual: Tensor
    value: float
    relative_gap: float
    num_steps: int
    num_passes: int
    step_size: float
    fit: Constraint
    point: Tensor
    previous: Tensor | None
    memory: Memory
    balance: float
    best_gap: float
    num_stale: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DouglasRachford(AbstractSolver[NuclearProgram, SplittingState]):
    r"""Douglas-Rachford splitting, extrapolated, with a step size that adapts.

    ``start`` is None or a pair of factors, of which only the size of the first singular
    value is used to set the first step size.

    Parameters
    ----------
    rtol : float
        Relative duality gap at which the run has converged.
    check_every : int
        Steps between two looks at the gap, at least 1.

    Raises
    ------
    InputError
        If a number is out of range; from ``init`` if no matrix fits.

    Notes
    -----
    The step size is balanced at fixed steps, ever more rarely, so that it is constant
    in the end. Anderson's extrapolation of type II over eight steps, given up for one
    step whenever the fixed-point residual doubles, halves the steps without noise and
    makes their number insensitive to the step size; measured, not proved.

    References
    ----------
    Lions and Mercier, "Splitting algorithms for the sum of two nonlinear operators",
    SIAM Journal on Numerical Analysis 16 (1979). Walker and Ni, "Anderson acceleration
    for fixed-point iterations", the same 49 (2011). Residual balancing: Boyd et al.,
    "Distributed optimization and statistical learning via the alternating direction
    method of multipliers" (2011), section 3.4.1. All recalled; the target of the
    balance and the residual's scale are ours.
    """

    rtol: float = 1e-6
    check_every: int = 6

    def __post_init__(self) -> None:
        if not 0.0 < self.rtol < 1.0 or self.check_every < 1:
            raise InputError(
                "rtol must be in (0, 1) and check_every at least 1; got "
                f"{self.rtol} and {self.check_every}"
            )

    def init(
        self, problem: NuclearProgram, start: tuple[Tensor, Tensor] | None
    ) -> SplittingState:
        inner = problem.problem
        fit = constraint(problem)
        rows, columns = inner.linear_map.in_shape
        y = fit.measurements
        left, right = y.new_zeros(rows, 0), y.new_zeros(columns, 0)
        size = _first_singular_value(problem, start)
        is_solved = size == 0.0 or (
            problem.noise_bound is not None and _norm(y) <= problem.noise_bound
        )
        zero = y.new_zeros(rows * columns + 2 * y.shape[0])
        first = _START_STEP_EXACT if fit.scale == 0.0 else _START_STEP
        return SplittingState(
            left=left,
            right=right,
            feasible=y.new_zeros(rows, columns),
            dual=torch.zeros_like(y),
            value=problem.value(0.0, y),
            relative_gap=0.0 if is_solved else math.inf,
            num_steps=0,
            num_passes=2,
            step_size=first * (size or 1.0) / (problem.penalty or 1.0),
            fit=fit,
            point=zero,
            previous=None,
            memory=Memory.empty(zero),
            balance=0.0,
            best_gap=math.inf,
            num_stale=0,
        )

    def step(self, problem: NuclearProgram, state: SplittingState) -> SplittingState:
        if state.relative_gap == 0.0:
            return replace(state, num_steps=state.num_steps + 1)
        fit, gamma = state.fit, state.step_size
        shape = problem.problem.linear_map.in_shape
        count, m = shape[0] * shape[1], fit.measurements.shape[0]
        z, small, seen = state.point.split([count, m, m])
        low = _shrunk(problem, z.reshape(shape), gamma)
        image = fit.image_of_factors(low.left, low.right)
        x = low.matrix.reshape(-1)
        r = fit.shrink_residual(small, gamma)
        # Reflect, and project onto the constraint.
        defect = (2.0 * image - seen) - fit.scale * (2.0 * r - small)
        s = fit.solve(defect - fit.measurements)
        pull = fit.adjoint(s)
        p = (2.0 * x - z) - pull.reshape(-1)
        p_small = (2.0 * r - small) + fit.scale * s
        here = torch.cat((x, r, image))
        there = torch.cat((p, p_small, fit.measurements + fit.scale * p_small))
        dual = -s / gamma
        moved = replace(
            state,
            left=low.left,
            right=low.right,
            dual=dual,
            value=problem.value(low.nuclear_norm, image - fit.measurements),
            num_steps=state.num_steps + 1,
            num_passes=state.num_passes + 2,
            previous=there,
            balance=_balance(state, here, there, count + m),
        )
        if moved.num_steps % self.check_every == 0:
            moved = _checked(problem, moved, low, image, pull / -gamma)
        return _advanced(moved, here, there)

    def status(self, problem: NuclearProgram, state: SplittingState) -> Status | None:
        if state.relative_gap <= self.rtol:
            return Status.CONVERGED
        return Status.STALLED if state.num_stale >= _PATIENCE else None


def _shrunk(program: NuclearProgram, matrix: Tensor, gamma: float) -> Shrunk:
    """Return the proximal point of the norm (in the second form, of its multiple)."""
    threshold = gamma * (program.penalty or 1.0)
    if program.problem.is_symmetric:
        return shrink_eigenvalues(matrix, threshold)
    return shrink_singular_values(matrix, threshold)


def _balance(state: SplittingState, here: Tensor, there: Tensor, count: int) -> float:
    """Return the running geometric mean of relative primal over dual change."""
    following = state.num_steps + 1
    if not any(due - _AVERAGED < following <= due for due in _ADAPT_AT):
        return 0.0
    if state.previous is None:
        return state.balance
    change = _norm((there - here)[:count]) * _norm((state.point - here)[:count])
    travel = _norm((there - state.previous)[:count]) * _norm(here[:count])
    if not (change > 0.0 and travel > 0.0):
        return state.balance
    ratio = change / travel
    if state.balance == 0.0:
        return ratio
    return math.exp(0.7 * math.log(state.balance) + 0.3 * math.log(ratio))


def _advanced(state: SplittingState, here: Tensor, there: Tensor) -> SplittingState:
    """Return the state at the next point, with another step size where it is due."""
    if state.num_steps in _ADAPT_AT and state.balance > 0.0:
        target = _BALANCE_EXACT if state.fit.scale == 0.0 else _BALANCE
        factor = target / state.balance
        factor = min(max(factor, 1.0 / _LARGEST_CHANGE), _LARGEST_CHANGE)
        if max(factor, 1.0 / factor) >= _LEAST_CHANGE:
            # The point is here + gamma * subgradient; the subgradient is kept.
            point = here + factor * (state.point - here)
            return replace(
                state,
                point=point,
                step_size=factor * state.step_size,
                memory=Memory.empty(point),
                previous=None,
                balance=0.0,
            )
    point, memory = extrapolate(state.memory, state.point, _RELAXATION * (there - here))
    return replace(state, point=point, memory=memory)


def _checked(
    program: NuclearProgram,
    state: SplittingState,
    low: Shrunk,
    image: Tensor,
    dual_image: Tensor,
) -> SplittingState:
    """Return the state with its gap looked at."""
    fit = state.fit
    lower = _dual_value(program, state.dual, dual_image, fit.measurements)
    residual = image - fit.measurements
    matrix, upper = low.matrix, program.value(low.nuclear_norm, residual)
    if program.noise_bound is not None:
        size = _norm(residual)
        if size > program.noise_bound:
            excess = residual * (1.0 - program.noise_bound / size)
            s = fit.undamped(excess)
            matrix = matrix - fit.adjoint(s)
            upper = _nuclear_norm(matrix)
    # X itself must have this value too, not only the point that fits.
    apart = max(abs(upper - lower), abs(upper - state.value))
    gap = apart / upper if upper > 0.0 else 0.0
    is_better = gap < 0.9 * state.best_gap
    return replace(
        state,
        feasible=matrix,
        relative_gap=gap,
        num_passes=state.num_passes + 1,
        best_gap=gap if is_better else state.best_gap,
        num_stale=0 if is_better else state.num_stale + 1,
    )


def _dual_value(
    program: NuclearProgram, dual: Tensor, image: Tensor, measurements: Tensor
) -> float:
    """Return the dual objective at the best multiple of q that is feasible."""
    limit = program.penalty or 1.0
    if program.problem.is_symmetric:
        norm = float(torch.linalg.eigvalsh((image + image.mH) / 2.0)[-1])
    else:
        norm = float(torch.linalg.svdvals(image)[0])
    linear = float(torch.vdot(dual, measurements).real)
    size = _norm(dual)
    if program.penalty is None:
        scale = limit / norm if norm > 0.0 else 1.0
        return scale * (linear - (program.noise_bound or 0.0) * size)
    scale = min(1.0, limit / norm) if norm > 0.0 else 1.0
    return scale * linear - 0.5 * (scale * size) ** 2


def _first_singular_value(
    program: NuclearProgram, start: tuple[Tensor, Tensor] | None
) -> float:
    """Return the size of the rank-one matrix that fits best along the first triple."""
    inner = program.problem
    y = inner.weights * inner.measurements
    if start is not None:
        return float(torch.linalg.matrix_norm(start[0] @ start[1].mH, 2))
    u, _, vh = torch.linalg.svd(inner.linear_map.adjoint_apply(y), full_matrices=False)
    image = inner.linear_map.apply_factors(u[:, :1], vh[:1].mH.contiguous())
    image = inner.weights * image
    size = _norm(image)
    if size == 0.0:
        return 0.0
    return abs(complex(torch.vdot(image, y))) / size**2


def _nuclear_norm(matrix: Tensor) -> float:
    return float(torch.linalg.svdvals(matrix).sum())


def _norm(tensor: Tensor) -> float:
    if tensor.is_complex():  # several times faster
        tensor = torch.view_as_real(tensor)
    return float(torch.linalg.vector_norm(tensor))
