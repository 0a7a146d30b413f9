r"""Finding the rank: read from a spectrum, then corrected one direction at a time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.iterate import Observer, iterate
from tacit.recovery.back_projection import leading_eigenpairs, leading_triplets
from tacit.recovery.descent.conjugate import ConjugateGradients, ConjugateState
from tacit.recovery.problem import RecoveryProblem, num_unknowns, relative_errors
from tacit.recovery.spectrum import factor_spectrum, read_rank, truncate

# A smaller validation part says less than the fitted measurements do: its error would
# be uncertain by more than 5 %, about what one more rank changes.
FEWEST_VALIDATION = 200
# Another rank is taken if it lowers the score by this factor at least.
_WORTHWHILE = 0.99
_MOST_UNKNOWNS = 0.8
_NEGLIGIBLE = 100.0  # times the train error: singular values below carry nothing
_PLAIN_GAP = 100.0
_ROUGH_STEPS = 100
_CUT = (Status.INTERRUPTED, Status.NON_FINITE)
_DIRECTION_RTOL = 0.1  # a new direction is only where the next fit starts
_ROUGH_DECREMENT = 0.01  # of a fit whose rank may still change


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """Factors of one rank fitted to the measurements.

    Parameters
    ----------
    left, right : Tensor
        The factors; one tensor in a symmetric problem.
    residual : Tensor, shape (num_measurements,)
    train_error, held_out_error : float
        Relative; NaN where nothing is held out.
    status : Status
    num_steps, num_passes : int
        Of everything that led here.
    """

    left: Tensor
    right: Tensor
    residual: Tensor
    train_error: float
    held_out_error: float
    status: Status
    num_steps: int
    num_passes: int

    @property
    def rank(self) -> int:
        """Number of columns."""
        return self.left.shape[-1]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """What every fit of one search shares.

    Parameters
    ----------
    problem : RecoveryProblem
    generator : torch.Generator
        Of iterative decompositions.
    rtol : float
        Train error at which the measurements count as explained.
    max_steps : int
        Of one fit.
    observers : sequence of callables
        See every step of every fit.
    on_phase : callable or None
        Called with a few words when something begins.
    validation : Tensor or None, shape (num_measurements,)
        True for those of the held-out measurements by which ranks are compared. The
        others take no part in any choice: the error on them is no choice's work.
    """

    problem: RecoveryProblem
    generator: torch.Generator
    rtol: float = 1e-9
    max_steps: int = 500
    observers: Sequence[Observer] = ()
    on_phase: Callable[[str], None] | None = None
    validation: Tensor | None = None

    def announce(self, text: str) -> None:
        """Tell who listens what begins."""
        if self.on_phase is not None:
            self.on_phase(text)


def fit_factors(
    search: Search,
    left: Tensor,
    right: Tensor,
    *,
    before: Fit | None = None,
    is_rough: bool = False,
    observers: Sequence[Observer] = (),
) -> Fit:
    """Fit factors from a start by conjugate gradients.

    Parameters
    ----------
    search : Search
    left, right : Tensor
        The start.
    before : Fit or None
        Its steps and passes are counted, too.
    is_rough : bool
        Stop where the rank may be judged, well before convergence, or when the
        validation error rises.
    observers : sequence of callables
        See the steps of this fit besides those of the search.

    Returns
    -------
    Fit
    """
    problem = search.problem
    watchers = [*search.observers, *observers]
    solver = ConjugateGradients(rtol=search.rtol)
    max_steps = search.max_steps
    if is_rough:
        max_steps = min(max_steps, _ROUGH_STEPS)
        solver = ConjugateGradients(rtol=search.rtol, decrement_rtol=_ROUGH_DECREMENT)
        watchers.append(stop_when_validation_rises(search))
    solution = iterate(
        problem, solver, (left, right), max_steps=max_steps, observers=watchers
    )
    state = solution.state
    return Fit(
        left=state.left,
        right=state.right,
        residual=state.residual,
        train_error=state.train_error,
        held_out_error=state.held_out_error,
        status=solution.status,
        num_steps=solution.num_steps + (before.num_steps if before else 0),
        num_passes=state.num_passes + (before.num_passes if before else 0),
    )


def stop_when_validation_rises(search: Search, patience: int = 4) -> Observer:
    """Return an observer that ends a run whose validation error keeps rising.

    Early stopping: with more columns than the rank, noise is fitted last. Without a
    validation part it never ends a run.
    """
    lowest = math.inf
    num_above = 0

    def observe(step: int, state: ConjugateState) -> Status | None:
        nonlocal lowest, num_above
        error = validation_error(search, state.residual)
        num_above = num_above + 1 if error > lowest else 0
        lowest = min(lowest, error)
        return Status.STALLED if num_above >= patience else None

    return observe


def stop_at_clear_gap() -> Observer:
    """Return an observer that ends a run whose spectrum shows the rank beyond doubt.

    The columns below the gap only slow down what follows.
    """

    def observe(step: int, state: ConjugateState) -> Status | None:
        spectrum = factor_spectrum(state.left, state.right)
        is_clear = read_rank(spectrum)[1] >= _PLAIN_GAP
        return Status.CONVERGED if is_clear and state.left.shape[-1] > 1 else None

    return observe


def validation_error(search: Search, residual: Tensor) -> float:
    """Return the relative error over the validation part; NaN if it says too little."""
    mask = search.validation
    if mask is None or int(mask.sum()) < FEWEST_VALIDATION:
        return math.nan
    norm = torch.linalg.vector_norm
    size = float(norm(search.problem.measurements[mask]))
    return float(norm(residual[mask])) / size if size > 0.0 else math.nan


def judged(problem: RecoveryProblem, fit: Fit) -> Fit:
    """Return a fit with its errors over what another problem fits and holds out."""
    train_error, held_out_error = relative_errors(problem, fit.residual)
    return replace(fit, train_error=train_error, held_out_error=held_out_error)


def drop_negligible(fit: Fit) -> tuple[Tensor, Tensor]:
    """Return balanced factors without the columns that are below the fit's error."""
    spectrum = factor_spectrum(fit.left, fit.right)
    floor = _NEGLIGIBLE * max(fit.train_error, 1e-14) * float(spectrum[0])
    kept = max(1, int((spectrum > floor).sum()))
    return truncate(fit.left, fit.right, kept)


def is_explained(search: Search, fit: Fit) -> bool:
    """Whether the residual is down to the tolerance, or to the noise if known."""
    if fit.train_error <= search.rtol:
        return True
    noise = search.problem.noise_level
    if not noise:
        return False
    weights = search.problem.weights
    squares = float((weights * fit.residual.abs().square()).sum())
    unknowns = num_unknowns(search.problem, fit.rank)
    return squares <= noise**2 * max(float(weights.sum()) - unknowns, 1.0)


def score(search: Search, fit: Fit) -> float:
    r"""Return what ranks are compared by: smaller is better.

    The validation error if there is one; else an information criterion, written as an
    error: :math:`\text{train error} \cdot e^{3 d / (2 m)} (1 - d / m)^{-1/2}` for d
    degrees of freedom and m measurements fitted. Its logarithm, times 2 m, is that of
    Akaike (1974) with the unknowns counted twice: a new direction is not arbitrary but
    the one that fits noise best, and the largest singular value of n x n noise is
    :math:`2 \sqrt n`, whose square is twice the 2 n unknowns of that direction.

    Zero if the measurements are explained. Infinite if they are not, with d more than
    0.8 m: so many unknowns fit noise.
    """
    if fit.train_error <= search.rtol:
        return 0.0
    part = num_unknowns(search.problem, fit.rank) / float(search.problem.weights.sum())
    if part >= _MOST_UNKNOWNS:
        return math.inf
    error = validation_error(search, fit.residual)
    if not math.isnan(error):
        return error
    return fit.train_error * math.exp(1.5 * part) / math.sqrt(1.0 - part)


def grow(search: Search, fit: Fit, count: int) -> tuple[Tensor, Tensor]:
    r"""Return factors with more columns, along which the loss falls fastest.

    The leading singular vectors of :math:`-\mathcal{A}^*(w \circ r)` (symmetric:
    eigenvectors of positive eigenvalues) are those that a certificate of optimality is
    violated by; the length of the step along them is the best one.
    """
    force = -search.problem.weights * fit.residual
    left, right, _ = steepest(search, force, count)
    length = best_length(search, force, left, right)
    grown = torch.cat([fit.left, length * left], -1)
    if search.problem.is_symmetric:
        return grown, grown
    return grown, torch.cat([fit.right, length * right], -1)


def steepest(
    search: Search, force: Tensor, count: int, rtol: float = _DIRECTION_RTOL
) -> tuple[Tensor, Tensor, Tensor]:
    """Return factors of the leading part of a back-projection, and its spectrum."""
    linear_map, generator = search.problem.linear_map, search.generator
    if search.problem.is_symmetric:
        values, vectors = leading_eigenpairs(
            linear_map, force, count, generator=generator, rtol=rtol
        )
        values = values.clamp(min=0.0)
        left = vectors * values.sqrt()
        return left, left, values
    u, values, v = leading_triplets(
        linear_map, force, count, generator=generator, rtol=rtol
    )
    return u * values.sqrt(), v * values.sqrt(), values


def best_length(search: Search, force: Tensor, left: Tensor, right: Tensor) -> float:
    """Return the s for which ``s^2 left right^H`` is measured nearest to ``force``."""
    measured = search.problem.linear_map.apply_factors(left, right)
    change = search.problem.weights * measured
    squares = float(change.abs().square().sum())
    along = float((change.conj() * force).real.sum())
    return math.sqrt(max(along, 0.0) / squares) if squares > 0.0 else 0.0


def climb(search: Search, fit: Fit, most: int) -> Fit:
    """Raise the rank while the measurements are not explained and that helps.

    Parameters
    ----------
    search : Search
    fit : Fit
        Where to begin.
    most : int
        Largest rank.

    Returns
    -------
    Fit
        With the best score; its counts include the attempts that failed.
    """
    best = current = fit
    num_failed = 0
    # One more direction alone may not help where two do.
    while num_failed < 2 and current.rank < most and current.status not in _CUT:
        if is_explained(search, current):
            break
        count = min(max(1, current.rank // 8), most - current.rank)
        current = climb_once(search, current, count)
        is_better = score(search, current) < _WORTHWHILE * score(search, best)
        num_failed = 0 if is_better else num_failed + 1
        best = current if is_better else best
    return counted(best, current)


def climb_once(search: Search, fit: Fit, count: int = 1) -> Fit:
    """Raise the rank by ``count`` and fit again, roughly."""
    search.announce(f"rank {fit.rank + count}")
    start = grow(search, fit, count)
    return fit_factors(search, *start, before=fit, is_rough=True)


def descend(search: Search, fit: Fit) -> Fit:
    """Lower the rank while that does not worsen the score."""
    best = fit
    current = fit
    while best.rank > 1 and best.train_error > search.rtol:
        search.announce(f"rank {best.rank - 1}")
        start = truncate(best.left, best.right, best.rank - 1)
        current = fit_factors(search, *start, before=current, is_rough=True)
        if score(search, current) > score(search, best) or (
            current.status is Status.INTERRUPTED
        ):
            break
        best = current
    return counted(best, current)


def counted(best: Fit, last: Fit) -> Fit:
    """Return the best fit with the counts, and an interruption, of the last one."""
    is_cut = last.status is Status.INTERRUPTED
    return replace(
        best,
        status=last.status if is_cut else best.status,
        num_steps=last.num_steps,
        num_passes=last.num_passes,
    )
