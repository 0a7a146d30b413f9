r"""Completion with a rank that grows: descent on the factors, one direction at a time.

Large singular values are fitted first and leave a clear view of the smaller ones: the
way to matrices of large condition number, and to the rank.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, Status
from tacit.iterate import Observer, iterate
from tacit.recovery.back_projection import leading_eigenpairs
from tacit.recovery.completion.sparse_low_rank import (
    SparseLowRank,
    draw_basis,
    leading_svd,
    require_entries,
)
from tacit.recovery.conjugate import ConjugateGradients, ConjugateState
from tacit.recovery.problem import RecoveryProblem, degrees_of_freedom

_EXTRA = 3  # columns besides those asked for, in decompositions
_SWEEPS = 4
# A fit is good enough to judge its rank once it can fall by this part at most.
_ROUGH_DECREMENT = 3e-3
_FEWEST_HELD_OUT = 20
# Another rank is worthwhile if it lowers the held-out error by this factor.
_WORTHWHILE = 0.99
_PATIENCE = 2  # ranks that may fail to
_START_GAP = 1.25
# Singular values below this part of the largest are columns without a use.
_NOTHING = 1e-11


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Continuation:
    r"""What rank continuation found.

    Parameters
    ----------
    left, right : Tensor, shape (num_rows, rank) and (num_columns, rank)
        One tensor in a symmetric problem.
    residual : Tensor, shape (num_measurements,)
        :math:`\mathcal{A}(L R^H) - y`.
    train_error, held_out_error : float
        Relative; the second is NaN where nothing is held out.
    status : Status
        CONVERGED if the entries are explained to ``rtol``, STALLED if no larger rank
        lowered the held-out error, or the limit of the rank or of the unknowns was met.
    num_steps, num_passes : int
        Of all ranks together.
    errors : tuple of (int, float, float)
        Rank, train error and held-out error of each rank tried, in order.
    """

    left: Tensor
    right: Tensor
    residual: Tensor
    train_error: float
    held_out_error: float
    status: Status
    num_steps: int
    num_passes: int
    errors: tuple[tuple[int, float, float], ...]

    @property
    def rank(self) -> int:
        """Number of columns of the factors."""
        return self.left.shape[-1]


def rank_continuation(
    problem: RecoveryProblem,
    *,
    generator: torch.Generator,
    rank: int | None = None,
    rtol: float = 1e-9,
    max_steps: int = 500,
    observers: Sequence[Observer] = (),
) -> Continuation:
    r"""Fit factors of rank 1, 2, ... until the entries are explained.

    Each rank starts at the last one's factors with one more column each: the leading
    singular vectors of the residual's back-projection :math:`-\mathcal{A}^*(w \circ
    r)`, the steepest direction, with the best length along them (symmetric: leading
    eigenvectors). It is fitted by
    :class:`~tacit.recovery.conjugate.ConjugateGradients` until the loss has little left
    to fall.

    Parameters
    ----------
    problem : RecoveryProblem
        Of completion; symmetric ones are fitted as such.
    generator : torch.Generator
        Draws the starts of decompositions (on the CPU).
    rank : int or None
        Largest rank; None: as many as leave unknowns fewer than entries.
    rtol : float
        Train error at which the entries are explained.
    max_steps : int
        Of conjugate gradients, at one rank.
    observers : sequence of callables
        See every step of every rank.

    Returns
    -------
    Continuation
        With the lowest held-out error where at least 20 entries are held out, else the
        last rank.

    Raises
    ------
    InputError
        If the map is not an EntriesMap or the rank is out of range.

    Notes
    -----
    The first rank is larger than 1 where the spectrum of :math:`\mathcal{A}^*(y)` has a
    visible gap. Works from about three times as many entries as unknowns on; with fewer
    see :class:`~tacit.recovery.completion.irls.ReweightedLeastSquares`.

    References
    ----------
    Tan, Tsang, Wang, Vandereycken and Pan (2014), Riemannian pursuit for big matrix
    recovery (growing the rank along the residual); the stopping rules are ours.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.completion.rank_continuation import rank_continuation
    >>> from tacit.recovery.planted import planted_completion
    >>> generator = tacit.make_generator(0)
    >>> problem = planted_completion((40, 30), 2, oversampling=5.0,
    ...     condition_number=100.0, generator=generator)
    >>> rank_continuation(problem, generator=generator).rank
    2
    """
    require_entries(problem)
    most = largest_rank(problem, rank)
    factors = _start(problem, most, generator)
    best = current = None
    errors: list[tuple[int, float, float]] = []
    while True:
        is_last = factors[0].shape[-1] >= most
        current = _fit(
            problem,
            factors,
            current,
            ConjugateGradients(
                rtol=rtol, decrement_rtol=1e-12 if is_last else _ROUGH_DECREMENT
            ),
            max_steps,
            observers,
        )
        errors.append((current.rank, current.train_error, current.held_out_error))
        best = _better(problem, best, current)
        status = _status(best, current, rtol, most)
        if status is not None:
            break
        factors = _grow(problem, current, generator)
    left, right = _trim(best.left, best.right)
    return replace(
        best,
        left=left,
        right=right,
        status=status,
        num_steps=current.num_steps,
        num_passes=current.num_passes,
        errors=tuple(errors),
    )


def largest_rank(problem: RecoveryProblem, rank: int | None = None) -> int:
    """Return the largest rank to try: ``rank``, or with fewer unknowns than entries.

    Raises
    ------
    InputError
        If ``rank`` is not in 1..min(num_rows, num_columns).
    """
    shape = problem.linear_map.in_shape
    limit = min(shape)
    if rank is not None:
        if not 1 <= rank <= limit:
            raise InputError(
                f"rank must be in 1..min(num_rows, num_columns) = {limit}; got {rank}"
            )
        return rank
    count = float(problem.weights.sum())
    most = 1
    while most < limit and count > degrees_of_freedom(
        shape, most + 1, is_symmetric=problem.is_symmetric
    ):
        most += 1
    return most


def _fit(
    problem: RecoveryProblem,
    factors: tuple[Tensor, Tensor],
    before: Continuation | None,
    solver: ConjugateGradients,
    max_steps: int,
    observers: Sequence[Observer],
) -> Continuation:
    held_out = _stop_when_worse() if _is_held_out(problem) else None
    watchers = [*observers, held_out] if held_out else list(observers)
    solution = iterate(
        problem, solver, factors, max_steps=max_steps, observers=watchers
    )
    state = solution.state
    return Continuation(
        left=state.left,
        right=state.right,
        residual=state.residual,
        train_error=state.train_error,
        held_out_error=state.held_out_error,
        status=solution.status,
        num_steps=solution.num_steps + (before.num_steps if before else 0),
        num_passes=state.num_passes + (before.num_passes if before else 0),
        errors=(),
    )


def _stop_when_worse(patience: int = 4) -> Observer:
    """Return an observer that ends a run whose held-out error has risen for long."""
    lowest, num_above = math.inf, 0

    def observe(_: int, state: ConjugateState) -> Status | None:
        nonlocal lowest, num_above
        num_above = num_above + 1 if state.held_out_error > lowest else 0
        lowest = min(lowest, state.held_out_error)
        return Status.STALLED if num_above >= patience else None

    return observe


def _is_held_out(problem: RecoveryProblem) -> bool:
    return (
        problem.held_out is not None and int(problem.held_out.sum()) >= _FEWEST_HELD_OUT
    )


def _better(
    problem: RecoveryProblem, best: Continuation | None, current: Continuation
) -> Continuation:
    if best is None or not _is_held_out(problem):
        return current
    is_better = current.held_out_error < _WORTHWHILE * best.held_out_error
    return current if is_better else best


def _status(
    best: Continuation,
    current: Continuation,
    rtol: float,
    most: int,
) -> Status | None:
    """Return why to stop, or None to raise the rank."""
    if current.status in (Status.INTERRUPTED, Status.NON_FINITE):
        return current.status
    if current.train_error <= rtol:
        return Status.CONVERGED
    if current.rank - best.rank >= _PATIENCE:
        return Status.STALLED
    if current.rank < most:
        return None
    return Status.MAX_STEPS if current.status is Status.MAX_STEPS else Status.STALLED


def _start(
    problem: RecoveryProblem, most: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the leading part of the back-projection, scaled to fit best."""
    force = problem.weights * problem.measurements
    count = min(most, *problem.linear_map.in_shape)
    left, right, values = _directions(problem, force, min(count + 1, 30), generator)
    gaps = values[:-1] / values[1:].clamp(min=torch.finfo(values.dtype).tiny)
    rank = 1
    if gaps.numel() > 0 and float(gaps[:count].max()) >= _START_GAP:
        rank = int(gaps[:count].argmax()) + 1
    left, right = left[:, :rank], right[:, :rank]
    return _with_best_length(problem, force, left, right)


def _grow(
    problem: RecoveryProblem, fit: Continuation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return factors with one more column each."""
    force = -problem.weights * fit.residual
    left, right, _ = _directions(problem, force, 1, generator)
    left, right = _with_best_length(problem, force, left, right)
    grown = torch.cat([fit.left, left], -1)
    if problem.is_symmetric:
        return grown, grown
    return grown, torch.cat([fit.right, right], -1)


def _directions(
    problem: RecoveryProblem, force: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return leading factors of the back-projection of ``force``, and its spectrum."""
    entries = require_entries(problem)
    count = min(count, *entries.shape)
    if problem.is_symmetric:
        values, vectors = leading_eigenpairs(
            entries, force, count, generator=generator, rtol=1e-2
        )
        values = values.clamp(min=0.0)
        scaled = vectors * values.sqrt()
        return scaled, scaled, values
    width = min(count + _EXTRA, *entries.shape)
    matrix = SparseLowRank(
        entries=entries,
        values=force,
        left=force.new_zeros(entries.shape[0], 0),
        right=force.new_zeros(entries.shape[1], 0),
    )
    basis = draw_basis(entries, width, generator=generator)
    u, values, v = leading_svd(matrix, basis, num_sweeps=_SWEEPS)
    values, roots = values[:count], values[:count].sqrt()
    return u[:, :count] * roots, v[:, :count] * roots, values


def _with_best_length(
    problem: RecoveryProblem, force: Tensor, left: Tensor, right: Tensor
) -> tuple[Tensor, Tensor]:
    """Scale the product by the s that brings its entries nearest to ``force``."""
    change = problem.weights * problem.linear_map.apply_factors(left, right)
    squares = float(change.abs().square().sum())
    along = float((change.conj() * force).real.sum())
    length = math.sqrt(max(along, 0.0) / squares) if squares > 0.0 else 0.0
    scaled = left * length
    return (scaled, scaled) if problem.is_symmetric else (scaled, right * length)


def _trim(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Balance the factors and leave out columns that are zero up to rounding."""
    if left is right:
        u, values, _ = torch.linalg.svd(left, full_matrices=False)
        kept = max(1, int((values > math.sqrt(_NOTHING) * values[0]).sum()))
        left = u[:, :kept] * values[:kept]
        return left, left
    first, second = torch.linalg.qr(left), torch.linalg.qr(right)
    u, values, vh = torch.linalg.svd(first.R @ second.R.mH, full_matrices=False)
    kept = max(1, int((values > _NOTHING * values[0]).sum()))
    roots = values[:kept].sqrt()
    return first.Q @ (u[:, :kept] * roots), second.Q @ (vh[:kept].mH * roots)
