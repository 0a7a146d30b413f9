"""Written factors and entries are the matrix, with the labels it came with."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tacit.recovery.readers.read import LabelledProblem, read_entries, read_problem
from tacit.recovery.readers.write import completed_bytes, factors_bytes, fitted_entries

CONTENT = 'who,what,stars\n"ann, b",7,1\n"q""u",10,2\n\u00e9,7,3\n'


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledProblem:
    """Return a problem with names and numbers as labels."""
    (tmp_path / "t.csv").write_text(CONTENT, encoding="utf-8")
    return read_problem(tmp_path / "t.csv")


def factors(dtype: torch.dtype, generator: torch.Generator) -> Any:
    """Return factors of a 3 x 2 matrix of rank 2."""
    return [torch.randn(size, 2, dtype=dtype, generator=generator) for size in (3, 2)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_factors_and_labels_come_back(
    labelled: LabelledProblem, dtype: torch.dtype, generator: torch.Generator
) -> None:
    left, right = factors(dtype, generator)
    with np.load(io.BytesIO(factors_bytes(labelled, left, right))) as stored:
        assert sorted(stored) == ["column_labels", "left", "right", "row_labels"]
        np.testing.assert_array_equal(stored["left"], left)
        np.testing.assert_array_equal(stored["right"], right)
        rows = json.loads(bytes(stored["row_labels"]))
        columns = json.loads(bytes(stored["column_labels"]))
    assert (rows, columns) == (["ann, b", 'q"u', "\u00e9"], [7, 10])


def test_without_labels_none_are_written(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", matrix=[[1.0, 2.0], [3.0, np.nan]])
    ones = torch.ones(2, 1)
    content = factors_bytes(read_problem(tmp_path / "a.npz"), ones, ones)
    with np.load(io.BytesIO(content)) as stored:
        assert sorted(stored) == ["left", "right"]


def test_completed_entries_have_labels_and_can_be_read_again(
    labelled: LabelledProblem, generator: torch.Generator, tmp_path: Path
) -> None:
    left, right = factors(torch.float64, generator)
    i, j = np.divmod(np.arange(6), 2)
    (tmp_path / "c.csv").write_bytes(completed_bytes(labelled, left, right, i, j))
    found = read_entries(tmp_path / "c.csv", columns=("who", "what", "stars"))
    assert (found.row_labels, found.column_labels) == (
        labelled.row_labels,
        labelled.column_labels,
    )
    wanted = [float(left[a] @ right[b]) for a, b in zip(i, j, strict=True)]
    assert found.values.tolist() == pytest.approx(wanted, rel=1e-14)


def test_entries_keep_their_order_and_repetitions(labelled: LabelledProblem) -> None:
    left, right = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [10.0]])
    i, j = np.array([2, 0, 2]), np.array([1, 0, 1])
    text = completed_bytes(labelled, left, right, i, j).decode()
    assert list(csv.reader(io.StringIO(text))) == [
        ["who", "what", "stars"],
        ["\u00e9", "10", "30"],
        ["ann, b", "7", "1"],
        ["\u00e9", "10", "30"],
    ]


def test_complex_entries_have_two_columns(
    labelled: LabelledProblem, generator: torch.Generator
) -> None:
    left, right = factors(torch.complex128, generator)
    one, two = np.array([1]), np.array([0])
    text = completed_bytes(labelled, left, right, one, two).decode()
    head, line = csv.reader(io.StringIO(text))
    assert head == ["who", "what", "stars_real", "stars_imag"]
    wanted = complex((left @ right.mH)[1, 0])
    assert complex(float(line[2]), float(line[3])) == pytest.approx(wanted, rel=1e-14)


def test_many_entries_are_computed_in_parts(generator: torch.Generator) -> None:
    left, right = (torch.randn(300, 2, generator=generator) for _ in range(2))
    i, j = np.divmod(np.arange(90_000), 300)
    wanted = (left @ right.T).flatten()
    torch.testing.assert_close(
        torch.from_numpy(fitted_entries(left, right, i, j)), wanted
    )
