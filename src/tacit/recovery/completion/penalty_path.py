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

_RATIO = 0.6  # of two penalties on the path
_SMALLEST = 1e-4  # penalty of the path, relative to the largest
_PATIENCE = 2  # penalties on the path that need not lower the held-out error
_WORTHWHILE = 0.99  # by this factor
_PATH_RTOL = 2e-3  # of the duality gap, where penalties are compared


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
    :math:`\|\mathcal{A}^*(w \circ y)\|`, by factors of 0.6, each run started at the
    last answer, until two in a row have not lowered the held-out error by 1 %; then the
    two penalties half-way (geometrically) to the neighbours of the best are tried.

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
        solution = soft_impute(
            problem,
            penalty,
            generator=generator,
            start=start,
            gap_rtol=_PATH_RTOL,
            max_rank=max_rank,
            max_steps=max_steps,
            observers=observers,
        )
        runs.append((penalty, solution))
        return solution.status not in (Status.INTERRUPTED, Status.NON_FINITE)

    largest = float(norms[0]) or 1.0
    _descend(run, runs, largest)
    if runs[-1][1].status not in (Status.INTERRUPTED, Status.NON_FINITE):
        penalty, solution = _best(runs)
        if run(penalty / math.sqrt(_RATIO), solution):
            run(penalty * math.sqrt(_RATIO), solution)
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
    """Lower the penalty until the held-out error has not fallen for a while."""
    penalty = _RATIO * largest
    lowest, age = math.inf, 0
    while penalty > _SMALLEST * largest and age < _PATIENCE:
        if not run(penalty, runs[-1][1] if runs else None):
            return
        error = runs[-1][1].state.held_out_error
        age = 0 if error < _WORTHWHILE * lowest else age + 1
        lowest = min(lowest, error)
        penalty *= _RATIO


def _best(
    runs: list[tuple[float, Solution[SoftImputeState]]],
) -> tuple[float, Solution[SoftImputeState]]:
    return min(runs, key=lambda pair: pair[1].state.held_out_error)
