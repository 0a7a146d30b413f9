"""Files of every kind lead to the same problem; damaged ones to one sentence."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from archives import trap
from tacit import files
from tacit.errors import InputError
from tacit.recovery.maps.entries import EntriesMap
from tacit.recovery.readers.read import read_entries, read_pairs, read_problem

ROWS, COLUMNS = [0, 0, 1, 2, 2], [0, 3, 1, 0, 2]
VALUES = [1.5, -2.0, 0.25, 1e-3, 7.0]
LINES = "".join(
    f"{i},{j},{v!r}\n" for i, j, v in zip(ROWS, COLUMNS, VALUES, strict=True)
)


def _text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


def _arrays(**arrays: Any) -> Callable[[Path], object]:
    return lambda path: np.savez(path, **arrays)


COO = scipy.sparse.coo_matrix((VALUES, (ROWS, COLUMNS)), shape=(3, 4))
FILES: dict[str, Callable[[Path], object]] = {
    "a.csv": _text(LINES),
    "b.csv": _text("value,row,column\n" + "".join(
        f"{v!r},{i},{j}\n" for i, j, v in zip(ROWS, COLUMNS, VALUES, strict=True)
    )),
    "a.TSV": _text(LINES.replace(",", "\t")),
    "a.parquet": lambda path: pq.write_table(
        pa.table({"row": ROWS, "column": COLUMNS, "value": VALUES}), path
    ),
    "a.npz": _arrays(row=ROWS, column=COLUMNS, value=VALUES),
    "b.npz": lambda path: scipy.sparse.save_npz(path, COO),
    "c.npz": _arrays(matrix=[[1.5, np.nan, np.nan, -2], [np.nan, 0.25] + 2 * [np.nan],
                             [1e-3, np.nan, 7, np.nan]]),
    "a.mtx": lambda path: scipy.io.mmwrite(path, COO, precision=17),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_entries(name: str, tmp_path: Path) -> None:
    FILES[name](tmp_path / name)
    found = read_entries(tmp_path / name)
    assert found.shape == (3, 4)
    assert found.rows.tolist() == ROWS
    assert found.columns.tolist() == COLUMNS
    assert found.values.tolist() == VALUES
    assert found.notes == ()
    has_labels = Path(name).suffix.lower() in (".csv", ".tsv", ".parquet")
    assert found.row_labels == ((0, 1, 2) if has_labels else None)


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_problem(name: str, tmp_path: Path) -> None:
    FILES[name](tmp_path / name)
    labelled = read_problem(str(tmp_path / name))
    entries = labelled.problem.linear_map
    assert isinstance(entries, EntriesMap)
    assert labelled.is_completion
    assert entries.rows.tolist() == ROWS
    assert entries.columns.tolist() == COLUMNS
    assert labelled.problem.measurements.tolist() == VALUES


def test_measurements_are_a_problem_but_no_entries(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    stack = np.arange(12.0).reshape(2, 2, 3)
    np.savez(path, measurement_matrix=stack, measurements=[1, 2], row_labels=["a", "b"])
    labelled = read_problem(path)
    assert not labelled.is_completion
    assert labelled.row_labels == ("a", "b")
    assert labelled.problem.linear_map.in_shape == (2, 3)
    with pytest.raises(InputError, match="it holds measurements"):
        read_entries(path)


def test_a_symmetric_table_has_one_list_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("b,a,1\na,c,2\nc,b,3\nb,b,4\n")
    labelled = read_problem(path, is_symmetric=True)
    assert labelled.problem.is_symmetric
    assert labelled.row_labels == labelled.column_labels == ("a", "b", "c")
    entries = labelled.problem.linear_map
    assert isinstance(entries, EntriesMap)
    assert entries.rows.tolist() == [0, 0, 1, 1]
    assert entries.columns.tolist() == [1, 2, 1, 2]
    assert labelled.problem.measurements.tolist() == [1.0, 2.0, 4.0, 3.0]


def test_columns_are_chosen_in_tables_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("when,who,what,stars\n1,a,b,2\n2,c,d,3\n")
    assert read_entries(path, columns=("who", "what", "stars")).values.sum() == 5.0
    FILES["a.npz"](tmp_path / "a.npz")
    for read in (read_entries, read_problem):
        with pytest.raises(InputError, match=r"columns are for tables, not for \.npz"):
            read(tmp_path / "a.npz", columns=("a", "b", "c"))


# Pairs to predict


def test_pairs_are_found_by_label_whatever_the_columns_are_called(
    tmp_path: Path,
) -> None:
    path, asked = tmp_path / "t.csv", tmp_path / "asked.csv"
    path.write_text("who,what,stars\nbob,7,4\nann,12,2\n")
    labelled = read_problem(path)
    for content in (
        "bob,12\nann,7\n",
        "row,column\nbob,12\nann,7\n",
        "what,who\n12,bob\n7,ann\n",
        "what,more,who\n12,0,bob\n7,0,ann\n",
    ):
        asked.write_text(content)
        rows, columns = read_pairs(asked, labelled)
        assert (rows.tolist(), columns.tolist()) == ([1, 0], [1, 0])
    pq.write_table(pa.table({"who": ["bob"], "what": [7]}), tmp_path / "asked.parquet")
    rows, columns = read_pairs(tmp_path / "asked.parquet", labelled)
    assert (rows.tolist(), columns.tolist()) == ([1], [0])


def test_pairs_of_a_matrix_without_labels_are_indices(tmp_path: Path) -> None:
    FILES["a.npz"](tmp_path / "a.npz")
    labelled = read_problem(tmp_path / "a.npz")
    (tmp_path / "asked.csv").write_text("2,3\n0,1\n")
    rows, columns = read_pairs(tmp_path / "asked.csv", labelled)
    assert (rows.tolist(), columns.tolist()) == ([2, 0], [3, 1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("zoe,7\n", "row 'zoe' has no entry to learn from"),
        ("bob,8\n", "column '8' has no entry"),
        (
            "a,b,c\n1,2,3\n",
            "it has columns a, b, c; say which of them hold row, column",
        ),
    ],
)
def test_pairs_that_cannot_be_predicted_are_refused(
    content: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("bob,7,4\nann,12,2\n")
    (tmp_path / "asked.csv").write_text(content)
    with pytest.raises(InputError, match=words):
        read_pairs(tmp_path / "asked.csv", read_problem(tmp_path / "t.csv"))


def test_pairs_come_from_tables(tmp_path: Path) -> None:
    FILES["a.npz"](tmp_path / "a.npz")
    labelled = read_problem(tmp_path / "a.npz")
    with pytest.raises(InputError, match="must be a table"):
        read_pairs(tmp_path / "a.npz", labelled)


# Files that are none


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty; accepted are tables"),
        ("a.txt", b"1,2,3", "unknown suffix '.txt'; accepted are"),
        ("a", b"1,2,3", "unknown suffix ''"),
        ("a.npy", b"\x93NUMPY", "unknown suffix '.npy'"),
        ("a.csv", b"PK\x03\x04\x00\x00", "is not a CSV table but looks like .npz"),
        ("a.npz", b"PAR1\x00\x00", "but looks like .parquet"),
        ("a.mtx", b"\x1f\x8b\x08\x00", "but looks like gzip"),
        ("a.csv", b"%%MatrixMarket matrix", "but looks like .mtx"),
        ("a.npz", b"\x93NUMPY\x01\x00", "but looks like .npy"),
        ("a.npz", b"1,2,3", "cannot be read as an archive of arrays"),
        ("a.parquet", b"1,2,3", "cannot be read as a Parquet table"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (read_entries, read_problem):
        with pytest.raises(InputError, match=words):
            read(tmp_path / name)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "none.csv", "does not exist"),
        (tmp_path, "is not a file"),
        (Path("/dev/null"), "is not a file"),
    ):
        with pytest.raises(InputError, match=words):
            read_problem(path)


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text(LINES)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    with pytest.raises(InputError, match="bytes; at most 10 are read"):
        read_entries(tmp_path / "a.csv")


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(LINES)

    def denied(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_entries(path)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    for name in ("a.npz", "a.csv", "a.parquet", "a.mtx"):
        (tmp_path / name).write_bytes(trap(folder))
        with pytest.raises(InputError):
            read_problem(tmp_path / name)
    path = tmp_path / "b.npz"
    np.savez(path, row=np.array([{}], dtype=object), column=[0], value=[1.0])
    with pytest.raises(InputError, match="never loaded"):
        read_problem(path)
    assert not os.path.exists(folder)


# Damage: random bytes, cuts and flips may be refused or read, and nothing else


def _content(name: str, folder: Path) -> bytes:
    FILES[name](folder / name)
    return (folder / name).read_bytes()


def _read_or_refuse(path: Path) -> None:
    try:
        found = read_problem(path)
    except InputError as error:
        text = str(error)
        assert text.startswith(str(path))
        assert "\n" not in text
        assert len(text) < 800
    else:
        assert bool(found.problem.measurements.isfinite().all())


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npz", "b.npz", "a.mtx"])
@given(data=st.data())
def test_damage_is_refused_in_one_line(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(_content(name, folder))
    places = st.integers(0, len(content) - 1)
    for at, byte in data.draw(
        st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)
    ):
        content[at] = byte
    path = folder / f"damaged{Path(name).suffix}"
    path.write_bytes(content[: data.draw(st.sampled_from([len(content)]) | places)])
    _read_or_refuse(path)


@given(st.lists(st.sampled_from(["1", "-1", "a", "", "1.5", "nan", "1e999", '"', "0"])))
def test_any_table_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, fields: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    lines = [",".join(fields[i : i + 3]) for i in range(0, len(fields), 3)]
    path.write_text("\n".join(lines))
    _read_or_refuse(path)


def test_labels_are_json(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("b,7,1\na,9,2\n")
    found = read_entries(tmp_path / "t.csv")
    assert json.loads(json.dumps([found.row_labels, found.column_labels])) == [
        ["a", "b"],
        [7, 9],
    ]
