r"""The fast way for general maps: small start, rank, conjugate gradients."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import Status
from tacit.iterate import Observer, iterate
from tacit.recovery.descent.factored import FactoredDescent, FactoredState
from tacit.recovery.problem import widest_rank
from tacit.recovery.rank_search import (
    FEWEST_VALIDATION,
    Fit,
    Search,
    climb,
    climb_once,
    counted,
    descend,
    drop_negligible,
    fit_factors,
    is_explained,
    judged,
    stop_at_clear_gap,
    validation_error,
)
from tacit.recovery.spectrum import factor_spectrum, read_rank, truncate
from tacit.recovery.start import (
    data_scale,
    default_init_scale,
    default_step_size,
    small_start,
    spectral_start,
)
from tacit.recovery.trajectory.recorder import Trajectory, TrajectoryRecorder

# Conjugate gradients keep the bias towards low rank while the factors have at most this
# part of the measurements as unknowns; beyond, they find some other interpolant.
_SAFE_PART = 0.45
_FEWEST_SAFE = 5
_LARGEST_WIDTH = 500  # of a small start, which factors a width x width matrix a step
_INIT_SCALE = 1e-4  # relative to the square root of the norm of X
_SMALL_START_ERROR = 0.03  # the spectrum is read once so much is explained
_SMALL_START_STEPS = 100
_VALIDATION_PART = 0.05
_MOST_VALIDATION = 10_000


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """A fit, and how it was come by.

    Parameters
    ----------
    fit : Fit
    method, reason : str
        For people.
    choices : mapping
        What was chosen from the data.
    trajectory : Trajectory or None
        The small-start phase, if there was one.
    """

    fit: Fit
    method: str
    reason: str
    choices: Mapping[str, float] = field(default_factory=dict[str, float])
    trajectory: Trajectory | None = None


def sense(
    search: Search,
    *,
    rank: int | None = None,
    search_rank: int | None = None,
    init_scale: float | None = None,
) -> Answer:
    r"""Recover a low-rank matrix from general measurements.

    With the rank given, conjugate gradients start from the spectral estimate, and again
    by raising the rank one direction at a time if that leaves the measurements
    unexplained. Otherwise:

    1. Where factors of ``search_rank`` columns have at most 0.45 of the
       measurements as unknowns, conjugate gradients run at that width; else
       preconditioned descent (PrecGD) runs from a small random start, whose bias
       towards low rank survives any width, until 97 % are explained or no progress is
       made.
    2. The rank is read from the widest gap of the spectrum; the factors are truncated.
    3. Conjugate gradients at that rank. While the measurements are not explained and
       the score improves, the rank is raised along the leading singular vectors of the
       back-projected residual, or else lowered.

    Ranks are compared by their error on a random twentieth of the fitted measurements,
    set aside for that; the answer is then fitted to all of them. What the problem holds
    out takes no part.

    Parameters
    ----------
    search : Search
    rank : int or None
        Of the answer; None finds it.
    search_rank : int or None
        Width of the first phase; None takes the largest that is safe for conjugate
        gradients if that is 5 at least, else ``min(num_rows, num_columns, 500)``.
    init_scale : float or None
        Of the small random start, which is then made in any case; in the unit of the
        square root of X.

    Returns
    -------
    Answer

    Notes
    -----
    Conjugate gradients from a tiny start with many columns lose the bias that plain
    descent has (measured), which is why step 1 makes the distinction.
    """
    if rank is not None:
        return _at_rank(search, rank)
    whole, search = search, _with_validation(search)
    problem = search.problem
    safe = widest_rank(problem, _SAFE_PART)
    smaller_side = min(problem.linear_map.in_shape)
    width = search_rank or (
        safe if safe >= _FEWEST_SAFE else min(smaller_side, _LARGEST_WIDTH)
    )
    if width <= safe and init_scale is None:
        search.announce(f"conjugate gradients with {width} columns")
        start = spectral_start(problem, width, generator=search.generator)
        wide = fit_factors(
            search, *start, is_rough=True, observers=(stop_at_clear_gap(),)
        )
        method, choices = "conjugate gradients", {"search_rank": float(width)}
        trajectory = None
    else:
        search.announce(f"small random start with {width} columns")
        wide, choices, trajectory = _small_start_phase(search, width, init_scale)
        method = "small random start, conjugate gradients"
    fit, reason = _narrow(search, wide)
    if fit.status in (Status.INTERRUPTED, Status.NON_FINITE):
        fit = judged(whole.problem, fit)
    else:
        fit = _finish(whole, fit)
    return Answer(
        fit=fit, method=method, reason=reason, choices=choices, trajectory=trajectory
    )


def _with_validation(search: Search) -> Search:
    """Set a part of the fitted measurements aside, to compare ranks by."""
    problem = search.problem
    fitted = problem.weights.nonzero()[:, 0]
    count = min(round(_VALIDATION_PART * len(fitted)), _MOST_VALIDATION)
    if count < FEWEST_VALIDATION:
        return search
    order = torch.randperm(len(fitted), generator=search.generator)
    validation = torch.zeros_like(problem.weights, dtype=torch.bool)
    validation[fitted[order[:count].to(fitted.device)]] = True
    held_out = validation
    if problem.held_out is not None:
        held_out = validation | problem.held_out.to(validation.device)
    return replace(
        search, problem=replace(problem, held_out=held_out), validation=validation
    )


def _narrow(search: Search, wide: Fit) -> tuple[Fit, str]:
    """Read the rank of a wide fit and correct it; say how it was found."""
    most = max(1, widest_rank(search.problem))
    # One value more than the largest rank worth fitting shows a gap after that one.
    spectrum = factor_spectrum(wide.left, wide.right)[: most + 1]
    seen, gap = read_rank(spectrum)
    reason = f"a gap of {gap:.1e} in the spectrum after {wide.num_steps} steps"
    if wide.status is Status.INTERRUPTED:
        return wide, "interrupted before the rank was read"
    if wide.train_error <= search.rtol:
        kept = drop_negligible(wide)[0].shape[-1]
        return wide, (
            f"{wide.rank} columns explain the measurements, and {kept} of them are used"
        )
    search.announce(f"rank {seen}")
    start = truncate(wide.left, wide.right, seen)
    fit = fit_factors(search, *start, before=wide, is_rough=True)
    first = fit.rank
    if not is_explained(search, fit):
        fit = climb(search, fit, most)
    if fit.rank == first and fit.status is not Status.INTERRUPTED:
        fit = descend(search, fit)
    reason = f"rank {first} read from {reason}"
    if fit.rank != first:
        is_blind = math.isnan(validation_error(search, fit.residual))
        judge = "the information criterion" if is_blind else "the validation error"
        reason += f", then {fit.rank} by {judge}"
    return fit, reason


def fit_from(search: Search, left: Tensor, right: Tensor) -> Answer:
    """Fit the user's own factors, at their width."""
    search.announce(f"conjugate gradients at rank {left.shape[-1]}")
    fit = fit_factors(search, left, right)
    return Answer(
        fit=fit, method="conjugate gradients", reason="start and rank were given"
    )


def _at_rank(search: Search, rank: int) -> Answer:
    """Fit a rank that is given."""
    problem = search.problem
    search.announce(f"conjugate gradients at rank {rank}")
    start = spectral_start(problem, rank, generator=search.generator)
    fit = fit_factors(search, *start)
    reason = "the rank was given"
    if not is_explained(search, fit) and fit.status is not Status.INTERRUPTED:
        # Either noise, or a bad start: raising the rank step by step is the second
        # opinion that tells.
        first = spectral_start(problem, 1, generator=search.generator)
        other = fit_factors(search, *first, before=fit, is_rough=True)
        while other.rank < rank and other.status is not Status.INTERRUPTED:
            other = climb_once(search, other)
        other = fit_factors(search, other.left, other.right, before=other)
        if other.train_error < (1.0 - 1e-3) * fit.train_error:
            return Answer(
                fit=other,
                method="rank continuation, conjugate gradients",
                reason=f"{reason}; raising it one by one explained more than the "
                f"spectral start ({other.train_error:.1e}, not {fit.train_error:.1e})",
            )
        fit = counted(fit, other)
    return Answer(
        fit=fit, method="conjugate gradients", reason=f"{reason}; spectral start"
    )


def _finish(search: Search, fit: Fit) -> Fit:
    """Drop columns that carry nothing, and converge on all measurements to fit."""
    left, right = fit.left, fit.right
    if fit.train_error <= search.rtol:
        left, right = drop_negligible(fit)
    return fit_factors(search, left, right, before=fit)


def _small_start_phase(
    search: Search, width: int, init_scale: float | None
) -> tuple[Fit, dict[str, float], Trajectory]:
    """Run preconditioned descent from a small random start until the rank shows."""
    problem = search.problem
    scale = data_scale(problem, generator=search.generator)
    if init_scale is None:
        init_scale = default_init_scale(problem, width, scale, accuracy=_INIT_SCALE)
    start = small_start(problem, width, init_scale, generator=search.generator)
    solver = FactoredDescent(
        step_size=default_step_size(scale, "loss_damped"),
        metric="loss_damped",
        # Half the norm of the residual, in the unit of the matrix.
        damping=math.sqrt((1.0 if problem.is_symmetric else 0.5) / scale.gain),
    )
    recorder = TrajectoryRecorder(
        problem,
        start,
        step_size=solver.step_size,
        init_scale=init_scale,
        # A record costs as much as a step where the factors are wide.
        stride=1 + width // 50,
        has_power_iterate=False,
    )
    solution = iterate(
        problem,
        solver,
        start,
        max_steps=_SMALL_START_STEPS,
        observers=(*search.observers, recorder, _stop_when_explained()),
    )
    state = solution.state
    fit = Fit(
        left=state.left,
        right=state.right,
        residual=state.residual,
        train_error=float(state.train_error),
        held_out_error=math.nan,
        status=solution.status,
        num_steps=solution.num_steps,
        num_passes=state.num_passes,
    )
    choices = {
        "search_rank": float(width),
        "init_scale": init_scale,
        "step_size": solver.step_size,
    }
    return fit, choices, recorder.trajectory()


def _stop_when_explained() -> Observer:
    """End the small-start phase once most is explained, or nothing more will be."""
    errors: list[float] = []

    def observe(step: int, state: FactoredState) -> Status | None:
        error = float(state.train_error)
        errors.append(error)
        if error <= _SMALL_START_ERROR:
            return Status.CONVERGED
        # Before the signal has grown nothing is explained, and nothing is wrong.
        has_begun = min(errors) < 0.9
        is_slow = len(errors) > 8 and error > 0.8 * errors[-9]
        return Status.STALLED if has_begun and is_slow else None

    return observe
