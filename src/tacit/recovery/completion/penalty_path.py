r"""The penalty of soft-impute, chosen by entries held out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch

from tacit.errors import InputError, Status
from tacit.iterate import Observer, Solution
from tacit.recovery.back_projection import leading_triplets
from tacit.recovery.completion.soft_impute import SoftImputeState, soft_impute
from tacit.recovery.completion.sparse_low_rank import require_entries
from tacit.recovery.problem import RecoveryProblem

_RATIO = 0.4  # of two penalties on the path
_SMALLEST = 1e-4  # penalty of the path, relative to the largest
_ALWAYS = 0.1  # of the largest: penalties down to this one are tried in any case
_WORTHWHILE = 0.99  # factor by which a penalty must lower the held-out error
_PATH_RTOL = 3e-3  # of the duality gap, where penalties are compared
_ABOVE = 1.01  # times the lowest held-out error: a run that rises there is given up
_RISES = 3  # steps in a row


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PenaltyPath:
    """A path of penalties.

    Parameters
    ----------
    best : SoftImputeState
        At the penalty of the lowest held-out error.
    penalty : float
        That penalty.
    errors : tuple of (float, float, int)
        Penalty, held-out error and rank, in the order tried.
    status : Status
    num_steps, num_passes : int
        Of all penalties together.
    """

    best: SoftImputeState
    penalty: float
    errors: tuple[tuple[float, float, int], ...]
    status: Status
    num_steps: int
    num_passes: int


def penalty_path(
    problem: RecoveryProblem,
    *,
    generator: torch.Generator,
    max_rank: int | None = None,
    max_steps: int = 200,
    observers: Sequence[Observer] = (),
) -> PenaltyPath:
    r"""Choose the penalty by the held-out error.

    Penalties fall from the largest with an answer other than zero,
    :math:`\|\mathcal{A}^*(w \circ y)\|`, by factors of 0.4, each run started at the
    last answer, until one has not lowered the held-out error by 1 %; then the two
    penalties half-way (geometrically) to the neighbours of the best are tried, and the
    one where a parabola through the best and its neighbours is lowest. A run whose
    held-out error rises, above the lowest so far, is given up.

    Parameters
    ----------
    problem : RecoveryProblem
        With entries held out: they choose.
    generator : torch.Generator
    max_rank : int or None
    max_steps : int
        For each penalty.
    observers : sequence of callables

    Returns
    -------
    PenaltyPath

    Raises
    ------
    InputError
        If nothing is held out, or the map is not an EntriesMap.
    """
    if problem.held_out is None:
        raise InputError("penalty_path needs entries held out to choose by; hold_out")
    entries = require_entries(problem)
    _, norms, _ = leading_triplets(
        entries,
        problem.weights * problem.measurements,
        1,
        generator=generator,
        rtol=1e-3,
    )
    runs: list[tuple[float, Solution[SoftImputeState]]] = []

    def run(penalty: float, near: Solution[SoftImputeState] | None) -> bool:
        """Run one penalty; return whether to go on."""
        start = (near.state.left, near.state.right) if near else None
        lowest = min((s.state.held_out_error for _, s in runs), default=math.inf)
        solution = soft_impute(
            problem,
            penalty,
            generator=generator,
            start=start,
            gap_rtol=_PATH_RTOL,
            max_rank=max_rank,
            max_steps=max_steps,
            observers=(*observers, _give_up(_ABOVE * lowest)),
        )
        runs.append((penalty, solution))
        return solution.status not in (Status.INTERRUPTED, Status.NON_FINITE)

    largest = float(norms[0]) or 1.0
    _descend(run, runs, largest)
    if runs[-1][1].status not in (Status.INTERRUPTED, Status.NON_FINITE):
        _refine(run, runs)
    penalty, solution = _best(runs)
    last = runs[-1][1].status
    return PenaltyPath(
        best=solution.state,
        penalty=penalty,
        errors=tuple((p, s.state.held_out_error, s.state.rank) for p, s in runs),
        status=last if last is Status.INTERRUPTED else solution.status,
        num_steps=sum(s.num_steps for _, s in runs),
        num_passes=sum(s.state.num_passes for _, s in runs),
    )


def _descend(
    run: Callable[[float, Solution[SoftImputeState] | None], bool],
    runs: list[tuple[float, Solution[SoftImputeState]]],
    largest: float,
) -> None:
    """Lower the penalty until that does not lower the held-out error."""
    penalty = _RATIO * largest
    lowest = math.inf
    while penalty > _SMALLEST * largest:
        if not run(penalty, runs[-1][1] if runs else None):
            return
        error = runs[-1][1].state.held_out_error
        if penalty < _ALWAYS * largest and not error < _WORTHWHILE * lowest:
            return
        lowest = min(lowest, error)
        penalty *= _RATIO


def _refine(
    run: Callable[[float, Solution[SoftImputeState] | None], bool],
    runs: list[tuple[float, Solution[SoftImputeState]]],
) -> None:
    """Look closer around the best penalty."""
    penalty, solution = _best(runs)
    for factor in (1.0 / math.sqrt(_RATIO), math.sqrt(_RATIO)):
        if not run(factor * penalty, solution):
            return
    points = sorted((math.log(p), s.state.held_out_error) for p, s in runs)
    penalty, solution = _best(runs)
    place = [x for x, _ in points].index(math.log(penalty))
    if 0 < place < len(points) - 1:
        vertex = _vertex(points[place - 1 : place + 2])
        if vertex is not None:
            run(math.exp(vertex), solution)


def _vertex(points: list[tuple[float, float]]) -> float | None:
    """Return where the parabola through three points is lowest, if it is somewhere.

    The middle one is the lowest, so that is between the outer ones.
    """
    (x0, y0), (x1, y1), (x2, y2) = points
    first, second = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    bend = second - first
    if not 0.0 < bend < math.inf:
        return None
    return (x0 + x1) / 2.0 - first * (x2 - x0) / (2.0 * bend)


def _give_up(limit: float) -> Observer:
    """Return an observer that ends a run whose held-out error rises above a limit."""
    last, num_rises = math.inf, 0

    def observe(_: int, state: SoftImputeState) -> Status | None:
        nonlocal last, num_rises
        is_rising = state.held_out_error > max(last, limit)
        num_rises = num_rises + 1 if is_rising else 0
        last = state.held_out_error
        return Status.STALLED if num_rises >= _RISES else None

    return observe


def _best(
    runs: list[tuple[float, Solution[SoftImputeState]]],
) -> tuple[float, Solution[SoftImputeState]]:
    """Return the run of the lowest held-out error; one that failed comes last."""

    def error(pair: tuple[float, Solution[SoftImputeState]]) -> float:
        value = pair[1].state.held_out_error
        return math.inf if math.isnan(value) else value

    return min(runs, key=error)
