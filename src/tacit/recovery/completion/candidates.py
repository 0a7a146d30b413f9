r"""The methods of completion, each run without the validation entries."""

import math
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from tacit.errors import Status
from tacit.iterate import Observer, iterate
from tacit.recovery.completion.irls import (
    ReweightedLeastSquares,
    ReweightedState,
    relative_errors,
)
from tacit.recovery.completion.penalty_path import penalty_path
from tacit.recovery.completion.rank_continuation import (
    largest_rank,
    rank_continuation,
)
from tacit.recovery.completion.ratings import Biases, choose_biases, without_biases
from tacit.recovery.problem import RecoveryProblem
from tacit.recovery.rank_search import Search, read_rank

# A relative error on the validation entries that leaves no doubt.
EXPLAINED = 1e-4
_WIDEST_IRLS = 30  # columns; beyond, soft-impute is the cheaper way
_IRLS_RUNS = 5  # at different ranks
_IRLS_STEPS = 150
_IRLS_PATIENCE = 20
_BIASES_HELP = 0.95  # relative error that biases alone must reach
_SOFT_STEPS = 200  # at each penalty
CUT = (Status.INTERRUPTED, Status.NON_FINITE)

CONTINUATION = "rank continuation, conjugate gradients"
IRLS = "iteratively reweighted least squares"
SOFT_IMPUTE = "soft-impute"
RATINGS = "row and column biases, soft-impute"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """What one method found without the validation entries.

    Parameters
    ----------
    method : str
    error : float
        Relative, on the validation entries (NaN if there are none).
    left, right : Tensor
        Without biases.
    status : Status
    num_steps, num_passes : int
    choices : mapping of str to float
        What the validation entries chose inside the method.
    biases : Biases or None
    """

    method: str
    error: float
    left: Tensor
    right: Tensor
    status: Status
    num_steps: int
    num_passes: int
    choices: dict[str, float] = field(default_factory=dict[str, float])
    biases: Biases | None = None

    @property
    def rank(self) -> int:
        """Number of columns, biases included."""
        return self.left.shape[-1] + (2 if self.biases is not None else 0)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Rounds:
    """What every method is given.

    Parameters
    ----------
    search : Search
    trial : RecoveryProblem
        The fitted entries alone, some of them held out for validation.
    both : RecoveryProblem
        The same, rectangular: with both triangles of a symmetric matrix.
    rank : int or None
        Largest rank of the answer.
    """

    search: Search
    trial: RecoveryProblem
    both: RecoveryProblem
    rank: int | None


def continuation_candidate(rounds: Rounds, _: list[Candidate]) -> Candidate | None:
    """Grow the rank."""
    search = rounds.search
    search.announce("rank continuation")
    found = rank_continuation(
        rounds.trial,
        generator=search.generator,
        rank=rounds.rank,
        rtol=search.rtol,
        max_steps=search.max_steps,
        observers=search.observers,
    )
    return Candidate(
        method=CONTINUATION,
        error=found.held_out_error,
        left=found.left,
        right=found.right,
        status=found.status,
        num_steps=found.num_steps,
        num_passes=found.num_passes,
    )


def irls_candidate(rounds: Rounds, candidates: list[Candidate]) -> Candidate | None:
    """Try the largest rank that the entries allow, then ranks that were seen."""
    problem = rounds.both
    limit = min(
        largest_rank(rounds.trial), *(n - 1 for n in problem.linear_map.in_shape)
    )
    widths = [min(limit, rounds.rank or _WIDEST_IRLS)]
    if problem.noise_level or widths[0] < 1:
        return None
    best, tried = None, set[int]()
    while widths and len(tried) < _IRLS_RUNS:
        width = widths.pop(0)
        if width in tried or not 1 <= width <= limit:
            continue
        tried.add(width)
        candidate, seen = _irls_once(rounds, width, best)
        best = candidate if best is None or candidate.error < best.error else best
        if best.error <= EXPLAINED or candidate.status in CUT:
            break
        if rounds.rank is None:
            widths = [seen, *(c.rank for c in candidates), width - 1, width // 2]
    return best


def _irls_once(
    rounds: Rounds, width: int, before: Candidate | None
) -> tuple[Candidate, int]:
    """Run one search rank; return what was found and where its spectrum has a gap."""
    search = rounds.search
    search.announce(f"reweighted least squares, rank {width}")
    solution = iterate(
        rounds.both,
        ReweightedLeastSquares(search_rank=width, rtol=search.rtol),
        search.generator,
        max_steps=_IRLS_STEPS,
        observers=(*search.observers, _stop_without_progress()),
    )
    state = solution.state
    candidate = Candidate(
        method=IRLS,
        error=state.held_out_error,
        left=state.left,
        right=state.right,
        status=solution.status,
        num_steps=solution.num_steps + (before.num_steps if before else 0),
        num_passes=state.num_passes + (before.num_passes if before else 0),
        choices={"search_rank": float(width)},
    )
    return candidate, read_rank(state.singular_values[: width + 1])[0]


def _stop_without_progress() -> Observer:
    """Return an observer that ends a run whose validation error does not fall."""
    lowest, age = math.inf, 0

    def observe(_: int, state: ReweightedState) -> Status | None:
        nonlocal lowest, age
        age = 0 if state.held_out_error < 0.98 * lowest else age + 1
        lowest = min(lowest, state.held_out_error)
        return Status.STALLED if age >= _IRLS_PATIENCE else None

    return observe


def soft_impute_candidate(rounds: Rounds, _: list[Candidate]) -> Candidate | None:
    """Choose a penalty on the nuclear norm; needs validation entries."""
    if rounds.both.held_out is None:
        return None
    rounds.search.announce("soft-impute")
    return _penalised(rounds, SOFT_IMPUTE, rounds.both, rounds.rank, None)


def ratings_candidate(rounds: Rounds, _: list[Candidate]) -> Candidate | None:
    """Do so for what biases leave, where biases alone explain something."""
    search, problem = rounds.search, rounds.both
    is_too_narrow = rounds.rank is not None and rounds.rank < 3
    if search.problem.is_symmetric or problem.held_out is None or is_too_narrow:
        return None
    search.announce("biases")
    biases = choose_biases(problem)
    left_over = without_biases(problem, biases).measurements
    relative = relative_errors(problem, -left_over)[1]
    if relative > _BIASES_HELP:
        return None
    rank = None if rounds.rank is None else rounds.rank - 2
    return _penalised(rounds, RATINGS, problem, rank, biases)


def _penalised(
    rounds: Rounds,
    method: str,
    problem: RecoveryProblem,
    rank: int | None,
    biases: Biases | None,
) -> Candidate:
    """Choose a penalty, after taking biases away if there are any."""
    left_over = problem if biases is None else without_biases(problem, biases)
    path = penalty_path(
        left_over,
        generator=rounds.search.generator,
        max_rank=rank,
        max_steps=_SOFT_STEPS,
        observers=rounds.search.observers,
    )
    choices = {"penalty": path.penalty}
    if biases is not None:
        choices["shrinkage"] = biases.shrinkage
    return Candidate(
        method=method,
        error=relative_errors(problem, path.best.residual)[1],
        left=path.best.left,
        right=path.best.right,
        status=path.status,
        num_steps=path.num_steps,
        num_passes=path.num_passes,
        choices=choices,
        biases=biases,
    )


METHODS = (
    continuation_candidate,
    irls_candidate,
    soft_impute_candidate,
    ratings_candidate,
)
