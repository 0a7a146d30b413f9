"""Compiled passes over the entries of a sparse matrix.

Entries are stored row by row: row i has ``starts[i] : starts[i + 1]``. A second order
serves the transpose. It is cut into blocks of rows, each sorted by column, so that
values fetched out of order come from a part that stays in the cache: column by column
over all ten million entries a pass takes at least twice as long.
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.compiled import Array, compiled

# Entries in a block of the transposed order: four megabytes of float64.
_BLOCK = 2**19
_Index = npt.NDArray[Any]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class EntryOrder:
    """Where entries are, row by row and column by column.

    Parameters
    ----------
    starts : array of int, shape (num_rows + 1,)
        First entry of every row, and the number of entries.
    columns : array of int, shape (num_entries,)
    column_starts : array of int, shape (num_blocks, num_columns + 1)
        First place of every column in each block of the transposed order.
    column_totals : array of int, shape (num_columns + 1,)
        Number of entries in all columns before.
    rows : array of int, shape (num_entries,)
        In transposed order.
    places : array of int, shape (num_entries,)
        Number of the entry at each place of the transposed order.
    """

    starts: _Index
    columns: _Index
    column_starts: _Index
    column_totals: _Index
    rows: _Index
    places: _Index


def order_entries(
    rows: _Index, columns: _Index, shape: tuple[int, int], block: int = _BLOCK
) -> EntryOrder:
    """Return both orders of entries that are sorted by row.

    Blocks have about ``block`` entries each, and more where short blocks would have
    mostly empty columns.
    """
    num_rows, num_columns = shape
    size = rows.shape[0]
    starts = np.searchsorted(rows, np.arange(num_rows + 1))
    num_blocks = max(1, min(size // block, size // (4 * num_columns)))
    # Blocks are whole rows.
    shares = np.linspace(0, size, num_blocks + 1)[1:-1]
    bounds = np.concatenate([[0], np.searchsorted(starts, shares), [num_rows]])
    short = columns.astype(index_dtype(num_columns))
    column_starts = np.zeros((num_blocks, num_columns + 1), dtype=np.int64)
    swapped = np.empty(size, dtype=index_dtype(num_rows))
    places = np.empty(size, dtype=index_dtype(size))
    transpose_order(starts, short, bounds, column_starts, swapped, places)
    return EntryOrder(
        starts=starts,
        columns=short,
        column_starts=column_starts,
        column_totals=(column_starts - column_starts[:, :1]).sum(0),
        rows=swapped,
        places=places,
    )


def index_dtype(size: int) -> type[np.signedinteger[Any]]:
    """Return the smaller integer type that counts to ``size``."""
    return np.int32 if size < 2**31 else np.int64


def balanced_bounds(starts: _Index, num_parts: int) -> list[int]:
    """Cut rows into parts with about the same number of entries."""
    shares = np.linspace(0, starts[-1], num_parts + 1)[1:-1]
    cuts = np.searchsorted(starts, shares).tolist()
    return [0, *cuts, starts.shape[0] - 1]


@compiled
def transpose_order(
    starts: _Index,
    columns: _Index,
    bounds: _Index,
    column_starts: _Index,
    rows: _Index,
    places: _Index,
) -> None:  # pragma: no cover - compiled; tests compare it with a sort
    """Sort every block by column: count, add up, put into place."""
    for block in range(column_starts.shape[0]):
        first = column_starts[block]
        for entry in range(starts[bounds[block]], starts[bounds[block + 1]]):
            first[columns[entry] + 1] += 1
        first[0] = starts[bounds[block]]
        for j in range(first.shape[0] - 1):
            first[j + 1] += first[j]
        for i in range(bounds[block], bounds[block + 1]):
            for entry in range(starts[i], starts[i + 1]):
                place = first[columns[entry]]
                first[columns[entry]] += 1
                rows[place] = i
                places[place] = entry
        # By now each column's start has moved to the next one's.
        for j in range(first.shape[0] - 1, 0, -1):
            first[j] = first[j - 1]
        first[0] = starts[bounds[block]]


@compiled
def sample_product(
    starts: _Index,
    columns: _Index,
    left: Array,
    right: Array,
    values: Array,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled; tests compare it with dense products
    """Entries of L R^H in rows start..stop."""
    for i in range(start, stop):
        for entry in range(starts[i], starts[i + 1]):
            j = columns[entry]
            total = left.dtype.type(0)
            for c in range(left.shape[1]):
                total += left[i, c] * np.conj(right[j, c])
            values[entry] = total


@compiled
def times_factor(
    starts: _Index,
    columns: _Index,
    values: Array,
    factor: Array,
    product: Array,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled; tests compare it with dense products
    """Rows start..stop of S F.

    Entries are taken in pairs: for all the compiler knows the product might overlap the
    factor, and to find out at every entry costs as much as using it.
    """
    for i in range(start, stop):
        for c in range(factor.shape[1]):
            product[i, c] = 0
        first, last = starts[i], starts[i + 1]
        for entry in range(first, last - 1, 2):
            v, w = values[entry], values[entry + 1]
            j, k = columns[entry], columns[entry + 1]
            for c in range(factor.shape[1]):
                product[i, c] += v * factor[j, c] + w * factor[k, c]
        if (last - first) % 2 == 1:
            v, j = values[last - 1], columns[last - 1]
            for c in range(factor.shape[1]):
                product[i, c] += v * factor[j, c]


@compiled
def adjoint_times_factor(
    column_starts: _Index,
    rows: _Index,
    places: _Index,
    values: Array,
    factor: Array,
    product: Array,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled; tests compare it with dense products
    """Rows start..stop of S^H F."""
    for j in range(start, stop):
        for c in range(factor.shape[1]):
            product[j, c] = 0
    for block in range(column_starts.shape[0]):
        for j in range(start, stop):
            for place in range(column_starts[block, j], column_starts[block, j + 1]):
                # Read before the product is written, which might overlap.
                value, i = np.conj(values[places[place]]), rows[place]
                for c in range(factor.shape[1]):
                    product[j, c] += value * factor[i, c]
