"""Known entries of a matrix, in order and without repetition."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tacit.errors import InputError
from tacit.recovery.readers.labels import Indices, Labels

Values = npt.NDArray[Any]  # float64 or complex128

MAX_ENTRIES = 2 * 10**8
"""Most entries that are read: 24 bytes each."""

_MAX_SIDE = 2**31 - 1
# Mirrored entries of a computed matrix agree to some units in the last place.
_ROUNDING = 64 * 2.0**-52
# A shape is a claim until entries back it up; the factors will have its size.
_SMALL_SHAPE, _SIDES_PER_ENTRY = 10**6, 100


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Entries:
    """Known entries of a matrix, row by row, none twice; see :func:`make_entries`.

    Parameters
    ----------
    rows, columns : Tensor, shape (num_entries,)
        Indices from 0, int64.
    values : Tensor, shape (num_entries,)
        float64 or complex128, finite.
    shape : tuple of int
        ``(num_rows, num_columns)``.
    row_labels, column_labels : tuple of int, tuple of str, or None
        The label of every index; None where indices are the labels.
    names : tuple of str
        What rows, columns and values are called in the file.
    is_symmetric : bool
        Whether each entry also stands for its mirror image; then rows <= columns.
    notes : tuple of str
        What a person should know about the reading.

    Examples
    --------
    >>> from tacit.recovery.readers.entries import make_entries
    >>> entries = make_entries([1, 0], [0, 1], [2.0, 3.0], shape=(2, 2))
    >>> entries.values.tolist()
    [3.0, 2.0]
    """

    rows: Tensor
    columns: Tensor
    values: Tensor
    shape: tuple[int, int]
    row_labels: Labels | None = None
    column_labels: Labels | None = None
    names: tuple[str, str, str] = ("row", "column", "value")
    is_symmetric: bool = False
    notes: tuple[str, ...] = ()

    @property
    def num_entries(self) -> int:
        """How many entries are known."""
        return self.values.shape[0]


def make_entries(
    rows: npt.ArrayLike,
    columns: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    shape: tuple[int, int],
    row_labels: Labels | None = None,
    column_labels: Labels | None = None,
    names: tuple[str, str, str] = ("row", "column", "value"),
    is_symmetric: bool = False,
) -> Entries:
    r"""Return the entries in order, with equal repetitions merged.

    Parameters
    ----------
    rows, columns : array_like of int, shape (num_entries,)
        Indices from 0.
    values : array_like, shape (num_entries,)
        Real or complex; integers become floats.
    shape : tuple of int
        ``(num_rows, num_columns)``.
    row_labels, column_labels : tuple or None
        The label of every index.
    names : tuple of str
        What rows, columns and values are called.
    is_symmetric : bool
        Read :math:`X_{ij}` with i > j as :math:`\bar X_{ji}`.

    Returns
    -------
    Entries
        Row by row. What was merged is said in its notes.

    Raises
    ------
    InputError
        If there is no entry, a shape is too small or larger than the entries could
        back up, an index is out of range, a value is not finite, or one entry is there
        twice with different values.

    Examples
    --------
    >>> from tacit.recovery.readers.entries import make_entries
    >>> entries = make_entries([1, 0, 1], [0, 1, 1], [5, 5, 2], shape=(2, 2),
    ...     is_symmetric=True)
    >>> entries.rows.tolist(), entries.columns.tolist(), entries.values.tolist()
    ([0, 1], [1, 1], [5.0, 2.0])
    >>> entries.notes
    ('1 repeated entry with an equal value was merged',)
    """
    numbers: Values = np.asarray(values)
    numbers = numbers.astype(
        np.complex128 if np.iscomplexobj(numbers) else np.float64, copy=False
    )
    i, j = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
    _check_shape(shape, numbers.size, is_symmetric=is_symmetric)
    name_row = _Namer(names[0], row_labels)
    name_column = _Namer(names[1], column_labels)
    _check_range(name_row.name, i, shape[0])
    _check_range(name_column.name, j, shape[1])
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        where = f"{name_row(int(i[bad[0]]))}, {name_column(int(j[bad[0]]))}"
        raise InputError(
            f"every value must be finite; got {numbers[bad[0]]} at {where}, and "
            f"{bad.size} such in all; leave unknown entries out"
        )
    notes: list[str] = []
    if is_symmetric:
        i, j, numbers, notes = _fold(i, j, numbers)
    kept = _order_and_merge(i, j, numbers, shape, (name_row, name_column))
    if merged := numbers.size - kept.size:
        notes.append(
            "1 repeated entry with an equal value was merged"
            if merged == 1
            else f"{merged} repeated entries with equal values were merged"
        )
    return Entries(
        rows=torch.from_numpy(i[kept]),
        columns=torch.from_numpy(j[kept]),
        values=torch.from_numpy(numbers[kept]),
        shape=shape,
        row_labels=row_labels,
        column_labels=column_labels,
        names=names,
        is_symmetric=is_symmetric,
        notes=tuple(notes),
    )


@final
@dataclass(frozen=True, eq=False)
class _Namer:
    """Says of which row or column a message speaks."""

    name: str
    labels: Labels | None

    def __call__(self, index: int) -> str:
        label = index if self.labels is None else self.labels[index]
        return f"{self.name} {label!r}"


def _check_shape(
    shape: tuple[int, int], num_entries: int, *, is_symmetric: bool
) -> None:
    if not num_entries:
        raise InputError("there is no entry; give at least one")
    if min(shape) < 2:
        raise InputError(
            "a matrix needs at least two rows and two columns; got "
            f"{shape[0]} x {shape[1]}, where nothing can be inferred"
        )
    limit = _SMALL_SHAPE + _SIDES_PER_ENTRY * num_entries
    if sum(shape) > limit or max(shape) > _MAX_SIDE:
        raise InputError(
            f"{num_entries} entries cannot back up a shape of {shape[0]} x {shape[1]}; "
            f"rows and columns together may be at most {min(limit, _MAX_SIDE)}"
        )
    if is_symmetric and shape[0] != shape[1]:
        raise InputError(
            f"a symmetric matrix must be square; got {shape[0]} x {shape[1]}"
        )


def _check_range(name: str, indices: Indices, size: int) -> None:
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= size:
        raise InputError(
            f"{name} index must be in 0..{size - 1}; got {low if low < 0 else high}; "
            "count from 0"
        )


def _fold(
    i: Indices, j: Indices, values: Values
) -> tuple[Indices, Indices, Values, list[str]]:
    negative = np.count_nonzero(np.real(values[i == j]) < 0.0)
    notes = [
        f"{negative} diagonal entries are negative, as in no positive semidefinite "
        "matrix; leave symmetric out unless that is noise"
    ]
    is_lower = i > j
    return (
        np.where(is_lower, j, i),
        np.where(is_lower, i, j),
        np.where(is_lower, values.conj(), values),
        notes if negative else [],
    )


def _order_and_merge(
    i: Indices,
    j: Indices,
    values: Values,
    shape: tuple[int, int],
    namers: tuple[_Namer, _Namer],
) -> Indices:
    """Return which entries stay, row by row."""
    keys = i * shape[1] + j
    if not bool((keys[1:] > keys[:-1]).all()):
        order = np.argsort(keys, kind="stable")
    else:
        order = np.arange(keys.size)
    keys, ordered = keys[order], values[order]
    is_again = np.zeros(keys.size, dtype=np.bool_)
    is_again[1:] = keys[1:] == keys[:-1]
    size = np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    differs = np.abs(np.diff(ordered)) > _ROUNDING * size
    clash = np.flatnonzero(is_again[1:] & differs)
    if clash.size:
        at = int(order[clash[0]])
        raise InputError(
            f"an entry may have one value; got {ordered[clash[0]]} and "
            f"{ordered[clash[0] + 1]} at {namers[0](int(i[at]))}, "
            f"{namers[1](int(j[at]))}; keep one of them, or their mean"
        )
    return order[~is_again]
