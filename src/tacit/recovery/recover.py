r"""Which low-rank matrix explains these measurements? The fast way to an answer."""

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.iterate import Observer
from tacit.recovery.certify import identifiability_warnings
from tacit.recovery.completion.choose import complete
from tacit.recovery.held_out import held_out_error, require_factors
from tacit.recovery.history import History, HistoryRecorder
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.problem import RecoveryProblem, hold_out
from tacit.recovery.rank_search import Search
from tacit.recovery.result import RecoveryResult
from tacit.recovery.sensing import Answer, fit_from, sense

MAX_HELD_OUT = 10_000
_EPS_PER_RTOL = 100.0


def recover(
    problem: RecoveryProblem,
    *,
    generator: torch.Generator,
    rank: int | None = None,
    search_rank: int | None = None,
    init_scale: float | None = None,
    start: tuple[Tensor, Tensor] | None = None,
    holdout: float = 0.05,
    rtol: float | None = None,
    max_steps: int = 500,
    observers: Sequence[Observer] = (),
    on_phase: Callable[[str], None] | None = None,
) -> RecoveryResult:
    r"""Find a low-rank matrix that explains the measurements, and its error.

    Measurements that are held out are never fitted; the answer's error on them, with a
    confidence interval, is the proof beside the answer: for isotropic maps it bounds
    :math:`\|\hat X - X\|_F`. See :func:`~tacit.recovery.sensing.sense` for what is done
    with general maps and :func:`~tacit.recovery.completion.choose.complete` for
    entries of a matrix.

    Parameters
    ----------
    problem : RecoveryProblem
        Without a batch.
    generator : torch.Generator
        Draws the held-out part and random starts.
    rank : int or None
        Of the answer; None finds it.
    search_rank : int or None
        Number of columns of the first phase where the rank is not given; by default
        from the data. Only for general maps.
    init_scale : float or None
        Scale of a small random start, in the unit of the square root of X; None makes
        one only where it is needed, with a scale from the data. Only for general maps.
    start : tuple of Tensor or None
        Your own factors (left, right) to start from (one tensor twice if symmetric);
        their width is the rank, and nothing else is tried.
    holdout : float
        Part of the measurements to hold out, at most 10,000 of them, where the problem
        holds out none; 0 fits all.
    rtol : float or None
        Relative error at which the measurements count as explained: by default 1e-9,
        or 100 rounding units in single precision.
    max_steps : int
        Of one fit at one rank.
    observers : sequence of callables
        Called as ``observer(step, state)`` after every step of every fit.
    on_phase : callable or None
        Called with a few words whenever something new begins.

    Returns
    -------
    RecoveryResult

    Raises
    ------
    InputError
        If an argument is out of range, or all measurements to fit are zero.
    ShapeError
        If the problem is a batch, or the start does not fit it.

    Examples
    --------
    >>> import tacit
    >>> generator = tacit.make_generator(0)
    >>> problem = tacit.planted_problem((30, 20), 2, oversampling=4.0,
    ...     generator=generator)
    >>> result = tacit.recover(problem, generator=generator)
    >>> result.rank, result.held_out.value < 1e-8
    (2, True)
    """
    began = time.perf_counter()
    _require_sizes(problem, rank, search_rank)
    _require_numbers(holdout, rtol, max_steps, init_scale)
    problem = _prepared(problem, holdout, generator)
    recorder = HistoryRecorder()

    def announce(phase: str) -> None:
        recorder.begin(phase)
        if on_phase is not None:
            on_phase(phase)

    search = Search(
        problem=problem,
        generator=generator,
        rtol=_default_rtol(problem) if rtol is None else rtol,
        max_steps=max_steps,
        observers=(recorder, *observers),
        on_phase=announce,
    )
    if start is not None:
        require_factors(problem, *start)
        answer = fit_from(search, *start)
    elif isinstance(problem.linear_map, EntriesMap):
        answer = complete(search, rank=rank)
    else:
        answer = sense(
            search, rank=rank, search_rank=search_rank, init_scale=init_scale
        )
    return _result(problem, answer, recorder.history(), began)


def _result(
    problem: RecoveryProblem, answer: Answer, history: History, began: float
) -> RecoveryResult:
    fit = answer.fit
    # A penalty determines the matrix also where its rank alone would not.
    is_penalised = "penalty" in answer.choices
    return RecoveryResult(
        left=fit.left,
        right=fit.right,
        train_error=fit.train_error,
        held_out=held_out_error(problem, fit.left, fit.right),
        status=fit.status,
        method=answer.method,
        reason=answer.reason,
        warnings=() if is_penalised else identifiability_warnings(problem, fit.rank),
        num_steps=fit.num_steps,
        num_passes=fit.num_passes,
        seconds=time.perf_counter() - began,
        choices=answer.choices,
        history=history,
        trajectory=answer.trajectory,
    )


def _prepared(
    problem: RecoveryProblem, holdout: float, generator: torch.Generator
) -> RecoveryProblem:
    """Hold out a part if none is, and refuse to fit nothing."""
    if problem.held_out is None and holdout > 0.0:
        fraction = min(holdout, MAX_HELD_OUT / problem.linear_map.num_measurements)
        problem = hold_out(problem, fraction, generator=generator)
    largest = float((problem.weights * problem.measurements.abs()).max())
    if largest == 0.0:
        raise InputError(
            "the measurements to fit must not all be zero: the zero matrix explains "
            "them; check the data"
        )
    # Fourth powers of them appear in a line search, square roots in the factors.
    limit = torch.finfo(problem.measurements.dtype).max ** 0.2
    if not 1.0 / limit <= largest <= limit:
        raise InputError(
            f"the largest measurement must be between {1.0 / limit:.0e} and "
            f"{limit:.0e} in size; got {largest:.1e}; measure in another unit"
        )
    return problem


def _default_rtol(problem: RecoveryProblem) -> float:
    return max(1e-9, _EPS_PER_RTOL * torch.finfo(problem.measurements.dtype).eps)


def _require_sizes(
    problem: RecoveryProblem, rank: int | None, search_rank: int | None
) -> None:
    if problem.measurements.dim() != 1:
        raise ShapeError(
            "recover takes one problem; got a batch of measurements of shape "
            f"{tuple(problem.measurements.shape)}; call it for each of them"
        )
    most = min(problem.linear_map.in_shape)
    for name, value in (("rank", rank), ("search_rank", search_rank)):
        if value is not None and not 1 <= value <= most:
            raise InputError(
                f"{name} must be in 1..min(num_rows, num_columns) = {most}; got {value}"
            )


def _require_numbers(
    holdout: float, rtol: float | None, max_steps: int, init_scale: float | None
) -> None:
    if not 0.0 <= holdout < 1.0:
        raise InputError(f"holdout must be in [0, 1); got {holdout}")
    if rtol is not None and not 0.0 <= rtol < math.inf:
        raise InputError(f"rtol must be a number of at least 0; got {rtol}")
    if init_scale is not None and not 0.0 < init_scale < math.inf:
        raise InputError(f"init_scale must be a positive number; got {init_scale}")
    if max_steps < 1:
        raise InputError(f"max_steps must be at least 1; got {max_steps}")
