r"""The methods of completion, each run without the validation entries."""

import math
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.iterate import Observer, iterate
from tacit.recovery.completion.irls import (
    ReweightedLeastSquares,
    ReweightedState,
)
from tacit.recovery.completion.rank_continuation import (
    largest_rank,
    rank_continuation,
)
from tacit.recovery.completion.ratings import Biases
from tacit.recovery.completion.sparse_low_rank import require_entries, symmetric_factor
from tacit.recovery.descent.conjugate import ConjugateState
from tacit.recovery.maps.entries import sampled_entries
from tacit.recovery.problem import RecoveryProblem, widest_rank
from tacit.recovery.rank_search import Search, counted, fit_factors
from tacit.recovery.spectrum import read_rank, truncate

# A relative error on the validation entries that leaves no doubt.
EXPLAINED = 1e-4
_HOPEFUL_PART = 0.7  # unknowns to entries: with more no method is known to succeed
_WIDEST_IRLS = 30  # columns; beyond, soft-impute is the cheaper way
_IRLS_RUNS = 5  # at different ranks
_IRLS_STEPS = 150
# Measured on planted matrices without noise, near the limit: what succeeds is never
# longer without progress than 5 steps or so, and even failures show a gap above 30.
# With noise, the error rises after some five steps, and gaps were 15 at most.
_IRLS_PATIENCE = 8
EXACT_GAP = 25.0
_LASTING_GAP = 100.0
_WELL_KNOWN = 0.3  # error below which converged factors are believed
_POLISH_PATIENCE = 10
# Measured: at most 1.013 for matrices of low rank with noise, 1.02 and more for most
# others, where convergence after all may end in far larger errors.
_OVERFITS = 1.015
CUT = (Status.INTERRUPTED, Status.NON_FINITE)

# Work is counted in entries x columns x passes over the entries; about 7e8 a second on
# one core. What costs less than _CHEAP or a few times the rank continuation is run.
_CHEAP = 3e10
_FAR_BEYOND = 5.0
_IRLS_PASSES = 500  # of the first run, in the number of its columns

CONTINUATION = "rank continuation, conjugate gradients"
IRLS = "iteratively reweighted least squares"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """What one method found without the validation entries.

    Parameters
    ----------
    method : str
    misses : Tensor or None, shape (num_validation,)
        Answer minus measurement at the validation entries; None if there are none.
    error : float
        Their relative size (NaN if there are none).
    left, right : Tensor
        Without biases; one tensor in a symmetric problem.
    status : Status
    num_steps, num_passes : int
    choices : mapping of str to float
        What the validation entries chose inside the method.
    biases : Biases or None
    overfit : float
        Of factors: the error once they are fitted until convergence, relative to where
        their fit was stopped early.
    """

    method: str
    misses: Tensor | None
    error: float
    left: Tensor
    right: Tensor
    status: Status
    num_steps: int
    num_passes: int
    choices: dict[str, float] = field(default_factory=dict[str, float])
    biases: Biases | None = None
    overfit: float = 1.0

    @property
    def is_rough(self) -> bool:
        """Whether the fit of the factors is stopped early for their sake."""
        return self.overfit > _OVERFITS

    @property
    def rank(self) -> int:
        """Number of columns, biases included."""
        return self.left.shape[-1] + (2 if self.biases is not None else 0)

    @property
    def is_finite(self) -> bool:
        """Whether the method ended with numbers."""
        factors = (self.left, self.right)
        return self.status is not Status.NON_FINITE and all(
            bool(torch.isfinite(factor).all()) for factor in factors
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOut:
    """A method that was not run, or whose answer is not to be compared.

    Parameters
    ----------
    method : str
    why : str
        In a few words.
    num_steps, num_passes : int
    """

    method: str
    why: str
    num_steps: int = 0
    num_passes: int = 0


Outcome = Candidate | LeftOut | None
"""None from a method that is not made for the problem."""


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

    @property
    def num_entries(self) -> int:
        """Number of entries that a pass goes over."""
        return self.both.linear_map.num_measurements


def judge(
    trial: RecoveryProblem, left: Tensor, right: Tensor, biases: Biases | None = None
) -> tuple[Tensor | None, float]:
    """Return what factors miss the validation entries by, and its relative size.

    If all of them are zero, the size is relative to fitted entries as many.
    """
    mask = trial.held_out
    if mask is None:
        return None, math.nan
    entries = require_entries(trial)
    rows, columns, values = (
        part[mask] for part in (entries.rows, entries.columns, trial.measurements)
    )
    misses = sampled_entries(rows, columns, left, right) - values
    if biases is not None:
        misses = misses + biases.mean + biases.rows[rows] + biases.columns[columns]
    norm = torch.linalg.vector_norm
    size = float(norm(values))
    if size == 0.0:
        size = float(norm(trial.measurements)) * math.sqrt(
            len(values) / len(trial.measurements)
        )
    return misses, float(norm(misses)) / size if size > 0.0 else float(norm(misses))


def continuation_candidate(rounds: Rounds, _: list[Candidate]) -> Outcome:
    """Grow the rank; fit the best one until convergence if that predicts better."""
    trial = rounds.trial
    search = replace(rounds.search, problem=trial, validation=trial.held_out)
    search.announce("rank continuation")
    rough = rank_continuation(search, rank=rounds.rank)
    misses, error = judge(trial, rough.left, rough.right)
    found, overfit = rough, 1.0
    if error > EXPLAINED and rough.status not in CUT:
        patient = _stop_without_progress(_POLISH_PATIENCE, 0.999)
        polish = replace(search, observers=(*search.observers, patient))
        fit = fit_factors(polish, rough.left, rough.right, before=rough)
        fit_misses, fit_error = judge(trial, fit.left, fit.right)
        overfit = math.inf if math.isnan(fit_error) else fit_error / error
        if overfit <= _OVERFITS:
            found, misses, error = fit, fit_misses, fit_error
        else:
            found = counted(rough, fit)
    return Candidate(
        method=CONTINUATION,
        misses=misses,
        error=error,
        left=found.left,
        right=found.right,
        status=found.status,
        num_steps=found.num_steps,
        num_passes=found.num_passes,
        overfit=overfit,
    )


def irls_candidate(rounds: Rounds, candidates: list[Candidate]) -> Outcome:
    """Try the largest rank that the entries allow, then ranks that were seen.

    The answer counts if its spectrum has the gap of a matrix without noise: all entries
    are interpolated, and noise with them. Else, or where more is known already, no
    other rank is tried.
    """
    problem = rounds.both
    sizes = problem.linear_map.in_shape
    limit = min(largest_rank(rounds.trial), *(n - 1 for n in sizes))
    hopeful = max(1, widest_rank(rounds.trial, _HOPEFUL_PART))
    widths = [min(limit, rounds.rank or min(hopeful, _WIDEST_IRLS))]
    if problem.held_out is None or problem.noise_level or widths[0] < 1:
        return None
    if _IRLS_PASSES * widths[0] * rounds.num_entries > most_work(rounds, candidates):
        return LeftOut(method=IRLS, why="for its cost")
    known = min((c.error for c in candidates if not c.is_rough), default=math.inf)
    known = known if known < _WELL_KNOWN else math.inf
    best, tried = None, set[int]()
    while widths and len(tried) < _IRLS_RUNS:
        width = widths.pop(0)
        if width in tried or not 1 <= width <= limit:
            continue
        tried.add(width)
        candidate, (seen, gap) = _irls_once(rounds, width, best)
        if gap >= EXACT_GAP and seen < width:
            candidate = _polished(rounds, candidate, seen)
        best = candidate if best is None or candidate.error < best.error else best
        best = replace(
            best, num_steps=candidate.num_steps, num_passes=candidate.num_passes
        )
        if best.error <= EXPLAINED or candidate.status is Status.INTERRUPTED:
            return replace(best, status=candidate.status)
        if gap < EXACT_GAP or candidate.error > known:
            break
        if rounds.rank is None:
            widths = [seen, *(c.rank for c in candidates), width - 1, width // 2]
    if best is None or best.choices["gap"] >= EXACT_GAP:
        return best
    return LeftOut(
        method=IRLS,
        why=f"for what seems to be noise (error {best.error:.2e} at rank {best.rank})",
        num_steps=best.num_steps,
        num_passes=best.num_passes,
    )


def _irls_once(
    rounds: Rounds, width: int, before: Candidate | None
) -> tuple[Candidate, tuple[int, float]]:
    """Run one search rank; return what was found and where its spectrum has a gap."""
    search = rounds.search
    search.announce(f"reweighted least squares, rank {width}")
    observer = _stop_without_progress(_IRLS_PATIENCE, 0.98)
    solution = iterate(
        rounds.both,
        ReweightedLeastSquares(search_rank=width, rtol=search.rtol),
        search.generator,
        max_steps=_IRLS_STEPS,
        observers=(*search.observers, observer, _stop_at_lasting_gap(width)),
    )
    state = solution.state
    left, right = answer_factors(rounds, state.left, state.right)
    misses, error = judge(rounds.trial, left, right)
    gap = 0, 1.0
    if bool(torch.isfinite(state.singular_values).all()):
        gap = read_rank(state.singular_values[: width + 1])
    candidate = Candidate(
        method=IRLS,
        misses=misses,
        error=error,
        left=left,
        right=right,
        status=solution.status,
        num_steps=solution.num_steps + (before.num_steps if before else 0),
        num_passes=state.num_passes + (before.num_passes if before else 0),
        choices={"search_rank": float(width), "gap": gap[1]},
    )
    return candidate, gap


def _polished(rounds: Rounds, candidate: Candidate, rank: int) -> Candidate:
    """Return conjugate gradients from the part above a gap, if that predicts better."""
    search = replace(rounds.search, problem=rounds.trial)
    start = truncate(candidate.left, candidate.right, rank)
    fit = fit_factors(search, *start, is_rough=True)
    misses, error = judge(rounds.trial, fit.left, fit.right)
    counts = {
        "num_steps": candidate.num_steps + fit.num_steps,
        "num_passes": candidate.num_passes + fit.num_passes,
    }
    if not error < candidate.error:
        return replace(candidate, **counts)
    return replace(
        candidate,
        misses=misses,
        error=error,
        left=fit.left,
        right=fit.right,
        status=fit.status,
        **counts,
    )


def _stop_at_lasting_gap(width: int, patience: int = 4) -> Observer:
    """End a run whose spectrum shows one smaller rank for some steps.

    Conjugate gradients at that rank converge faster than weights do.
    """
    seen, age = 0, 0

    def observe(_: int, state: ReweightedState) -> Status | None:
        nonlocal seen, age
        rank, gap = read_rank(state.singular_values[: width + 1])
        is_clear = gap >= _LASTING_GAP and rank < width
        age = age + 1 if is_clear and rank == seen else int(is_clear)
        seen = rank
        return Status.STALLED if age >= patience else None

    return observe


def _stop_without_progress(patience: int, factor: float) -> Observer:
    """Return an observer that ends a run whose validation error does not fall."""
    lowest, age = math.inf, 0

    def observe(_: int, state: ReweightedState | ConjugateState) -> Status | None:
        nonlocal lowest, age
        error = state.held_out_error
        age = age + 1 if error >= factor * lowest else 0
        lowest = min(lowest, error)
        return Status.STALLED if age >= patience else None

    return observe


def answer_factors(
    rounds: Rounds, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the factors as an answer has them: one of a symmetric matrix."""
    is_finite = bool(torch.isfinite(left).all() & torch.isfinite(right).all())
    if not rounds.trial.is_symmetric or not is_finite:
        return left, right
    factor = symmetric_factor(left, right)
    return factor, factor


def most_work(rounds: Rounds, candidates: list[Candidate]) -> float:
    """Return the work that a method may take, given what the others took."""
    spent = max((c.num_passes * c.rank for c in candidates[:1]), default=0)
    return max(_CHEAP, _FAR_BEYOND * spent * rounds.num_entries)
