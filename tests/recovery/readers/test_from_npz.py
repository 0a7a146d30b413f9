"""What named arrays mean: entries in three spellings, and measurements."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from tacit.errors import InputError
from tacit.recovery.maps.stored import StoredMap
from tacit.recovery.readers.archive import read_members
from tacit.recovery.readers.entries import Entries
from tacit.recovery.readers.from_npz import (
    entries_from,
    is_measured,
    labels_from,
    problem_from,
)

Arrays = dict[str, Any]
BASE: Arrays = {"row": [0, 2], "column": [1, 0], "value": [5.0, 6.0]}
HOLES = [[1.0, np.nan, 3.0], [np.nan, 5.0, np.nan]]


def members(arrays: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Return what an archive of these arrays holds."""
    return {name: np.asarray(array) for name, array in arrays.items()}


def entries(*, is_symmetric: bool = False, **arrays: Any) -> Entries:
    """Return the entries in these arrays."""
    return entries_from(members(arrays), is_symmetric=is_symmetric)


def triples(found: Entries) -> list[tuple[int, int, complex]]:
    """Return row, column and value of every entry."""
    columns = (found.rows, found.columns, found.values)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_rows_columns_and_values_are_entries() -> None:
    found = entries(**BASE)
    assert triples(found) == [(0, 1, 5.0), (2, 0, 6.0)]
    assert (found.shape, found.row_labels) == ((3, 2), None)
    assert entries(**BASE, shape=[3, 4]).shape == (3, 4)
    assert entries(**BASE, is_symmetric=True).shape == (3, 3)
    plural: Arrays = {"rows": [0.0, 2.0], "columns": [1, 0], "values": [5, 6]}
    assert triples(entries(**plural)) == triples(found)


def test_labels_may_stand_beside_indices_or_instead_of_them() -> None:
    found = entries(**BASE, row_labels=["x", "y", "z"], column_labels=[7, 9])
    assert (found.row_labels, found.column_labels) == (("x", "y", "z"), (7, 9))
    named: Arrays = BASE | {"row": ["b", "a"], "column": np.array([b"v", b"u"])}
    found = entries(**named)
    assert (found.row_labels, found.column_labels) == (("a", "b"), ("u", "v"))
    assert triples(found) == [(0, 0, 6.0), (1, 1, 5.0)]
    found = entries(**named, is_symmetric=True)
    assert found.row_labels == found.column_labels == ("a", "b", "u", "v")


def test_a_matrix_with_holes_is_its_finite_entries() -> None:
    wanted = [(0, 0, 1.0), (0, 2, 3.0), (1, 1, 5.0)]
    found = entries(matrix=HOLES, row_labels=["x", "y"])
    assert (triples(found), found.row_labels) == (wanted, ("x", "y"))
    observed = ~np.isnan(HOLES)
    found = entries(matrix=np.nan_to_num(HOLES), observed=observed)
    assert (triples(found), found.shape) == (wanted, (2, 3))


@pytest.mark.parametrize("kind", ["coo", "csr", "csc"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.int32])
def test_what_scipy_saves_is_read(kind: str, dtype: Any, tmp_path: Path) -> None:
    matrix = scipy.sparse.random_array(
        (6, 4), density=0.4, rng=np.random.default_rng(1), format=kind
    )
    matrix.data = (9 * matrix.data).astype(dtype)
    scipy.sparse.save_npz(tmp_path / "m.npz", matrix)
    found = entries_from(read_members(tmp_path / "m.npz"), is_symmetric=False)
    coo = matrix.tocoo()
    wanted = zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True)
    assert (triples(found), found.shape) == (sorted(wanted), (6, 4))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "array 'row' is missing among .*; accepted are"),
        (BASE | {"value": [1.0]}, "vectors of one length"),
        (BASE | {"value": [[1.0], [2.0]]}, "vectors of one length"),
        ({"row": [], "column": [], "value": []}, "there is no entry"),
        (BASE | {"row": [0, 1.5]}, "row indices must be integers; got 1.5"),
        (BASE | {"row": [0, np.nan]}, "row indices must be integers; got nan"),
        (BASE | {"row": [0, 1e300]}, "too large"),
        (BASE | {"row": np.array([0, 2**63], dtype=np.uint64)}, "too large"),
        (BASE | {"row": [True, False]}, "row indices must be integers; got bool"),
        (BASE | {"row": [-1, 2]}, "got -1; count from 0"),
        (BASE | {"shape": [2, 2]}, "got 2; count from 0"),
        (BASE | {"shape": [3]}, "shape must be two numbers"),
        (BASE | {"shape": [3, 2.5]}, "shape indices must be integers"),
        (BASE | {"value": ["a", "b"]}, "value must be numbers"),
        (BASE | {"value": [1.0, np.inf]}, "must be finite"),
        (BASE | {"row_labels": ["a"]}, "must be 3 different labels; got shape"),
        (BASE | {"row_labels": ["a", "a", "b"]}, "with 2 different ones"),
        (BASE | {"row_labels": [1.5, 2.5, 3.5]}, "integers or text"),
        ({"matrix": [1.0]}, "matrix must have two dimensions"),
        ({"matrix": HOLES, "observed": [True]}, "observed must be boolean of shape"),
        ({"matrix": [[np.nan] * 2] * 2}, "there is no entry"),
        ({"format": "dia", "data": [1], "shape": [2, 2]}, "format 'dia' is not read"),
        ({"format": "csr", "data": [1], "shape": [2, 2]}, "'indices' is missing"),
        (
            {
                **{"format": "csr", "data": [1.0], "shape": [2, 2]},
                **{"indices": [0], "indptr": [0, 10**12, 1]},
            },
            "indptr does not fit",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays: Arrays, words: str) -> None:
    with pytest.raises(InputError, match=words):
        entries(**arrays)


def test_both_sides_of_a_symmetric_matrix_have_the_same_labels() -> None:
    arrays = members({"row_labels": ["a", "b"]})
    assert labels_from(arrays, (2, 2), is_symmetric=True) == (("a", "b"),) * 2
    assert labels_from(arrays, (2, 2), is_symmetric=False) == (("a", "b"), None)
    arrays = members({"row_labels": ["a", "b"], "column_labels": ["b", "a"]})
    with pytest.raises(InputError, match="must be equal"):
        labels_from(arrays, (2, 2), is_symmetric=True)


# Measurements

DRAW = np.random.default_rng(3)
STACK = DRAW.normal(size=(7, 3, 3))
SQUARE = DRAW.normal(size=(3, 3))
GRAM = SQUARE @ SQUARE.T


def values(stack: Any, matrix: Any) -> Any:
    """Return the inner products, entry by entry."""
    return [sum((a * matrix).flat) for a in stack]


@pytest.mark.parametrize("unit", [1.0, 1 + 2j])
def test_a_stack_or_its_rows_measure_a_matrix(unit: complex) -> None:
    stack, y = STACK * unit, values(STACK * unit, SQUARE)
    flat = {"measurement_matrix": stack.reshape(7, 9), "shape": [3, 3]}
    for arrays in ({"measurement_matrix": stack}, flat):
        given = members(arrays | {"measurements": y})
        assert is_measured(given)
        problem = problem_from(given, is_symmetric=False)
        x = torch.from_numpy(SQUARE).to(problem.measurements.dtype)
        torch.testing.assert_close(problem.linear_map.apply(x), problem.measurements)


def test_rectangular_matrices_are_measured_row_by_row() -> None:
    arrays = {"measurement_matrix": [range(6)], "measurements": [1], "shape": [2, 3]}
    problem = problem_from(members(arrays), is_symmetric=False)
    x = torch.zeros(2, 3, dtype=torch.float64)
    x[1, 0] = 1.0
    assert problem.linear_map.apply(x).tolist() == [3.0]


@pytest.mark.parametrize("has_shape", [True, False])
def test_a_packed_triangle_measures_a_symmetric_matrix(*, has_shape: bool) -> None:
    stack = STACK + STACK.transpose(0, 2, 1)
    i, j = np.triu_indices(3)
    packed = stack[:, i, j] * np.where(i == j, 1.0, np.sqrt(2.0))
    arrays: Arrays = {"measurement_matrix": packed, "measurements": values(stack, GRAM)}
    arrays |= {"shape": [3, 3]} if has_shape else {}
    problem = problem_from(members(arrays), is_symmetric=True)
    assert isinstance(problem.linear_map, StoredMap)
    assert problem.linear_map.packing == "symmetric"
    assert problem.is_symmetric
    x = torch.from_numpy(GRAM)
    torch.testing.assert_close(problem.linear_map.apply(x), problem.measurements)
    with pytest.raises(InputError, match="packed symmetric 3 x 3 matrix; say"):
        problem_from(members(arrays), is_symmetric=False)


MEASURED: Arrays = {"measurement_matrix": STACK, "measurements": np.ones(7)}


@pytest.mark.parametrize(
    ("arrays", "is_symmetric", "words"),
    [
        ({"measurement_matrix": STACK}, False, "'measurements' is missing"),
        ({"measurements": np.ones(7)}, False, "'measurement_matrix' is missing"),
        (MEASURED | {"measurements": np.ones(6)}, False, "must have shape"),
        (MEASURED | {"measurements": np.ones((7, 1))}, False, "must have shape"),
        (MEASURED | {"measurements": ["a"] * 7}, False, "must be numbers"),
        (MEASURED | {"shape": [3, 4]}, False, "shape says"),
        (
            MEASURED | {"measurement_matrix": np.ones((7, 8))},
            False,
            "have 8 numbers, which must be",
        ),
        (
            MEASURED | {"measurement_matrix": np.ones((7, 9)), "shape": [3, 4]},
            False,
            "have 9 numbers, which must be",
        ),
        (MEASURED | {"measurement_matrix": np.ones((7, 1, 3))}, False, "at least two"),
        (MEASURED | {"measurement_matrix": np.ones((7, 2, 3))}, True, "square"),
        (MEASURED | {"measurements": [np.nan] * 7}, False, "must be finite"),
        (MEASURED | {"measurement_matrix": STACK * np.inf}, False, "not finite"),
        (
            MEASURED | {"measurement_matrix": np.ones((7, 0)), "shape": [0, 5]},
            False,
            "at least two",
        ),
    ],
)
def test_measurements_that_do_not_fit_are_refused(
    arrays: Arrays, is_symmetric: bool, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        problem_from(members(arrays), is_symmetric=is_symmetric)
