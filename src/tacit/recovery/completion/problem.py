"""From a list of entries to a problem."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.problem import RecoveryProblem

Numbers: TypeAlias = Tensor | npt.NDArray[Any] | Sequence[float] | Sequence[complex]
_DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
# Mirrored entries of a computed matrix agree up to rounding, not to the last bit.
_ULPS = 64.0


def completion_problem(
    rows: Numbers,
    columns: Numbers,
    values: Numbers,
    shape: tuple[int, int] | None = None,
    *,
    is_symmetric: bool = False,
    noise_level: float | None = None,
) -> RecoveryProblem:
    r"""Return the problem of finding a low-rank matrix from some of its entries.

    Parameters
    ----------
    rows : array of int, shape (num_entries,)
        In any order. An entry given again must have the same value (up to 64 units in
        the last place of the larger one) and is kept once.
    columns : array of int, shape (num_entries,)
    values : array, shape (num_entries,)
        Real or complex and finite. Single and double precision are kept, all else
        becomes double.
    shape : tuple of int or None
        ``(num_rows, num_columns)``; None takes the largest index of each plus one, and
        the larger of both for a symmetric matrix.
    is_symmetric : bool
        Whether the matrix is known to be symmetric (Hermitian) positive semidefinite.
        Entries below the diagonal are then moved to their mirror places, conjugated:
        otherwise an entry held out could be fitted through its mirror image.
    noise_level : float or None
        Standard deviation of the errors in ``values``; None if it is not known.

    Returns
    -------
    RecoveryProblem
        Its map is an :class:`EntriesMap`; measurements are sorted by row, then column.

    Raises
    ------
    ShapeError
        If lengths disagree, the matrix has a single row or column, or it is symmetric
        and not square.
    InputError
        If there are no entries, an index is no integer or out of range, a value is not
        finite, or one entry comes with different values.

    Examples
    --------
    >>> import tacit
    >>> problem = tacit.completion_problem([1, 0, 0], [0, 2, 0], [5.0, 7.0, 1.0])
    >>> problem.linear_map.in_shape, problem.measurements.tolist()
    ((2, 3), [1.0, 7.0, 5.0])
    """
    row, column = _places("rows", rows), _places("columns", columns)
    value = _tensor("values", values)
    if value.dtype not in _DTYPES:
        value = value.to(torch.complex128 if value.is_complex() else torch.float64)
    if not row.shape == column.shape == value.shape:
        raise ShapeError(
            "rows, columns and values must have one length; got shapes "
            f"{tuple(row.shape)}, {tuple(column.shape)} and {tuple(value.shape)}"
        )
    if not bool(torch.isfinite(value).all()):
        raise InputError("values must be finite; leave out entries that are missing")
    row, column = row.to(value.device), column.to(value.device)
    shape = _shape(row, column, shape, is_symmetric=is_symmetric)
    if is_symmetric:
        value = torch.where(row > column, value.conj(), value)
        row, column = torch.minimum(row, column), torch.maximum(row, column)
    row, column, value = _sorted(row, column, value, shape)
    entries = EntriesMap(rows=row, columns=column, shape=shape, dtype=value.dtype)
    return RecoveryProblem(
        linear_map=entries,
        measurements=value,
        is_symmetric=is_symmetric,
        noise_level=noise_level,
    )


def _tensor(name: str, given: Numbers) -> Tensor:
    if isinstance(given, Tensor):
        return given.detach()
    # A copy: torch takes no read-only, reversed or foreign-endian arrays.
    array = np.array(given, order="C")
    if array.dtype.kind not in "biufc":
        raise InputError(f"{name} must be numbers; got {array.dtype}; convert them")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))


def _places(name: str, given: Numbers) -> Tensor:
    places = _tensor(name, given)
    if places.dim() != 1:
        raise ShapeError(f"{name} must be a vector; got shape {tuple(places.shape)}")
    if places.shape[0] == 0:
        raise InputError(f"{name} is empty; give at least one entry")
    if places.is_floating_point() or places.is_complex() or places.dtype == torch.bool:
        raise InputError(f"{name} must be integers; got {places.dtype}; convert them")
    return places.to(torch.int64)


def _shape(
    rows: Tensor,
    columns: Tensor,
    shape: tuple[int, int] | None,
    *,
    is_symmetric: bool,
) -> tuple[int, int]:
    """Fill in a missing shape; refuse indices outside it and what cannot be asked."""
    low, high_row, high_column = (
        int(min(rows.min(), columns.min())),
        int(rows.max()),
        int(columns.max()),
    )
    if shape is None:
        size = max(high_row, high_column) + 1
        shape = (size, size) if is_symmetric else (high_row + 1, high_column + 1)
    if low < 0 or high_row >= shape[0] or high_column >= shape[1]:
        raise InputError(
            f"indices must be in 0..{shape[0] - 1} for rows and 0..{shape[1] - 1} for "
            f"columns; got {low} as the smallest, {high_row} as the largest row and "
            f"{high_column} as the largest column; count from 0"
        )
    if min(shape) < 2:
        raise ShapeError(
            f"a matrix of shape {shape} has rank 1 whatever its entries are; "
            "completion needs two rows and two columns"
        )
    if is_symmetric and shape[0] != shape[1]:
        raise ShapeError(f"a symmetric problem needs a square matrix; got {shape}")
    if shape[0] * shape[1] >= 2**63:
        raise ShapeError(f"the matrix must have fewer than 2^63 entries; got {shape}")
    return shape


def _sorted(
    rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Sort by row, then column; keep entries given more than once a single time."""
    keys, order = torch.sort(rows * shape[1] + columns, stable=True)
    values = values[order]
    again = keys.diff() == 0
    if bool(again.any()):
        first, second = values[:-1][again], values[1:][again]
        size = torch.maximum(first.abs(), second.abs())
        limit = _ULPS * torch.finfo(values.dtype).eps * size
        wrong = ((first - second).abs() > limit).nonzero()
        if wrong.shape[0] > 0:
            at = int(wrong[0])
            key = int(keys[1:][again][at])
            raise InputError(
                f"entry ({key // shape[1]}, {key % shape[1]}) is given as "
                f"{first[at].item()} and as {second[at].item()}; keep one value for it"
            )
        kept = torch.cat([again.new_ones(1), ~again])
        keys, values = keys[kept], values[kept]
    return keys // shape[1], keys % shape[1], values
