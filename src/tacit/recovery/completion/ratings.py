r"""Row and column biases: what explains most of a table of ratings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.completion.sparse_low_rank import require_entries
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.problem import RecoveryProblem

SHRINKAGES = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)
_MAX_STEPS = 500
_RTOL = 1e-12


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Biases:
    r"""The matrix :math:`\mu + b_i + c_j`, of rank 2 at most.

    Parameters
    ----------
    mean : Tensor, shape ()
        :math:`\mu`, in the unit of the entries as the others.
    rows : Tensor, shape (num_rows,)
        b.
    columns : Tensor, shape (num_columns,)
        c.
    shrinkage : float
        They were fitted with.
    """

    mean: Tensor
    rows: Tensor
    columns: Tensor
    shrinkage: float


def fit_biases(problem: RecoveryProblem, shrinkage: float) -> Biases:
    r"""Fit biases to the entries not held out.

    .. math:: \min_{b, c} \sum_e w_e |y_e - \mu - b_{i_e} - c_{j_e}|^2
        + s \Bigl(\sum_i |b_i|^2 + \sum_j |c_j|^2\Bigr), \quad
        \mu = \sum_e w_e y_e / \sum_e w_e

    A row without entries gets the bias 0. Solved by conjugate gradients to twelve
    digits; each step costs O(num_measurements).

    Parameters
    ----------
    problem : RecoveryProblem
        Of completion, not symmetric.
    shrinkage : float
        s, positive: a row of n entries keeps about n / (n + s) of its mean.

    Returns
    -------
    Biases

    Raises
    ------
    InputError
        If the shrinkage is not positive, or the map is not an EntriesMap.

    References
    ----------
    Koren (2008), Factorization meets the neighborhood, section 2.1 (baseline
    estimates).

    Examples
    --------
    >>> from tacit.recovery.completion.problem import completion_problem
    >>> from tacit.recovery.completion.ratings import fit_biases
    >>> table = completion_problem([0, 0, 1, 1], [0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])
    >>> biases = fit_biases(table, 1e-9)
    >>> [round(float(b), 6) for b in (biases.mean, *biases.rows, *biases.columns)]
    [2.5, -1.0, 1.0, -0.5, 0.5]
    """
    entries = require_entries(problem)
    if not 0.0 < shrinkage < math.inf:
        raise InputError(f"shrinkage must be a positive number; got {shrinkage}")
    weights, y = problem.weights, problem.measurements
    mean = (weights * y).sum() / weights.sum()
    centred = weights * (y - mean)
    sizes = tuple(entries.shape)
    row_totals = _sums(centred, entries.rows, sizes[0])
    column_totals = _sums(centred, entries.columns, sizes[1])
    row_sizes = _sums(weights, entries.rows, sizes[0]) + shrinkage
    column_sizes = _sums(weights, entries.columns, sizes[1]) + shrinkage

    def rows_of(columns: Tensor, totals: Tensor | None) -> Tensor:
        """Return the best row biases given those of columns."""
        seen = _sums(weights * columns[entries.columns], entries.rows, sizes[0])
        return ((0.0 if totals is None else totals) - seen) / row_sizes

    def gradient(columns: Tensor, rows: Tensor) -> Tensor:
        seen = _sums(weights * rows[entries.rows], entries.columns, sizes[1])
        return column_sizes * columns + seen

    # Conjugate gradients for the columns, the rows eliminated: alternating between
    # both is slow in the direction b + t, c - t.
    columns = torch.zeros_like(column_totals)
    residual = column_totals - gradient(columns, rows_of(columns, row_totals))
    direction = scaled = residual / column_sizes
    size = first = _inner(residual, scaled)
    for _ in range(_MAX_STEPS):
        if size <= _RTOL**2 * first:
            break
        image = gradient(direction, rows_of(direction, None))
        curvature = _inner(direction, image)
        if not curvature > 0.0:
            break  # nothing but rounding is left
        length = size / curvature
        columns = columns + length * direction
        residual = residual - length * image
        scaled = residual / column_sizes
        last, size = size, _inner(residual, scaled)
        direction = scaled + (size / last) * direction
    rows = rows_of(columns, row_totals)
    return Biases(mean=mean, rows=rows, columns=columns, shrinkage=shrinkage)


def choose_biases(
    problem: RecoveryProblem, shrinkages: Sequence[float] = SHRINKAGES
) -> Biases:
    """Fit biases with the shrinkage of the lowest error on the held-out entries.

    Parameters
    ----------
    problem : RecoveryProblem
        With entries held out.
    shrinkages : sequence of float
        To choose from.

    Returns
    -------
    Biases

    Raises
    ------
    InputError
        If nothing is held out, or as :func:`fit_biases`.
    """
    if problem.held_out is None:
        raise InputError("choose_biases needs entries held out to choose by; hold_out")
    held_out = problem.held_out
    best, lowest = None, math.inf
    for shrinkage in shrinkages:
        biases = fit_biases(problem, shrinkage)
        error = without_biases(problem, biases).measurements[held_out]
        size = float(torch.linalg.vector_norm(error))
        if best is None or size < lowest:
            best, lowest = biases, size
    if best is None:
        raise InputError("shrinkages is empty; give at least one to choose from")
    return best


def without_biases(problem: RecoveryProblem, biases: Biases) -> RecoveryProblem:
    """Return the problem whose entries are what the biases leave of them."""
    entries = require_entries(problem)
    return replace(
        problem, measurements=problem.measurements - bias_entries(biases, entries)
    )


def bias_entries(biases: Biases, entries: EntriesMap) -> Tensor:
    """Return the entries of the biases' matrix, shape (num_measurements,)."""
    return biases.mean + biases.rows[entries.rows] + biases.columns[entries.columns]


def with_biases(biases: Biases, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return factors of :math:`L R^H + \mu + b_i + c_j`.

    ``[L, mu + b, 1]`` and ``[R, 1, conj(c)]``: two more columns.

    Parameters
    ----------
    biases : Biases
    left, right : Tensor, shape (num_rows, k) and (num_columns, k)

    Returns
    -------
    tuple of two Tensors
    """
    rows, columns = biases.mean + biases.rows, biases.columns
    more_left = torch.stack([rows, torch.ones_like(rows)], -1)
    more_right = torch.stack([torch.ones_like(columns), columns.conj()], -1)
    return torch.cat([left, more_left], -1), torch.cat([right, more_right], -1)


def _sums(values: Tensor, places: Tensor, size: int) -> Tensor:
    """Return the sum of the values at each place."""
    return values.new_zeros(size).index_add_(0, places, values)


def _inner(first: Tensor, second: Tensor) -> float:
    return float((first.conj() * second).real.sum())
