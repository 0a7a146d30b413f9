r"""The methods of completion that penalise the nuclear norm, as candidates."""

import math
from typing import final

from tacit.errors import Status
from tacit.recovery.completion.candidates import (
    Candidate,
    LeftOut,
    Outcome,
    Rounds,
    answer_factors,
    judge,
    most_work,
)
from tacit.recovery.completion.penalty_path import penalty_path
from tacit.recovery.completion.ratings import Biases, choose_biases, without_biases
from tacit.recovery.completion.soft_impute import SoftImputeState
from tacit.recovery.problem import relative_errors

_BIASES_HELP = 0.95  # relative error that biases alone must reach
_BIASES_FAR = 2.0  # times the best error so far: then nothing more is made of them
_SOFT_STEPS = 200  # at each penalty
_PATH_PASSES = 1000  # of a path of penalties, in the rank at its end
_FEWEST_COLUMNS = 5
SOFT_IMPUTE = "soft-impute"
RATINGS = "row and column biases, soft-impute"


def soft_impute_candidate(rounds: Rounds, candidates: list[Candidate]) -> Outcome:
    """Choose a penalty on the nuclear norm; needs validation entries."""
    if rounds.both.held_out is None:
        return None
    return _penalised(rounds, SOFT_IMPUTE, candidates, None)


def ratings_candidate(rounds: Rounds, candidates: list[Candidate]) -> Outcome:
    """Do so for what biases leave, where biases alone explain something."""
    search, problem = rounds.search, rounds.both
    is_too_narrow = rounds.rank is not None and rounds.rank < 3
    if search.problem.is_symmetric or problem.held_out is None or is_too_narrow:
        return None
    search.announce("biases")
    biases = choose_biases(problem)
    left_over = without_biases(problem, biases).measurements
    relative = relative_errors(problem, -left_over)[1]
    best = min((c.error for c in candidates), default=math.inf)
    if not relative <= min(_BIASES_HELP, _BIASES_FAR * best):
        return None
    return _penalised(rounds, RATINGS, candidates, biases)


def _penalised(
    rounds: Rounds, method: str, candidates: list[Candidate], biases: Biases | None
) -> Outcome:
    """Choose a penalty, after taking biases away if there are any."""
    problem, rank = rounds.both, rounds.rank
    if biases is not None:
        problem = without_biases(problem, biases)
        rank = None if rank is None else rank - 2
    work = most_work(rounds, candidates)
    columns = int(work / (_PATH_PASSES * rounds.num_entries))
    if columns < min(_FEWEST_COLUMNS, rank or _FEWEST_COLUMNS):
        return LeftOut(method=method, why="for its cost")
    if columns < min(problem.linear_map.in_shape):
        rank = min(columns, rank or columns)
    rounds.search.announce(method)
    meter = _Meter(num_entries=rounds.num_entries, most=work)
    path = penalty_path(
        problem,
        generator=rounds.search.generator,
        max_rank=rank,
        max_steps=_SOFT_STEPS,
        observers=(*rounds.search.observers, meter),
    )
    if meter.is_over:
        return LeftOut(
            method=method,
            why="for its cost",
            num_steps=path.num_steps,
            num_passes=path.num_passes,
        )
    choices = {"penalty": path.penalty}
    if rank is not None:
        choices["largest_rank"] = float(rank)
    if biases is not None:
        choices["shrinkage"] = biases.shrinkage
    left, right = answer_factors(rounds, path.best.left, path.best.right)
    misses, error = judge(rounds.trial, left, right, biases)
    return Candidate(
        method=method,
        misses=misses,
        error=error,
        left=left,
        right=right,
        status=path.status,
        num_steps=path.num_steps,
        num_passes=path.num_passes,
        choices=choices,
        biases=biases,
    )


@final
class _Meter:
    """An observer that ends every run once the work of all of them is too much."""

    def __init__(self, *, num_entries: int, most: float) -> None:
        self._num_entries = num_entries
        self._most = most
        self._spent = 0.0
        self._passes = 0

    def __call__(self, step: int, state: SoftImputeState) -> Status | None:
        # The count starts anew with every run.
        before = self._passes if step > 1 else 0
        self._passes = state.num_passes
        width = state.left.shape[-1]
        self._spent += (state.num_passes - before) * width * self._num_entries
        return Status.STALLED if self.is_over else None

    @property
    def is_over(self) -> bool:
        """Whether more was spent than may be."""
        return self._spent > self._most
