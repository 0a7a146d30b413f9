"""Matrix Market files: those that scipy writes, and those that claim what is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import InputError
from tacit.recovery.readers.entries import Entries
from tacit.recovery.readers.matrix_market import read_matrix_market

SYMMETRIES: dict[str, Callable[[Any], Any]] = {
    "general": lambda x: x,
    "symmetric": lambda x: x + x.T,
    "skew-symmetric": lambda x: x - x.T,
    "hermitian": lambda x: x + x.conj().T,
}


def dense(entries: Entries) -> np.ndarray[Any, Any]:
    """Return the entries in a matrix, NaN elsewhere."""
    matrix = np.full(entries.shape, np.nan, dtype=entries.values.numpy().dtype)
    matrix[entries.rows.numpy(), entries.columns.numpy()] = entries.values.numpy()
    return matrix


def written(content: str, folder: Path) -> Entries:
    """Return what is read from a file with this content after ``%%MatrixMarket``."""
    path = folder / "m.mtx"
    path.write_text("%%MatrixMarket " + content)
    return read_matrix_market(path, is_symmetric=False)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("field", ["real", "complex", "integer"])
@pytest.mark.parametrize("is_sparse", [True, False])
def test_what_scipy_writes_is_read_as_scipy_reads_it(
    symmetry: str, field: str, is_sparse: bool, tmp_path: Path
) -> None:
    draw = np.random.default_rng(5)
    matrix = draw.normal(size=(5, 5)) * (draw.random((5, 5)) < 0.5)
    if field == "complex":
        matrix = matrix * (1 + 2j)
    elif field == "integer":
        matrix = np.round(9 * matrix).astype(np.int64)
    matrix = SYMMETRIES[symmetry](matrix)
    path = tmp_path / "m.mtx"
    target: Any = scipy.sparse.coo_matrix(matrix) if is_sparse else matrix
    scipy.io.mmwrite(path, target, symmetry=symmetry, precision=17)
    wanted: Any = scipy.io.mmread(path)
    entries = read_matrix_market(path, is_symmetric=False)
    assert len(entries.notes) == (symmetry != "general")
    found = dense(entries)
    if is_sparse:
        mask = np.zeros((5, 5), dtype=bool)
        mask[wanted.row, wanted.col] = True
        wanted = wanted.toarray()
    else:
        # Of a skew-symmetric array the diagonal is not stored.
        mask = (
            ~np.isnan(found) if symmetry == "skew-symmetric" else np.full((5, 5), True)
        )
        assert mask.sum() >= 20
    assert np.isnan(found[~mask]).all()
    np.testing.assert_array_equal(found[mask], wanted[mask])


def test_a_rectangular_array_goes_column_by_column(tmp_path: Path) -> None:
    found = written("matrix array real general\n3 2\n1\n2\n3\n4\n5\n6\n", tmp_path)
    assert dense(found).tolist() == [[1, 4], [2, 5], [3, 6]]


def test_comments_blank_lines_and_capitals_are_fine(tmp_path: Path) -> None:
    content = "MATRIX Coordinate Real General\n% one\n\n%\n2 3 2\n1 3  5e0\n2\t1 -6\n\n"
    found = written(content, tmp_path)
    assert found.shape == (2, 3)
    assert (found.rows.tolist(), found.columns.tolist()) == ([0, 1], [2, 0])
    assert found.values.tolist() == [5.0, -6.0]


def test_a_symmetric_problem_takes_either_half(tmp_path: Path) -> None:
    path = tmp_path / "m.mtx"
    wanted = ([0, 0], [0, 1], [2.0, 7.0])
    for kind in ("symmetric\n2 2 2\n", "general\n2 2 3\n1 2 7\n"):
        path.write_text(f"%%MatrixMarket matrix coordinate real {kind}1 1 2\n2 1 7\n")
        found = read_matrix_market(path, is_symmetric=True)
        assert not [note for note in found.notes if "mirror" in note]
        assert wanted == (
            found.rows.tolist(),
            found.columns.tolist(),
            found.values.tolist(),
        )


START = "matrix coordinate real general\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "first line must be"),
        ("vector coordinate real general\n", "first line must be"),
        ("matrix sparse real general\n", "one of coordinate, array; got 'sparse'"),
        ("matrix coordinate real odd\n", "one of general, .*; got 'odd'"),
        ("matrix coordinate pattern general\n2 2 1\n1 1\n", "pattern without values"),
        (START, "size line must have rows, columns, entries; got ''"),
        (START + "2 2\n1 1 1\n", "size line"),
        (START + "2 -2 1\n1 1 1\n", "size line"),
        (START + "2 2 1e3\n1 1 1\n", "size line"),
        (START + "2 2 0\n", "it has 0 entries"),
        (START + f"2 2 {10**18 - 1}\n1 1 1\n", "999 entries; 1 to 200000000 are read"),
        (START + "2 2 90000\n1 1 1\n", "claims 90000 lines, which"),
        (START + "2 2 2\n1 1 1\n", "claims 2 lines of 3 numbers; got 1 of 3"),
        (START + "2 2 1\n1 1 1\n2 1 1\n", "claims 1 lines of 3 numbers; got 2 of 3"),
        (START + "2 2 1\n1 1 1 1\n", "got 1 of 4"),
        (START + "2 2 1\n        \n", "claims 1 lines; got none"),
        (START + "2 2 1\n3 1 1\n", r"row index must be in 1\.\.2; got 3"),
        (START + "2 2 1\n1 0 1\n", r"column index must be in 1\.\.2; got 0"),
        (START + "2 2 1\n1.5 1 1\n", "an index must be an integer; got 1.5"),
        (START + "2 2 1\nnan 1 1\n", "an index must be an integer; got nan"),
        (START + "2 2 1\n1 1 nan\n", "must be finite"),
        (START + "1 5 1\n1 1 1\n", "at least two rows and two columns"),
        (START + "3000000 3000000 1\n1 1 1\n", "cannot back up a shape"),
        ("matrix array real symmetric\n2 3\n1\n1\n1\n", "as many rows as columns"),
        ("matrix array real general\n40000 40000\n1\n", "it has 1600000000 entries"),
        (START + "%\n" * 10_001, "comments"),
    ],
)
def test_a_header_that_lies_and_entries_that_cannot_be_are_refused(
    content: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        written(content, tmp_path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.mtx").write_text("1 2 3\n")
    with pytest.raises(InputError, match="does not begin with %%MatrixMarket"):
        read_matrix_market(tmp_path / "m.mtx", is_symmetric=False)


@given(st.binary(max_size=80))
def test_nothing_but_errors_of_values_comes_out_of_noise(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.mtx"
    path.write_bytes(f"%%MatrixMarket {START}2 2 1\n".encode() + noise)
    try:
        found = read_matrix_market(path, is_symmetric=False)
    except ValueError:
        return
    assert found.num_entries == 1
