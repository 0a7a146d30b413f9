r"""Completion with a rank that grows: descent on the factors, one direction at a time.

Large singular values are fitted first and leave a clear view of the smaller ones: the
way to matrices of large condition number, and to the rank.
"""

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.completion.sparse_low_rank import require_entries
from tacit.recovery.problem import RecoveryProblem, widest_rank
from tacit.recovery.rank_search import (
    Fit,
    Search,
    best_length,
    climb,
    drop_negligible,
    fit_factors,
    steepest,
)

# The ratio of two singular values of the back-projection that shows a rank.
_START_GAP = 1.25
_MOST_SEEN = 30  # singular values of it that are looked at
_START_RTOL = 0.2  # a rough look shows a gap, and is where the first fit starts


def rank_continuation(search: Search, *, rank: int | None = None) -> Fit:
    r"""Fit factors of rank 1, 2, ... until the entries are explained.

    Each rank starts at the last one's factors with more columns: the leading singular
    vectors of the residual's back-projection :math:`-\mathcal{A}^*(w \circ r)`, the
    steepest direction, with the best length along them (symmetric: leading
    eigenvectors). It is fitted by
    :class:`~tacit.recovery.descent.conjugate.ConjugateGradients` until the loss has
    little left to fall. The first rank is larger than 1 where the spectrum of
    :math:`\mathcal{A}^*(y)` has a visible gap.

    Parameters
    ----------
    search : Search
        Of a completion problem; a symmetric one is fitted as such.
    rank : int or None
        Largest rank; None: as many as leave no more unknowns than entries.

    Returns
    -------
    Fit
        Of the best :func:`~tacit.recovery.rank_search.score`, roughly fitted unless the
        entries are explained.

    Raises
    ------
    InputError
        If the map is not an EntriesMap or the rank is out of range.

    Notes
    -----
    Works from about three times as many entries as unknowns on; with fewer see
    :class:`~tacit.recovery.completion.irls.ReweightedLeastSquares`.

    References
    ----------
    Tan, Tsang, Wang, Vandereycken and Pan (2014), Riemannian pursuit for big matrix
    recovery (growing the rank along the residual); the stopping rules are ours.

    Examples
    --------
    >>> import tacit
    >>> from tacit.recovery.completion.rank_continuation import rank_continuation
    >>> from tacit.recovery.planted import planted_completion
    >>> from tacit.recovery.rank_search import Search
    >>> generator = tacit.make_generator(0)
    >>> problem = planted_completion((40, 30), 2, oversampling=5.0,
    ...     condition_number=100.0, generator=generator)
    >>> rank_continuation(Search(problem=problem, generator=generator)).rank
    2
    """
    problem = search.problem
    require_entries(problem)
    most = largest_rank(problem, rank)
    left, right = _start(search, most)
    search.announce(f"rank {left.shape[-1]}")
    fit = fit_factors(search, left, right, is_rough=True)
    fit = climb(search, fit, most)
    if fit.train_error > search.rtol:
        return fit
    return fit_factors(search, *drop_negligible(fit), before=fit)


def largest_rank(problem: RecoveryProblem, rank: int | None = None) -> int:
    """Return the largest rank to try: ``rank``, or with no more unknowns than entries.

    Raises
    ------
    InputError
        If ``rank`` is not in 1..min(num_rows, num_columns).
    """
    limit = min(problem.linear_map.in_shape)
    if rank is not None and not 1 <= rank <= limit:
        raise InputError(
            f"rank must be in 1..min(num_rows, num_columns) = {limit}; got {rank}"
        )
    return rank or max(1, widest_rank(problem))


def _start(search: Search, most: int) -> tuple[Tensor, Tensor]:
    """Return the back-projection up to a visible gap in its spectrum, else rank 1."""
    problem = search.problem
    force = problem.weights * problem.measurements
    count = min(most + 1, _MOST_SEEN, *problem.linear_map.in_shape)
    left, right, values = steepest(search, force, count, rtol=_START_RTOL)
    gaps = values[:-1] / values[1:].clamp(min=torch.finfo(values.dtype).tiny)
    rank = 1
    if gaps.numel() > 0 and float(gaps.max()) >= _START_GAP:
        rank = min(most, int(gaps.argmax()) + 1)
    length = best_length(search, force, left[:, :rank], right[:, :rank])
    left = length * left[:, :rank]
    return left, left if problem.is_symmetric else length * right[:, :rank]
