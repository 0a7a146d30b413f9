import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recovery_cases import draw
from tacit.errors import InputError, ShapeError
from tacit.recovery.completion.problem import completion_problem
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.problem import RecoveryProblem


def entries_of(problem: RecoveryProblem) -> dict[tuple[int, int], complex]:
    entries = problem.linear_map
    assert isinstance(entries, EntriesMap)
    places = zip(entries.rows.tolist(), entries.columns.tolist(), strict=True)
    return dict(zip(places, problem.measurements.tolist(), strict=True))


@given(
    table=st.dictionaries(
        st.tuples(st.integers(0, 9), st.integers(0, 6)),
        st.floats(-1e6, 1e6),
        min_size=1,
    ),
    random=st.randoms(use_true_random=False),
    repeated=st.integers(0, 5),
)
def test_order_and_repetition_do_not_matter(
    table: dict[tuple[int, int], float], random: Any, repeated: int
) -> None:
    triples = [(i, j, value) for (i, j), value in table.items()]
    triples += triples[:repeated]
    random.shuffle(triples)
    rows, columns, values = (list(part) for part in zip(*triples, strict=True))
    problem = completion_problem(rows, columns, values, (10, 7))
    assert entries_of(problem) == table
    assert problem.linear_map.in_shape == (10, 7)
    assert problem.measurements.dtype == torch.float64


def test_options_reach_the_problem() -> None:
    problem = completion_problem([0, 1], [0, 1], [1.0, 2.0], noise_level=0.5)
    assert problem.noise_level == 0.5
    assert not problem.is_symmetric


def test_a_missing_shape_is_read_from_the_indices() -> None:
    values = [1.0, 2.0]
    rows, columns = [0, 3], [5, 1]
    assert completion_problem(rows, columns, values).linear_map.in_shape == (4, 6)
    problem = completion_problem(rows, columns, values, is_symmetric=True)
    assert problem.linear_map.in_shape == (6, 6)


@pytest.mark.parametrize(
    ("given_dtype", "expected"),
    [
        (np.float32, torch.float32),
        (np.float64, torch.float64),
        (np.float16, torch.float64),
        (np.int8, torch.float64),
        (np.bool_, torch.float64),
        (np.complex64, torch.complex64),
        (np.complex128, torch.complex128),
        (">f8", torch.float64),
    ],
)
def test_the_dtype_of_the_values_is_kept_if_it_can_be(
    given_dtype: Any, expected: torch.dtype
) -> None:
    values = np.array([1, 0], dtype=given_dtype)
    problem = completion_problem(np.array([1, 0]), np.array([0, 1]), values)
    assert problem.measurements.dtype == problem.linear_map.spec.dtype == expected
    assert entries_of(problem) == {(0, 1): 0.0, (1, 0): 1.0}


def test_arrays_that_torch_does_not_take_are_copied() -> None:
    rows = np.array([2, 0], dtype=np.uint8)[::-1]
    columns = np.array([0, 1], dtype=">i4")
    columns.flags.writeable = False
    problem = completion_problem(rows, columns, np.array([1.0, 9.0, 2.0])[::2])
    assert entries_of(problem) == {(0, 0): 1.0, (2, 1): 2.0}


def test_the_problem_keeps_nothing_of_the_input(generator: torch.Generator) -> None:
    values = draw(generator, 2).requires_grad_()
    rows = torch.tensor([0, 1])
    problem = completion_problem(rows, rows, values)
    before = entries_of(problem)
    rows += 5
    with torch.no_grad():
        values.zero_()
    assert entries_of(problem) == before
    assert not problem.measurements.requires_grad


def test_symmetric_entries_are_moved_above_the_diagonal() -> None:
    rows, columns = [2, 0, 0, 1], [0, 2, 1, 1]
    values = [1.0 - 2.0j, 1.0 + 2.0j, 3.0j, 5.0]
    problem = completion_problem(rows, columns, values, is_symmetric=True)
    expected = {(0, 1): 3.0j, (0, 2): 1.0 + 2.0j, (1, 1): 5.0}
    assert entries_of(problem) == expected
    assert problem.is_symmetric


def test_mirrored_entries_may_differ_by_rounding() -> None:
    third = 1.0 / 3.0
    almost = math.nextafter(third, 1.0)
    problem = completion_problem([0, 1], [1, 0], [third, almost], is_symmetric=True)
    assert list(entries_of(problem)) == [(0, 1)]
    with pytest.raises(InputError, match=r"entry \(0, 1\) is given as"):
        completion_problem([0, 1], [1, 0], [third, third + 1e-12], is_symmetric=True)


def test_different_values_of_one_entry_are_refused_and_named() -> None:
    rows, columns = [3, 1, 3, 3], [0, 2, 1, 0]
    with pytest.raises(
        InputError, match=r"entry \(3, 0\) is given as 5\.0 and as 7\.0"
    ):
        completion_problem(rows, columns, [5.0, 1.0, 1.0, 7.0])
    # Three times, the last one different: sorted neighbours differ, too.
    with pytest.raises(
        InputError, match=r"entry \(1, 1\) is given as 0\.0 and as 1e-30"
    ):
        completion_problem([1, 1, 1, 0], [1, 1, 1, 0], [0.0, 0.0, 1e-30, 1.0])


@pytest.mark.parametrize(
    ("rows", "columns", "values", "message"),
    [
        ([], [], [], "rows is empty"),
        ([0, 1], [0, 1], [1.0, math.nan], "values must be finite"),
        ([0, 1], [0, 1], [1.0, -math.inf], "values must be finite"),
        ([0.0, 1.0], [0, 1], [1.0, 2.0], r"rows must be integers; got torch\.float64"),
        ([0, 1], [True, False], [1.0, 2.0], "columns must be integers"),
        (["a", "b"], [0, 1], [1.0, 2.0], "rows must be numbers"),
        ([0, 1], [0, 1], [None, 1.0], "values must be numbers"),
        ([-1, 1], [0, 1], [1.0, 2.0], r"indices must be in 0\.\.4 .* got -1"),
        ([5, 1], [0, 1], [1.0, 2.0], "5 as the largest row"),
        ([0, 1], [0, 3], [1.0, 2.0], "3 as the largest column"),
    ],
)
def test_bad_entries_are_refused(
    rows: Any, columns: Any, values: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        completion_problem(rows, columns, values, (5, 3))


@pytest.mark.parametrize(
    ("rows", "columns", "values", "shape", "is_symmetric", "message"),
    [
        ([0, 1], [0, 1], [1.0], None, False, "one length"),
        ([[0], [1]], [0, 1], [1.0, 2.0], None, False, "rows must be a vector"),
        ([0, 0], [0, 1], [1.0, 2.0], None, False, r"shape \(1, 2\) has rank 1"),
        ([0, 1], [0, 1], [1.0, 2.0], (2, 3), True, "square"),
        ([0, 1], [0, 1], [1.0, 2.0], (2**32, 2**31), False, "fewer than 2.63"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    rows: Any,
    columns: Any,
    values: Any,
    shape: tuple[int, int] | None,
    is_symmetric: bool,
    message: str,
) -> None:
    with pytest.raises(ShapeError, match=message):
        completion_problem(rows, columns, values, shape, is_symmetric=is_symmetric)
