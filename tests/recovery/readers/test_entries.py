"""Entries are put in order; what cannot be used is refused with its place."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import InputError
from tacit.recovery.readers.entries import MAX_ENTRIES, make_entries

PLACES = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 4)),
    st.floats(-9.0, 9.0),
    min_size=1,
)


@given(PLACES, st.lists(st.integers(0, 19), max_size=5))
def test_entries_are_those_given_row_by_row_and_none_twice(
    known: dict[tuple[int, int], float], again: list[int]
) -> None:
    lines = [(i, j, value) for (i, j), value in known.items()]
    lines += [lines[k % len(lines)] for k in again]
    rows, columns, values = zip(*lines, strict=True)
    found = make_entries(rows, columns, values, shape=(4, 5))
    places = list(zip(found.rows.tolist(), found.columns.tolist(), strict=True))
    assert places == sorted(known)
    assert found.values.tolist() == [known[place] for place in places]
    assert found.values.dtype == torch.float64
    assert found.num_entries == len(known)
    assert len(found.notes) == bool(again)
    assert all(note.startswith(str(len(again))) for note in found.notes)


@given(PLACES)
def test_a_symmetric_matrix_needs_each_entry_once(
    known: dict[tuple[int, int], float],
) -> None:
    upper = {
        (min(i, j), max(i, j)): value + 3j * (i != j)
        for (i, j), value in known.items()
        if j < 4
    } or {(0, 0): 1.0}
    lines = [(i, j, value) for (i, j), value in upper.items()]
    lines += [(j, i, np.conj(value)) for i, j, value in lines]
    rows, columns, values = zip(*lines, strict=True)
    found = make_entries(rows, columns, values, shape=(4, 4), is_symmetric=True)
    places = zip(found.rows.tolist(), found.columns.tolist(), strict=True)
    values = dict(zip(places, found.values.tolist(), strict=True))
    assert values == upper
    assert found.is_symmetric


def test_complex_values_stay_complex_and_integers_become_floats() -> None:
    found = make_entries([0, 1], [0, 1], [1, 2j], shape=(2, 2))
    assert found.values.dtype == torch.complex128
    found = make_entries([0, 1], [0, 1], [1, 2], shape=(2, 2))
    assert found.values.dtype == torch.float64


def test_mirrored_entries_may_differ_by_rounding() -> None:
    value = 0.1 + 0.2
    found = make_entries([0, 1], [1, 0], [value, 0.3], shape=(2, 2), is_symmetric=True)
    assert value != 0.3
    assert found.values.tolist() == [value]


def test_a_negative_diagonal_is_noted_for_symmetric_matrices_only() -> None:
    given_twice = ([0, 1, 1], [0, 1, 1], [-1.0, 2.0, 2.0])
    found = make_entries(*given_twice, shape=(2, 2), is_symmetric=True)
    assert [note[:21] for note in found.notes] == [
        "1 diagonal entries ar",
        "1 repeated entry with",
    ]
    assert len(make_entries(*given_twice, shape=(2, 2)).notes) == 1


@pytest.mark.parametrize(
    ("rows", "columns", "values", "shape", "words"),
    [
        ([], [], [], (2, 2), "there is no entry"),
        ([0], [0], [1.0], (1, 2), "at least two rows and two columns; got 1 x 2"),
        ([0], [0], [1.0], (2, 0), "got 2 x 0"),
        ([0], [2], [1.0], (2, 2), r"column index must be in 0\.\.1; got 2"),
        ([-1], [0], [1.0], (2, 2), r"row index must be in 0\.\.1; got -1"),
        ([0], [0], [1.0], (10**9, 2), "cannot back up a shape of 1000000000 x 2"),
        ([0, 0], [1, 1], [1.0, 2.0], (2, 2), "got 1.0 and 2.0 at row 0, column 1"),
        ([0, 1], [1, 1], [1.0, np.nan], (2, 2), "got nan at row 1, column 1, and 1"),
        ([0, 1], [1, 1], [np.inf, np.nan], (2, 2), "got inf at row 0, column 1, and 2"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    rows: list[int],
    columns: list[int],
    values: list[float],
    shape: tuple[int, int],
    words: str,
) -> None:
    with pytest.raises(InputError, match=words):
        make_entries(rows, columns, values, shape=shape)


def test_messages_have_the_names_of_the_file() -> None:
    with pytest.raises(InputError, match="at user 'ann', film 7;"):
        make_entries(
            [0, 0],
            [1, 1],
            [1.0, 2.0],
            shape=(2, 2),
            row_labels=("ann", "bob"),
            column_labels=(5, 7),
            names=("user", "film", "stars"),
        )


def test_a_symmetric_matrix_is_square_and_its_halves_agree() -> None:
    with pytest.raises(InputError, match="must be square; got 2 x 3"):
        make_entries([0], [0], [1.0], shape=(2, 3), is_symmetric=True)
    with pytest.raises(InputError, match=r"got 1\.0 and 2\.0"):
        make_entries([0, 1], [1, 0], [1.0, 2.0], shape=(2, 2), is_symmetric=True)
    with pytest.raises(InputError, match="keep one of them"):
        make_entries([0, 1], [1, 0], [1j, 1j], shape=(2, 2), is_symmetric=True)


def test_large_matrices_fit() -> None:
    rows, columns = [0, 400_000], [500_000, 0]
    found = make_entries(rows, columns, [1.0, 2.0], shape=(400_001, 500_001))
    assert found.rows.tolist() == rows
    assert MAX_ENTRIES >= 10**8
