r"""The smallest nuclear norm that explains the measurements, with a duality gap."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.iterate import Observer, iterate
from tacit.recovery.history import HistoryRecorder
from tacit.recovery.nuclear.certify import NuclearCertificate, certify_nuclear
from tacit.recovery.nuclear.multipliers import solve_factored
from tacit.recovery.nuclear.penalised import Search, size_of
from tacit.recovery.nuclear.program import NuclearProgram
from tacit.recovery.nuclear.result import NuclearResult
from tacit.recovery.nuclear.splitting import DouglasRachford
from tacit.recovery.problem import RecoveryProblem

Route = Literal["factors", "splitting"]

# Up to here the splitting is affordable: a factorisation of this size, and a singular
# value decomposition of the matrix in every step.
LARGEST_SPLITTING = 4000
_LARGEST_SIDE = 1000
_FACTORS = "overparameterised factors with multipliers"
_SPLITTING = "Douglas-Rachford splitting"
_STANDARD_DEVIATIONS = 3.0


def minimise_nuclear_norm(
    problem: RecoveryProblem,
    *,
    generator: torch.Generator,
    noise_bound: float | None = None,
    penalty: float | None = None,
    route: Route | None = None,
    rtol: float = 1e-6,
    max_steps: int = 5000,
    observers: Sequence[Observer] = (),
    on_phase: Callable[[str], None] | None = None,
) -> NuclearResult:
    r"""Minimise the nuclear norm over the matrices that explain the measurements.

    .. math:: \min_X \|X\|_* \quad \text{subject to} \quad
              \|w \circ (\mathcal{A}(X) - y)\|_2 \le \tau

    or, with a penalty, :math:`\min_X \tfrac12 \|w \circ (\mathcal{A}(X) - y)\|_2^2 +
    \lambda \|X\|_*`. Symmetric problems range over positive semidefinite matrices,
    where the nuclear norm is the trace. Two routes lead there:

    ``factors`` : conjugate gradients on :math:`L R^H` with a penalty on the factors,
    columns added along the leading singular vectors of the back-projected residual, and
    a multiplier for the constraint. The matrix is never formed.

    ``splitting`` : Douglas-Rachford splitting, with exact projections that take one
    factorisation of :math:`\mathcal{A} \mathcal{A}^*`, for at most 4000 measurements.

    Parameters
    ----------
    problem : RecoveryProblem
        In double precision, without a batch.
    generator : torch.Generator
        Of random starts.
    noise_bound : float or None
        :math:`\tau`, in the unit of y. If neither it nor a penalty is given, it comes
        from the problem's ``noise_level`` sigma,
        :math:`\sigma (m + 3 \sqrt{2 m})^{1/2}` for m measurements fitted (three
        standard deviations of a chi-squared variable), or is 0.
    penalty : float or None
        :math:`\lambda`, in the unit of :math:`\|\mathcal{A}^*(y)\|_2`.
    route : {"factors", "splitting"} or None
        None takes factors, and the splitting afterwards if those have not reached
        ``rtol`` and the size allows it.
    rtol : float
        Relative duality gap to reach.
    max_steps : int
        Of everything together on one route.
    observers : sequence of callables
        Called as ``observer(step, state)`` after every step of every fit.
    on_phase : callable or None
        Called with a few words whenever something new begins.

    Returns
    -------
    NuclearResult
        With the bracket [dual value, primal value] of the optimal value.

    Raises
    ------
    InputError
        If an argument is out of range, the problem is in single precision, exact
        measurements are not attained by any matrix, or ``splitting`` is asked for a
        problem too large for it.
    ShapeError
        If the problem is a batch.

    References
    ----------
    Ahmed, Recht and Romberg (2014), Blind deconvolution using convex programming, for
    the programme. Burer and Monteiro (2003) for factors. The penalty as damping of the
    metric, and the search for the multiplier along warm starts, are ours.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((9, 7), 1, oversampling=3.0, noise=0.05,
    ...     generator=generator)
    >>> result = tacit.minimise_nuclear_norm(problem, noise_bound=0.1,
    ...     generator=generator)
    >>> result.certificate.relative_gap < 1e-6, result.method
    (True, 'overparameterised factors with multipliers')
    """
    began = time.perf_counter()
    program = _program(problem, noise_bound, penalty)
    _require(program, route, rtol, max_steps)
    recorder = HistoryRecorder()

    def announce(phase: str) -> None:
        recorder.begin(phase)
        if on_phase is not None:
            on_phase(phase)

    task = _Task(
        program=program,
        generator=generator,
        rtol=rtol,
        max_steps=max_steps,
        observers=(recorder, *observers),
        announce=announce,
    )
    answer = _answer(task, route)
    certificate = certify_nuclear(
        program, answer.left, answer.right, answer.dual, generator=generator
    )
    return NuclearResult(
        program=program,
        left=answer.left,
        right=answer.right,
        dual=answer.dual,
        certificate=certificate,
        method=answer.method,
        reason=answer.reason,
        status=_final_status(answer.status, certificate, rtol),
        num_steps=answer.num_steps,
        num_passes=answer.num_passes,
        seconds=time.perf_counter() - began,
        history=recorder.history(),
    )


def _final_status(
    status: Status, certificate: NuclearCertificate, rtol: float
) -> Status:
    """Return how the run ended, now that the gap is known exactly."""
    is_short = status in (Status.MAX_STEPS, Status.STALLED)
    is_closed = certificate.relative_gap <= rtol
    return Status.CONVERGED if is_short and is_closed else status


def noise_bound_of(problem: RecoveryProblem) -> float:
    r"""Return the noise bound that a problem's noise level stands for.

    :math:`\sigma (m + 3 \sqrt{2 m})^{1/2}` for noise of standard deviation sigma on
    each of m measurements fitted: Gaussian noise is longer with a probability of about
    0.1 % (complex noise less); 0 where no level is known.

    Parameters
    ----------
    problem : RecoveryProblem

    Returns
    -------
    float
    """
    number = float(problem.weights.sum(dtype=torch.float64))
    spread = _STANDARD_DEVIATIONS * math.sqrt(2.0 * number)
    return (problem.noise_level or 0.0) * math.sqrt(number + spread)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    program: NuclearProgram
    generator: torch.Generator
    rtol: float
    max_steps: int
    observers: tuple[Observer, ...]
    announce: Callable[[str], None]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Answer:
    left: Tensor
    right: Tensor
    dual: Tensor
    gap: float
    method: str
    reason: str
    status: Status
    num_steps: int
    num_passes: int


def _answer(task: _Task, route: Route | None) -> _Answer:
    if _is_zero(task.program):
        return _zero(task.program)
    if route == "splitting":
        return _split(task, "asked for", None)
    reason = "asked for" if route == "factors" else _why_factors(task.program)
    answer = _factor(task, reason)
    is_cut = answer.status in (Status.INTERRUPTED, Status.NON_FINITE)
    if route is None and not is_cut and answer.gap > task.rtol and _fits(task.program):
        reason = f"factors ended at a relative gap of {answer.gap:.1e}"
        other = _split(task, reason, answer)
        return other if other.gap < answer.gap else answer
    return answer


def _why_factors(program: NuclearProgram) -> str:
    if _fits(program):
        return "fewer steps than the splitting, which this size would allow"
    return "too large for the splitting"


def _factor(task: _Task, reason: str) -> _Answer:
    task.announce(_FACTORS)
    search = Search(
        problem=task.program.problem,
        generator=task.generator,
        max_steps=task.max_steps,
        observers=task.observers,
    )
    found = solve_factored(search, task.program, rtol=task.rtol)
    return _Answer(
        left=found.left,
        right=found.right,
        dual=found.dual,
        gap=found.gap,
        method=_FACTORS,
        reason=reason,
        status=found.status,
        num_steps=found.num_steps,
        num_passes=found.num_passes,
    )


def _split(task: _Task, reason: str, before: _Answer | None) -> _Answer:
    task.announce(_SPLITTING)
    start = None if before is None else (before.left, before.right)
    solution = iterate(
        task.program,
        DouglasRachford(rtol=task.rtol),
        start,
        max_steps=task.max_steps,
        observers=task.observers,
    )
    state = solution.state
    return _Answer(
        left=state.left,
        right=state.right,
        dual=state.dual,
        gap=state.relative_gap,
        method=_SPLITTING,
        reason=reason,
        status=solution.status,
        num_steps=solution.num_steps + (before.num_steps if before else 0),
        num_passes=state.num_passes + (before.num_passes if before else 0),
    )


def _is_zero(program: NuclearProgram) -> bool:
    """Whether the zero matrix is a solution for reasons of size alone."""
    size = size_of(program.problem, program.problem.measurements)
    return size == 0.0 or (
        program.penalty is None and size <= (program.noise_bound or 0)
    )


def _zero(program: NuclearProgram) -> _Answer:
    problem = program.problem
    rows, columns = problem.linear_map.in_shape
    left = problem.measurements.new_zeros(rows, 1)
    right = left if problem.is_symmetric else problem.measurements.new_zeros(columns, 1)
    return _Answer(
        left=left,
        right=right,
        dual=torch.zeros_like(problem.measurements),
        gap=0.0,
        method="none needed",
        reason="the zero matrix explains the measurements",
        status=Status.CONVERGED,
        num_steps=0,
        num_passes=0,
    )


def _program(
    problem: RecoveryProblem, noise_bound: float | None, penalty: float | None
) -> NuclearProgram:
    if noise_bound is None and penalty is None:
        noise_bound = noise_bound_of(problem)
    return NuclearProgram(problem=problem, noise_bound=noise_bound, penalty=penalty)


def _fits(program: NuclearProgram) -> bool:
    linear_map = program.problem.linear_map
    is_small = max(linear_map.in_shape) <= _LARGEST_SIDE
    return is_small and linear_map.num_measurements <= LARGEST_SPLITTING


def _require(
    program: NuclearProgram, route: Route | None, rtol: float, max_steps: int
) -> None:
    spec = program.problem.linear_map.spec
    if spec.dtype not in (torch.float64, torch.complex128):
        raise InputError(
            "a duality gap is computed in double precision; got a map in "
            f"{spec.dtype}; build it in float64 or complex128"
        )
    if route not in (None, "factors", "splitting"):
        raise InputError(f"route must be 'factors', 'splitting' or None; got {route!r}")
    if route == "splitting" and not _fits(program):
        raise InputError(
            f"route 'splitting' takes at most {LARGEST_SPLITTING} measurements of "
            f"matrices up to {_LARGEST_SIDE} x {_LARGEST_SIDE}; got "
            f"{spec.num_measurements} of {spec.in_shape}; use 'factors'"
        )
    if not 0.0 < rtol < 1.0:
        raise InputError(f"rtol must be in (0, 1); got {rtol}")
    if max_steps < 1:
        raise InputError(f"max_steps must be at least 1; got {max_steps}")
