r"""Which method completes this matrix? Decided by entries that none of them fitted."""

import math

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.recovery.completion.candidates import (
    CUT,
    EXPLAINED,
    METHODS,
    Candidate,
    Rounds,
)
from tacit.recovery.completion.irls import relative_errors
from tacit.recovery.completion.rank_continuation import largest_rank
from tacit.recovery.completion.ratings import (
    fit_biases,
    with_biases,
    without_biases,
)
from tacit.recovery.completion.soft_impute import soft_impute
from tacit.recovery.completion.sparse_low_rank import (
    fitted_part,
    mirrored,
    require_entries,
    symmetric_factor,
)
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.rank_search import Fit, Search, fit_factors
from tacit.recovery.sensing import Answer

_VALIDATION_PART = 0.05
_FEWEST_VALIDATION = 20
_MOST_VALIDATION = 10_000
_SOFT_RTOL = 1e-3  # of the duality gap, for the answer


def complete(search: Search, *, rank: int | None = None) -> Answer:
    r"""Complete a matrix by the method that predicts unseen entries best.

    1. Rank continuation with conjugate gradients: the quick way where there are three
       times as many entries as unknowns, noisy or not.
    2. Iteratively reweighted least squares, unless noise is known: works with fewer.
    3. Soft-impute over a path of penalties: noise, spectra that fall slowly.
    4. The same after row and column biases (not for symmetric matrices): ratings.

    The first that predicts the validation entries to a relative error of
    1e-4 is taken, and the others are not run; else the one with the lowest error. It is
    then fitted again, started from what was found, with the validation entries.

    Parameters
    ----------
    search : Search
        Its problem's map is an EntriesMap.
    rank : int or None
        Largest rank of the answer; None leaves it open.

    Returns
    -------
    Answer
        ``reason`` has the validation error of every candidate.

    Raises
    ------
    InputError
        If the map is not an EntriesMap or the rank is out of range.

    Notes
    -----
    The validation entries are a random twentieth of the fitted ones (between 20 and
    10,000, and at most a tenth). Method, rank, penalty and shrinkage are chosen by them
    alone: the problem's held-out entries take no part in any choice, so their error is
    an unbiased estimate; the validation errors in ``reason`` are a little too good, as
    the smallest of several.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.completion.choose import complete
    >>> from tacit.recovery.planted import planted_completion
    >>> from tacit.recovery.rank_search import Search
    >>> generator = tacit.make_generator(0)
    >>> problem = planted_completion((60, 50), 2, oversampling=5.0, generator=generator)
    >>> answer = complete(Search(problem=problem, generator=generator))
    >>> answer.method, answer.fit.rank
    ('rank continuation, conjugate gradients', 2)
    """
    problem = search.problem
    require_entries(problem)
    largest_rank(problem, rank)
    trial = _with_validation(problem, search.generator)
    rounds = Rounds(search=search, trial=trial, both=mirrored(trial), rank=rank)
    candidates: list[Candidate] = []
    for run in METHODS:
        candidate = run(rounds, candidates)
        if candidate is None:
            continue
        candidates.append(candidate)
        if candidate.error <= EXPLAINED or candidate.status in CUT:
            break
    best = min(candidates, key=_order)
    fit = _refit(rounds, best, candidates)
    choices = {f"validation error, {c.method}": c.error for c in candidates}
    return Answer(
        fit=fit,
        method=best.method,
        reason=_reason(best, candidates, trial),
        choices=best.choices | choices,
    )


def _with_validation(
    problem: RecoveryProblem, generator: torch.Generator
) -> RecoveryProblem:
    """Leave out the entries held out before, and hold out others for validation."""
    fitted = fitted_part(problem)
    size = fitted.measurements.shape[0]
    count = max(_FEWEST_VALIDATION, round(_VALIDATION_PART * size))
    count = min(count, _MOST_VALIDATION, size // 10)
    return hold_out(fitted, count / size, generator=generator) if count else fitted


def _order(candidate: Candidate) -> float:
    return math.inf if math.isnan(candidate.error) else candidate.error


def _refit(rounds: Rounds, best: Candidate, candidates: list[Candidate]) -> Fit:
    """Fit once more with the validation entries, from what was found without."""
    search = rounds.search
    problem = search.problem
    counts = (
        sum(c.num_steps for c in candidates),
        sum(c.num_passes for c in candidates),
    )
    left, right = best.left, best.right
    if candidates[-1].status in CUT:
        if best.biases is not None:
            left, right = with_biases(best.biases, left, right)
        return _fit(problem, left, right, candidates[-1].status, counts)
    if "penalty" in best.choices:
        search.announce("fit with all entries")
        return _refit_penalised(rounds, best, counts)
    if problem.is_symmetric and left is not right:
        left = right = symmetric_factor(left, right)
    search.announce("fit with all entries")
    return fit_factors(
        search, left, right, before=_fit(problem, left, right, best.status, counts)
    )


def _refit_penalised(rounds: Rounds, best: Candidate, counts: tuple[int, int]) -> Fit:
    search = rounds.search
    problem = mirrored(search.problem)
    biases = None
    rank = rounds.rank
    if best.biases is not None:
        biases = fit_biases(problem, best.biases.shrinkage)
        problem = without_biases(problem, biases)
        rank = None if rank is None else rank - 2
    solution = soft_impute(
        problem,
        best.choices["penalty"],
        generator=search.generator,
        start=(best.left, best.right),
        gap_rtol=_SOFT_RTOL,
        max_rank=rank,
        max_steps=search.max_steps,
        observers=search.observers,
    )
    state = solution.state
    left, right = state.left, state.right
    if biases is not None:
        left, right = with_biases(biases, left, right)
    counts = counts[0] + solution.num_steps, counts[1] + state.num_passes
    return _fit(search.problem, left, right, solution.status, counts)


def _fit(
    problem: RecoveryProblem,
    left: Tensor,
    right: Tensor,
    status: Status,
    counts: tuple[int, int],
) -> Fit:
    """Return factors with their errors on all the problem's entries."""
    if problem.is_symmetric and left is not right:
        left = right = symmetric_factor(left, right)
    residual = problem.linear_map.apply_factors(left, right) - problem.measurements
    train_error, held_out_error = relative_errors(problem, residual)
    return Fit(
        left=left,
        right=right,
        residual=residual,
        train_error=train_error,
        held_out_error=held_out_error,
        status=status,
        num_steps=counts[0],
        num_passes=counts[1] + 1,
    )


def _reason(
    best: Candidate, candidates: list[Candidate], trial: RecoveryProblem
) -> str:
    """Say what decided, with the numbers of every candidate."""
    if trial.held_out is None:
        return f"too few entries to compare methods: {best.method} alone was run"
    count = int(trial.held_out.sum())
    numbers = ", ".join(
        f"{c.method} {c.error:.2e} (rank {c.rank}, {c.num_steps} steps)"
        for c in candidates
    )
    rule = (
        f"the first to explain them to {EXPLAINED:.0e}"
        if best.error <= EXPLAINED
        else "the lowest"
    )
    return f"error on {count} validation entries, {rule}: {numbers}"
