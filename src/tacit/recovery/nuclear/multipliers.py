r"""The programme on factors: the penalised form with the right multiplier.

For :math:`\tau > 0` a minimiser of the constraint form is one of the penalised form
with one penalty, the one at which the residual has length tau. For :math:`\tau = 0` the
multiplier is a vector: adding the residual back to the measurements is the method of
multipliers. The penalty then stays where it is, so nothing runs away.
"""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.iterate import Observer, iterate
from tacit.recovery.descent.conjugate import ConjugateGradients, ConjugateState
from tacit.recovery.nuclear.dual import least_squares_dual
from tacit.recovery.nuclear.penalised import (
    Fit,
    Search,
    first_fit,
    improve,
    leading_part,
    size_of,
)
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.problem import RecoveryProblem, num_unknowns
from tacit.recovery.spectrum import truncate, without_vanished

_FIRST_WIDTH = 8
_MOST_ROUNDS = 60
_FIRST_ACCURACY = 0.2
_LEAST_ACCURACY = 0.01  # times the gap to reach
# The length of the residual goes like this power of the penalty, to begin with.
_FIRST_POWER, _LEAST_POWER = 0.5, 0.25
_FAR_APART = 1.0  # times the accuracy of a fit: penalties that show the power
_MOST_SLACK = 1e-3
_FAR_ABOVE = 0.7  # logarithm of a residual that is twice as long as it may be
_LONGEST_STEP = 4.0  # of the logarithm, towards smaller penalties
_PART_AT_FIRST = 0.02
# For exact measurements: the penalty as a part of the back-projection's norm. Large
# enough that few columns are needed, small enough that few rounds are.
_PART_OF_NORM = 0.1
_LEAST_PART = 1e-4
_SLOW = 0.25
_NEAR = 0.5  # infeasibility at which the last step is tried
_NEGLIGIBLE = 0.05  # of the infeasibility: singular values that come from it
# A fit at the right rank has this relative error after so many steps.
_LOST_AFTER, _LOST_ERROR = 20, 1e-3
_EXACT = 1e-10
_MOST_UNKNOWNS = 0.9
_ROUNDING = 3e-14


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FactoredSolution:
    r"""Factors and a dual vector.

    Parameters
    ----------
    left, right : Tensor
        Balanced; one tensor in a symmetric problem.
    dual : Tensor, shape (num_measurements,)
        q, with :math:`\mathcal{A}^*(q)` close to a subgradient of the norm (times the
        penalty, in the penalised form).
    gap : float
        Relative duality gap, with an estimate of the spectral norm.
    penalty : float
        The last one.
    status : Status
    num_steps, num_passes : int
    """

    left: Tensor
    right: Tensor
    dual: Tensor
    gap: float
    penalty: float
    status: Status
    num_steps: int
    num_passes: int


def solve_factored(
    search: Search, program: NuclearProgram, *, rtol: float
) -> FactoredSolution:
    """Solve a programme on factors.

    Parameters
    ----------
    search : Search
        Its problem is the programme's.
    program : NuclearProgram
    rtol : float
        Relative duality gap to reach.
    """
    if program.penalty is not None:
        return _at_penalty(search, program, program.penalty, rtol)
    if program.noise_bound == 0.0:
        return _exactly(search, program, rtol)
    return _within_noise(search, program, rtol)


def _at_penalty(
    search: Search, program: NuclearProgram, penalty: float, rtol: float
) -> FactoredSolution:
    fit = first_fit(search, penalty, _FIRST_WIDTH)
    accuracy, gap, dual = _FIRST_ACCURACY, math.inf, fit.residual
    while accuracy > _LEAST_ACCURACY * rtol:
        fit = improve(search, fit, penalty, accuracy=accuracy)
        dual = -search.problem.fitted(fit.residual)
        gap = relative_gap(search, program, fit, dual, norm=fit.largest)
        if gap <= rtol or _is_over(search, fit):
            break
        accuracy = min(accuracy / 3.0, max(rtol, 0.1 * accuracy))
    return _solution(search, fit, gap, rtol, dual)


def _within_noise(
    search: Search, program: NuclearProgram, rtol: float
) -> FactoredSolution:
    r"""Find the penalty at which the residual is as long as the noise bound.

    Locally :math:`\|r\| \propto \lambda^p` with p between 0 and 1, learned from two
    fits whose penalties are far enough apart for their errors not to matter.
    """
    problem, bound = search.problem, program.noise_bound or 0.0
    penalty = _first_penalty(search, bound)
    fit = first_fit(search, penalty, _FIRST_WIDTH)
    guess, gap, accuracy = _Power(), math.inf, _FIRST_ACCURACY
    for _ in range(_MOST_ROUNDS):
        fit = improve(search, fit, penalty, accuracy=accuracy)
        if _is_over(search, fit) or fit.size == 0.0:
            break
        # A little inside the ball, so that the point itself is feasible.
        slack = _slack(fit, penalty, bound, rtol)
        miss = math.log(fit.size / bound) + slack / 2.0
        guess = guess.after(math.log(penalty), math.log(fit.size), accuracy)
        wanted = rtol
        if fit.size <= bound:
            dual = -problem.fitted(fit.residual) / penalty
            gap = relative_gap(search, program, fit, dual, norm=_dual_norm(fit))
            if gap <= rtol:
                break
        if abs(miss) <= slack / 2.0:
            if accuracy <= _LEAST_ACCURACY * rtol:
                break
            wanted = accuracy / 3.0
        else:
            # Far above the noise the residual is what the penalty takes away.
            power = 1.0 if miss > _FAR_ABOVE else guess.power
            penalty *= math.exp(-min(max(miss / power, -1.0), _LONGEST_STEP))
        accuracy = max(
            min(accuracy / 3.0, 2.0 * abs(miss)), min(wanted, accuracy / 3.0)
        )
    return _solution(
        search, fit, gap, rtol, -problem.fitted(fit.residual) / fit.penalty
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Power:
    """What two fits say about how the residual depends on the penalty."""

    power: float = _FIRST_POWER
    last: tuple[float, float, float] | None = None

    def after(self, penalty: float, size: float, accuracy: float) -> "_Power":
        """Take one more fit into account; logarithms of penalty and size."""
        last, power = (penalty, size, accuracy), self.power
        if self.last is not None:
            step = penalty - self.last[0]
            if abs(step) > _FAR_APART * self.last[2]:
                power = min(max((size - self.last[1]) / step, _LEAST_POWER), 1.0)
        return _Power(power=power, last=last)


def _slack(fit: Fit, penalty: float, bound: float, rtol: float) -> float:
    """Return how much shorter, relatively, the residual may be than its bound.

    The optimal value changes by the length of the dual vector times that of the change.
    """
    change = bound * fit.size / penalty
    return min(rtol * fit.norm / (4.0 * change), _MOST_SLACK)


def _exactly(search: Search, program: NuclearProgram, rtol: float) -> FactoredSolution:
    r"""Solve for exact measurements by the method of multipliers.

    With q the multiplier so far, each round fits the measurements
    :math:`y + \lambda q`. Where the rank found leaves fewer unknowns than
    measurements, the last step is taken at once: a fit without a penalty, and the dual
    vector of least squares nearest to q.
    """
    problem = search.problem
    y = problem.weights * problem.measurements
    values, _, _ = leading_part(problem, y, 1, search.generator)
    penalty = _PART_OF_NORM * float(values[0])
    fit = first_fit(search, penalty, _FIRST_WIDTH)
    dual, gap, before = torch.zeros_like(y), math.inf, math.inf
    accuracy = _FIRST_ACCURACY
    for _ in range(_MOST_ROUNDS):
        shifted = _with_measurements(problem, problem.measurements + penalty * dual)
        fit = improve(replace(search, problem=shifted), fit, penalty, accuracy=accuracy)
        if fit.is_cut:
            break
        dual = -problem.fitted(fit.residual) / penalty
        norm, fit = _dual_norm(fit), _with_residual(problem, fit)
        infeasibility = fit.size / float(torch.linalg.vector_norm(y))
        gap = relative_gap(search, program, fit, dual, norm=norm)
        if infeasibility <= _NEAR:
            last = _finish(search, program, fit, dual, rtol)
            if last is not None:
                return last
        # What moving the point onto the measurements may change its norm by.
        size = float(torch.linalg.vector_norm(dual))
        change = size * fit.size / fit.norm if fit.norm > 0.0 else math.inf
        worst = max(gap, infeasibility, change)
        is_last = accuracy <= _LEAST_ACCURACY * rtol
        if worst <= rtol / 2.0 or is_last or _is_over(search, fit):
            break
        if infeasibility > _SLOW * before:
            penalty = max(penalty / 4.0, _LEAST_PART * float(values[0]))
        before = infeasibility
        accuracy = min(accuracy / 3.0, 0.3 * worst)
    fit = _onto_measurements(search, fit)
    gap = relative_gap(search, program, fit, dual)
    return _solution(search, fit, gap, rtol, dual)


def _finish(
    search: Search, program: NuclearProgram, fit: Fit, dual: Tensor, rtol: float
) -> FactoredSolution | None:
    """Return the solution if one more fit and one more dual vector prove it."""
    problem = search.problem
    floor = _NEGLIGIBLE * fit.size / size_of(problem, problem.measurements)
    left, right = without_vanished(fit.left, fit.right, floor)
    fit = replace(fit, left=left, right=right)
    if num_unknowns(problem, fit.rank) > _MOST_UNKNOWNS * float(problem.weights.sum()):
        return None
    fit = _onto_measurements(search, fit, watch=_gives_up)
    if fit.size > _EXACT * size_of(problem, problem.measurements):
        return None
    dual = least_squares_dual(problem, fit.left, fit.right, near=dual)
    gap = relative_gap(search, program, fit, dual)
    return _solution(search, fit, gap, rtol, dual) if gap <= rtol else None


def _dual_norm(fit: Fit) -> float | None:
    """Return the spectral norm of the dual vector that the residual stands for."""
    return None if fit.largest is None else fit.largest / fit.penalty


def relative_gap(
    search: Search,
    program: NuclearProgram,
    fit: Fit,
    dual: Tensor,
    *,
    norm: float | None = None,
) -> float:
    """Return the relative duality gap with an estimate of the spectral norm.

    Parameters
    ----------
    search : Search
    program : NuclearProgram
        Measurements and bound are taken from it.
    fit : Fit
        With balanced factors.
    dual : Tensor, shape (num_measurements,)
        Zero where held out.
    norm : float or None
        The leading value of its back-projection, where it is known.
    """
    problem, largest = program.problem, norm
    if largest is None:
        largest = float(leading_part(problem, dual, 1, search.generator, 1e-9)[0][0])
    inner = float(torch.vdot(dual, problem.measurements).real)
    size = float(torch.linalg.vector_norm(dual))
    if program.penalty is not None:
        value = fit.size**2 / 2.0 + program.penalty * fit.norm
        scale = min(1.0, program.penalty / largest) if largest > 0.0 else 1.0
        lower = scale * inner - (scale * size) ** 2 / 2.0
    else:
        value = fit.norm
        lower = (inner - (program.noise_bound or 0.0) * size) / max(largest, 1e-300)
    # A point that is not feasible yet may be below.
    return abs(value - lower) / value if value > 0.0 else 0.0


def _first_penalty(search: Search, bound: float) -> float:
    """Return the spectral norm that noise of the bound's length would show.

    For little noise it is a small part of that of the measurements: with many columns
    and hardly a penalty the first fit would take long, and most of them vanish anyway.
    """
    problem = search.problem
    y = problem.measurements
    drawn = torch.complex128 if y.is_complex() else torch.float64
    noise = torch.randn(y.shape, generator=search.generator, dtype=drawn)
    noise = problem.weights * noise.to(dtype=y.dtype, device=y.device)
    values, _, _ = leading_part(problem, noise, 1, search.generator, 0.1)
    expected = bound * float(values[0]) / float(torch.linalg.vector_norm(noise))
    data, _, _ = leading_part(problem, problem.weights * y, 1, search.generator, 0.1)
    return max(expected, _PART_AT_FIRST * float(data[0]))


def _is_over(search: Search, fit: Fit) -> bool:
    return fit.is_cut or fit.num_steps >= search.max_steps


def _with_measurements(
    problem: RecoveryProblem, measurements: Tensor
) -> RecoveryProblem:
    return RecoveryProblem(
        linear_map=problem.linear_map,
        measurements=measurements,
        is_symmetric=problem.is_symmetric,
        held_out=problem.held_out,
    )


def _with_residual(problem: RecoveryProblem, fit: Fit) -> Fit:
    """Return the fit with the residual of the problem itself."""
    residual = problem.linear_map.apply_factors(fit.left, fit.right)
    residual = residual - problem.measurements
    size = size_of(problem, residual)
    return replace(fit, residual=residual, size=size, largest=None)


def _gives_up(step: int, state: ConjugateState) -> Status | None:
    """End a fit that will not get there."""
    is_lost = step >= _LOST_AFTER and state.train_error > _LOST_ERROR
    return Status.STALLED if is_lost else None


def _onto_measurements(
    search: Search, fit: Fit, *, watch: Observer | None = None
) -> Fit:
    """Fit the measurements at the rank found, without a penalty, to rounding."""
    if fit.is_cut:
        return fit
    solution = iterate(
        search.problem,
        ConjugateGradients(rtol=_ROUNDING, decrement_rtol=0.0),
        (fit.left, fit.right),
        max_steps=_MOST_ROUNDS,
        observers=search.observers if watch is None else (*search.observers, watch),
    )
    state = solution.state
    left, right = truncate(state.left, state.right, fit.rank)
    return replace(
        fit,
        left=left,
        right=right,
        residual=state.residual,
        size=size_of(search.problem, state.residual),
        largest=None,
        num_steps=fit.num_steps + solution.num_steps,
        num_passes=fit.num_passes + state.num_passes,
    )


def _solution(
    search: Search, fit: Fit, gap: float, rtol: float, dual: Tensor
) -> FactoredSolution:
    status = fit.status
    if not fit.is_cut:
        is_long = fit.num_steps >= search.max_steps
        unfinished = Status.MAX_STEPS if is_long else Status.STALLED
        status = Status.CONVERGED if gap <= rtol else unfinished
    return FactoredSolution(
        left=fit.left,
        right=fit.right,
        dual=dual,
        gap=gap,
        penalty=fit.penalty,
        status=status,
        num_steps=fit.num_steps,
        num_passes=fit.num_passes,
    )
