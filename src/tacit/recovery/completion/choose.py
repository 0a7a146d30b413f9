r"""Which method completes this matrix? Decided by entries that none of them fitted."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.recovery.completion.candidates import (
    CUT,
    EXACT_GAP,
    EXPLAINED,
    Candidate,
    LeftOut,
    Outcome,
    Rounds,
    continuation_candidate,
    irls_candidate,
)
from tacit.recovery.completion.penalised import (
    ratings_candidate,
    soft_impute_candidate,
)
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
from tacit.recovery.problem import RecoveryProblem, relative_errors
from tacit.recovery.rank_search import Fit, Search, counted, fit_factors
from tacit.recovery.sensing import Answer
from tacit.recovery.spectrum import factor_spectrum, read_rank, truncate

# Of the fitted entries: to see whether they are explained, or to compare errors.
_VALIDATION_PART = 0.05
_FEWEST_VALIDATION = 20
_LARGEST_PART = 0.1
_COMPARED_VALIDATION = 200
_LARGEST_COMPARED_PART = 0.15
_MOST_VALIDATION = 10_000
_LINE_PART = 0.5  # of the mean count of entries that a line must have to give some
_SOFT_RTOL = 1e-3  # of the duality gap, for the answer

_Method = Callable[[Rounds, list[Candidate]], Outcome]


def complete(search: Search, *, rank: int | None = None) -> Answer:
    r"""Complete a matrix by the method that predicts unseen entries best.

    1. Rank continuation with conjugate gradients: the quick way where there are three
       times as many entries as unknowns, noisy or not.
    2. Iteratively reweighted least squares, unless noise is known: works with fewer.
    3. Soft-impute over a path of penalties: noise, spectra that fall slowly.
    4. The same after row and column biases (not for symmetric matrices): ratings.

    The first that predicts the validation entries to a relative error of 1e-4 is taken,
    and the others are not run. Else the first, in this order, whose mean square of the
    errors is larger than the lowest by no more than one standard error of the mean
    difference, both errors taken at the same entries; factors that predict better
    before they are fitted until convergence come last, no model being behind them. What
    is taken is then fitted again, from where it is, with the validation entries.

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
    The validation entries of the first two methods are a random twentieth of the fitted
    ones (between 20 and 10,000, and at most a tenth), none from rows or columns with
    less than half the mean number of entries: whether they are explained is asked. If
    they are not, methods are compared by others, of all rows and columns, at least 200
    or 15 % of the fitted ones.

    Method, rank, penalty and shrinkage are chosen by them alone: the problem's held-out
    entries take no part in any choice, so their error is an unbiased estimate; the
    validation errors in ``reason`` are a little too good, as the smallest of several.

    Methods whose work - entries times columns times passes over the entries, estimated
    beforehand - is more than five times that of the rank continuation and takes more
    than half a minute or so are left out; soft-impute gets fewer columns first.

    References
    ----------
    Breiman, Friedman, Olshen and Stone (1984), Classification and regression trees,
    section 3.4.3 (the rule of one standard error).

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
    tried = _try_all(search, rank)
    best, rule = _choose(tried.candidates)
    fit = _refit(tried, best)
    choices = {f"validation error, {c.method}": c.error for c in tried.candidates}
    return Answer(
        fit=fit,
        method=best.method,
        reason=_reason(best, rule, tried),
        choices=best.choices | choices,
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Tried:
    """What was run on one split into fitted and validation entries."""

    rounds: Rounds
    candidates: list[Candidate] = field(default_factory=list[Candidate])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    before: tuple[int, int] = (0, 0)  # steps and passes on another split

    @property
    def counts(self) -> tuple[int, int]:
        """Steps and passes of everything."""
        outcomes = self.candidates + self.left_out
        return (
            self.before[0] + sum(one.num_steps for one in outcomes),
            self.before[1] + sum(one.num_passes for one in outcomes),
        )

    @property
    def is_settled(self) -> bool:
        """Whether nothing else need be run."""
        last = self.candidates[-1:]
        return self.rounds.trial.held_out is None or any(
            c.error <= EXPLAINED or c.status is Status.INTERRUPTED for c in last
        )

    @property
    def is_cut(self) -> bool:
        """Whether a person has ended it."""
        return any(c.status is Status.INTERRUPTED for c in self.candidates)

    def run(self, methods: Sequence[_Method]) -> None:
        """Run methods until one settles the matter."""
        for method in methods:
            outcome = method(self.rounds, self.candidates)
            if isinstance(outcome, LeftOut):
                self.left_out.append(outcome)
            elif outcome is not None:
                self.candidates.append(outcome)
                if self.is_settled:
                    return


def _try_all(search: Search, rank: int | None) -> _Tried:
    """Run the methods, on a second split where the first is too small to compare."""
    size = int(search.problem.weights.sum(dtype=torch.float64))
    few = max(_FEWEST_VALIDATION, round(_VALIDATION_PART * size))
    few = min(few, _MOST_VALIDATION, int(_LARGEST_PART * size))
    many = min(max(few, _COMPARED_VALIDATION), int(_LARGEST_COMPARED_PART * size))
    tried = _Tried(rounds=_rounds(search, rank, few, _LINE_PART))
    exact = (continuation_candidate, irls_candidate)
    noisy = (soft_impute_candidate, ratings_candidate)
    tried.run(exact)
    if tried.is_settled:
        return tried
    is_first_best = _order(tried.candidates[0]) <= min(map(_order, tried.candidates))
    again = _Tried(rounds=_rounds(search, rank, many, 0.0), before=tried.counts)
    again.run((exact[:1] if is_first_best else exact) + noisy)
    return again


def _rounds(search: Search, rank: int | None, count: int, part: float) -> Rounds:
    trial = _with_validation(search.problem, count, part, search.generator)
    return Rounds(search=search, trial=trial, both=mirrored(trial), rank=rank)


def _with_validation(
    problem: RecoveryProblem, count: int, part: float, generator: torch.Generator
) -> RecoveryProblem:
    """Leave out the entries held out before, and hold out others for validation.

    Entries of rows and columns with few of them are spared: without one of them such a
    line may not be determined at all, whatever the method.
    """
    fitted = fitted_part(problem)
    entries = require_entries(fitted)
    size = fitted.measurements.shape[0]
    spare = torch.ones(size, dtype=torch.bool, device=entries.rows.device)
    for places, lines in zip(
        (entries.rows, entries.columns), entries.shape, strict=True
    ):
        counts = torch.bincount(places, minlength=lines)
        spare &= counts[places] >= part * size / lines
    eligible = spare.nonzero()[:, 0]
    count = min(count, eligible.shape[0])
    if count == 0:
        return fitted
    order = torch.randperm(eligible.shape[0], generator=generator)[:count]
    held_out = torch.zeros_like(spare)
    held_out[eligible[order.to(eligible.device)]] = True
    return replace(fitted, held_out=held_out)


def _choose(candidates: list[Candidate]) -> tuple[Candidate, str]:
    """Return the first that is as good as the best, and the rule that decided."""
    best = min(candidates, key=_order)
    if best.error <= EXPLAINED:
        return best, f"the first to explain them to {EXPLAINED:.0e}"
    # Factors that predict best before they are fitted depend on the way of fitting:
    # that is less simple than any model.
    for candidate in sorted(candidates, key=lambda one: one.overfit > 1.0):
        if candidate is best:
            break
        if _is_as_good(candidate, best):
            return candidate, "the simplest within one standard error of the lowest"
    return best, "the lowest"


def _is_as_good(candidate: Candidate, best: Candidate) -> bool:
    """Whether validation errors are larger by at most one standard error."""
    if candidate.misses is None or best.misses is None or not candidate.is_finite:
        return False
    excess = candidate.misses.abs().square() - best.misses.abs().square()
    count = excess.shape[0]
    if count < 2:
        return False
    return float(excess.mean()) <= float(excess.std()) / math.sqrt(count)


def _order(candidate: Candidate) -> float:
    return candidate.error if candidate.is_finite else math.inf


def _refit(tried: _Tried, best: Candidate) -> Fit:
    """Fit once more with the validation entries, from what was found without."""
    search = tried.rounds.search
    problem = search.problem
    left, right = best.left, best.right
    if best.biases is not None:
        left, right = with_biases(best.biases, left, right)
    status = Status.INTERRUPTED if tried.is_cut else best.status
    found = _fit(problem, left, right, status, tried.counts)
    if tried.is_cut or not best.is_finite:
        return found
    search.announce("fit with all entries")
    if "penalty" in best.choices:
        again = _refit_penalised(tried, best)
    else:
        again = fit_factors(
            search, found.left, found.right, before=found, is_rough=best.is_rough
        )
        if best.error <= EXPLAINED:
            again = _without_spare_columns(search, again)
    return found if again.status is Status.NON_FINITE else again


def _without_spare_columns(search: Search, fit: Fit) -> Fit:
    """Fit without the columns below a clear gap, if that explains the entries, too.

    What they hold is an error that the entries do not show, or slow convergence.
    """
    if fit.status in CUT or fit.rank < 2:
        return fit
    rank, gap = read_rank(factor_spectrum(fit.left, fit.right))
    if gap < EXACT_GAP or rank >= fit.rank:
        return fit
    search.announce(f"rank {rank}")
    start = truncate(fit.left, fit.right, rank)
    narrow = fit_factors(search, *start, before=fit)
    limit = max(search.rtol, fit.train_error)
    best = narrow if narrow.train_error <= limit else fit
    return counted(best, narrow)


def _refit_penalised(tried: _Tried, best: Candidate) -> Fit:
    search = tried.rounds.search
    problem = mirrored(search.problem)
    biases = None
    if best.biases is not None:
        biases = fit_biases(problem, best.biases.shrinkage)
        problem = without_biases(problem, biases)
    largest = best.choices.get("largest_rank")
    solution = soft_impute(
        problem,
        best.choices["penalty"],
        generator=search.generator,
        start=(best.left, best.right),
        gap_rtol=_SOFT_RTOL,
        max_rank=None if largest is None else int(largest),
        max_steps=search.max_steps,
        observers=search.observers,
    )
    state = solution.state
    left, right = state.left, state.right
    if biases is not None:
        left, right = with_biases(biases, left, right)
    steps, passes = tried.counts
    counts = steps + solution.num_steps, passes + state.num_passes
    return _fit(search.problem, left, right, solution.status, counts)


def _fit(
    problem: RecoveryProblem,
    left: Tensor,
    right: Tensor,
    status: Status,
    counts: tuple[int, int],
) -> Fit:
    """Return factors with their errors on all the problem's entries."""
    is_finite = bool(torch.isfinite(left).all() & torch.isfinite(right).all())
    if problem.is_symmetric and left is not right and is_finite:
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


def _reason(best: Candidate, rule: str, tried: _Tried) -> str:
    """Say what decided, with the numbers of every candidate."""
    held_out = tried.rounds.trial.held_out
    if held_out is None:
        return f"too few entries to compare methods: {best.method} alone was run"
    numbers = ", ".join(
        f"{c.method} {c.error:.2e} (rank {c.rank}, {c.num_steps} steps)"
        if c.is_finite
        else f"{c.method} failed (numbers that are not finite)"
        for c in tried.candidates
    )
    left_out = "".join(f"; {one.method} left out {one.why}" for one in tried.left_out)
    count = int(held_out.sum())
    return f"error on {count} validation entries, {rule}: {numbers}{left_out}"
